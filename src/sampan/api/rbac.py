"""May they: role-based access control over the RBAC objects in the store.

Rules are compiled per user into sets of exact grants when the user is first seen, and forgotten when an RBAC object
changes (``admission/rbac_changes.py`` calls ``load`` after the write), so a request costs a few set look-ups and a write
of a role is in force when it is answered. ``system:masters`` may do everything.
Source: Kubernetes' "Using RBAC Authorization"; plugin/pkg/auth/authorizer/rbac, pkg/registry/rbac/validation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.api.authz.decision import MASTERS, NO_OPINION, Decision
from sampan.api.remembered import Remembered
from sampan.api.request import Attributes, User
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.store import Event
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

PREFIXES = {kind: prefix_of(kind) for kind in ("clusterroles", "clusterrolebindings", "roles", "rolebindings")}
CACHED_BYTES = 16 << 20
GRANT_BYTES, RULE_BYTES = 200, 600
"""About what a grant and a rule take in memory."""
MOST_EXACT = 1000
"""A rule that stands for more grants is held against requests as it is: three lists of a thousand are a billion."""

Rule = dict[str, Any]


class Grants:
    """What one user may do in one scope, and by which binding: exact grants in a table, those with wildcards or names
    in lists."""

    __slots__ = ("exact", "paths", "wide")

    def __init__(self) -> None:
        self.exact: dict[tuple[str, str, str], str] = {}
        """(verb, group, resource[/subresource]) → the binding"""
        self.wide: list[tuple[Wide, str]] = []
        self.paths: list[tuple[Rule, str]] = []

    def add(self, rule: Rule, binding: str) -> None:
        if rule.get("nonResourceURLs"):
            self.paths.append((rule, binding))
            return
        verbs, groups, resources = items(rule, "verbs"), items(rule, "apiGroups"), items(rule, "resources")
        many = len(verbs) * len(groups) * len(resources) > MOST_EXACT
        if many or rule.get("resourceNames") or "*" in verbs or "*" in groups or any("*" in name for name in resources):
            self.wide.append((Wide(rule), binding))
            return
        for grant in product(verbs, groups, resources):
            self.exact.setdefault(grant, binding)

    def allow(self, at: Attributes) -> str:
        """Return the binding that allows a request on a resource, "" where none does."""
        resource = f"{at.resource}/{at.subresource}" if at.subresource else at.resource
        binding = self.exact.get((at.verb, at.group, resource))
        if binding is not None:
            return binding
        for rule, binding in self.wide:
            if rule.allows(at, resource):
                return binding
        return ""

    def allow_path(self, verb: str, path: str) -> str:
        """Return the binding that allows a request on a path, "" where none does."""
        return next((binding for rule, binding in self.paths if path_allows(rule, verb, path)), "")


class Wide:
    """A rule with wildcards or names, taken apart once: None stands for everything."""

    __slots__ = ("groups", "names", "resources", "verbs")

    def __init__(self, rule: Rule) -> None:
        self.verbs = wanted(items(rule, "verbs"))
        self.groups = wanted(items(rule, "apiGroups"))
        self.resources = wanted(items(rule, "resources"))
        self.names = frozenset(items(rule, "resourceNames")) or None

    def allows(self, at: Attributes, resource: str) -> bool:
        """Whether it grants a request; ``resource`` is with its subresource."""
        if self.verbs is not None and at.verb not in self.verbs:
            return False
        if self.groups is not None and at.group not in self.groups:
            return False
        if self.names is not None and at.name not in self.names:
            return False
        if self.resources is None or resource in self.resources:
            return True
        return bool(at.subresource) and f"*/{at.subresource}" in self.resources


def wanted(values: list[str]) -> frozenset[str] | None:
    return None if "*" in values else frozenset(values)


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
    """A user's grants: everywhere, and by namespace; and the roles that his bindings name and that are not there."""

    cluster: Grants
    namespaces: dict[str, Grants]
    missing: dict[str, list[str]]

    def weight(self) -> int:
        """Return about how many bytes of memory it takes; rules are those of the roles, and the texts of grants, too."""
        every = (self.cluster, *self.namespaces.values())
        return 1000 + sum(
            RULE_BYTES * (1 + len(one.wide) + len(one.paths)) + GRANT_BYTES * len(one.exact) for one in every
        )


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
        compiled = Compiled(Grants(), {}, {})
        for binding in [*self.cluster_bindings, *self.bindings]:
            namespace = binding["metadata"].get("namespace", "")
            subjects = (s for s in items(binding, "subjects") if applies_to(s, user, namespace))
            subject = next(subjects, None)
            if subject is None:
                continue
            grants = compiled.namespaces.setdefault(namespace, Grants()) if namespace else compiled.cluster
            reference, told = mapping(binding, "roleRef"), described(binding, subject, namespace)
            if not self.has(reference, namespace):
                compiled.missing.setdefault(namespace, []).append(not_there(reference))
            for rule in self.rules(reference, namespace):
                grants.add(rule, told)
        return compiled

    def has(self, reference: Object, namespace: str) -> bool:
        """Whether the role of a roleRef is there."""
        name = str(reference.get("name", ""))
        if reference.get("kind") == "ClusterRole":
            return name in self.cluster_roles
        return (namespace, name) in self.roles

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

    roles = list(cluster_roles)
    rules: dict[bytes, Rule] = {}
    seen = {role["metadata"].get("name")}  # roles may select each other

    def selected(gathering: Object) -> Iterator[Object]:
        selectors = items(gathering, "aggregationRule", "clusterRoleSelectors")
        return (one for one in roles if any(selects(s, mapping(one, "metadata", "labels")) for s in selectors))

    under_way = [selected(role)]  # no function that calls itself: such a one is freed by the collector only
    while under_way:
        other = next(under_way[-1], None)
        if other is None:
            under_way.pop()
            continue
        name = other["metadata"].get("name")
        if name in seen:
            continue
        seen.add(name)
        if other.get("aggregationRule"):
            under_way.append(selected(other))
            continue
        for rule in items(other, "rules"):
            rules.setdefault(orjson.dumps(rule, option=orjson.OPT_SORT_KEYS), rule)
    return list(rules.values())


