"""ClusterRoles with an aggregationRule get the rules of the ClusterRoles that it selects, so that people can read them.

(What such a role allows is worked out by the authorizer itself.) Source: rbac/v1 AggregationRule,
pkg/controller/clusterroleaggregation.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.client.controller import Controller
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import Object
from sampan.schema.selectors import SelectorError, label_selector

CLUSTER_ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", namespaced=False)


def aggregated_rules(role: Object, roles: Iterable[Object]) -> list[Any]:
    """Return the rules of the other roles that a role selects: by selector, then by name, each rule once."""
    rules: list[Any] = []
    by_name = sorted(roles, key=lambda one: str(one["metadata"]["name"]))
    for wanted in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        try:
            selector = label_selector(wanted)
        except SelectorError:
            continue
        for other in by_name:
            metadata = other["metadata"]
            if metadata["name"] != role["metadata"]["name"] and selector.matches(metadata.get("labels")):
                rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


class ClusterRoleAggregation(Controller):
    name = "clusterrole-aggregation-controller"

    def __init__(self, client: Client, roles: Informer) -> None:
        super().__init__(client)
        self.roles = roles
        self.watch(roles, self._aggregating)

    def _aggregating(self, changed: Object) -> list[str]:
        """Return every role that aggregates: which of them select the changed one is cheaper seen than remembered."""
        return [str(role["metadata"]["name"]) for role in self.roles if role.get("aggregationRule")]

    async def reconcile(self, key: str) -> float | None:
        role = self.roles.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = aggregated_rules(role, self.roles)
        if rules != (role.get("rules") or []):
            version = {"resourceVersion": role["metadata"]["resourceVersion"]}
            await self.client.patch(CLUSTER_ROLES, key, {"metadata": version, "rules": rules})
        return None
