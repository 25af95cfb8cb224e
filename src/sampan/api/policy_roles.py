"""The ClusterRoles and bindings that every cluster has, as data.

Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy (policy.go, controller_policy.go); the ``sampan:*``
roles are those of this package's own agents.
"""

# ruff: noqa: E501  (a table: one rule a line)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.schema.objects import Object

GROUP = "rbac.authorization.k8s.io"
READ = ("get", "list", "watch")
WRITE = ("create", "delete", "deletecollection", "patch", "update")
ALL = ("*",)
EVENTS: dict[str, Any] = {
    "apiGroups": ["", "events.k8s.io"],
    "resources": ["events"],
    "verbs": ["create", "patch", "update"],
}


def rule(groups: str, resources: str, verbs: tuple[str, ...] | str, names: str = "") -> dict[str, Any]:
    """A PolicyRule of words: ``rule("apps batch", "deployments jobs", READ)``; ``core`` is the core group."""
    listed = list(verbs.split() if isinstance(verbs, str) else verbs)
    api_groups = ["" if group == "core" else group for group in groups.split()]
    made: dict[str, Any] = {"apiGroups": api_groups, "resources": resources.split(), "verbs": listed}
    if names:
        made["resourceNames"] = names.split()
    return made


def urls(paths: str, verbs: str = "get") -> dict[str, Any]:
    return {"nonResourceURLs": paths.split(), "verbs": verbs.split()}


WORKLOADS = (
    ("apps", "controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets "
             "replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status"),
    ("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status"),
    ("batch", "cronjobs cronjobs/status jobs jobs/status"),
    ("policy", "poddisruptionbudgets poddisruptionbudgets/status"),
    ("networking.k8s.io", "ingresses ingresses/status networkpolicies"),
    ("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates"),
)  # fmt: skip
WRITABLE = (
    ("apps", "daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"),
    ("autoscaling", "horizontalpodautoscalers"),
    ("batch", "cronjobs jobs"),
    ("policy", "poddisruptionbudgets"),
    ("networking.k8s.io", "ingresses networkpolicies"),
    ("resource.k8s.io", "resourceclaims resourceclaimtemplates"),
    ("coordination.k8s.io", "leases"),
)  # fmt: skip

VIEW_RULES = [
    rule(
        "core",
        "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
        "replicationcontrollers/scale serviceaccounts services services/status",
        READ,
    ),
    rule(
        "core",
        "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas "
        "resourcequotas/status",
        READ,
    ),
    rule("core", "namespaces", READ),
    rule("discovery.k8s.io", "endpointslices", READ),
    *(rule(group, resources, READ) for group, resources in WORKLOADS),
]
EDIT_RULES = [
    rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
    rule("core", "serviceaccounts", "impersonate"),
    rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", WRITE),
    rule("core", "pods/eviction", "create"),
    rule(
        "core",
        "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
        "serviceaccounts services services/proxy",
        WRITE,
    ),
    rule("core", "serviceaccounts/token", "create"),
    *(rule(group, resources, WRITE) for group, resources in WRITABLE),
    rule("coordination.k8s.io", "leases", READ),
]
ADMIN_RULES = [
    rule("authorization.k8s.io", "localsubjectaccessreviews", "create"),
    rule(GROUP, "rolebindings roles", (*READ, *WRITE)),
]

NODE_RULES = [
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
    rule("core", "services", READ),
    rule("core", "nodes", "create get list watch update patch delete"),
    rule("core", "nodes/status", "patch update"),
    EVENTS,
    rule("core", "pods", "create delete get list watch"),
    rule("core", "pods/status", "patch update"),
    rule("core", "pods/eviction", "create"),
    rule("core", "configmaps secrets", READ),
    rule("core", "persistentvolumeclaims persistentvolumes namespaces endpoints", READ),
    rule("discovery.k8s.io", "endpointslices", READ),
    rule("core", "serviceaccounts", "get"),
    rule("core", "serviceaccounts/token", "create"),
    rule("certificates.k8s.io", "certificatesigningrequests", "create get list watch"),
    rule("coordination.k8s.io", "leases", "create delete get patch update"),
    rule("storage.k8s.io", "csidrivers volumeattachments", READ),
    rule("storage.k8s.io", "csinodes", "create delete get patch update"),
    rule("node.k8s.io", "runtimeclasses", READ),
    rule("resource.k8s.io", "resourceclaims", READ),
    rule("resource.k8s.io", "resourceslices", "create delete deletecollection get list patch update watch"),
    rule("networking.k8s.io", "networkpolicies", READ),
]
"""``system:node``: what the Node authorizer allows uniformly; the role itself is bound to nobody."""

