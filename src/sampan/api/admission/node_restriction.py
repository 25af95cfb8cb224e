"""NodeRestriction: a node writes only about itself and the pods that are on it, and gives itself no labels that steer pods.

The other half of the Node authorizer: what a write holds is seen here only. Source: plugin/pkg/admission/noderestriction,
k8s.io/kubelet/pkg/apis (the labels a kubelet may set).
"""

from __future__ import annotations

from typing import Any

from sampan.api.admission.certificates import common_name
from sampan.api.admission.node_tokens import AUDIENCES, refused_audience
from sampan.api.authz.decision import node_name
from sampan.api.errors import StatusError, forbidden, not_found
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.version import minor
from sampan.schema.objects import Object
from sampan.schema.pod_references import references
from sampan.store.layout import prefix_of

PODS, NODES = prefix_of("pods"), prefix_of("nodes")
MIRROR = "kubernetes.io/config.mirror"
RESTRICTED = "node-restriction.kubernetes.io"
KUBELET_LABELS = frozenset(
    {
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "kubernetes.io/os",
        "kubernetes.io/arch",
    }
)
KUBELET_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
HANDLED = {
    ("", "Pod"),
    ("", "Node"),
    ("", "PersistentVolumeClaim"),
    ("", "ServiceAccount"),
    ("coordination.k8s.io", "Lease"),
    ("storage.k8s.io", "CSINode"),
    ("resource.k8s.io", "ResourceSlice"),
    ("certificates.k8s.io", "CertificateSigningRequest"),
}
SIGNERS = ("kubernetes.io/kubelet-serving", "kubernetes.io/kube-apiserver-client-kubelet")
OWN_REQUESTS_SINCE = 31
ANY_REQUESTS = "AllowInsecureKubeletCertificateSigningRequests"
CLAIM_STATUS = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")


class NodeRestriction:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return (resource.group, resource.kind) in HANDLED and operation != "CONNECT"

    async def admit(self, admission: Admission) -> None:
        node = node_name(admission.user)
        if node is None:
            return
        if not node:
            raise refused(admission, f'could not determine node from user "{admission.user.name}"')
        why = CHECKS[admission.resource.kind](node, admission)
        if not why and admission.subresource == "token" and admission.api.features.enabled(AUDIENCES):
            name = text(admission.object, "spec", "boundObjectRef", "name")
            why = await refused_audience(admission, stored_pod(admission, name))
        if why:
            raise refused(admission, why)


def refused(admission: Admission, why: str) -> StatusError:
    return forbidden(admission.resource, admission.name, why)


def check_pod(node: str, at: Admission) -> str:
    if at.subresource == "status":
        return pod_status(node, at)
    if at.subresource == "eviction":
        pod = stored_pod(at, at.name)
        mine = text(pod, "spec", "nodeName") == node
        return "" if mine else f"node {node} can only evict pods with spec.nodeName set to itself"
    if at.subresource:
        return f"unexpected pod subresource \"{at.subresource}\", only 'status' and 'eviction' are allowed"
    if at.operation == "CREATE":
        return mirror_pod(node, at)
    if at.operation == "DELETE":
        mine = text(stored_pod(at, at.name), "spec", "nodeName") == node
        return "" if mine else f'node "{node}" can only delete pods with spec.nodeName set to itself'
    return f'unexpected operation "{at.operation}", node "{node}" can only create and delete mirror pods'


def stored_pod(at: Admission, name: str) -> Object:
    """Return a pod of the write's namespace. Raises 404."""
    record = at.api.store.get(f"{PODS}{at.namespace}/{name}")
    if record is None:
        served = at.api.catalog.get("", "v1", "pods")
        assert served is not None
        raise not_found(served.resource, name)
    return at.api.parsed(record)


def mirror_pod(node: str, at: Admission) -> str:
    pod = at.object or {}
    if MIRROR not in mapping(pod, "metadata", "annotations"):
        return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    if text(pod, "spec", "nodeName") != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    why = mirror_owner(node, at, items(pod, "metadata", "ownerReferences"))
    if why:
        return why
    named = {
        "serviceaccounts": "a service account",
        "secrets": "secrets",
        "configmaps": "configmaps",
        "persistentvolumeclaims": "persistentvolumeclaims",
        "resourceclaims": "resourceclaims",
    }
    for plural, _ in references(pod):
        return f'node "{node}" can not create pods that reference {named[plural]}'
    sources = [source for volume in items(pod, "spec", "volumes") for source in items(volume, "projected", "sources")]
    if any("clusterTrustBundle" in source for source in sources):
        return f'node "{node}" can not create pods that reference clustertrustbundles'
    return ""


def mirror_owner(node: str, at: Admission, owners: list[Any]) -> str:
    if len(owners) > 1:
        return f'node "{node}" can only create pods with a single owner reference set to itself'
    owner = owners[0] if owners else {}
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        return f'node "{node}" can only create pods with an owner reference set to itself'
    if not owner.get("controller"):
        return f'node "{node}" can only create pods with a controller owner reference set to itself'
    if owner.get("blockOwnerDeletion"):
        return f'node "{node}" must not set blockOwnerDeletion on an owner reference'
    record = at.api.store.get(NODES + node)
    uid = at.api.parsed(record)["metadata"]["uid"] if record else ""
    if owner.get("uid") != uid:
        return f"node {node} UID mismatch: expected {owner.get('uid')} got {uid}"
    return ""


