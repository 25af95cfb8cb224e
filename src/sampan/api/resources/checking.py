"""Checks that the validation of many kinds shares: each yields causes in Kubernetes' words.

Source: apimachinery pkg/api/validation, pkg/util/validation and apis/meta/v1/validation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.causes import forbidden, invalid, not_supported, required, too_long, too_long_text
from sampan.schema.names import (
    caseless_subdomain,
    config_map_key,
    dns1123_label,
    dns1123_subdomain,
    label_value,
    qualified_name,
)
from sampan.schema.objects import Object
from sampan.schema.remembering import remembered

IMMUTABLE = "field is immutable"
NON_NEGATIVE = "must be greater than or equal to 0"
PORT_RANGE = "must be between 1 and 65535, inclusive"
IANA_NAME = re.compile(r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
URL_PATH = re.compile(r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", re.ASCII)


def named(field: str, value: Any, check: Callable[[str], list[str]], *, needed: bool = True) -> Iterator[Cause]:
    """A name that ``check`` (of ``schema.names``) judges; missing is an error where it is needed."""
    if not value:
        if needed:
            yield required(field)
        return
    for message in check(value):
        yield invalid(field, value, message)


@remembered(4096)
def good_label(text: str) -> bool:
    """Whether a name is a DNS label: the same few come with every pod, so the answer is kept."""
    return not dns1123_label(text)


@remembered(4096)
def good_subdomain(text: str) -> bool:
    return not dns1123_subdomain(text)


def label(field: str, value: Any, *, needed: bool = True) -> Iterator[Cause]:
    return iter(()) if value and good_label(value) else named(field, value, dns1123_label, needed=needed)


def subdomain(field: str, value: Any, *, needed: bool = True) -> Iterator[Cause]:
    return iter(()) if value and good_subdomain(value) else named(field, value, dns1123_subdomain, needed=needed)


def qualified(field: str, value: Any) -> Iterator[Cause]:
    """A qualified name; the empty one is wrong in its own way."""
    for message in qualified_name(value or ""):
        yield invalid(field, value or "", message)


def label_key(field: str, value: Any) -> Iterator[Cause]:
    """``ValidateLabelName``."""
    return qualified(field, value)


def labels_of(labels: dict[str, Any], field: str) -> Iterator[Cause]:
    """``ValidateLabels``: a map of label keys to label values."""
    for key, value in labels.items():
        for message in qualified_name(key):
            yield invalid(field, key, message)
        for message in label_value(value):
            yield invalid(field, value, message)


def config_key(field: str, value: str) -> Iterator[Cause]:
    """The key that a reference names (``IsConfigMapKey``)."""
    for message in config_map_key(value):
        yield invalid(field, value, message)


def relative_path(field: str, value: str) -> Iterator[Cause]:
    """A path below something: not absolute, no ``..`` in it (``validateLocalDescendingPath``)."""
    if value.startswith("/"):
        yield invalid(field, value, "must be a relative path")
    yield from no_backsteps(field, value)


def no_backsteps(field: str, value: str) -> Iterator[Cause]:
    if ".." in value and ".." in value.split("/"):
        yield invalid(field, value, "must not contain '..'")


def unreserved_path(field: str, value: str) -> Iterator[Cause]:
    """A relative path that does not even begin with two dots (``ValidateLocalNonReservedPath``)."""
    yield from relative_path(field, value)
    if value.startswith("..") and not value.startswith("../"):
        yield invalid(field, value, "must not start with '..'")


def domain_prefixed_path(field: str, value: str) -> Iterator[Cause]:
    """A name like ``example.com/controller`` (``IsDomainPrefixedPath``)."""
    domain, slash, rest = value.partition("/")
    if not slash or not domain or not rest:
        yield invalid(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
        return
    for message in dns1123_subdomain(domain):
        yield invalid(field, domain, message)
    if not URL_PATH.fullmatch(rest):
        yield invalid(field, rest, f"Invalid path (regex used for validation is '{URL_PATH.pattern}')")


def domain_prefixed_key(field: str, key: str) -> Iterator[Cause]:
    """A key like ``example.com/what`` (``IsDomainPrefixedKey``)."""
    if not key:
        yield required(field)
        return
    messages = qualified_name(key)
    yield from (invalid(field, key, message) for message in messages)
    if not messages and "/" not in key:
        yield invalid(field, key, 'must be a domain-prefixed key (such as "acme.io/foo")')


def file_mode(field: str, value: Any) -> Iterator[Cause]:
    if value is not None and not 0 <= value <= 0o777:
        yield invalid(field, value, "must be a number between 0 and 0777 (octal), both inclusive")


def between(field: str, value: Any, low: int, high: int) -> Iterator[Cause]:
    """``InclusiveRangeError``."""
    if value is not None and not low <= value <= high:
        yield invalid(field, value, f"must be between {low} and {high}, inclusive")


def one_of(field: str, value: Any, supported: Iterable[str]) -> Iterator[Cause]:
    """An enumeration; a missing value is none of our business."""
    supported = tuple(supported)
    if value is not None and value not in supported:
        yield not_supported(field, value, supported)


def needed_one_of(field: str, value: Any, supported: Iterable[str]) -> Iterator[Cause]:
    if not value:
        yield required(field)
    else:
        yield from one_of(field, value, supported)


def non_negative(field: str, value: Any) -> Iterator[Cause]:
    if isinstance(value, int) and value < 0:
        yield invalid(field, value, NON_NEGATIVE)


def port_number(field: str, value: Any) -> Iterator[Cause]:
    if not isinstance(value, int) or not 0 < value < 65536:
        yield invalid(field, value, PORT_RANGE)


def port_name_messages(name: str) -> list[str]:
    """What is wrong with an IANA service name (``IsValidPortName``)."""
    messages = []
    if len(name) > 15:
        messages.append("must be no more than 15 characters")
    if not re.fullmatch(r"[-a-z0-9]+", name):
        messages.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", name):
        messages.append("must contain at least one letter (a-z)")
    if "--" in name:
        messages.append("must not contain consecutive hyphens")
    if name and (name[0] == "-" or name[-1] == "-"):
        messages.append("must not begin or end with a hyphen")
    return messages


def port_or_name(field: str, value: Any) -> Iterator[Cause]:
    if isinstance(value, str):
        for message in port_name_messages(value):
            yield invalid(field, value, message)
    else:
        yield from port_number(field, value)


def config_keys(field: str, keys: Iterable[str]) -> Iterator[Cause]:
    for key in keys:
        yield from config_key(f"{field}[{key}]", key)


def immutable(field: str, new: Any, old: Any) -> Iterator[Cause]:
    if new != old:
        yield invalid(field, new, IMMUTABLE)


def immutable_fields(new: Object, old: Object | None, *paths: str) -> Iterator[Cause]:
    """Fields (dotted paths) that an update may not change."""
    if old is None:
        return
    for path in paths:
        keys = path.split(".")
        yield from immutable(path, dig(new, *keys), dig(old, *keys))


def label_selector(field: str, selector: Any) -> Iterator[Cause]:
    """``ValidateLabelSelector``."""
    for key, value in mapping(selector, "matchLabels").items():
        for message in qualified_name(key):
            yield invalid(f"{field}.matchLabels", key, message)
        for message in label_value(value):
            yield invalid(f"{field}.matchLabels", value, message)
    for index, expression in enumerate(items(selector, "matchExpressions")):
        path = f"{field}.matchExpressions[{index}]"
        operator, values = expression.get("operator"), items(expression, "values")
        if operator in ("In", "NotIn"):
            if not values:
                yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        else:
            yield invalid(f"{path}.operator", operator or "", "not a valid selector operator")
        for message in qualified_name(expression.get("key") or ""):
            yield invalid(f"{path}.key", expression.get("key") or "", message)
        for place, value in enumerate(values):
            for message in label_value(value):
                yield invalid(f"{path}.values[{place}]", value, message)


def selects(selector: Any, labels: dict[str, Any]) -> bool:
    """Whether a well-formed LabelSelector matches."""
    if any(labels.get(key) != value for key, value in mapping(selector, "matchLabels").items()):
        return False
    for expression in items(selector, "matchExpressions"):
        key, values = expression.get("key"), items(expression, "values")
        matched = {
            "In": labels.get(key) in values and key in labels,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(expression.get("operator"), False)
        if not matched:
            return False
    return True


def collect(
    check: Callable[[Object, Object | None], Iterator[Cause]],
) -> Callable[[Object, Object | None], list[Cause]]:
    """Make a ``Validate`` of a generator."""
    return lambda new, old: list(check(new, old))


def declared_driver_name(path: str, name: str) -> Iterator[Cause]:
    """The same as declarative validation words it (1.37)."""
    if not name:
        yield required(path)
        return
    if len(name) > 63:
        yield too_long_text(path, 63)
    for message in caseless_subdomain(name):
        yield invalid(path, name, message)


def csi_driver_name(path: str, name: str) -> Iterator[Cause]:
    """The name of a CSI or DRA driver (``ValidateCSIDriverName``)."""
    if not name:
        yield required(path)
        return
    if len(name) > 63:
        yield too_long(path, 63)
    for message in dns1123_subdomain(name.lower()):
        yield invalid(path, name, message)