SCHEDULER_RULES = [
    EVENTS,
    rule("coordination.k8s.io", "leases", "create get list update watch"),
    rule("core", "nodes namespaces", READ),
    rule("core", "pods", "delete get list watch"),
    rule("core", "bindings pods/binding", "create"),
    rule("core", "pods/status", "patch update"),
    rule("core", "replicationcontrollers services persistentvolumeclaims persistentvolumes", READ),
    rule("apps", "replicasets statefulsets", READ),
    rule("policy", "poddisruptionbudgets", READ),
    rule("storage.k8s.io", "csidrivers csinodes csistoragecapacities storageclasses volumeattachments", READ),
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "subjectaccessreviews", "create"),
]

CONTROLLERS: dict[str, list[dict[str, Any]]] = {
    "attachdetach-controller": [rule("core", "persistentvolumeclaims persistentvolumes", READ), rule("core", "nodes pods", READ), EVENTS],
    "clusterrole-aggregation-controller": [rule(GROUP, "clusterroles", "escalate get list patch update watch")],
    "cronjob-controller": [rule("batch", "cronjobs", "get list update watch"), rule("batch", "jobs", "create delete get list patch update watch"),
                           rule("batch", "cronjobs/finalizers cronjobs/status", "update"), rule("core", "pods", "delete list"), EVENTS],
    "daemon-set-controller": [rule("apps", "daemonsets", READ), rule("apps", "daemonsets/finalizers daemonsets/status", "update"),
                              rule("core", "nodes", "list watch"), rule("core", "pods", "create delete list patch watch"),
                              rule("core", "pods/binding", "create"),
                              rule("apps", "controllerrevisions", "create delete get list patch update watch"), EVENTS],
    "deployment-controller": [rule("apps", "deployments", "get list update watch"),
                              rule("apps", "deployments/finalizers deployments/status", "update"),
                              rule("apps", "replicasets", "create delete get list patch update watch"),
                              rule("core", "pods", "get list update watch"), EVENTS],
    "disruption-controller": [rule("apps", "deployments replicasets statefulsets", READ), rule("core", "replicationcontrollers pods", READ),
                              rule("policy", "poddisruptionbudgets", READ), rule("policy", "poddisruptionbudgets/status", "update"), EVENTS],
    "endpoint-controller": [rule("core", "pods services", READ), rule("core", "endpoints", "create delete get list update"),
                            rule("core", "endpoints/restricted", "create"), EVENTS],
    "endpointslice-controller": [rule("core", "nodes pods services", READ), rule("core", "services/finalizers", "update"),
                                 rule("discovery.k8s.io", "endpointslices", "create delete get list update"), EVENTS],
    "generic-garbage-collector": [EVENTS, rule("*", "*", "delete get list patch update watch")],
    "horizontal-pod-autoscaler": [rule("autoscaling", "horizontalpodautoscalers", READ),
                                  rule("autoscaling", "horizontalpodautoscalers/status", "update"), rule("*", "*/scale", "get update"),
                                  rule("core", "pods", "list"), rule("metrics.k8s.io", "pods", "list"), EVENTS],
    "job-controller": [rule("batch", "jobs", "get list patch update watch"), rule("batch", "jobs/finalizers jobs/status", "update"),
                       rule("core", "pods", "create delete list patch watch"), EVENTS],
    "namespace-controller": [rule("core", "namespaces", "delete get list watch"), rule("core", "namespaces/finalize namespaces/status", "update"),
                             rule("*", "*", "delete deletecollection get list")],
    "node-controller": [rule("core", "nodes", "delete get list patch update"), rule("core", "nodes/status", "patch update"),
                        rule("core", "pods", "delete get list"), rule("core", "pods/status", "patch update"), EVENTS],
    "persistent-volume-binder": [rule("core", "persistentvolumes", "create delete get list update watch"),
                                 rule("core", "persistentvolumes/status persistentvolumeclaims/status", "update"),
                                 rule("core", "persistentvolumeclaims", "get list update watch"),
                                 rule("storage.k8s.io", "storageclasses", READ), EVENTS],
    "pod-garbage-collector": [rule("core", "pods", "delete list watch"), rule("core", "nodes", "get list"), rule("core", "pods/status", "patch")],
    "replicaset-controller": [rule("apps", "replicasets", "get list update watch"),
                              rule("apps", "replicasets/finalizers replicasets/status", "update"),
                              rule("core", "pods", "create delete list patch watch"), EVENTS],
    "replication-controller": [rule("core", "replicationcontrollers", "get list update watch"),
                               rule("core", "replicationcontrollers/finalizers replicationcontrollers/status", "update"),
                               rule("core", "pods", "create delete list patch watch"), EVENTS],
    "resourcequota-controller": [rule("*", "*", "list watch"), rule("core", "resourcequotas/status", "update"), EVENTS],
    "root-ca-cert-publisher": [rule("core", "configmaps", "create update"), EVENTS],
    "service-account-controller": [rule("core", "serviceaccounts", "create"), EVENTS],
    "statefulset-controller": [rule("core", "pods", READ), rule("apps", "statefulsets", READ),
                               rule("apps", "statefulsets/finalizers statefulsets/status", "update"), rule("core", "pods", "create delete patch update"),
                               rule("apps", "controllerrevisions", "create delete get list patch update watch"),
                               rule("core", "persistentvolumeclaims", "create delete get list update watch"), EVENTS],
    "ttl-after-finished-controller": [rule("batch", "jobs", "delete get list watch"), EVENTS],
}  # fmt: skip

