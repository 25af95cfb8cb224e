"""Writes of RBAC objects: nobody grants what he does not hold, and what is written is in force when it is answered.

``validate`` is Kubernetes' escalation check (pkg/registry/rbac/validation); ``commit`` has the authorizer read the policy
anew and writes the rules of aggregated ClusterRoles (the clusterrole-aggregation controller's work).
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.authz.coverage import Held
from sampan.api.authz.decision import MASTERS
from sampan.api.errors import forbidden, not_found
from sampan.api.rbac import PREFIXES, RbacAuthorizer, Rule, aggregated
from sampan.api.request import Admission, Attributes
from sampan.api.resource import Resource
from sampan.api.resources.authorization import GROUP
from sampan.api.resources.reading import items, mapping
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put

COLLECTED = ("finalizers", "managedFields", "ownerReferences", "resourceVersion")
EVERYTHING: tuple[Rule, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


class RbacChanges:
    def __init__(self, authorizer: RbacAuthorizer) -> None:
        self.authorizer = authorizer

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.group == GROUP and not subresource

    async def validate(self, admission: Admission) -> None:
        if admission.object is None or MASTERS in admission.user.groups:
            return
        if admission.resource.kind.endswith("Binding"):
            self._may_bind(admission)
        else:
            self._may_define(admission)

    def _allowed(self, admission: Admission, verb: str, resource: str, name: str) -> bool:
        at = Attributes(admission.user, verb, "", GROUP, "v1", resource, "", admission.namespace, name)
        return self.authorizer.authorize(at)[0]

    def _may_define(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        assert new is not None
        if only_for_collection(new, old) or self._allowed(
            admission, "escalate", admission.resource.plural, admission.name
        ):
            return
        self._refuse(admission, items(new, "rules"))
        if new.get("aggregationRule") or (old or {}).get("aggregationRule"):
            # it gathers whatever there will be
            held = Held(self.authorizer.policy.rules_for(admission.user, admission.namespace))
            if not all(held.cover(rule) for rule in EVERYTHING):
                why = "must have cluster-admin privileges to use an aggregationRule"
                raise forbidden(admission.resource, admission.name, why)

    def _may_bind(self, admission: Admission) -> None:
        new, old = admission.object, admission.old
        assert new is not None
        if only_for_collection(new, old):
            return
        reference = mapping(new, "roleRef")
        plural = "clusterroles" if reference.get("kind") == "ClusterRole" else "roles"
        name = str(reference.get("name", ""))
        if not self._allowed(admission, "bind", plural, name):
            served = admission.api.catalog.get(GROUP, "v1", plural)
            if served is not None and not self.authorizer.policy.has(reference, admission.namespace):
                raise not_found(served.resource, name)  # nobody knows what it will grant
            self._refuse(admission, self.authorizer.policy.rules(reference, admission.namespace))

    def _refuse(self, admission: Admission, wanted: list[Rule]) -> None:
        held = Held(self.authorizer.policy.rules_for(admission.user, admission.namespace))
        missing = [shown(rule) for rule in wanted if not held.cover(rule)]
        if missing:
            user = admission.user
            groups = " ".join(f'"{group}"' for group in user.groups)
            why = (
                f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
                + "\n".join(missing)
            )
            raise forbidden(admission.resource, admission.name, why)

    async def commit(self, admission: Admission) -> None:
        await self.authorizer.load()
        if admission.resource.kind == "ClusterRole":
            await self._aggregate(admission)

    async def _aggregate(self, admission: Admission) -> None:
        store, puts = admission.api.store, []
        roles = self.authorizer.policy.cluster_roles
        for name, role in roles.items():
            if role.get("aggregationRule"):
                rules = aggregated(role, roles.values())
                record = store.get(PREFIXES["clusterroles"] + name)
                if rules != items(role, "rules") and record is not None:
                    changed = {**admission.api.whole(record), "rules": rules}
                    puts.append(Put(record.key, dumps(changed), expected=record.revision))
        if puts:
            try:
                await store.commit(puts)
            except Conflict:
                return  # another write of a role is on its way, and aggregates when it is done
            await self.authorizer.load()


def only_for_collection(new: Object, old: Object | None) -> bool:
    """Whether a write changes nothing but what the garbage collector needs. A label is more than that: it has a role taken
    into another."""
    return old is not None and without_collection(new) == without_collection(old)


def without_collection(obj: Object) -> Object:
    metadata = {key: value for key, value in obj["metadata"].items() if key not in COLLECTED}
    return {**obj, "metadata": metadata}


def shown(rule: Rule) -> str:
    """Return a rule as Kubernetes' message shows it: ``{APIGroups:[""], Resources:["pods"], Verbs:["get"]}``."""
    return "{" + ", ".join(parts(rule)) + "}"


def parts(rule: Rule) -> Iterator[str]:
    names = (
        ("APIGroups", "apiGroups"),
        ("Resources", "resources"),
        ("ResourceNames", "resourceNames"),
        ("NonResourceURLs", "nonResourceURLs"),
        ("Verbs", "verbs"),
    )
    for word, key in names:
        if items(rule, key):
            yield f"{word}:[" + " ".join(f'"{value}"' for value in items(rule, key)) + "]"
