"""Who can: the subjects whom RBAC allows a request, by which binding, and who could come to it in a roundabout way. Pure.

A binding is read from its end: its role's rules first, then its subjects, so nobody need be known by name. ``escape`` verbs
let one take more than one has: ``escalate`` and ``bind`` on roles, ``impersonate`` of users, groups and service accounts.
Source: Kubernetes' "Using RBAC Authorization" (privilege escalation prevention), "User impersonation".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from sampan.api.rbac import Policy, Rule, path_allows, rule_allows
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object

RBAC = "rbac.authorization.k8s.io"


class Asked(NamedTuple):
    """What somebody might do: a verb on a resource (or on a path, where ``path`` is set)."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    name: str = ""
    namespace: str = ""
    """"" is: in all namespaces, or on the cluster."""
    path: str = ""


class Granted(NamedTuple):
    """A subject, and the binding by which it can."""

    kind: str
    subject: str
    """The name; of a ServiceAccount with its namespace: ``ns/name``."""
    scope: str
    """The namespace in which it can, "" for everywhere."""
    binding: str
    role: str
    only: tuple[str, ...] = ()
    """The names to which the rule limits it."""


ESCAPES = (
    *(Asked(verb, RBAC, resource) for verb in ("escalate", "bind") for resource in ("clusterroles", "roles")),
    *(Asked("impersonate", "", resource) for resource in ("users", "groups", "serviceaccounts")),
)


def who_can(policy: Policy, asked: Asked) -> Iterator[Granted]:
    """Yield every subject that can, once for each binding."""
    for binding in (*policy.cluster_bindings, *policy.bindings):
        home = binding["metadata"].get("namespace", "")
        if home and (asked.path or (asked.namespace and home != asked.namespace)):
            continue
        reference = mapping(binding, "roleRef")
        limits = [limit for rule in policy.rules(reference, home) if (limit := allows(rule, asked)) is not None]
        if not limits:
            continue
        only = () if () in limits else tuple(sorted({name for limit in limits for name in limit}))
        for subject in items(binding, "subjects"):
            yield granted(binding, reference, subject, home, only)


def allows(rule: Rule, asked: Asked) -> tuple[str, ...] | None:
    """Return the names to which a rule limits what is asked, () for none; None where it does not allow it."""
    if asked.path:
        return () if path_allows(rule, asked.verb, asked.path) else None
    names = tuple(items(rule, "resourceNames"))
    name = asked.name or (names[0] if names else "")
    if not rule_allows(rule, asked.verb, asked.group, asked.resource, asked.subresource, name):
        return None
    return () if asked.name else names


def granted(binding: Object, reference: Object, subject: Object, home: str, only: tuple[str, ...]) -> Granted:
    kind, name = str(subject.get("kind", "")), str(subject.get("name", ""))
    if kind == "ServiceAccount":
        name = f"{subject.get('namespace') or home}/{name}"
    where = f"{home}/" if home else ""
    told = f"{binding.get('kind') or ('RoleBinding' if home else 'ClusterRoleBinding')} {where}{binding['metadata']['name']}"
    return Granted(kind, name, home, told, f"{reference.get('kind')} {reference.get('name')}", only)


def roundabout(policy: Policy, found: list[Granted], namespace: str = "") -> Iterator[tuple[str, Granted]]:
    """Yield those who cannot by themselves, but may take it: with what they can do, each once."""
    direct = {(one.kind, one.subject) for one in found}
    for escape in ESCAPES:
        for one in who_can(policy, escape._replace(namespace=namespace)):
            if (one.kind, one.subject) not in direct:
                yield f"{escape.verb} {escape.resource}", one
