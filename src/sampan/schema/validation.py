"""OpenAPI v3 schemas of CRDs as validators: compiled once to closures, worded as Kubernetes (kube-openapi) does.

``compile_validator(schema)`` returns ``(value, path, causes)``: it appends a ``Cause`` for each thing wrong. Only what
structural schemas may say is understood; CEL rules (``x-kubernetes-validations``) are not this module's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import orjson

from sampan.schema.causes import Cause, duplicate, invalid, not_supported, required, too_long, too_many, type_invalid
from sampan.schema.formats import format_check
from sampan.schema.patterns import Pattern, PatternError, compile_pattern

Validator = Callable[[Any, str, list[Cause]], None]

ROOTLESS = "<nil>"
"""The path Kubernetes gives to what oneOf, anyOf, allOf and not find."""

INT_OR_STRING = "x-kubernetes-int-or-string"


def json_type(value: Any) -> str:
    """Return OpenAPI's name of a JSON value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, str):
        return "string"
    if isinstance(value, (int, float)):
        return "integer" if isinstance(value, int) else "number"
    return "array" if isinstance(value, list) else "object"


def compile_validator(schema: dict[str, Any]) -> Validator:
    """Return the validator of a schema."""
    checks = [make(schema) for make in MAKERS]
    steps = [check for check in checks if check is not None]
    nullable, enum = bool(schema.get("nullable")), schema.get("enum")

    def validate(value: Any, path: str, causes: list[Cause]) -> None:
        if value is None and nullable:
            if enum:  # it does not take null, not even one that has null
                refusal = not_supported(path, None, _shown(enum))
                causes.append(refusal._replace(message=refusal.message.replace('"null"', "null", 1)))
            return
        for step in steps:
            step(value, path, causes)

    return validate


def _types(schema: dict[str, Any]) -> Validator | None:
    kind = schema.get("type", "")
    allowed = ("integer", "string") if schema.get(INT_OR_STRING) and not kind else (kind,) if kind else ()
    if not allowed:
        return None
    text = ",".join(allowed)

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        found = json_type(value)
        if found in allowed or (found == "integer" and "number" in allowed):
            return
        if found == "number" and "integer" in allowed and value.is_integer() and abs(value) < EXACT:
            return
        causes.append(type_invalid(path, found, f'{path} in body must be of type {text}: "{found}"'))

    return check


def _enum(schema: dict[str, Any]) -> Validator | None:
    values = schema.get("enum")
    if not values:
        return None
    allowed, shown = {_token(value) for value in values}, _shown(values)

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if _token(value) not in allowed:
            causes.append(not_supported(path, value, shown))

    return check


def _token(value: Any) -> bytes:
    """Return what equal values have alike: 1.0 is 1."""
    return orjson.dumps(int(value) if isinstance(value, float) and value.is_integer() and abs(value) < EXACT else value)


def _shown(values: list[Any]) -> list[str]:
    return [value if isinstance(value, str) else orjson.dumps(value).decode() for value in values]


RANGES = {"int32": 2**31, "int64": 2**63}
EXACT = 2**53
"""Floating point numbers below are exact where they are whole."""


def _numbers(schema: dict[str, Any]) -> Validator | None:
    low, high, step = schema.get("minimum"), schema.get("maximum"), schema.get("multipleOf")
    integer, format = schema.get("type") == "integer", schema.get("format", "")
    if low is None and high is None and not step and not integer:
        return None
    limit, what = (
        RANGES.get(format, RANGES["int64"]),
        f"with format {format}" if format in RANGES else "(default format)",
    )
    low_open, high_open = bool(schema.get("exclusiveMinimum")), bool(schema.get("exclusiveMaximum"))

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return
        if integer and not (-limit <= value < limit and (isinstance(value, int) or value.is_integer())):
            causes.append(invalid(ROOTLESS, "", f"Checked value must be of type integer {what} in {path}"))
        kind = type(value)  # bounds and steps are cut to whole numbers for whole numbers, as in kube-openapi
        if step and not kind(step):
            causes.append(invalid(path, 0, f"factor MultipleOf declared for {path} must be positive: 0"))
        elif step and not _is_multiple(value, kind(step)):
            causes.append(invalid(path, value, f"{path} in body should be a multiple of {_number(kind(step))}"))
        if low is not None and (value <= kind(low) if low_open else value < kind(low)):
            words = "greater than" if low_open else "greater than or equal to"
            causes.append(invalid(path, value, f"{path} in body should be {words} {_number(kind(low))}"))
        if high is not None and (value >= kind(high) if high_open else value > kind(high)):
            words = "less than" if high_open else "less than or equal to"
            causes.append(invalid(path, value, f"{path} in body should be {words} {_number(kind(high))}"))

    return check


def _is_multiple(value: float, step: float) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    quotient = value / step
    whole = float(round(quotient)) if abs(quotient) < EXACT else quotient
    return abs(quotient - whole) <= 1e-9 * abs(quotient + whole)


def _number(value: float) -> str:
    """Return a number as Go's ``%v`` shows it."""
    if isinstance(value, int):
        return str(value)
    digits = Decimal(repr(value)).normalize()
    exponent = digits.adjusted()
    return f"{digits:f}" if -4 <= exponent < 6 else f"{digits.scaleb(-exponent):f}e{exponent:+03d}"