GATEWAY_API = "gateway.networking.k8s.io"
SAMPAN = {
    "dns": [
        rule("core", "services pods namespaces endpoints", READ),
        rule("core", "services endpoints", "create patch update"),
        rule("discovery.k8s.io", "endpointslices", (*READ, "create", "patch", "update")),
        EVENTS,
    ],
    "gateway": [
        rule("core", "services", (*READ, "create", "delete", "patch", "update")),
        rule("core", "endpoints pods namespaces nodes configmaps secrets", READ),
        rule("discovery.k8s.io", "endpointslices", (*READ, "create", "delete", "patch", "update")),
        rule(f"{GATEWAY_API} gateway.sampan.dev gateway.sampan.io sampan.dev sampan.io", "*", ALL),
        rule("networking.k8s.io", "ingresses ingressclasses", READ),
        rule("networking.k8s.io", "ingresses/status", "patch update"),
        rule("apiextensions.k8s.io", "customresourcedefinitions", (*READ, "create", "patch", "update")),
        rule("coordination.k8s.io", "leases", "create get list patch update watch"),
        EVENTS,
    ],
    "network": [
        rule("core", "services pods nodes namespaces endpoints", READ),
        rule("core", "services/status nodes/status", "patch update"),
        rule("core", "nodes services", "patch update"),
        rule("discovery.k8s.io", "endpointslices", READ),
        rule("networking.k8s.io", "networkpolicies", READ),
        EVENTS,
    ],
}


def cluster_role(name: str, rules: list[dict[str, Any]], **extra: Any) -> Object:
    labels = {"kubernetes.io/bootstrapping": "rbac-defaults", **extra.pop("labels", {})}
    metadata = {"name": name, "labels": labels, "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"}}
    return {"apiVersion": f"{GROUP}/v1", "kind": "ClusterRole", "metadata": metadata, **extra, "rules": rules}


def binding(
    name: str, role: str, *subjects: tuple[str, str], kind: str = "ClusterRoleBinding", namespace: str = ""
) -> Object:
    """A binding to a ClusterRole. Subjects are (kind, name); a ServiceAccount's name is ``namespace/name``."""
    listed: list[Object] = []
    for subject_kind, subject in subjects:
        if subject_kind == "ServiceAccount":
            home, _, account = subject.partition("/")
            listed.append({"kind": subject_kind, "name": account, "namespace": home})
        else:
            listed.append({"kind": subject_kind, "apiGroup": GROUP, "name": subject})
    metadata: Object = {
        "name": name,
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
        "annotations": {"rbac.authorization.kubernetes.io/autoupdate": "true"},
    }
    if namespace:
        metadata["namespace"] = namespace
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": role}
    return {"apiVersion": f"{GROUP}/v1", "kind": kind, "metadata": metadata, "subjects": listed, "roleRef": reference}


