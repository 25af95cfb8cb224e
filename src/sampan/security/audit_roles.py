"""The smallest roles that allow what a user was seen doing in an audit log.

Events go in; one Role for each namespace and one ClusterRole for the rest come out, with bindings to the user. Rules are
merged where they differ in the resource or the verbs alone, never so that they would allow more.
Source: audit.k8s.io/v1 Event.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from sampan.schema.objects import Object

RBAC = "rbac.authorization.k8s.io/v1"
NAMELESS = frozenset(("create", "list", "watch", "deletecollection"))
"""Verbs on a whole collection: a rule with names would not allow them."""
EVERYBODY = ("/healthz", "/livez", "/readyz", "/version", "/api", "/apis", "/openapi")
"""Paths that every user may get by Kubernetes' own roles."""


class Use(NamedTuple):
    """One thing that was done. ``name`` is "" where names do not count."""

    namespace: str
    group: str
    resource: str
    """With its subresource: ``pods/log``."""
    verb: str
    name: str
    path: str


def uses(events: Iterable[Object], user: str, *, denied: bool, names: bool) -> Iterator[Use]:
    """Yield what a user did, as the events tell; with ``denied``, what it was refused for want of rights, too."""
    for event in events:
        who = (event.get("impersonatedUser") or event.get("user") or {}).get("username")
        if who != user or event.get("stage") not in ("ResponseComplete", "ResponseStarted"):
            continue
        code = int((event.get("responseStatus") or {}).get("code", 200))
        if code == 401 or (code == 403 and not denied):
            continue
        verb, at = str(event.get("verb", "")), event.get("objectRef") or {}
        if not at.get("resource"):
            path = str(event.get("requestURI", "")).partition("?")[0]
            if not path.startswith(EVERYBODY):
                yield Use("", "", "", verb, "", path)
            continue
        resource = "/".join(word for word in (at["resource"], at.get("subresource")) if word)
        name = str(at.get("name", "")) if names and verb not in NAMELESS else ""
        namespace = "" if at["resource"] == "namespaces" else str(at.get("namespace", ""))
        yield Use(namespace, str(at.get("apiGroup", "")), resource, verb, name, "")


def users(events: Iterable[Object]) -> dict[str, int]:
    """Return how many events each user has."""
    found: dict[str, int] = {}
    for event in events:
        who = str((event.get("impersonatedUser") or event.get("user") or {}).get("username", ""))
        found[who] = found.get(who, 0) + 1
    return found


def rules(found: Iterable[Use]) -> list[Object]:
    """Return the fewest rules that allow exactly this."""
    by_thing: dict[tuple[str, str, tuple[str, ...]], set[str]] = {}
    by_path: dict[str, set[str]] = {}
    named: dict[tuple[str, str, str], set[str]] = {}
    for one in found:
        if one.path:
            by_path.setdefault(one.path, set()).add(one.verb)
        else:
            named.setdefault((one.group, one.resource, one.verb), set()).add(one.name)
    for (group, resource, verb), names in named.items():
        limit = () if "" in names else tuple(sorted(names))
        by_thing.setdefault((group, resource, limit), set()).add(verb)
    by_verbs: dict[tuple[str, tuple[str, ...], tuple[str, ...]], list[str]] = {}
    for (group, resource, limit), verbs in sorted(by_thing.items()):
        by_verbs.setdefault((group, limit, tuple(sorted(verbs))), []).append(resource)
    made = [rule(group, resources, verbs, limit) for (group, limit, verbs), resources in by_verbs.items()]
    paths: dict[tuple[str, ...], list[str]] = {}
    for path, verbs in sorted(by_path.items()):
        paths.setdefault(tuple(sorted(verbs)), []).append(path)
    return made + [{"nonResourceURLs": urls, "verbs": list(verbs)} for verbs, urls in paths.items()]


def rule(group: str, resources: list[str], verbs: Iterable[str], names: tuple[str, ...]) -> Object:
    made: Object = {"apiGroups": [group], "resources": resources}
    if names:
        made["resourceNames"] = list(names)
    return {**made, "verbs": list(verbs)}


def roles(found: Iterable[Use], user: str, name: str) -> Iterator[Object]:
    """Yield the roles, each with the binding to the user: a Role for each namespace, a ClusterRole for what has none."""
    by_namespace: dict[str, list[Use]] = {}
    for one in found:
        by_namespace.setdefault(one.namespace, []).append(one)
    for namespace, some in sorted(by_namespace.items()):
        kind = "Role" if namespace else "ClusterRole"
        metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
        yield {"apiVersion": RBAC, "kind": kind, "metadata": metadata, "rules": rules(some)}
        reference = {"apiGroup": RBAC.partition("/")[0], "kind": kind, "name": name}
        binding = {"apiVersion": RBAC, "kind": f"{kind}Binding", "metadata": metadata, "roleRef": reference}
        yield {**binding, "subjects": [subject_of(user)]}


def subject_of(user: str) -> Object:
    """Return a user as the subject of a binding; a ServiceAccount under its own name."""
    if user.startswith("system:serviceaccount:"):
        namespace, _, name = user.removeprefix("system:serviceaccount:").partition(":")
        return {"kind": "ServiceAccount", "name": name, "namespace": namespace}
    return {"apiGroup": RBAC.partition("/")[0], "kind": "User", "name": user}
