"""What may be a name, a label, an annotation: the checks of apimachinery's ``util/validation``, in its words.

Every check returns the reasons why a text is refused (``[]``: it is fine). ``validate_metadata`` is
``ValidateObjectMeta``: it returns causes with their field paths.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from sampan.schema.causes import Cause, forbidden, invalid, required, too_long
from sampan.schema.objects import Object, split_api_version

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = LABEL + r"(\." + LABEL + ")*"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
QUALIFIED = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
CONFIG_MAP_KEY = "[-._a-zA-Z0-9]+"
LABEL_VALUE = f"({QUALIFIED})?"

LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
CASELESS_SUBDOMAIN_TEXT = (
    "an RFC 1123 subdomain must consist of alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
LABEL_1035_TEXT = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
CONFIG_MAP_KEY_TEXT = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
LABEL_VALUE_TEXT = f"a valid label must be an empty string or {QUALIFIED_TEXT.removeprefix('must ')}"

ANNOTATIONS_LIMIT_BYTES = 256 * 1024

_plain = re.compile("[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?", re.ASCII).fullmatch
"""What nearly every name is: a label, and so a subdomain too."""
_label = re.compile(LABEL, re.ASCII)
_subdomain = re.compile(SUBDOMAIN, re.ASCII)
_caseless_subdomain = re.compile(SUBDOMAIN, re.ASCII | re.IGNORECASE)
_label_1035 = re.compile(LABEL_1035, re.ASCII)
_qualified = re.compile(QUALIFIED, re.ASCII)
_config_map_key = re.compile(CONFIG_MAP_KEY, re.ASCII)
_label_value = re.compile(LABEL_VALUE, re.ASCII)

Check = Callable[[str], list[str]]


def length(limit: int, unit: str = "characters") -> str:
    """Return what is said of a text that is too long. Labels' keys and values are said to have bytes."""
    return f"must be no more than {limit} {unit}"


def pattern(text: str, regex: str, *examples: str) -> str:
    """Return a message that shows examples and the regular expression (``validation.RegexError``)."""
    if not examples:
        return f"{text} (regex used for validation is '{regex}')"
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{text} (e.g. {shown}regex used for validation is '{regex}')"


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def dns1123_label(text: str) -> list[str]:
    """RFC 1123 label: namespaces, and parts of names that become DNS labels."""
    if _plain(text):
        return []
    errors = [length(63)] if _size(text) > 63 else []
    if not _label.fullmatch(text):
        dotted = bool(_subdomain.fullmatch(text))
        errors.append("must not contain dots" if dotted else pattern(LABEL_TEXT, LABEL, "my-name", "123-abc"))
    return errors


def dns1123_subdomain(text: str) -> list[str]:
    """RFC 1123 subdomain: the names of most resources."""
    if _plain(text):
        return []
    errors = [length(253)] if _size(text) > 253 else []
    if not _subdomain.fullmatch(text):
        errors.append(pattern(SUBDOMAIN_TEXT, SUBDOMAIN, "example.com"))
    return errors


def dns1035_label(text: str) -> list[str]:
    """RFC 1035 label: the names of Services."""
    errors = [length(63)] if _size(text) > 63 else []
    if not _label_1035.fullmatch(text):
        errors.append(pattern(LABEL_1035_TEXT, LABEL_1035, "my-name", "abc-123"))
    return errors


