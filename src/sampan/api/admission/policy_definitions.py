"""Admission policies and bindings as they are written: types are checked into the status, and what was written is in force
when the write is answered.

Kubernetes checks types in a controller (pkg/controller/validatingadmissionpolicystatus); here the answer has them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sampan.api.admission.policies import EXEMPT, GROUP, Policies
from sampan.api.metadata import spec_changed
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.schema.cel.type_checking import Kind

TYPED = "ValidatingAdmissionPolicy"
SINCE_STATUS = 27
"""Kubernetes 1.26, the first version with policies, has no status."""


class AdmissionPolicies:
    """Checks the types of policies that are written, and puts them in force."""

    def __init__(self, api: Api, sorts: Sequence[Policies[Any]]) -> None:
        self.api = api
        self.sorts = sorts
        self.first_version = int(api.types.version.partition(".")[2]) < SINCE_STATUS

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.group == GROUP and resource.kind in EXEMPT

    async def admit(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        if new is None or admission.subresource or admission.resource.kind != TYPED or self.first_version:
            return
        if old is not None and not spec_changed(new, old):
            return
        generation = (mapping(old, "metadata").get("generation") or 0) + 1
        found = self._warnings(new)
        checked = {"expressionWarnings": found} if found else {}
        conditions = mapping(old or {}, "status").get("conditions")
        kept = {"conditions": conditions} if conditions else {}
        new["status"] = {"observedGeneration": generation, "typeChecking": checked, **kept}

    async def commit(self, admission: Admission) -> None:
        for policies in self.sorts:
            if policies.are_written(admission.resource):
                await policies.load()

    def _warnings(self, policy: Object) -> list[dict[str, str]]:
        from sampan.schema.cel.type_checking import warnings

        return warnings(policy, self._kinds(policy), self._schema, self.api.types.version)

    def _kinds(self, policy: Object) -> list[Kind]:
        """Return the kinds that the rules of a policy name, sorted."""
        from sampan.schema.cel.type_checking import Kind

        found = set()
        for rule in items(policy, "spec", "matchConstraints", "resourceRules"):
            groups, versions = items(rule, "apiGroups"), items(rule, "apiVersions")
            if "*" in groups or "*" in versions:
                continue
            for served in self.api.catalog:
                resource = served.resource
                if (
                    resource.group in groups
                    and resource.version in versions
                    and resource.plural in items(rule, "resources")
                ):
                    found.add(Kind(resource.group, resource.version, resource.kind))
        return sorted(found)

    def _schema(self, kind: Kind) -> Object | None:
        """Return the schema of a kind, None where there is none."""
        from sampan.schema.cel.type_checking import without_references

        served = self.api.catalog.by_kind(*kind)
        if served is not None and served.resource.custom:
            schema: Object | None = getattr(served.type, "schema", None)
            return schema
        definitions = self.api.types.definitions
        name = self.api.types.definition_name(*kind)
        return without_references(definitions[name], definitions) if name is not None else None