def pod_status(node: str, at: Admission) -> str:
    if at.operation != "UPDATE":
        return f'unexpected operation "{at.operation}"'
    old, new = at.old or {}, at.object or {}
    if text(old, "spec", "nodeName") != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    if mapping(old, "metadata", "labels") != mapping(new, "metadata", "labels"):
        return f'node "{node}" cannot update labels through pod status'
    if items(old, "status", "resourceClaimStatuses") != items(new, "status", "resourceClaimStatuses"):
        return f'node "{node}" cannot update resource claim statues'
    return ""


def check_node(node: str, at: Admission) -> str:
    new, old = at.object or {}, at.old or {}
    name = at.name or text(new, "metadata", "name")
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if at.operation == "DELETE":
        return ""
    labels = forbidden_labels(mapping(new, "metadata", "labels"), mapping(old, "metadata", "labels"))
    if at.operation == "CREATE":
        if mapping(new, "spec").get("configSource") is not None:
            return f'node "{node}" is not allowed to create pods with a non-nil configSource'
        return f'node "{node}" is not allowed to set the following labels: {", ".join(labels)}' if labels else ""
    source = mapping(new, "spec").get("configSource")
    if source is not None and source != mapping(old, "spec").get("configSource"):
        return f'node "{node}" is not allowed to update configSource to a new non-nil configSource'
    if items(new, "spec", "taints") != items(old, "spec", "taints"):
        return f'node "{node}" is not allowed to modify taints'
    if items(new, "metadata", "ownerReferences") != items(old, "metadata", "ownerReferences"):
        return f'node "{node}" is not allowed to modify ownerReferences'
    return f"is not allowed to modify labels: {', '.join(labels)}" if labels else ""


def forbidden_labels(new: Object, old: Object) -> list[str]:
    """Return the labels that were added, changed or removed and are not a node's to set, sorted."""
    changed = {key for key in {*new, *old} if new.get(key) != old.get(key)}
    return sorted(label for label in changed if not settable(label))


def settable(label: str) -> bool:
    domain, slash, _ = label.partition("/")
    if not slash:
        return True
    if domain == RESTRICTED or domain.endswith(f".{RESTRICTED}"):
        return False
    ours = domain in ("kubernetes.io", "k8s.io") or domain.endswith((".kubernetes.io", ".k8s.io"))
    if not ours or label in KUBELET_LABELS:
        return True
    return any(domain == allowed or domain.endswith(f".{allowed}") for allowed in KUBELET_DOMAINS)


def check_claim(node: str, at: Admission) -> str:
    if at.subresource != "status":
        return "may only update PVC status"
    if at.operation != "UPDATE":
        return f'unexpected operation "{at.operation}"'
    if without_status(at.old or {}) != without_status(at.object or {}):
        return f'node "{node}" is not allowed to update fields other than status.capacity and status.conditions'
    return ""


def without_status(claim: Object) -> Object:
    metadata = {k: v for k, v in claim["metadata"].items() if k not in ("resourceVersion", "managedFields")}
    status = {key: value for key, value in mapping(claim, "status").items() if key not in CLAIM_STATUS}
    return {**claim, "metadata": metadata, "status": status}


def check_account(node: str, at: Admission) -> str:
    if at.operation != "CREATE" or at.subresource != "token":
        return ""
    reference = mapping(at.object or {}, "spec", "boundObjectRef")
    if (reference.get("apiVersion"), reference.get("kind")) != ("v1", "Pod") or not reference.get("name"):
        return "node requested token not bound to a pod"
    uid = reference.get("uid")
    if not uid:
        return "node requested token with a pod binding without a uid"
    pod = stored_pod(at, str(reference["name"]))
    if uid != pod["metadata"]["uid"]:
        return (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
    if text(pod, "spec", "nodeName") != node:
        return "node requested token bound to a pod scheduled on a different node"
    return ""


def check_lease(node: str, at: Admission) -> str:
    if at.namespace != "kube-node-lease":
        return 'can only access leases in the "kube-node-lease" system namespace'
    same = "can only access node lease with the same name as the requesting node"
    return "" if named(at) == node else same


def check_csi_node(node: str, at: Admission) -> str:
    return "" if named(at) == node else "can only access CSINode with the same name as the requesting node"


def check_slice(node: str, at: Admission) -> str:
    piece = at.old if at.operation == "DELETE" else at.object
    if at.operation == "UPDATE" or text(piece or {}, "spec", "nodeName") == node:
        return ""
    return "can only create/delete ResourceSlice with the same NodeName as the requesting node"


def check_request(node: str, at: Admission) -> str:
    if (
        at.operation != "CREATE"
        or minor(at.api.types.version) < OWN_REQUESTS_SINCE
        or at.api.features.enabled(ANY_REQUESTS)
    ):
        return ""
    if text(at.object, "spec", "signerName") not in SIGNERS:
        return ""
    if common_name(dig(at.object, "spec", "request")) != f"system:node:{node}":
        return f"can only create a node CSR with CN=system:node:{node}"
    return ""


def named(at: Admission) -> str:
    return at.name if at.operation != "CREATE" else text(at.object or {}, "metadata", "name")


CHECKS = {
    "Pod": check_pod,
    "Node": check_node,
    "PersistentVolumeClaim": check_claim,
    "ServiceAccount": check_account,
    "Lease": check_lease,
    "CSINode": check_csi_node,
    "ResourceSlice": check_slice,
    "CertificateSigningRequest": check_request,
}