def aggregate(*names: str) -> dict[str, Any]:
    selectors = [{"matchLabels": {f"{GROUP}/aggregate-to-{name}": "true"}} for name in names]
    return {"aggregationRule": {"clusterRoleSelectors": selectors}}


def label(name: str) -> dict[str, str]:
    return {f"{GROUP}/aggregate-to-{name}": "true"}


DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
PUBLIC = "/healthz /livez /readyz /version /version/"


def node_rules() -> list[dict[str, Any]]:
    """Return what every node may do, and every user who is authenticated."""
    return [*NODE_RULES]


def cluster_roles() -> Iterator[Object]:
    """Yield every bootstrap ClusterRole."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    yield cluster_role("cluster-admin", everything)
    yield cluster_role("view", VIEW_RULES, labels=label("edit"), **aggregate("view"))
    yield cluster_role("edit", EDIT_RULES + VIEW_RULES, labels=label("admin"), **aggregate("edit"))
    yield cluster_role("admin", ADMIN_RULES + EDIT_RULES + VIEW_RULES, **aggregate("admin"))
    yield cluster_role("system:aggregate-to-view", VIEW_RULES, labels=label("view"))
    yield cluster_role("system:aggregate-to-edit", EDIT_RULES, labels=label("edit"))
    yield cluster_role("system:aggregate-to-admin", ADMIN_RULES, labels=label("admin"))
    yield cluster_role("system:discovery", [urls(DISCOVERY)])
    yield cluster_role("system:public-info-viewer", [urls(PUBLIC)])
    yield cluster_role(
        "system:monitoring", [urls("/healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*")]
    )
    reviews = rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create")
    yield cluster_role("system:basic-user", [reviews, rule("authentication.k8s.io", "selfsubjectreviews", "create")])
    issuer = urls(
        "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"
    )
    yield cluster_role("system:service-account-issuer-discovery", [issuer])
    delegator = [
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"),
    ]
    yield cluster_role("system:auth-delegator", delegator)
    yield cluster_role("system:node", NODE_RULES)
    yield cluster_role("system:kube-scheduler", SCHEDULER_RULES)
    yield cluster_role(
        "system:kube-controller-manager",
        [EVENTS, rule("*", "*", (*READ, *WRITE)), rule("core", "serviceaccounts/token", "create")],
    )
    proxier = [rule("core", "endpoints services nodes", READ), rule("discovery.k8s.io", "endpointslices", READ), EVENTS]
    yield cluster_role("system:node-proxier", proxier)
    kubelet = "nodes/configz nodes/healthz nodes/log nodes/metrics nodes/pods nodes/proxy nodes/stats"
    yield cluster_role(
        "system:kubelet-api-admin",
        [rule("core", "nodes", READ), rule("core", "nodes", "proxy"), rule("core", kubelet, ALL)],
    )
    for name, rules in CONTROLLERS.items():
        yield cluster_role(f"system:controller:{name}", rules)
    for name, rules in SAMPAN.items():
        yield cluster_role(f"sampan:{name}", rules)


def bindings() -> Iterator[Object]:
    """Yield every bootstrap ClusterRoleBinding."""
    everyone = (("Group", "system:authenticated"), ("Group", "system:unauthenticated"))
    yield binding("cluster-admin", "cluster-admin", ("Group", "system:masters"))
    yield binding("system:monitoring", "system:monitoring", ("Group", "system:monitoring"))
    yield binding("system:discovery", "system:discovery", everyone[0])
    yield binding("system:basic-user", "system:basic-user", everyone[0])
    yield binding("system:public-info-viewer", "system:public-info-viewer", *everyone)
    accounts = ("Group", "system:serviceaccounts")
    yield binding("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", accounts)
    yield binding("system:node", "system:node")
    yield binding("system:kube-scheduler", "system:kube-scheduler", ("User", "system:kube-scheduler"))
    yield binding(
        "system:kube-controller-manager", "system:kube-controller-manager", ("User", "system:kube-controller-manager")
    )
    for name in CONTROLLERS:
        yield binding(
            f"system:controller:{name}", f"system:controller:{name}", ("ServiceAccount", f"kube-system/{name}")
        )
    for name in SAMPAN:
        yield binding(f"sampan:{name}", f"sampan:{name}", ("User", f"system:sampan-{name}"))
