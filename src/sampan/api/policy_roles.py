"""The ClusterRoles and bindings that every cluster of a Kubernetes version has, as data.

What a version does not have yet (its feature gate is off there) its roles do not have either. Source: kubernetes
plugin/pkg/auth/authorizer/rbac/bootstrappolicy (policy.go); ``policy_agents`` has the controllers' roles.
"""

# ruff: noqa: E501  (a table: one rule a line)

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.policy_agents import CONTROLLERS, SAMPAN
from sampan.api.policy_rules import ALL, EVENTS, GROUP, READ, WRITE, aggregate, binding, cluster_role, label, rule, urls
from sampan.schema.objects import Object

NEWEST = 37
SELF_REVIEWS, SLIS, COORDINATED, FINE_KUBELET, SERVICE_CIDRS, DEVICES, ACCOUNTS_OF_IMAGES, METRICS, PAGES, TRUST = (
    27, 26, 31, 33, 33, 34, 34, 34, 36, 37,
)  # fmt: skip
"""The minor versions from which on these are there by default: SelfSubjectReview, /metrics/slis, CoordinatedLeaderElection's
kinds, KubeletFineGrainedAuthz, MultiCIDRServiceAllocator, DynamicResourceAllocation, KubeletServiceAccountTokenForCredential-
Providers, metrics of kubelets for monitoring, ComponentStatusz and ComponentFlagz, ClusterTrustBundle and PodCertificateRequest."""
Rules = list[dict[str, Any]]

APPS = "daemonsets deployments deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale"
EXTENSIONS = "daemonsets deployments deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale"


def since(minor: int, first: int, *rules: dict[str, Any]) -> Rules:
    """Return rules of a version and of those after it."""
    return [*rules] if minor >= first else []


def view_rules(minor: int) -> Rules:
    statuses = "daemonsets/status deployments/status replicasets/status"
    return [
        rule("core", "configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers "
                     "replicationcontrollers/scale serviceaccounts services services/status", READ),
        rule("core", "bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status "
                     "resourcequotas resourcequotas/status", READ),
        rule("core", "namespaces", READ),
        rule("discovery.k8s.io", "endpointslices", READ),
        rule("apps", f"controllerrevisions {APPS} {statuses} statefulsets/status", READ),
        rule("autoscaling", "horizontalpodautoscalers horizontalpodautoscalers/status", READ),
        rule("batch", "cronjobs cronjobs/status jobs jobs/status", READ),
        rule("extensions", f"{EXTENSIONS} {statuses} ingresses/status", READ),
        rule("policy", "poddisruptionbudgets poddisruptionbudgets/status", READ),
        rule("networking.k8s.io", "ingresses ingresses/status networkpolicies", READ),
        *since(minor, DEVICES, rule("resource.k8s.io", "resourceclaims resourceclaims/status resourceclaimtemplates", READ)),
    ]  # fmt: skip


def edit_rules(minor: int) -> Rules:
    return [
        rule("core", "pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", READ),
        rule("core", "serviceaccounts", "impersonate"),
        rule("core", "pods pods/attach pods/exec pods/portforward pods/proxy", WRITE),
        rule("core", "pods/eviction", "create"),
        rule("core", "configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets "
                     "serviceaccounts services services/proxy", WRITE),
        rule("core", "serviceaccounts/token", "create"),
        rule("apps", f"{APPS} deployments/rollback", WRITE),
        rule("autoscaling", "horizontalpodautoscalers", WRITE),
        rule("batch", "cronjobs jobs", WRITE),
        rule("extensions", f"{EXTENSIONS} deployments/rollback", WRITE),
        rule("policy", "poddisruptionbudgets", WRITE),
        rule("networking.k8s.io", "ingresses networkpolicies", WRITE),
        rule("coordination.k8s.io", "leases", (*READ, *WRITE)),
        *since(minor, DEVICES, rule("resource.k8s.io", "resourceclaims resourceclaimtemplates", WRITE)),
    ]  # fmt: skip


ADMIN_RULES = [
    rule("authorization.k8s.io", "localsubjectaccessreviews", "create"),
    rule(GROUP, "rolebindings roles", (*READ, *WRITE)),
]