def path_segment(text: str) -> list[str]:
    """What may stand between two slashes: RBAC names."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return path_segment_prefix(text)


def path_segment_prefix(text: str) -> list[str]:
    return [f"may not contain '{character}'" for character in "/%" if character in text]


def qualified_name(text: str) -> list[str]:
    """A label key: a name of 63 characters with an optional DNS prefix (``example.com/name``)."""
    parts = text.split("/")
    message = pattern(QUALIFIED_TEXT, QUALIFIED, "MyName", "my.name", "123-abc")
    if len(parts) > 2:
        return [
            f"a valid label key {message} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    errors = []
    if len(parts) == 2:
        errors = [f"prefix part {why}" for why in (dns1123_subdomain(parts[0]) if parts[0] else ["must be non-empty"])]
    name = parts[-1]
    if not name:
        errors.append("name part must be non-empty")
    elif _size(name) > 63:
        errors.append(f"name part {length(63, 'bytes')}")
    if not _qualified.fullmatch(name):
        errors.append(f"name part {message}")
    return errors


def label_value(text: str) -> list[str]:
    errors = [length(63, "bytes")] if _size(text) > 63 else []
    if not _label_value.fullmatch(text):
        errors.append(pattern(LABEL_VALUE_TEXT, LABEL_VALUE, "MyValue", "my_value", "12345"))
    return errors


LONGEST_KEY = 253 + 1 + 63
"""Nothing longer may be a key: such texts are never kept in the cache."""


@lru_cache(maxsize=8192)
def _good_key(key: str) -> bool:
    return not qualified_name(key)


@lru_cache(maxsize=8192)
def _good_value(value: str) -> bool:
    return not label_value(value)


def _is_key(key: str) -> bool:
    return len(key) <= LONGEST_KEY and _good_key(key)


def _is_label(key: str, value: str) -> bool:
    return len(value) <= 63 and _good_value(value) and _is_key(key)


def short_name(text: str) -> list[str]:
    """A DNS label, in the words of declarative validation (``k8s-short-name``): what is too long has too many bytes."""
    return [message.replace(length(63), length(63, "bytes")) for message in dns1123_label(text)]


def long_name(text: str) -> list[str]:
    """A DNS subdomain, in the words of declarative validation (``k8s-long-name``)."""
    return [message.replace(length(253), length(253, "bytes")) for message in dns1123_subdomain(text)]


def caseless_subdomain(text: str) -> list[str]:
    """``IsDNS1123SubdomainCaseless``, in the words of declarative validation (``k8s-long-name-caseless``)."""
    errors = [length(253, "bytes")] if _size(text) > 253 else []
    if not _caseless_subdomain.fullmatch(text):
        errors.append(pattern(CASELESS_SUBDOMAIN_TEXT, SUBDOMAIN, "Example.com"))
    return errors


def config_map_key(text: str) -> list[str]:
    """``IsConfigMapKey``."""
    errors = [length(253)] if _size(text) > 253 else []
    if not _config_map_key.fullmatch(text):
        errors.append(pattern(CONFIG_MAP_KEY_TEXT, CONFIG_MAP_KEY, "key.name", "KEY_NAME", "key-name"))
    if text in (".", ".."):
        errors.append(f"must not be '{text}'")
    elif text.startswith(".."):
        errors.append("must not start with '..'")
    return errors


NAME_CHECKS: dict[str, Check] = {
    "subdomain": dns1123_subdomain,
    "label": dns1123_label,
    "label1035": dns1035_label,
    "path": path_segment,
    "key": config_map_key,
}


def validate_labels(labels: dict[str, str], field: str = "metadata.labels") -> list[Cause]:
    causes: list[Cause] = []
    for key, value in labels.items():
        if not _is_label(key, value):
            causes += [invalid(field, key, why) for why in qualified_name(key)]
            causes += [invalid(field, value, why) for why in label_value(value)]
    return causes


def validate_annotations(annotations: dict[str, str], field: str = "metadata.annotations") -> list[Cause]:
    causes: list[Cause] = []
    total_bytes = 0
    for key, value in annotations.items():
        if not _is_key(key.lower()):
            causes += [invalid(field, key, why) for why in qualified_name(key.lower())]
        total_bytes += _size(key) + _size(value)
    if total_bytes > ANNOTATIONS_LIMIT_BYTES:
        causes.append(too_long(field, ANNOTATIONS_LIMIT_BYTES))
    return causes


def validate_finalizers(finalizers: list[str], field: str = "metadata.finalizers") -> list[Cause]:
    causes = [invalid(field, name, why) for name in finalizers if not _is_key(name) for why in qualified_name(name)]
    if "orphan" in finalizers and "foregroundDeletion" in finalizers:
        text = "finalizer orphan and foregroundDeletion cannot be both set"
        causes.append(invalid(field, finalizers, text))
    return causes


def validate_owner_references(references: list[Object], field: str = "metadata.ownerReferences") -> list[Cause]:
    causes: list[Cause] = []
    controller = ""
    for index, reference in enumerate(references):
        here = f"{field}[{index}]"
        api_version = reference.get("apiVersion", "")
        if api_version and (api_version.count("/") > 1 or not split_api_version(api_version)[1]):
            text = "must be <group>/<version> or <version>"
            causes.append(invalid(f"{here}.apiVersion", api_version, text))
        names = ("apiVersion", "kind", "name", "uid")
        causes += [required(f"{here}.{name}", "must not be empty") for name in names if not reference.get(name)]
        if (api_version, reference.get("kind")) == ("v1", "Event"):
            causes.append(invalid(here, reference, "/v1, Kind=Event is disallowed from being an owner"))
        if reference.get("controller"):
            this = f"{reference.get('kind')}/{reference.get('name')}"
            if controller:
                text = "Only one reference can have Controller set to true."
                found = f'Found "true" in references for {controller} and {this}'
                causes.append(invalid(field, references, f"{text} {found}"))
            controller = controller or this
    return causes


def validate_metadata(obj: Object, name_is: str = "subdomain", namespaced: bool = True) -> list[Cause]:
    """Return why an object's metadata is refused on create, in the order of ``ValidateObjectMeta``; generateName has
    been made a name before. ``name_is`` is subdomain, label, label1035, path or key."""
    metadata: dict[str, Any] = obj.get("metadata") or {}
    causes = _validate_names(metadata, NAME_CHECKS[name_is], name_is)
    namespace = metadata.get("namespace", "")
    if not namespaced:
        if namespace:
            causes.append(forbidden("metadata.namespace", "not allowed on this type"))
    elif not namespace:
        causes.append(required("metadata.namespace"))
    else:
        causes += [invalid("metadata.namespace", namespace, why) for why in dns1123_label(namespace)]
    return causes + validate_metadata_parts(metadata)


def _validate_names(metadata: dict[str, Any], check: Check, name_is: str) -> list[Cause]:
    causes: list[Cause] = []
    base, name = metadata.get("generateName"), metadata.get("name")
    if base:
        # a prefix may end in a dash: Kubernetes masks it before it checks (``maskTrailingDash``)
        masked = base[:-1] + "a" if base.endswith("-") and len(base) > 1 and name_is != "path" else base
        prefix_check = path_segment_prefix if name_is == "path" else check
        causes += [invalid("metadata.generateName", base, why) for why in prefix_check(masked)]
    if not name:
        causes.append(required("metadata.name", "name or generateName is required"))
    else:
        causes += [invalid("metadata.name", name, why) for why in check(name)]
    return causes


def validate_metadata_parts(metadata: dict[str, Any]) -> list[Cause]:
    """Return why labels, annotations, owner references or finalizers are refused, on create and update alike."""
    causes: list[Cause] = []
    generation = metadata.get("generation", 0)
    if generation < 0:
        causes.append(invalid("metadata.generation", generation, "must be greater than or equal to 0"))
    if metadata.get("labels"):
        causes += validate_labels(metadata["labels"])
    if metadata.get("annotations"):
        causes += validate_annotations(metadata["annotations"])
    if metadata.get("ownerReferences"):
        causes += validate_owner_references(metadata["ownerReferences"])
    if metadata.get("finalizers"):
        causes += validate_finalizers(metadata["finalizers"])
    return causes
