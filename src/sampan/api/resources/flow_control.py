"""flowcontrol.apiserver.k8s.io: who waits in which queue, as objects. Their effect is API priority and fairness.

v1 and v1beta3 have ``nominalConcurrencyShares`` for what v1beta1 and v1beta2 call ``assuredConcurrencyShares``.
Source: kubernetes pkg/apis/flowcontrol (defaults, validation, internalbootstrap), KEP-1040.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label, subdomain
from sampan.api.resources.columns import AGE, NAME, field, number
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import duplicate, forbidden, invalid, not_supported, required
from sampan.schema.names import dns1123_label
from sampan.schema.objects import Object

GROUP = "flowcontrol.apiserver.k8s.io"
VERSIONS = ("v1", "v1beta3", "v1beta2", "v1beta1")
OLD = ("v1beta1", "v1beta2")
OLD_SHARES, SHARES = "assuredConcurrencyShares", "nominalConcurrencyShares"
MAX_PRECEDENCE, MAX_QUEUES, HASH_BITS = 10_000, 10_000_000, 60
VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
EVERYTHING: dict[str, Any] = {
    "resourceRules": [
        {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    ],
    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
}


def group(name: str) -> Object:
    return {"kind": "Group", "group": {"name": name}}


MANDATORY_SCHEMAS: dict[str, Object] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": [{"subjects": [group("system:masters")], **EVERYTHING}],
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": [{"subjects": [group("system:unauthenticated"), group("system:authenticated")], **EVERYTHING}],
    },
}
MANDATORY_LEVELS: dict[str, Object] = {
    "exempt": {"type": "Exempt"},
    "catch-all": {
        "type": "Limited",
        "limited": {SHARES: 5, "lendablePercent": 0, "limitResponse": {"type": "Reject"}},
    },
}
"""What every API server has and nobody changes."""


def prepare(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {}


def conditions(status: Object) -> Iterator[Cause]:
    seen = set()
    for index, condition in enumerate(items(status, "conditions")):
        kind = condition.get("type")
        if not kind:
            yield required(f"status.conditions[{index}].type")
        elif kind in seen:
            yield duplicate(f"status.conditions[{index}].type", kind)
        seen.add(kind)


# flow schemas


def default_schema(schema: Object) -> None:
    spec = schema.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = 1000


def validate_schema(new: Object, old: Object | None) -> Iterator[Cause]:
    name, spec = text(new, "metadata", "name"), mapping(new, "spec")
    precedence = spec.get("matchingPrecedence") or 0
    at = "spec.matchingPrecedence"
    if precedence <= 0:
        yield invalid(at, precedence, "must be a positive value")
    if precedence > MAX_PRECEDENCE:
        yield invalid(at, precedence, f"must not be greater than {MAX_PRECEDENCE}")
    if precedence == 1 and name != "exempt":
        yield invalid(at, precedence, "only the schema named 'exempt' may have matchingPrecedence 1")
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in ("ByNamespace", "ByUser"):
        shown = {"Type": method.get("type") or ""}  # as the Go struct is shown
        yield not_supported("spec.distinguisherMethod.type", shown, ("ByNamespace", "ByUser"))
    level = text(spec, "priorityLevelConfiguration", "name")
    if not level:
        yield required("spec.priorityLevelConfiguration.name", "must reference a priority level")
    yield from subdomain("spec.priorityLevelConfiguration.name", level, needed=False)
    for index, rule in enumerate(items(spec, "rules")):
        yield from rule_of(rule, f"spec.rules[{index}]")
    fixed = MANDATORY_SCHEMAS.get(name)
    if fixed is not None and plain(spec) != plain(fixed):
        yield invalid("spec", spec, f"spec of '{name}' must equal the fixed value")
    yield from conditions(mapping(new, "status"))


def plain(value: Any) -> Any:
    """Return a value without what is empty or false: how Kubernetes compares."""
    if isinstance(value, dict):
        return {key: made for key, one in value.items() if (made := plain(one)) not in (None, {}, [], "", False, 0)}
    return [plain(one) for one in value] if isinstance(value, list) else value


def rule_of(rule: Object, path: str) -> Iterator[Cause]:
    if not items(rule, "subjects"):
        yield required(f"{path}.subjects", "subjects must contain at least one value")
    for index, subject in enumerate(items(rule, "subjects")):
        yield from subject_of(subject, f"{path}.subjects[{index}]")
    if not items(rule, "resourceRules") and not items(rule, "nonResourceRules"):
        yield required(path, "at least one of resourceRules and nonResourceRules has to be non-empty")
    for index, one in enumerate(items(rule, "resourceRules")):
        yield from resource_rule(one, f"{path}.resourceRules[{index}]")
    for index, one in enumerate(items(rule, "nonResourceRules")):
        yield from path_rule(one, f"{path}.nonResourceRules[{index}]")


SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}


def subject_of(subject: Object, path: str) -> Iterator[Cause]:
    kind = subject.get("kind") or ""
    if kind not in SUBJECTS:
        yield not_supported(f"{path}.kind", kind, sorted(SUBJECTS))
        return
    own = SUBJECTS[kind]
    given = subject.get(own)
    if given is None:
        yield required(f"{path}.{own}", f"{own} is required when subject kind is '{kind}'")
    else:
        if not given.get("name"):
            yield required(f"{path}.{own}.name")
        elif kind == "ServiceAccount" and given["name"] != "*":
            yield from subdomain(f"{path}.{own}.name", given["name"])
        if kind == "ServiceAccount" and not given.get("namespace"):
            yield required(f"{path}.{own}.namespace", "must specify namespace for service account")
        elif kind == "ServiceAccount":
            yield from label(f"{path}.{own}.namespace", given["namespace"])
    for other, key in SUBJECTS.items():
        if other != kind and subject.get(key) is not None:
            yield forbidden(f"{path}.{key}", f"{key} is forbidden when subject kind is not '{other}'")


def alone(rule: Object, key: str, path: str, words: str) -> Iterator[Cause]:
    """``*`` stands for all, so nothing else may stand beside it."""
    given = items(rule, key)
    if "*" in given and len(given) > 1:
        yield invalid(f"{path}.{key}", given, f"if '*' is present, must not specify other {words}")


def verbs_of(rule: Object, path: str) -> Iterator[Cause]:
    given = items(rule, "verbs")
    if not given:
        yield required(f"{path}.verbs", "verbs must contain at least one value")
    elif "*" not in given and set(given) - set(VERBS):
        yield not_supported(f"{path}.verbs", given, VERBS)
    yield from alone(rule, "verbs", path, "verbs")


def resource_rule(rule: Object, path: str) -> Iterator[Cause]:
    yield from verbs_of(rule, path)
    for key, words, one in (("apiGroups", "api groups", "api group"), ("resources", "resources", "resource")):
        if not items(rule, key):
            yield required(f"{path}.{key}", f"resource rules must supply at least one {one}")
        yield from alone(rule, key, path, words)
    namespaces = items(rule, "namespaces")
    if not namespaces and not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        yield required(f"{path}.namespaces", why)
    yield from alone(rule, "namespaces", path, "namespaces")
    if "*" not in namespaces:
        for index, namespace in enumerate(namespaces):
            for message in dns1123_label(namespace):
                why = f"each member of this list must be '*' or a DNS-1123 label; {message}"
                yield invalid(f"{path}.namespaces[{index}]", namespace, why)


def path_rule(rule: Object, path: str) -> Iterator[Cause]:
    yield from verbs_of(rule, path)
    urls = items(rule, "nonResourceURLs")
    if not urls:
        yield required(f"{path}.nonResourceURLs", "nonResourceURLs must contain at least one value")
    yield from alone(rule, "nonResourceURLs", path, "non-resource URLs")
    if "*" not in urls:
        for index, url in enumerate(urls):
            problem = url_problem(url)
            if problem:
                yield invalid(f"{path}.nonResourceURLs[{index}]", url, problem)


def url_problem(url: str) -> str:
    if not url:
        return "must not be empty"
    if url == "/":
        return ""
    if not url.startswith("/"):
        return "must start with slash"
    if " " in url:
        return "must not contain white-space"
    if "//" in url:
        return "must not contain double slash"
    stars = url.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not url.endswith("/*")) else ""


def missing_level(schema: Object) -> str:
    for condition in items(schema, "status", "conditions"):
        if condition.get("type") == "Dangling":
            return str(condition.get("status"))
    return "?"


# priority levels


class Part(NamedTuple):
    """What belongs to one type of a union: its field, what is said where it is missing, and where it does not belong."""

    field: str
    required: str
    forbidden: str
    needed: bool = True


def default_level(level: Object) -> None:
    spec = level.setdefault("spec", {})
    old = any(str(level.get("apiVersion")).endswith(version) for version in OLD)
    if spec.get("type") == "Exempt" and not old:
        exempt = spec.setdefault("exempt", {})
        exempt.setdefault(SHARES, 0)
        exempt.setdefault("lendablePercent", 0)
    limited = spec.get("limited")
    if limited is None:
        return
    shares = OLD_SHARES if old else SHARES
    if limited.get(shares) is None or (not limited[shares] and level.get("apiVersion") != f"{GROUP}/v1"):
        limited[shares] = 30  # before v1 a zero could not be told from nothing
    if not old:
        limited.setdefault("lendablePercent", 0)
    queuing = dig(limited, "limitResponse", "queuing")
    if queuing is not None:
        for key, value in (("queues", 64), ("handSize", 8), ("queueLengthLimit", 50)):
            if not queuing.get(key):
                queuing[key] = value


LEVEL_PARTS = {
    "Exempt": Part("exempt", "", "must be nil if the type is Limited", needed=False),
    "Limited": Part("limited", "must not be empty when type is Limited", "must be nil if the type is not Limited"),
}
RESPONSE_PARTS = {
    "Queue": Part(
        "queuing",
        "must not be empty if limited.limitResponse.type is Limited",
        "must be nil if limited.limitResponse.type is not Limited",
    ),
    "Reject": None,
}


def parts_of(
    union: Object, path: str, parts: Mapping[str, Part | None], *, declared: bool, judged: bool = True
) -> Iterator[Cause]:
    """A type, and the part that belongs to it. ``declared``: by declarative validation (1.37), which forbids the part of
    another type even where the type itself is unknown, and says no more of it. ``judged``: whether types are known."""
    kind = union.get("type") or ""
    if declared and not kind:
        yield required(f"{path}.type")
    elif kind not in parts and judged:
        yield not_supported(f"{path}.type", kind, sorted(parts))
    for owner, part in parts.items():
        given = part is not None and union.get(part.field) is not None
        if part is None or (not declared and kind not in parts):
            continue
        if given and owner != kind:
            yield forbidden(f"{path}.{part.field}", "" if declared else part.forbidden)
        elif not given and owner == kind and part.needed:
            yield required(f"{path}.{part.field}", "" if declared else part.required)


def levels_by_version(minor: int) -> dict[str, Any]:
    return {"validate": collect(partial(validate_level, declared=minor >= 37))}


def validate_level(new: Object, old: Object | None, *, declared: bool) -> Iterator[Cause]:
    name, spec = text(new, "metadata", "name"), mapping(new, "spec")
    kind = spec.get("type") or ""
    if (name == "exempt") != (kind == "Exempt"):
        subject, whose = ("must", "`name`") if declared else ("type must", "name")
        yield invalid("spec.type", kind, f"{subject} be 'Exempt' if and only if {whose} is 'exempt'")
    if kind == "Exempt":
        yield from shares_of(spec.get("exempt"), "spec.exempt")
    elif kind == "Limited" and spec.get("limited") is not None:
        yield from limits_of(spec["limited"], "spec.limited")
    yield from parts_of(spec, "spec", LEVEL_PARTS, declared=declared)
    if spec.get("limited") is not None and (declared or kind == "Limited"):
        response = mapping(spec["limited"], "limitResponse")
        at = "spec.limited.limitResponse"
        yield from parts_of(response, at, RESPONSE_PARTS, declared=declared, judged=kind == "Limited")
    fixed = MANDATORY_LEVELS.get(name)
    have = {key: value for key, value in spec.items() if key != "exempt"}
    if fixed is not None and OLD_SHARES not in mapping(spec, "limited") and plain(have) != plain(fixed):
        but = " except the 'spec.exempt' field" if name == "exempt" else ""
        yield invalid("spec", spec, f"spec of '{name}'{but} must equal the fixed value")
    yield from conditions(mapping(new, "status"))


def shares_of(part: Any, path: str) -> Iterator[Cause]:
    for key in (SHARES, OLD_SHARES):
        shares = dig(part, key)
        if shares is not None and shares < 0:
            yield invalid(f"{path}.{key}", shares, "must be a non-negative integer")
    lendable, borrowing = dig(part, "lendablePercent"), dig(part, "borrowingLimitPercent")
    if lendable is not None and not 0 <= lendable <= 100:
        yield invalid(f"{path}.lendablePercent", lendable, "must be between 0 and 100, inclusive")
    if borrowing is not None and borrowing < 0:
        yield invalid(f"{path}.borrowingLimitPercent", borrowing, "if specified, must be a non-negative integer")


def limits_of(limited: Object, path: str) -> Iterator[Cause]:
    yield from shares_of(limited, path)
    response = mapping(limited, "limitResponse")
    if response.get("type") == "Queue" and response.get("queuing") is not None:
        yield from queues_of(response["queuing"], f"{path}.limitResponse.queuing")


def queues_of(queuing: Object, path: str) -> Iterator[Cause]:
    length, queues, hand = (queuing.get(key) or 0 for key in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        yield invalid(f"{path}.queueLengthLimit", length, "must be positive")
    if queues <= 0:
        yield invalid(f"{path}.queues", queues, "must be positive")
    elif queues > MAX_QUEUES:
        yield invalid(f"{path}.queues", queues, f"must not be greater than {MAX_QUEUES}")
    if hand <= 0:
        yield invalid(f"{path}.handSize", hand, "must be positive")
    elif hand > queues:
        yield invalid(f"{path}.handSize", hand, f"should not be greater than queues ({queues})")
    elif hand > HASH_BITS or entropy_bits(queues, hand) > HASH_BITS:
        why = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}"
        yield invalid(f"{path}.handSize", hand, why)


def entropy_bits(deck: int, hand: int) -> int:
    """Return how many bits a shuffle-shard hand takes (``shufflesharding.RequiredEntropyBits``)."""
    return math.ceil(math.log2(math.prod(deck - dealt for dealt in range(hand))))


# conversion


def to_new(level: Object) -> None:
    limited = dig(level, "spec", "limited")
    if limited is not None and OLD_SHARES in limited:
        limited[SHARES] = limited.pop(OLD_SHARES)


def to_old(level: Object) -> None:
    spec = mapping(level, "spec")
    spec.pop("exempt", None)
    limited = spec.get("limited")
    if limited is not None and SHARES in limited:
        limited[OLD_SHARES] = limited.pop(SHARES)
        for key in ("lendablePercent", "borrowingLimitPercent"):
            limited.pop(key, None)


CONVERSIONS = {
    (GROUP, "PriorityLevelConfiguration", one, other): convert
    for new in ("v1", "v1beta3")
    for old in OLD
    for one, other, convert in ((old, new, to_new), (new, old, to_old))
}


def schema_resource(version: str) -> Resource:
    return Resource(
        group=GROUP,
        version=version,
        kind="FlowSchema",
        plural="flowschemas",
        namespaced=False,
        status=True,
        default=default_schema,
        prepare=prepare,
        validate=collect(validate_schema),
        trusts_definition=False,
        columns=(
            NAME,
            Column("PriorityLevel", ".spec.priorityLevelConfiguration.name"),
            Column("MatchingPrecedence", number("spec", "matchingPrecedence"), type="integer"),
            Column("DistinguisherMethod", field("spec", "distinguisherMethod", "type")),
            AGE,
            Column("MissingPL", missing_level),
        ),
    )


def level_resource(version: str) -> Resource:
    shares = OLD_SHARES if version in OLD else SHARES

    def shared(level: Object) -> str:
        part = "exempt" if dig(level, "spec", "type") == "Exempt" else "limited"
        found = dig(level, "spec", part, shares)
        return "<none>" if found is None else str(found)

    return Resource(
        group=GROUP,
        version=version,
        kind="PriorityLevelConfiguration",
        plural="prioritylevelconfigurations",
        namespaced=False,
        status=True,
        default=default_level,
        prepare=prepare,
        by_version=levels_by_version,
        trusts_definition=False,
        columns=(
            NAME,
            Column("Type", ".spec.type"),
            Column(shares[0].upper() + shares[1:], shared),
            Column("Queues", field("spec", "limited", "limitResponse", "queuing", "queues")),
            Column("HandSize", field("spec", "limited", "limitResponse", "queuing", "handSize")),
            Column("QueueLengthLimit", field("spec", "limited", "limitResponse", "queuing", "queueLengthLimit")),
            AGE,
        ),
    )


RESOURCES = tuple(make(version) for version in VERSIONS for make in (schema_resource, level_resource))
