"""Our keys and etcd's: Kubernetes lays its built-in resources out without their group.

``/registry/apps/deployments/default/web`` is ``/registry/deployments/default/web`` in etcd, so that whoever knows a
Kubernetes cluster's etcd finds everything where it always was. Custom resources, definitions and APIServices keep their
group there too. Source: kubernetes pkg/kubeapiserver/default_storage_factory_builder.go, pkg/registry.
"""

from __future__ import annotations

BUILT_IN = {
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
    "coordination.k8s.io": ("leases", "leasecandidates"),
    "discovery.k8s.io": ("endpointslices",),
    "flowcontrol.apiserver.k8s.io": ("flowschemas", "prioritylevelconfigurations"),
    "networking.k8s.io": ("ingressclasses", "ingresses", "ipaddresses", "networkpolicies", "servicecidrs"),
    "node.k8s.io": ("runtimeclasses",),
    "policy": ("poddisruptionbudgets", "podsecuritypolicies"),
    "rbac.authorization.k8s.io": ("clusterrolebindings", "clusterroles", "rolebindings", "roles"),
    "resource.k8s.io": ("deviceclasses", "resourceclaims", "resourceclaimtemplates", "resourceslices"),
    "scheduling.k8s.io": ("priorityclasses",),
    "storage.k8s.io": (
        "csidrivers",
        "csinodes",
        "csistoragecapacities",
        "storageclasses",
        "volumeattachments",
        "volumeattributesclasses",
    ),
}
"""Group → the resources that Kubernetes stores without it."""
OTHER_NAMES = {"ingresses": "ingress"}
OURS = "/registry/"

TO_ETCD = {
    f"{group}/{plural}": OTHER_NAMES.get(plural, plural) for group, plurals in BUILT_IN.items() for plural in plurals
}
FROM_ETCD = {there: here for here, there in TO_ETCD.items()}


def etcd_key(key: str, root: str = OURS) -> bytes:
    """Return where a key of ours (or a prefix of keys) is in etcd. ``root`` stands for ``/registry/``."""
    parts = key[len(OURS) :].split("/", 2)
    there = TO_ETCD.get("/".join(parts[:2])) if len(parts) > 1 else None
    rest = "/".join([there, *parts[2:]] if there else parts)
    return (root + rest).encode()


def store_key(key: bytes, root: str = OURS) -> str:
    """Return our key for one of etcd's."""
    head, slash, rest = key.decode()[len(root) :].partition("/")
    return OURS + FROM_ETCD.get(head, head) + slash + rest
