"""Filter plugins: each returns why a pod cannot be on a node (Kubernetes' own words), or None when it can.

Source: the messages of kube-scheduler's plugins, core/v1 NodeAffinity and Toleration semantics.
"""

from __future__ import annotations

from sampan.scheduler.node_state import NodeState, host_ports, requests_of
from sampan.schema.node_selectors import may_be_on
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates


def node_name(pod: Object, node: NodeState) -> str | None:
    wanted = pod["spec"].get("nodeName")
    return None if not wanted or wanted == node.name else "node(s) didn't match the requested node name"


def node_unschedulable(pod: Object, node: NodeState) -> str | None:
    if not node.spec.get("unschedulable"):
        return None
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    return None if tolerated(pod, taint) else "node(s) were unschedulable"


def taint_toleration(pod: Object, node: NodeState) -> str | None:
    for taint in node.spec.get("taints") or ():
        if taint["effect"] in ("NoSchedule", "NoExecute") and not tolerated(pod, taint):
            return f"node(s) had untolerated taint(s) {{{taint['key']}: {taint.get('value', '')}}}"
    return None


def tolerated(pod: Object, taint: Object) -> bool:
    return any(tolerates(toleration, taint) for toleration in pod["spec"].get("tolerations") or ())


def node_affinity(pod: Object, node: NodeState) -> str | None:
    fits = may_be_on(pod["spec"], node.name, node.labels)
    return None if fits else "node(s) didn't match Pod's node affinity/selector"


def node_resources_fit(pod: Object, node: NodeState) -> list[str]:
    """Every resource that is short, since ``kubectl describe`` names them all."""
    short = ["Too many pods"] if len(node.pods) + 1 > node.allocatable("pods") else []
    for resource, wanted in requests_of(pod).items():
        if wanted and node.used.get(resource, 0) + wanted > node.allocatable(resource):
            short.append(f"Insufficient {resource}")
    return short


def node_ports(pod: Object, node: NodeState) -> str | None:
    clash = any(wanted.clashes(taken) for wanted in host_ports(pod) for taken in node.ports)
    return "node(s) didn't have free ports for the requested pod ports" if clash else None
