"""May they: role-based access control over the RBAC objects in the store.

Rules are compiled per user into sets of exact grants when the user is first seen, and forgotten when an RBAC object
changes (``admission/rbac_changes.py`` calls ``load`` after the write), so a request costs a few set look-ups and a write
of a role is in force when it is answered. ``system:masters`` may do everything.
Source: Kubernetes' "Using RBAC Authorization"; plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api.request import Attributes, User
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api

MASTERS = "system:masters"
PREFIXES = {
    kind: f"/registry/rbac.authorization.k8s.io/{kind}/"
    for kind in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")
}
CACHED_USERS = 2048

Rule = dict[str, Any]


class Grants:
    """What one user may do in one scope: exact grants in a set, those with wildcards or names in lists."""

    __slots__ = ("exact", "paths", "wide")

    def __init__(self) -> None:
        self.exact: set[tuple[str, str, str]] = set()
        """(verb, group, resource[/subresource])"""
        self.wide: list[Rule] = []
        self.paths: list[Rule] = []

    def add(self, rule: Rule) -> None:
        if rule.get("nonResourceURLs"):
            self.paths.append(rule)
            return
        verbs, groups, resources = items(rule, "verbs"), items(rule, "apiGroups"), items(rule, "resources")
        if rule.get("resourceNames") or "*" in verbs or "*" in groups or any("*" in name for name in resources):
            self.wide.append(rule)
            return
        self.exact.update((verb, group, resource) for verb in verbs for group in groups for resource in resources)

    def allow(self, at: Attributes) -> bool:
        resource = f"{at.resource}/{at.subresource}" if at.subresource else at.resource
        if (at.verb, at.group, resource) in self.exact:
            return True
        return any(rule_allows(rule, at.verb, at.group, at.resource, at.subresource, at.name) for rule in self.wide)

    def allow_path(self, verb: str, path: str) -> bool:
        return any(path_allows(rule, verb, path) for rule in self.paths)


def rule_allows(rule: Rule, verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
    """Whether one PolicyRule grants a request on a resource."""
    verbs = items(rule, "verbs")
    if verb not in verbs and "*" not in verbs:
        return False
    groups = items(rule, "apiGroups")
    if group not in groups and "*" not in groups:
        return False
    combined = f"{resource}/{subresource}" if subresource else resource
    resources = items(rule, "resources")
    if combined not in resources and "*" not in resources and not (subresource and f"*/{subresource}" in resources):
        return False
    names = items(rule, "resourceNames")
    return not names or name in names


def path_allows(rule: Rule, verb: str, path: str) -> bool:
    verbs = items(rule, "verbs")
    if verb not in verbs and "*" not in verbs:
        return False
    return any(
        url == "*" or url == path or (url.endswith("*") and path.startswith(url[:-1]))
        for url in items(rule, "nonResourceURLs")
    )


class Compiled(NamedTuple):
    """A user's grants: everywhere, and by namespace."""

    cluster: Grants
    namespaces: dict[str, Grants]


def applies_to(subject: Object, user: User, namespace: str) -> bool:
    """Whether a binding's subject is the user; ``namespace`` is the binding's."""
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "User":
        return name == user.name
    if kind == "Group":
        return name in user.groups
    if kind == "ServiceAccount":
        home = subject.get("namespace") or namespace
        return user.name == f"system:serviceaccount:{home}:{name}"
    return False


