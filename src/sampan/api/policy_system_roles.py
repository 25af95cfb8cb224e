"""More of what every cluster has, as data: roles of add-ons, signers and namespaced roles of the control plane.

Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy (policy.go, namespace_policy.go, controller_policy.go).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.policy_rules import EVENTS, GROUP, READ, binding, cluster_role, rule
from sampan.schema.objects import Object

CERTIFICATES = "certificates.k8s.io"
STORAGE = "storage.k8s.io"
REQUESTS = "certificatesigningrequests"
ROLES: dict[str, list[dict[str, Any]]] = {
    "system:kube-aggregator": [rule("core", "endpoints services", READ)],
    "system:kube-dns": [rule("core", "endpoints services", "list watch")],
    "system:node-bootstrapper": [rule(CERTIFICATES, REQUESTS, "create get list watch")],
    "system:node-problem-detector": [rule("core", "nodes", "get"), rule("core", "nodes/status", "patch"), EVENTS],
    "system:persistent-volume-provisioner": [
        rule("core", "persistentvolumes", "create delete get list watch"),
        rule("core", "persistentvolumeclaims", "get list update watch"),
        rule(STORAGE, "storageclasses", READ),
        rule("core", "events", "watch"),
        EVENTS,
    ],
    "system:volume-scheduler": [
        rule("core", "persistentvolumes", "get list patch update watch"),
        rule(STORAGE, "storageclasses", READ),
        rule("core", "persistentvolumeclaims", "get list patch update watch"),
    ],
    f"system:{CERTIFICATES}:{REQUESTS}:nodeclient": [rule(CERTIFICATES, f"{REQUESTS}/nodeclient", "create")],
    f"system:{CERTIFICATES}:{REQUESTS}:selfnodeclient": [rule(CERTIFICATES, f"{REQUESTS}/selfnodeclient", "create")],
    **{
        f"system:{CERTIFICATES}:{signer}-approver": [
            rule(CERTIFICATES, "signers", "approve", f"kubernetes.io/{signer}")
        ]
        for signer in ("kube-apiserver-client", "kube-apiserver-client-kubelet", "kubelet-serving", "legacy-unknown")
    },
}
BINDINGS = (
    ("system:kube-dns", ("ServiceAccount", "kube-system/kube-dns")),
    ("system:node-proxier", ("User", "system:kube-proxy")),
    ("system:volume-scheduler", ("User", "system:kube-scheduler")),
)

LOCKS = "kube-system"
NAMESPACED: tuple[tuple[str, str, list[dict[str, Any]], tuple[tuple[str, str], ...]], ...] = (
    # namespace, role, rules, who has it
    (
        LOCKS,
        "extension-apiserver-authentication-reader",
        [rule("core", "configmaps", READ, "extension-apiserver-authentication")],
        (("User", "system:kube-controller-manager"), ("User", "system:kube-scheduler")),
    ),
    (
        LOCKS,
        "system::leader-locking-kube-controller-manager",
        [rule("core", "configmaps", "watch"), rule("core", "configmaps", "get update", "kube-controller-manager")],
        (("User", "system:kube-controller-manager"), ("ServiceAccount", f"{LOCKS}/kube-controller-manager")),
    ),
    (
        LOCKS,
        "system::leader-locking-kube-scheduler",
        [rule("core", "configmaps", "watch"), rule("core", "configmaps", "get update", "kube-scheduler")],
        (("User", "system:kube-scheduler"), ("ServiceAccount", f"{LOCKS}/kube-scheduler")),
    ),
    (
        LOCKS,
        "system:controller:bootstrap-signer",
        [rule("core", "secrets", READ)],
        (("ServiceAccount", f"{LOCKS}/bootstrap-signer"),),
    ),
    (
        LOCKS,
        "system:controller:token-cleaner",
        [rule("core", "secrets", "delete get list watch"), EVENTS],
        (("ServiceAccount", f"{LOCKS}/token-cleaner"),),
    ),
    (
        LOCKS,
        "system:controller:cloud-provider",
        [rule("core", "configmaps", "create get list watch")],
        (("ServiceAccount", f"{LOCKS}/cloud-provider"),),
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        [rule("core", "configmaps", READ), rule("core", "configmaps", "update", "cluster-info"), EVENTS],
        (("ServiceAccount", f"{LOCKS}/bootstrap-signer"),),
    ),
)


def objects() -> Iterator[Object]:
    """Yield the roles, then the bindings."""
    for name, rules in ROLES.items():
        yield cluster_role(name, rules)
    for name, subject in BINDINGS:
        yield binding(name, name, subject)
    for namespace, name, rules, subjects in NAMESPACED:
        role = cluster_role(name, rules)
        yield {**role, "kind": "Role", "metadata": {**role["metadata"], "namespace": namespace}}
        # Kubernetes gives the binding of this one a name of its own
        called = name if name != "extension-apiserver-authentication-reader" else f"system::{name}"
        bound = binding(called, name, *subjects, kind="RoleBinding", namespace=namespace)
        yield {**bound, "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name}}
