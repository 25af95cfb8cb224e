"""The FlowSchemas and PriorityLevelConfigurations that every cluster has, as data.

Source: k8s.io/apiserver pkg/apis/flowcontrol/bootstrap/default.go.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.schema.objects import Object

GROUP = "flowcontrol.apiserver.k8s.io"
AUTO_UPDATE = "apf.kubernetes.io/autoupdate-spec"

LEVELS: tuple[tuple[str, int, int, tuple[int, int, int] | None], ...] = (
    # name, shares, lendable percent, (queues, hand size, queue length)
    ("system", 30, 33, (64, 6, 50)),
    ("node-high", 40, 25, (64, 6, 50)),
    ("leader-election", 10, 0, (16, 4, 50)),
    ("workload-high", 40, 50, (128, 6, 50)),
    ("workload-low", 100, 90, (128, 6, 50)),
    ("global-default", 20, 50, (128, 6, 50)),
    ("catch-all", 5, 0, None),
)
MANDATORY = ("exempt", "catch-all")

Subject = tuple[str, str]
"""Kind and name; a ServiceAccount's name is ``namespace/name``."""
AUTHENTICATED: Subject = ("Group", "system:authenticated")
UNAUTHENTICATED: Subject = ("Group", "system:unauthenticated")
SYSTEM_ACCOUNTS: Subject = ("ServiceAccount", "kube-system/*")
ANYTHING = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


def subject(given: Subject) -> Object:
    kind, name = given
    if kind == "ServiceAccount":
        namespace, _, account = name.partition("/")
        return {"kind": kind, "serviceAccount": {"namespace": namespace, "name": account}}
    return {"kind": kind, kind.lower(): {"name": name}}


def resources(verbs: str, group: str, names: str, namespaces: str = "", *, cluster: bool = False) -> Object:
    made: Object = {"verbs": verbs.split(), "apiGroups": [group], "resources": names.split()}
    if cluster:
        made["clusterScope"] = True
    if namespaces:
        made["namespaces"] = namespaces.split()
    return made


def schema(name: str, level: str, precedence: int, flows: str, subjects: tuple[Subject, ...], *rules: Object) -> Object:
    """A FlowSchema; ``flows``: ``ByUser``, ``ByNamespace`` or "". No rules: everything."""
    rule: Object = {"subjects": [subject(given) for given in subjects]}
    given = rules or ANYTHING
    on_resources = [dict(r) for r in given if "resources" in r]
    on_paths = [dict(r) for r in given if "nonResourceURLs" in r]
    if on_resources:
        rule["resourceRules"] = on_resources
    if on_paths:
        rule["nonResourceRules"] = on_paths
    spec: Object = {
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
        "rules": [rule],
    }
    if flows:
        spec["distinguisherMethod"] = {"type": flows}
    return made("FlowSchema", name, spec)


def made(kind: str, name: str, spec: Object) -> Object:
    annotations = {AUTO_UPDATE: "true"}
    return {
        "apiVersion": f"{GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, "generation": 1, "annotations": annotations},
        "spec": spec,
        "status": {},
    }


def levels() -> Iterator[Object]:
    """Yield every PriorityLevelConfiguration, in the shape of v1."""
    kind = "PriorityLevelConfiguration"
    exempt = {"nominalConcurrencyShares": 0, "lendablePercent": 0}
    yield made(kind, "exempt", {"type": "Exempt", "exempt": exempt})
    for name, shares, lendable, queuing in LEVELS:
        response: dict[str, Any] = {"type": "Reject"}
        if queuing:
            response = {
                "type": "Queue",
                "queuing": dict(zip(("queues", "handSize", "queueLengthLimit"), queuing, strict=True)),
            }
        limited = {"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response}
        yield made(kind, name, {"type": "Limited", "limited": limited})


def schemas() -> Iterator[Object]:
    """Yield every FlowSchema, in the shape of v1."""
    manager, scheduler = ("User", "system:kube-controller-manager"), ("User", "system:kube-scheduler")
    everyone, nodes = (AUTHENTICATED, UNAUTHENTICATED), ("Group", "system:nodes")
    leases = "coordination.k8s.io"
    yield schema("exempt", "exempt", 1, "", (("Group", "system:masters"),))
    probes = {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}
    yield schema("probes", "exempt", 2, "", everyone, probes)
    yield schema(
        "system-leader-election",
        "leader-election",
        100,
        "ByUser",
        (manager, scheduler, SYSTEM_ACCOUNTS),
        resources("get create update", leases, "leases", "*"),
    )
    yield schema(
        "endpoint-controller",
        "workload-high",
        150,
        "ByUser",
        (manager, *(("ServiceAccount", f"kube-system/{name}-controller") for name in ("endpoint", "endpointslice"))),
        resources("get create update", "", "endpoints", "*"),
        resources("get create update", "discovery.k8s.io", "endpointslices", "*"),
    )  # fmt: skip
    yield schema(
        "workload-leader-election",
        "leader-election",
        200,
        "ByUser",
        (SYSTEM_ACCOUNTS,),
        resources("get create update", leases, "leases", "*"),
    )
    yield schema(
        "system-node-high",
        "node-high",
        400,
        "ByUser",
        (nodes,),
        resources("*", "", "nodes nodes/status", "*", cluster=True),
        resources("*", leases, "leases", "*"),
    )
    yield schema("system-nodes", "system", 500, "ByUser", (nodes,))
    yield schema("kube-controller-manager", "workload-high", 800, "ByNamespace", (manager,))
    yield schema("kube-scheduler", "workload-high", 800, "ByNamespace", (scheduler,))
    yield schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", (SYSTEM_ACCOUNTS,))
    yield schema("service-accounts", "workload-low", 9000, "ByUser", (("Group", "system:serviceaccounts"),))
    yield schema("global-default", "global-default", 9900, "ByUser", (UNAUTHENTICATED, AUTHENTICATED))
    yield schema("catch-all", "catch-all", 10000, "ByUser", (UNAUTHENTICATED, AUTHENTICATED))


def objects() -> Iterator[Object]:
    """Yield both kinds."""
    yield from levels()
    yield from schemas()