class Policy(NamedTuple):
    """The RBAC objects at one moment. Keys of roles and role bindings are (namespace, name)."""

    cluster_roles: Mapping[str, Object]
    roles: Mapping[tuple[str, str], Object]
    cluster_bindings: list[Object]
    bindings: list[Object]

    def rules(self, reference: Object, namespace: str) -> list[Rule]:
        """Return the rules of a roleRef."""
        name = str(reference.get("name", ""))
        if reference.get("kind") == "ClusterRole":
            return self.cluster_role_rules(name)
        return items(self.roles.get((namespace, name)), "rules")

    def cluster_role_rules(self, name: str) -> list[Rule]:
        """Return a ClusterRole's rules; for an aggregated one the union of those it selects."""
        role = self.cluster_roles.get(name)
        if role is None:
            return []
        if not role.get("aggregationRule"):
            return items(role, "rules")
        return aggregated(role, self.cluster_roles.values())

    def compile(self, user: User) -> Compiled:
        """Return what a user may do."""
        compiled = Compiled(Grants(), {})
        for binding in self.cluster_bindings:
            if any(applies_to(subject, user, "") for subject in items(binding, "subjects")):
                for rule in self.rules(mapping(binding, "roleRef"), ""):
                    compiled.cluster.add(rule)
        for binding in self.bindings:
            namespace = binding["metadata"].get("namespace", "")
            if any(applies_to(subject, user, namespace) for subject in items(binding, "subjects")):
                grants = compiled.namespaces.setdefault(namespace, Grants())
                for rule in self.rules(mapping(binding, "roleRef"), namespace):
                    grants.add(rule)
        return compiled

    def rules_for(self, user: User, namespace: str) -> Iterator[Rule]:
        """Yield the rules that apply to a user in a namespace (SelfSubjectRulesReview)."""
        for binding in self.cluster_bindings:
            if any(applies_to(subject, user, "") for subject in items(binding, "subjects")):
                yield from self.rules(mapping(binding, "roleRef"), "")
        for binding in self.bindings:
            home = binding["metadata"].get("namespace", "")
            if home == namespace and any(applies_to(subject, user, home) for subject in items(binding, "subjects")):
                yield from self.rules(mapping(binding, "roleRef"), home)


def aggregated(role: Object, cluster_roles: Iterable[Object]) -> list[Rule]:
    """Return the rules of the ClusterRoles that an aggregationRule selects, each once."""
    from sampan.api.resources.checking import selects

    selectors = items(role, "aggregationRule", "clusterRoleSelectors")
    name = role["metadata"].get("name")
    rules: list[Rule] = []
    for other in cluster_roles:
        if other["metadata"].get("name") == name:
            continue
        if any(selects(selector, mapping(other, "metadata", "labels")) for selector in selectors):
            other_rules = items(other, "rules")
            if other.get("aggregationRule"):
                other_rules = aggregated(other, [o for o in cluster_roles if o["metadata"].get("name") != name])
            rules += [rule for rule in other_rules if rule not in rules]
    return rules


class RbacAuthorizer:
    """Authorizes by the RBAC objects of an API's store, as ``load`` has last read them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.policy = Policy({}, {}, [], [])
        self._revision = 0
        self._users: dict[tuple[str, tuple[str, ...]], Compiled] = {}

    async def load(self) -> None:
        """Read the RBAC objects anew; what was compiled of the old ones is forgotten."""
        policy, revision = await read_policy(self.api)
        if revision >= self._revision:
            self.policy, self._revision = policy, revision
            self._users.clear()

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        user = attributes.user
        if MASTERS in user.groups:
            return True, ""
        compiled = self._compiled(user)
        if not attributes.resource:
            return compiled.cluster.allow_path(attributes.verb, attributes.path), ""
        if compiled.cluster.allow(attributes):
            return True, ""
        grants = compiled.namespaces.get(attributes.namespace)
        return grants is not None and grants.allow(attributes), ""

    def _compiled(self, user: User) -> Compiled:
        key = (user.name, user.groups)
        compiled = self._users.get(key)
        if compiled is None:
            if len(self._users) >= CACHED_USERS:
                del self._users[next(iter(self._users))]
            compiled = self._users[key] = self.policy.compile(user)
        return compiled


async def read_policy(api: Api) -> tuple[Policy, int]:
    """Return the RBAC objects of the store, and the revision they were read at."""
    found: dict[str, list[Object]] = {}
    revision = 0
    for kind, prefix in PREFIXES.items():
        page = await api.store.page(prefix)
        revision = page.revision if not revision else min(revision, page.revision)
        found[kind] = [api.parsed(record) for record in page.records]
    policy = Policy(
        {role["metadata"]["name"]: role for role in found["clusterroles"]},
        {(role["metadata"]["namespace"], role["metadata"]["name"]): role for role in found["roles"]},
        found["clusterrolebindings"],
        found["rolebindings"],
    )
    return policy, revision