def node_role_rules(minor: int) -> Rules:
    """Return the rules of ``system:node``; the role itself is bound to nobody."""
    return [
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "localsubjectaccessreviews subjectaccessreviews", "create"),
        rule("core", "services", READ),
        rule("core", "nodes", "create get list watch"),
        rule("core", "nodes/status", "patch update"),
        rule("core", "nodes", "patch update"),
        rule("core", "events", "create patch update"),
        rule("core", "pods", READ),
        rule("core", "pods", "create delete"),
        rule("core", "pods/status", "patch update"),
        rule("core", "pods/eviction", "create"),
        rule("core", "configmaps secrets", READ),
        rule("core", "persistentvolumeclaims persistentvolumes", "get"),
        rule("core", "endpoints", "get"),
        rule("certificates.k8s.io", "certificatesigningrequests", "create get list watch"),
        rule("coordination.k8s.io", "leases", "create delete get patch update"),
        rule("storage.k8s.io", "volumeattachments", "get"),
        rule("core", "serviceaccounts/token", "create"),
        rule("core", "persistentvolumeclaims/status", "get patch update"),
        rule("storage.k8s.io", "csidrivers", READ),
        rule("storage.k8s.io", "csinodes", "create delete get patch update"),
        rule("node.k8s.io", "runtimeclasses", READ),
        *since(minor, DEVICES, rule("resource.k8s.io", "resourceclaims", "get"), rule("resource.k8s.io", "resourceslices", "deletecollection")),
        *since(minor, TRUST, rule("certificates.k8s.io", "clustertrustbundles", READ)),
        *since(minor, ACCOUNTS_OF_IMAGES, rule("core", "serviceaccounts", "get")),
        *since(minor, TRUST, rule("certificates.k8s.io", "podcertificaterequests", "create get list watch")),
    ]  # fmt: skip


OWN_NODE_RULES = [
    EVENTS,
    rule("core", "persistentvolumeclaims persistentvolumes namespaces endpoints", READ),
    rule("discovery.k8s.io", "endpointslices", READ),
    rule("core", "serviceaccounts", "get"),
    rule("storage.k8s.io", "volumeattachments", READ),
    rule("resource.k8s.io", "resourceclaims", READ),
    rule("resource.k8s.io", "resourceslices", "create delete deletecollection get list patch update watch"),
    rule("networking.k8s.io", "networkpolicies", READ),
]
"""What our node agent reads beyond a kubelet (it is the network's agent, too): allowed to nodes, and no part of the role."""


def node_rules(minor: int = NEWEST) -> Rules:
    """Return what the Node authorizer allows every node uniformly."""
    return [*node_role_rules(minor), *OWN_NODE_RULES]


def scheduler_rules(minor: int, *, gangs: bool = False) -> Rules:
    """``gangs``: whether PodGroups are served, which are scheduled as a whole."""
    groups = [
        rule("scheduling.k8s.io", "podgroups", READ),
        rule("scheduling.k8s.io", "podgroups/status", "patch update"),
    ]
    lock = "get list update watch" if minor >= COORDINATED else "get update"
    return [
        EVENTS,
        rule("coordination.k8s.io", "leases", "create"),
        rule("coordination.k8s.io", "leases", lock, "kube-scheduler"),
        *since(minor, COORDINATED, rule("coordination.k8s.io", "leasecandidates", (*READ, *WRITE))),
        rule("core", "nodes", READ),
        rule("core", "pods", "delete get list watch"),
        rule("core", "bindings pods/binding", "create"),
        rule("core", "pods/status", "patch update"),
        rule("core", "replicationcontrollers services", READ),
        rule("apps extensions", "replicasets", READ),
        rule("apps", "statefulsets", READ),
        rule("policy", "poddisruptionbudgets", READ),
        rule("core", "persistentvolumeclaims persistentvolumes", READ),
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"),
        rule("storage.k8s.io", "csinodes", READ),
        rule("storage.k8s.io", "volumeattachments", READ),
        rule("core", "namespaces", READ),
        rule("storage.k8s.io", "csidrivers", READ),
        rule("storage.k8s.io", "csistoragecapacities", READ),
        *since(
            minor,
            DEVICES,
            rule("resource.k8s.io", "deviceclasses resourceslices", READ),
            rule("resource.k8s.io", "resourceclaims resourceclaims/status", "get list patch update watch"),
            rule("core", "pods/finalizers", "get list patch update watch"),
        ),
        *(groups if gangs else ()),
    ]


CONTROLLER_MANAGER_RULES = [
    EVENTS,
    rule("coordination.k8s.io", "leases", "create"),
    rule("coordination.k8s.io", "leases", "get update", "kube-controller-manager"),
    rule("core", "secrets serviceaccounts", "create"),
    rule("core", "secrets", "delete"),
    rule("core", "configmaps namespaces secrets serviceaccounts", "get"),
    rule("core", "secrets serviceaccounts", "update"),
    rule("authentication.k8s.io", "tokenreviews", "create"),
    rule("authorization.k8s.io", "subjectaccessreviews", "create"),
    rule("*", "*", "list watch"),
    rule("core", "serviceaccounts/token", "create"),
]


