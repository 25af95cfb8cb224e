"""Filter plugins: each returns why a pod cannot be on a node (Kubernetes' own words), or None when it can.

Source: the messages of kube-scheduler's plugins, core/v1 NodeAffinity and Toleration semantics.
"""

from __future__ import annotations

from sampan.scheduler.node_state import NodeState, host_ports, requests_of
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
    selector = pod["spec"].get("nodeSelector") or {}
    required = (
        ((pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}).get(
            "requiredDuringSchedulingIgnoredDuringExecution"
        )
        or {}
    ).get("nodeSelectorTerms")
    fits = selector.items() <= node.labels.items()
    if fits and required is not None:
        fits = any(term_matches(term, node) for term in required)
    return None if fits else "node(s) didn't match Pod's node affinity/selector"


def term_matches(term: Object, node: NodeState) -> bool:
    """Whether a NodeSelectorTerm chooses a node; an empty term chooses none."""
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(expression_matches(e, node.labels) for e in expressions) and all(
        expression_matches(e, {"metadata.name": node.name}) for e in fields
    )


def expression_matches(expression: Object, labels: dict[str, str]) -> bool:
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    if operator in ("Gt", "Lt"):
        try:
            have, limit = int(labels[key]), int(values[0])
        except (KeyError, ValueError, IndexError):
            return False
        return have > limit if operator == "Gt" else have < limit
    present = key in labels
    return {
        "Exists": present,
        "DoesNotExist": not present,
        "In": present and labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
    }.get(operator, False)


def node_resources_fit(pod: Object, node: NodeState) -> list[str]:
    """Every resource that is short, since ``kubectl describe`` names them all."""
    short = ["Too many pods"] if len(node.pods) + 1 > node.allocatable("pods") else []
    for resource, wanted in requests_of(pod).items():
        if wanted and node.used.get(resource, 0) + wanted > node.allocatable(resource):
            short.append(f"Insufficient {resource}")
    return short


def node_ports(pod: Object, node: NodeState) -> str | None:
    clash = host_ports(pod) & node.ports
    return "node(s) didn't have free ports for the requested pod ports" if clash else None
