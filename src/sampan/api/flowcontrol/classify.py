"""Which flow a request belongs to: the first FlowSchema that matches, and what tells its flows apart. Pure.

Source: flowcontrol.apiserver.k8s.io/v1 (PolicyRulesWithSubjects), k8s.io/apiserver pkg/util/flowcontrol/rule.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sampan.api.request import Attributes, User
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object

ACCOUNT = "system:serviceaccount:"


def in_order(schemas: Iterable[Object]) -> list[Object]:
    """Return FlowSchemas as they are asked: by precedence, then by name."""
    return sorted(schemas, key=lambda s: (mapping(s, "spec").get("matchingPrecedence") or 1000, s["metadata"]["name"]))


def matching(schemas: Sequence[Object], at: Attributes) -> Object | None:
    """Return the first FlowSchema that matches a request."""
    for schema in schemas:
        if any(rule_matches(rule, at) for rule in items(schema, "spec", "rules")):
            return schema
    return None


def rule_matches(rule: Object, at: Attributes) -> bool:
    if not any(subject_matches(subject, at.user) for subject in items(rule, "subjects")):
        return False
    if at.resource:
        return any(resource_matches(r, at) for r in items(rule, "resourceRules"))
    return any(path_matches(r, at) for r in items(rule, "nonResourceRules"))


def subject_matches(subject: Object, user: User) -> bool:
    kind = subject.get("kind")
    if kind == "User":
        return text(subject, "user", "name") in ("*", user.name)
    if kind == "Group":
        name = text(subject, "group", "name")
        return name == "*" or name in user.groups
    namespace, name = text(subject, "serviceAccount", "namespace"), text(subject, "serviceAccount", "name")
    if name == "*":
        return user.name.startswith(f"{ACCOUNT}{namespace}:")
    return user.name == f"{ACCOUNT}{namespace}:{name}"


def resource_matches(rule: Object, at: Attributes) -> bool:
    if not has(items(rule, "verbs"), at.verb) or not has(items(rule, "apiGroups"), at.group):
        return False
    name = f"{at.resource}/{at.subresource}" if at.subresource else at.resource
    if not has(items(rule, "resources"), name):
        return False
    if not at.namespace:
        return bool(rule.get("clusterScope"))
    return has(items(rule, "namespaces"), at.namespace)


def path_matches(rule: Object, at: Attributes) -> bool:
    if not has(items(rule, "verbs"), at.verb):
        return False
    return any(
        url in ("*", at.path) or (url.endswith("/*") and at.path.startswith(url[:-1]))
        for url in items(rule, "nonResourceURLs")
    )


def has(allowed: list[str], value: str) -> bool:
    return "*" in allowed or value in allowed


def distinguisher(schema: Object, at: Attributes) -> str:
    """Return what tells the flows of a FlowSchema apart, for one request."""
    method = text(schema, "spec", "distinguisherMethod", "type")
    if method == "ByUser":
        return at.user.name
    return at.namespace if method == "ByNamespace" else ""
