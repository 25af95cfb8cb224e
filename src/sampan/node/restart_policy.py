"""Whether a container that has ended is started again: its own policy, its rules by exit code, the pod's policy. Pure.

Source: the pod lifecycle page of Kubernetes, KEP-753 (sidecars), KEP-5307 (restart rules of a container).
"""

from __future__ import annotations

from sampan.node.pod_view import ContainerView
from sampan.schema.objects import Object


def is_sidecar(container: Object) -> bool:
    """Whether an init container keeps running beside the others (KEP-753)."""
    return bool(container.get("restartPolicy") == "Always")


def policy_of(pod: Object, container: Object) -> str:
    return str(container.get("restartPolicy") or pod["spec"].get("restartPolicy", "Always"))


def restart_wanted(pod: Object, container: Object, view: ContainerView) -> bool:
    """Whether an exited container is to be started again: by the first rule that knows its exit code, else by policy.
    One that this node stopped for that is, however it ended."""
    if view.current is not None and view.stopped == view.current.id and policy_of(pod, container) != "Never":
        return True
    if view.current is not None and any(
        matches(rule, view.current.exit_code) for rule in container.get("restartPolicyRules") or ()
    ):
        return True  # a rule's only action is Restart
    policy = policy_of(pod, container)
    return policy == "Always" or (policy == "OnFailure" and not view.succeeded)


def matches(rule: Object, exit_code: int) -> bool:
    codes = rule.get("exitCodes") or {}
    among = exit_code in (codes.get("values") or ())
    return among if codes.get("operator") == "In" else codes.get("operator") == "NotIn" and not among
