"""Which kinds an update may create, and which it may not change without a resourceVersion.

Source: ``AllowCreateOnUpdate`` and ``AllowUnconditionalUpdate`` of the strategies in kubernetes 1.37 pkg/registry and
kube-aggregator. Of what is not named here neither is so: it must exist, and an update without resourceVersion wins.
"""

from __future__ import annotations

from dataclasses import replace

from sampan.api.resource import Resource

CREATED = frozenset(
    f"{plural}.{group}"
    for group, plurals in {
        "": "endpoints events limitranges services",
        "coordination.k8s.io": "leases leasecandidates",
        "events.k8s.io": "events",
        "node.k8s.io": "runtimeclasses",
        "rbac.authorization.k8s.io": "clusterrolebindings clusterroles rolebindings roles",
    }.items()
    for plural in plurals.split()
)
CONDITIONAL = frozenset(
    f"{plural}.{group}"
    for group, plurals in {
        "admissionregistration.k8s.io": "mutatingadmissionpolicies mutatingadmissionpolicybindings"
        " mutatingwebhookconfigurations validatingadmissionpolicies validatingadmissionpolicybindings"
        " validatingwebhookconfigurations",
        "apiextensions.k8s.io": "customresourcedefinitions",
        "apiregistration.k8s.io": "apiservices",
        "certificates.k8s.io": "clustertrustbundles podcertificaterequests",
        "coordination.k8s.io": "leases leasecandidates",
        "internal.apiserver.k8s.io": "storageversions",
        "lifecycle.k8s.io": "evictionrequests evictions",
        "node.k8s.io": "runtimeclasses",
        "policy": "poddisruptionbudgets",
        "resource.k8s.io": "resourcepoolstatusrequests",
        "scheduling.k8s.io": "compositepodgroups podgroups workloads",
        "storage.k8s.io": "csidrivers csinodes csistoragecapacities volumeattachments",
        "storagemigration.k8s.io": "storageversionmigrations",
    }.items()
    for plural in plurals.split()
)


def as_updated(resource: Resource) -> Resource:
    """Return a declaration with what holds for its updates."""
    name = f"{resource.plural}.{resource.group}"
    if name not in CREATED and name not in CONDITIONAL:
        return resource
    return replace(resource, created_by_update=name in CREATED, unconditional_update=name not in CONDITIONAL)
