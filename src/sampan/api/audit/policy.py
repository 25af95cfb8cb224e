"""The audit policy: how much is written down of a request. Pure.

Source: audit.k8s.io/v1 Policy; k8s.io/apiserver pkg/audit/policy (checker.go, reader.go).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sampan.api.flags import FlagError
from sampan.api.request import Attributes
from sampan.api.resources.reading import items
from sampan.schema.objects import Object

LEVELS = ("None", "Metadata", "Request", "RequestResponse")
STAGES = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


class Wanted(NamedTuple):
    """What a policy wants to know of a request: ``level`` is an index of ``LEVELS``."""

    level: int
    omit_stages: frozenset[str]
    omit_managed_fields: bool


NOTHING = Wanted(0, frozenset(), False)


def read_policy(file: Path) -> Object:
    """Return the policy of a file. Raises ``FlagError``."""
    import yaml

    try:
        policy = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlagError(f"loading audit policy file: {error}") from error
    if not isinstance(policy, dict) or policy.get("kind") != "Policy":
        raise FlagError(f"loading audit policy file: {file} holds no Policy")
    if policy.get("apiVersion") != "audit.k8s.io/v1":
        raise FlagError(
            f"loading audit policy file: unknown group version field {policy.get('apiVersion')!r} in policy"
        )
    problems = list(wrong(policy))
    if problems:
        raise FlagError(f"loading audit policy file: {'; '.join(problems)}")
    return policy


def wrong(policy: Object) -> Iterable[str]:
    """Yield what a policy says wrong."""
    if not items(policy, "rules"):
        yield "loaded illegal policy with 0 rules"
    for stage in items(policy, "omitStages"):
        if stage not in STAGES:
            yield f"omitStages: Invalid value: {stage!r}"
    for index, rule in enumerate(items(policy, "rules")):
        at = f"rules[{index}]"
        if rule.get("level") not in LEVELS:
            yield f'{at}.level: Unsupported value: "{rule.get("level") or ""}"'
        for stage in items(rule, "omitStages"):
            if stage not in STAGES:
                yield f"{at}.omitStages: Invalid value: {stage!r}"
        on_resources = items(rule, "resources") or items(rule, "namespaces")
        if items(rule, "nonResourceURLs") and on_resources:
            yield f"{at}: rules cannot apply to both regular resources and non-resource URLs"
        for group in items(rule, "resources"):
            if group.get("resourceNames") and not group.get("resources"):
                yield f"{at}.resources.resourceNames: using resourceNames requires at least one resource"


class Policy:
    """A policy that answers for requests."""

    def __init__(self, policy: Object) -> None:
        self._rules = items(policy, "rules")
        self._omitted = frozenset(items(policy, "omitStages"))
        self._managed = bool(policy.get("omitManagedFields"))

    def wanted(self, at: Attributes) -> Wanted:
        """Return what the first rule that matches wants."""
        for rule in self._rules:
            if matches(rule, at):
                managed = rule.get("omitManagedFields")
                return Wanted(
                    LEVELS.index(rule["level"]),
                    self._omitted | frozenset(items(rule, "omitStages")),
                    self._managed if managed is None else bool(managed),
                )
        return NOTHING


def matches(rule: Object, at: Attributes) -> bool:
    users, groups, verbs = items(rule, "users"), items(rule, "userGroups"), items(rule, "verbs")
    if users and at.user.name not in users:
        return False
    if groups and not any(group in groups for group in at.user.groups):
        return False
    if verbs and at.verb not in verbs:
        return False
    if items(rule, "namespaces") or items(rule, "resources"):
        return bool(at.resource) and on_resource(rule, at)
    paths = items(rule, "nonResourceURLs")
    return not paths or (not at.resource and any(on_path(path, at.path) for path in paths))


def on_resource(rule: Object, at: Attributes) -> bool:
    namespaces, groups = items(rule, "namespaces"), items(rule, "resources")
    if namespaces and at.namespace not in namespaces:
        return False
    return not groups or any(in_group(group, at) for group in groups)


def in_group(group: dict[str, Any], at: Attributes) -> bool:
    if (group.get("group") or "") != at.group:
        return False
    resources, names = items(group, "resources"), items(group, "resourceNames")
    if not resources:
        return True
    if names and at.name not in names:
        return False
    combined = f"{at.resource}/{at.subresource}" if at.subresource else at.resource
    allowed = {"*", combined, f"{at.resource}/*"}
    if at.subresource:
        allowed.add(f"*/{at.subresource}")
    return any(resource in allowed for resource in resources)


def on_path(pattern: str, path: str) -> bool:
    return pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1]))