def _strings(schema: dict[str, Any]) -> Validator | None:
    shortest, longest, pattern = schema.get("minLength", 0), schema.get("maxLength"), schema.get("pattern")
    is_format = format_check(schema.get("format", "")) if schema.get("type", "string") == "string" else None
    expression, wrong = _compiled(pattern) if pattern else (None, "")
    if not shortest and longest is None and not pattern and is_format is None:
        return None

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if not isinstance(value, str):
            return
        if longest is not None and len(value) > longest:
            causes.append(too_long(path, longest))
        if len(value) < shortest:
            causes.append(invalid(path, value, f"{path} in body should be at least {shortest} chars long"))
        if pattern and (expression is None or not expression.search(value)):
            causes.append(invalid(path, value, f"{path} in body should match '{pattern}{wrong}'"))
        if is_format is not None and not is_format(value):
            text = f"{path} in body must be of type {schema['format']}: {orjson.dumps(value).decode()}"
            causes.append(type_invalid(path, value, text))

    return check


def _compiled(pattern: str) -> tuple[Pattern | None, str]:
    """Return a pattern; nothing matches one that is none, and the second says why (an old store may have such)."""
    try:
        return compile_pattern(pattern), ""
    except PatternError as error:
        return None, f", but pattern is invalid: {error}"


def _arrays(schema: dict[str, Any]) -> Validator | None:
    fewest, most, items = schema.get("minItems", 0), schema.get("maxItems"), schema.get("items")
    each = compile_validator(items) if items else None
    unique = _uniqueness(schema)
    if not fewest and most is None and each is None and unique is None:
        return None

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if not isinstance(value, list):
            return
        if each is not None:
            for index, item in enumerate(value):
                each(item, f"{path}[{index}]", causes)
        if len(value) < fewest:
            causes.append(invalid(path, len(value), f"{path} in body should have at least {fewest} items"))
        if most is not None and len(value) > most:
            causes.append(too_many(path, len(value), most))
        if unique is not None:
            unique(value, path, causes)

    return check


def _uniqueness(schema: dict[str, Any]) -> Validator | None:
    """``x-kubernetes-list-type`` set and map: no two items with the same value or keys."""
    kind = schema.get("x-kubernetes-list-type")
    if kind not in ("set", "map"):
        return None
    keys = schema.get("x-kubernetes-list-map-keys") or ()

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        seen: dict[bytes, int] = {}
        for index, item in enumerate(value):
            here = f"{path}[{index}]"
            if kind == "map" and item is not None and not isinstance(item, dict):
                causes.append(invalid(here, item, "must be an object for an array of list-type map"))
                return
            identity = item if kind == "set" else {key: item[key] for key in keys if key in (item or {})}
            token = orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)
            seen[token] = seen.get(token, 0) + 1
            if seen[token] == 2:
                causes.append(duplicate(here, identity))

    return check


def _objects(schema: dict[str, Any]) -> Validator | None:
    properties = {name: compile_validator(child) for name, child in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    other = compile_validator(additional) if isinstance(additional, dict) else None
    must = schema.get("required") or ()
    fewest, most = schema.get("minProperties", 0), schema.get("maxProperties")
    if not properties and other is None and not must and not fewest and most is None:
        return None

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if not isinstance(value, dict):
            return
        prefix = f"{path}." if path else ""
        if len(value) < fewest:
            causes.append(invalid(path, len(value), f"{path} in body should have at least {fewest} properties"))
        if most is not None and len(value) > most:
            causes.append(too_many(path, len(value), most))
        for name in must:
            if name not in value:
                causes.append(required(prefix + name))
        for name, item in value.items():
            validator = properties.get(name, other)
            if validator is not None:
                validator(item, prefix + name, causes)

    return check


def _composition(schema: dict[str, Any]) -> Validator | None:
    any_of = [compile_validator(child) for child in schema.get("anyOf") or ()]
    one_of = [compile_validator(child) for child in schema.get("oneOf") or ()]
    all_of = [compile_validator(child) for child in schema.get("allOf") or ()]
    negated = compile_validator(schema["not"]) if isinstance(schema.get("not"), dict) else None
    if not any_of and not one_of and not all_of and negated is None:
        return None

    def complain(path: str, text: str, causes: list[Cause]) -> None:
        causes.append(invalid(ROOTLESS, "", f'"{path}" must {text}'))

    def check(value: Any, path: str, causes: list[Cause]) -> None:
        if any_of:
            failures = _failures(any_of, value, path)
            if all(failures):
                complain(path, "validate at least one schema (anyOf)", causes)
                causes += _fewest(failures)
        if one_of:
            failures = _failures(one_of, value, path)
            valid = sum(not failure for failure in failures)
            if valid != 1:
                found = f"{valid} valid alternatives" if valid else "none valid"
                complain(path, f"validate one and only one schema (oneOf). Found {found}", causes)
                causes += _fewest(failures) if not valid else []
        failures = _failures(all_of, value, path)
        if any(failures):
            none = ". None validated" if all(failures) else ""
            causes += [cause for failure in failures for cause in failure]
            complain(path, f"validate all the schemas (allOf){none}", causes)
        if negated is not None and not _failures([negated], value, path)[0]:
            complain(path, "not validate the schema (not)", causes)

    return check


def _failures(validators: list[Validator], value: Any, path: str) -> list[list[Cause]]:
    results: list[list[Cause]] = []
    for validator in validators:
        causes: list[Cause] = []
        validator(value, path, causes)
        results.append(causes)
    return results


def _fewest(failures: list[list[Cause]]) -> list[Cause]:
    """The alternative that came closest: its complaints help most. What is said beside a wrong type does not count."""
    return min(failures, key=lambda found: sum(cause.field != ROOTLESS for cause in found))


MAKERS = (_types, _enum, _numbers, _strings, _arrays, _objects, _composition)
