"""Where every object is kept: Kubernetes' own keys, whichever database they are in.

A built-in resource is under its plural (``/registry/deployments/default/web``), a few under an older name
(``/registry/minions/node-1``). Definitions, APIServices and custom resources keep their group
(``/registry/stable.example.com/crontabs/default/c``). Whoever needs a prefix asks ``prefix_of``: nobody writes one down.
Source: kubernetes pkg/kubeapiserver/default_storage_factory_builder.go, test/integration/etcd/data.go.

Stores of before 0.2 have the group in the keys of built-in resources, too (layout 1): ``moved`` tells where such a key is
now.
"""

from __future__ import annotations

from collections.abc import Collection

LAYOUT = 2
"""Kept with a store: 1 has the groups of built-in resources in their keys."""
REGISTRY = "/registry/"
MASTER_LEASES = f"{REGISTRY}masterleases/"
"""Where every server has a key for as long as it lives."""
CLAIMS = f"{REGISTRY}ranges/claims/"
"""Addresses and ports that are being given out."""

BUILT_IN = {
    "": (
        "configmaps",
        "endpoints",
        "events",
        "limitranges",
        "namespaces",
        "nodes",
        "persistentvolumeclaims",
        "persistentvolumes",
        "pods",
        "podtemplates",
        "replicationcontrollers",
        "resourcequotas",
        "secrets",
        "serviceaccounts",
        "services",
    ),
    "admissionregistration.k8s.io": (
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "validatingwebhookconfigurations",
    ),
    "apps": ("controllerrevisions", "daemonsets", "deployments", "replicasets", "statefulsets"),
    "autoscaling": ("horizontalpodautoscalers",),
    "batch": ("cronjobs", "jobs"),
    "certificates.k8s.io": ("certificatesigningrequests", "clustertrustbundles", "podcertificaterequests"),
    "coordination.k8s.io": ("leasecandidates", "leases"),
    "discovery.k8s.io": ("endpointslices",),
    "events.k8s.io": ("events",),
    "flowcontrol.apiserver.k8s.io": ("flowschemas", "prioritylevelconfigurations"),
    "internal.apiserver.k8s.io": ("storageversions",),
    "lifecycle.k8s.io": ("evictionrequests", "evictions"),
    "networking.k8s.io": (
        "clustercidrs",
        "ingressclasses",
        "ingresses",
        "ipaddresses",
        "networkpolicies",
        "servicecidrs",
    ),
    "node.k8s.io": ("runtimeclasses",),
    "policy": ("poddisruptionbudgets",),
    "rbac.authorization.k8s.io": ("clusterrolebindings", "clusterroles", "rolebindings", "roles"),
    "resource.k8s.io": (
        "deviceclasses",
        "devicetaintrules",
        "podschedulingcontexts",
        "podschedulings",
        "resourceclaimparameters",
        "resourceclaims",
        "resourceclaimtemplates",
        "resourceclasses",
        "resourceclassparameters",
        "resourcepoolstatusrequests",
        "resourceslices",
    ),
    "scheduling.k8s.io": ("compositepodgroups", "podgroups", "priorityclasses", "workloads"),
    "storage.k8s.io": (
        "csidrivers",
        "csinodes",
        "csistoragecapacities",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    ),
    "storagemigration.k8s.io": ("storageversionmigrations",),
}
"""Group → what Kubernetes 1.25 to 1.37 stores without it."""
WITH_GROUP = {"apiservices": "apiregistration.k8s.io", "customresourcedefinitions": "apiextensions.k8s.io"}
"""Built in, and stored as custom resources are."""
OTHER_NAMES = {
    "endpoints": "services/endpoints",
    "ingresses": "ingress",
    "nodes": "minions",
    "replicationcontrollers": "controllers",
    "services": "services/specs",
}

_GROUPS = {plural: group for group in reversed(BUILT_IN) for plural in BUILT_IN[group]}
"""Plural → group; of two, the first one, which is whose the storage is (``events``)."""
_RESOURCES = {OTHER_NAMES.get(plural, plural): (plural, group) for plural, group in _GROUPS.items()}


def prefix_of(resource: str) -> str:
    """Return the prefix of a resource's keys, named as ``kubectl`` names it: ``deployments`` and ``deployments.apps`` are
    the same, ``widgets.example.com`` is a custom resource. A prefix of keys is itself, with a slash at its end."""
    if resource.startswith("/"):
        return resource if resource.endswith("/") else f"{resource}/"
    plural, _, group = resource.partition(".")
    if not group and plural in WITH_GROUP:
        group = WITH_GROUP[plural]
    if group and plural not in BUILT_IN.get(group, ()):
        return custom_prefix(group, plural)
    return f"{REGISTRY}{OTHER_NAMES.get(plural, plural)}/"


def custom_prefix(group: str, plural: str) -> str:
    """Return the prefix of the keys of a resource that keeps its group, whatever its name."""
    return f"{REGISTRY}{group}/{plural}/"


def keys_of(wanted: str, namespace: str) -> list[str]:
    """Return the keys that ``pods/web`` may have: in the namespace, or in none."""
    if wanted.startswith("/"):
        return [wanted]
    resource, _, name = wanted.partition("/")
    prefix = prefix_of(resource)
    return [f"{prefix}{namespace}/{name}", f"{prefix}{name}"]


def resource_of(key: str) -> tuple[str, str]:
    """Return plural and group of what is under a key, of this layout or of layout 1."""
    first, second = (*key.split("/", 4)[2:], "", "")[:2]
    if "." in first or first in BUILT_IN:
        return second, first
    return _RESOURCES.get(f"{first}/{second}") or _RESOURCES.get(first) or (first, "")


def moved(key: str, custom: Collection[str] = ()) -> str:
    """Return where a key of layout 1 is now. ``custom``: names of the definitions there are, ``foos.example.com``; what they
    define keeps its group, be it that of a resource which other versions of Kubernetes have built in."""
    parts = key[len(REGISTRY) :].split("/", 2)
    if len(parts) < 3 or parts[1] not in BUILT_IN.get(parts[0], ()) or not parts[0]:
        return key
    if f"{parts[1]}.{parts[0]}" in custom:
        return key
    return prefix_of(f"{parts[1]}.{parts[0]}") + parts[2]