def monitoring_rules(minor: int) -> Rules:
    slis = " /metrics/slis" if minor >= SLIS else ""
    return [
        urls(f"/healthz /healthz/* /livez /livez/* /metrics{slis} /readyz /readyz/*"),
        *since(minor, METRICS, rule("core", "nodes/metrics", "get")),
        *since(minor, PAGES, urls("/flagz"), urls("/statusz")),
    ]


def proxier_rules(minor: int) -> Rules:
    return [
        rule("core", "endpoints services", "list watch"),
        rule("core", "nodes", READ),
        EVENTS,
        *since(minor, SERVICE_CIDRS, rule("networking.k8s.io", "servicecidrs", "list watch")),
        rule("discovery.k8s.io", "endpointslices", "list watch"),
    ]


DISCOVERY = "/api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"
PUBLIC = "/healthz /livez /readyz /version /version/"
ISSUER = "/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/"


def cluster_roles(minor: int = NEWEST, *, gangs: bool = False) -> Iterator[Object]:
    """Yield every bootstrap ClusterRole. ``gangs``: whether PodGroups are served."""
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
    view, edit = view_rules(minor), edit_rules(minor)
    yield cluster_role("cluster-admin", everything)
    yield cluster_role("view", view, labels=label("edit"), **aggregate("view"))
    yield cluster_role("edit", edit + view, labels=label("admin"), **aggregate("edit"))
    yield cluster_role("admin", ADMIN_RULES + edit + view, **aggregate("admin"))
    yield cluster_role("system:aggregate-to-view", view, labels=label("view"))
    yield cluster_role("system:aggregate-to-edit", edit, labels=label("edit"))
    yield cluster_role("system:aggregate-to-admin", ADMIN_RULES, labels=label("admin"))
    yield cluster_role("system:discovery", [urls(DISCOVERY)])
    yield cluster_role("system:public-info-viewer", [urls(PUBLIC)])
    yield cluster_role("system:monitoring", monitoring_rules(minor))
    reviews = rule("authorization.k8s.io", "selfsubjectaccessreviews selfsubjectrulesreviews", "create")
    myself = rule("authentication.k8s.io", "selfsubjectreviews", "create")
    yield cluster_role("system:basic-user", [reviews, *since(minor, SELF_REVIEWS, myself)])
    yield cluster_role("system:service-account-issuer-discovery", [urls(ISSUER)])
    delegator = [
        rule("authentication.k8s.io", "tokenreviews", "create"),
        rule("authorization.k8s.io", "subjectaccessreviews", "create"),
    ]
    yield cluster_role("system:auth-delegator", delegator)
    yield cluster_role("system:node", node_role_rules(minor))
    yield cluster_role("system:kube-scheduler", scheduler_rules(minor, gangs=gangs))
    yield cluster_role("system:kube-controller-manager", CONTROLLER_MANAGER_RULES)
    yield cluster_role("system:node-proxier", proxier_rules(minor))
    kubelet = [
        rule("core", "nodes", READ),
        rule("core", "nodes", "proxy"),
        rule("core", "nodes/log nodes/metrics nodes/proxy nodes/stats", ALL),
        *since(minor, FINE_KUBELET, rule("core", "nodes/configz nodes/healthz nodes/pods", ALL)),
    ]
    yield cluster_role("system:kubelet-api-admin", kubelet)
    heapster = [rule("core", "events namespaces nodes pods", READ), rule("extensions", "deployments", READ)]
    yield cluster_role("system:heapster", heapster)
    if minor >= TRUST:
        bundles = rule("certificates.k8s.io", "clustertrustbundles", READ)
        yield cluster_role("system:cluster-trust-bundle-discovery", [bundles])
    for name, rules in CONTROLLERS.items():
        yield cluster_role(f"system:controller:{name}", rules)
    for name, rules in SAMPAN.items():
        yield cluster_role(f"sampan:{name}", rules)


def bindings(minor: int = NEWEST) -> Iterator[Object]:
    """Yield every bootstrap ClusterRoleBinding."""
    everyone = (("Group", "system:authenticated"), ("Group", "system:unauthenticated"))
    yield binding("cluster-admin", "cluster-admin", ("Group", "system:masters"))
    yield binding("system:monitoring", "system:monitoring", ("Group", "system:monitoring"))
    yield binding("system:discovery", "system:discovery", everyone[0])
    yield binding("system:basic-user", "system:basic-user", everyone[0])
    yield binding("system:public-info-viewer", "system:public-info-viewer", *everyone)
    accounts = ("Group", "system:serviceaccounts")
    yield binding("system:service-account-issuer-discovery", "system:service-account-issuer-discovery", accounts)
    if minor >= TRUST:
        yield binding("system:cluster-trust-bundle-discovery", "system:cluster-trust-bundle-discovery", accounts)
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
