"""Why an object is refused, worded as Kubernetes' ``field.Error`` does.

``field`` is the path (``spec.containers[0].image``), ``message`` the detail after it (``Required value``). The makers
below are ``field.Required``, ``field.Invalid`` … of apimachinery's ``util/validation/field``.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

NO_MAP = orjson.Fragment(b"null")
"""How a map that is not there is shown: as ``null``, where a missing pointer is shown as ``"null"``."""


class Cause(NamedTuple):
    field: str
    reason: str
    message: str


def quoted(value: Any) -> str:
    """Return a value as Kubernetes shows a bad one: strings quoted, everything else as JSON."""
    if value is None:
        return '"null"'
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def required(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueRequired", f"Required value: {detail}" if detail else "Required value")


def invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueInvalid", f"Invalid value: {quoted(value)}{f': {detail}' if detail else ''}")


def invalid_unshown(field: str, detail: str) -> Cause:
    """``field.Invalid`` of a value that is not shown (``OmitValueType``)."""
    return Cause(field, "FieldValueInvalid", f"Invalid value: {detail}")


def type_invalid(field: str, value: Any, detail: str) -> Cause:
    return Cause(field, "FieldValueTypeInvalid", f"Invalid value: {quoted(value)}: {detail}")


def not_supported(field: str, value: Any, supported: Iterable[Any]) -> Cause:
    known = ", ".join(quoted(item) for item in supported)
    return Cause(field, "FieldValueNotSupported", f"Unsupported value: {quoted(value)}: supported values: {known}")


def duplicate(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueDuplicate", f"Duplicate value: {quoted(value)}")


def forbidden(field: str, detail: str = "") -> Cause:
    return Cause(field, "FieldValueForbidden", f"Forbidden: {detail}" if detail else "Forbidden")


def not_found(field: str, value: Any) -> Cause:
    return Cause(field, "FieldValueNotFound", f"Not found: {quoted(value)}")


def too_long(field: str, limit_bytes: int) -> Cause:
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit_bytes} bytes")


def too_long_text(field: str, limit_characters: int) -> Cause:
    """As declarative validation says it (``maxLength``)."""
    return Cause(field, "FieldValueTooLong", f"Too long: may not be more than {limit_characters} characters")


def too_many(field: str, count: int, limit: int) -> Cause:
    plural = "" if limit == 1 else "s"
    return Cause(field, "FieldValueTooMany", f"Too many: {count}: must have at most {limit} item{plural}")
