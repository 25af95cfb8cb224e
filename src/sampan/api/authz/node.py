"""The Node authorizer: ``system:node:NAME`` of ``system:nodes`` reads what the pods on it use, and writes what is its own.

It only allows; what it has no rule for is left to the other authorizers, which give nodes nothing. That a node's writes
concern itself is ``NodeRestriction``'s (admission). Source: KEP-279 and KEP-4601; plugin/pkg/auth/authorizer/node.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.authz.decision import NO_OPINION, Decision, node_name
from sampan.api.authz.node_graph import NodeGraph
from sampan.api.policy_roles import node_rules
from sampan.api.rbac import path_allows, rule_allows
from sampan.api.request import Attributes, User
from sampan.api.version import minor
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

ALLOW = Decision(True)
SELECTORS_SINCE = 32
ATTACHMENTS = prefix_of("volumeattachments.storage.k8s.io")
SLICES = prefix_of("resourceslices.resource.k8s.io")
"""The version from which nodes may only list pods of their own (AuthorizeNodeWithSelectors)."""
CERTIFICATES_SINCE = 34
"""The version from which nodes ask for certificates of their pods, and so must know the ServiceAccounts of these."""
OWN = {
    ("coordination.k8s.io", "leases"): "a node lease",
    ("storage.k8s.io", "csinodes"): "a CSINode",
}


class NodeAuthorizer:
    def __init__(self, api: Api) -> None:
        self.graph = NodeGraph(api)
        self._rules = node_rules(minor(api.types.version))
        self._selectors = minor(api.types.version) >= SELECTORS_SINCE
        self._certificates = minor(api.types.version) >= CERTIFICATES_SINCE

    def pending(self, attributes: Attributes) -> bool:
        return not self.graph.ready and node_name(attributes.user) is not None

    async def prepare(self, attributes: Attributes) -> None:
        await self.graph.load()

    def unresolved(self, user: User) -> str:
        return "" if node_name(user) is None else "node authorizer does not support user rule resolution"

    def decide(self, at: Attributes) -> Decision:
        node = node_name(at.user)
        if node is None:
            return NO_OPINION
        if not node:
            return Decision(None, f'unknown node for user "{at.user.name}"')
        if not at.resource:
            return ALLOW if any(path_allows(rule, at.verb, at.path) for rule in self._rules) else NO_OPINION
        match at.group, at.resource:
            case "", "secrets" | "configmaps":
                return self._reads_namespaced(node, at)
            case "", "persistentvolumeclaims" if at.subresource == "status":
                if at.verb not in ("update", "patch"):
                    return Decision(None, "can only get/update/patch this type")
                return self._related(node, at)
            case ("", "persistentvolumeclaims" | "persistentvolumes") | ("resource.k8s.io", "resourceclaims"):
                return self._gets(node, at)
            case "storage.k8s.io", "volumeattachments":
                return self._gets_attachment(node, at)
            case "", "serviceaccounts" if at.verb == "get" and self._certificates:
                return self._gets(node, at)
            case "", "serviceaccounts":
                return self._creates_token(node, at)
            case ("coordination.k8s.io", "leases") | ("storage.k8s.io", "csinodes"):
                return self._owns(node, at)
            case "resource.k8s.io", "resourceslices":
                return self._slices(node, at)
            case "", "nodes" if self._selectors:
                return self._nodes(node, at)
            case "", "pods" if self._selectors:
                return self._pods(node, at)
        for rule in self._rules:
            if rule_allows(rule, at.verb, at.group, at.resource, at.subresource, at.name):
                return ALLOW
        return NO_OPINION

    def _related(self, node: str, at: Attributes) -> Decision:
        if not at.name:
            return Decision(None, "No Object name found")
        if self.graph.uses(node, at.resource, at.namespace, at.name):
            return ALLOW
        return Decision(None, f"no relationship found between node '{node}' and this object")

    def _reads_namespaced(self, node: str, at: Attributes) -> Decision:
        if at.verb not in ("get", "list", "watch"):
            return Decision(None, "can only read resources of this type")
        if at.subresource:
            return Decision(None, "cannot read subresource")
        if not at.namespace:
            return Decision(None, "can only read namespaced object of this type")
        return self._related(node, at)

    def _gets(self, node: str, at: Attributes) -> Decision:
        if at.verb != "get":
            return Decision(None, "can only get individual resources of this type")
        if at.subresource:
            return Decision(None, "cannot get subresource")
        return self._related(node, at)

    def _gets_attachment(self, node: str, at: Attributes) -> Decision:
        if at.verb != "get":
            return Decision(None, "can only get individual resources of this type")
        if at.subresource:
            return Decision(None, "cannot get subresource")
        attachment = self.graph.object(ATTACHMENTS + at.name)
        if attachment is not None and attachment["spec"].get("nodeName") == node:
            return ALLOW
        return Decision(None, f"no relationship found between node '{node}' and this object")

    def _creates_token(self, node: str, at: Attributes) -> Decision:
        if at.verb != "create" or not at.name:
            return Decision(None, "can only create tokens for individual service accounts")
        if at.subresource != "token":
            return Decision(None, "can only create token subresource of serviceaccount")
        return self._related(node, at)

    def _owns(self, node: str, at: Attributes) -> Decision:
        """Leases and CSINodes: only one's own; the name of a new one is looked at by NodeRestriction."""
        what = OWN[at.group, at.resource]
        if at.verb not in ("get", "create", "update", "patch", "delete"):
            return Decision(None, f"can only get, create, update, patch, or delete {what}")
        if at.resource == "csinodes":
            if at.subresource:
                return Decision(None, "cannot authorize CSINode subresources")
            if at.verb != "create" and at.name != node:
                return Decision(None, "can only access CSINode with the same name as the requesting node")
            return ALLOW
        if at.namespace != "kube-node-lease":
            return Decision(None, 'can only access leases in the "kube-node-lease" system namespace')
        if at.verb != "create" and at.name != node:
            return Decision(None, "can only access node lease with the same name as the requesting node")
        return ALLOW

    def _slices(self, node: str, at: Attributes) -> Decision:
        if at.subresource:
            return Decision(None, "cannot authorize ResourceSlice subresources")
        if at.verb == "create":
            return ALLOW
        if at.verb in ("get", "update", "patch", "delete"):
            piece = self.graph.object(SLICES + at.name)
            if piece is not None and piece["spec"].get("nodeName") == node:
                return ALLOW
            return Decision(None, f"no relationship found between node '{node}' and this object")
        if at.verb in ("list", "watch", "deletecollection"):
            if not self._selectors or at.selects("nodeName", node) or at.selects("spec.nodeName", node):
                return ALLOW
            return Decision(None, "can only list/watch/deletecollection resourceslices with nodeName field selector")
        return Decision(
            None,
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, "
            "deletecollection",
        )

    def _nodes(self, node: str, at: Attributes) -> Decision:
        if at.subresource == "" and at.verb in ("get", "list", "watch"):
            if at.name == node:
                return ALLOW
            which = f"'{at.name}'" if at.name else "all nodes"
            return Decision(None, f"node '{node}' cannot read {which}, only its own Node object")
        verbs = {"": ("create", "update", "patch"), "status": ("update", "patch")}.get(at.subresource, ())
        return ALLOW if at.verb in verbs else NO_OPINION

    def _pods(self, node: str, at: Attributes) -> Decision:
        if at.subresource == "" and at.verb in ("get", "list", "watch"):
            if at.verb != "get" and at.selects("spec.nodeName", node):
                return ALLOW
            if not at.name:
                return Decision(None, "can only list/watch pods with spec.nodeName field selector")
            if self.graph.runs(node, at.namespace, at.name):
                return ALLOW
            return Decision(None, f"no relationship found between node '{node}' and this object")
        verbs = {"": ("create", "delete"), "status": ("update", "patch"), "eviction": ("create",)}
        return ALLOW if at.verb in verbs.get(at.subresource, ()) else NO_OPINION