def described(binding: Object, subject: Object, namespace: str) -> str:
    """Return why a binding's rules are a user's, in Kubernetes' words."""
    kind, name, reference = binding.get("kind"), binding["metadata"]["name"], mapping(binding, "roleRef")
    whose = str(subject.get("name", ""))
    if subject.get("kind") == "ServiceAccount":
        whose += f"/{subject.get('namespace') or namespace}"
    at = f"{name}/{namespace}" if namespace else name
    return (
        f'RBAC: allowed by {kind} "{at}" of {reference.get("kind")} "{reference.get("name")}" '
        f'to {subject.get("kind")} "{whose}"'
    )


def not_there(reference: Object) -> str:
    kind = str(reference.get("kind", "")).lower()
    return f'{kind}.rbac.authorization.k8s.io "{reference.get("name")}" not found'


class RbacAuthorizer:
    """Authorizes by the RBAC objects of an API's store, as ``load`` has last read them."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self.policy = Policy({}, {}, [], [])
        self._revision = 0
        self._users: Remembered[tuple[str, tuple[str, ...]], Compiled] = Remembered(CACHED_BYTES)

    async def load(self) -> None:
        """Read the RBAC objects anew; what was compiled of the old ones is forgotten."""
        policy, revision = await read_policy(self.api)
        if revision >= self._revision:
            self.policy, self._revision = policy, revision
            self._users.clear()

    async def follow(self, events: Sequence[Event]) -> None:
        """Take in what was written, unless ``load`` has seen it already."""
        if events[-1].revision > self._revision:
            await self.load()

    never_pending = True

    def pending(self, attributes: Attributes) -> bool:
        return False

    async def prepare(self, attributes: Attributes) -> None:
        return None

    def unresolved(self, user: User) -> str:
        return ""

    def decide(self, attributes: Attributes) -> Decision:
        compiled = self._compiled(attributes.user)
        if not attributes.resource:
            binding = compiled.cluster.allow_path(attributes.verb, attributes.path)
        else:
            binding = compiled.cluster.allow(attributes)
            if not binding and attributes.namespace in compiled.namespaces:
                binding = compiled.namespaces[attributes.namespace].allow(attributes)
        if binding:
            return Decision(True, binding)
        if not compiled.missing:
            return NO_OPINION
        missing = compiled.missing.get("", [])
        if attributes.namespace:
            missing = missing + compiled.missing.get(attributes.namespace, [])
        text = missing[0] if len(missing) == 1 else f"[{', '.join(missing)}]"
        return Decision(None, f"RBAC: {text}" if missing else "")

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        """Return whether RBAC alone allows a request, and why (the escalation checks ask)."""
        if MASTERS in attributes.user.groups:
            return True, ""
        allowed, reason, _ = self.decide(attributes)
        return bool(allowed), reason

    def _compiled(self, user: User) -> Compiled:
        key = (user.name, user.groups)
        compiled = self._users.get(key)
        if compiled is None:
            compiled = self.policy.compile(user)
            self._users.put(key, compiled, compiled.weight() + sum(map(len, (user.name, *user.groups))))
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
