"""``format.dns1123Label().validate(x)``: Kubernetes' named string formats (1.31)."""

from __future__ import annotations

from collections.abc import Callable

from sampan.schema import names
from sampan.schema.cel.declarations import overload
from sampan.schema.cel.libraries.urls import request_uri_problem
from sampan.schema.cel.values import NONE, Opaque, Optional
from sampan.schema.formats import FORMATS

Check = Callable[[str], list[str]]


class Format(Opaque):
    """A named check; ``regex_size`` is what its pattern counts for in costs."""

    __slots__ = ("check", "name", "regex_size")
    type_name = "kubernetes.NamedFormat"

    def __init__(self, name: str, check: Check, regex_size: int) -> None:
        self.name = name
        self.check = check
        self.regex_size = regex_size


def _prefix(check: Check) -> Check:
    """A name that more will be put behind: it may end in a dash."""
    return lambda text: check(text[:-1] + "a" if len(text) > 1 and text.endswith("-") else text)


def _formats(name: str, message: str) -> Check:
    accepts = FORMATS[name]
    return lambda text: [] if accepts(text) else [message]


def _uri(text: str) -> list[str]:
    problem = request_uri_problem(text)
    return [problem] if problem else []


NAMED: dict[str, Format] = {
    name: Format(shown, check, size)
    for name, shown, check, size in (
        ("dns1123Label", "DNS1123Label", names.dns1123_label, 30),
        ("dns1123Subdomain", "DNS1123Subdomain", names.dns1123_subdomain, 60),
        ("dns1035Label", "DNS1035Label", names.dns1035_label, 30),
        ("qualifiedName", "QualifiedName", names.qualified_name, 60),
        ("dns1123LabelPrefix", "DNS1123LabelPrefix", _prefix(names.dns1123_label), 30),
        ("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", _prefix(names.dns1123_subdomain), 60),
        ("dns1035LabelPrefix", "DNS1035LabelPrefix", _prefix(names.dns1035_label), 30),
        ("labelValue", "LabelValue", names.label_value, 40),
        ("uri", "URI", _uri, 1103),
        ("uuid", "uuid", _formats("uuid", "does not match the UUID format"), 70),
        ("byte", "byte", _formats("byte", "invalid base64"), 84),
        ("date", "date", _formats("date", "invalid date"), 71),
        ("datetime", "datetime", _formats("datetime", "invalid datetime"), 71),
    )
}
LARGEST_REGEX = 128
"""What the estimate takes the pattern of any format for (apiserver's cel.MaxNameFormatRegexSize)."""


def _named(name: str) -> Optional:
    return Optional(NAMED[name]) if name in NAMED else NONE


def _validate(format: Format, text: str) -> Optional:
    found = format.check(text)
    return Optional(found) if found else NONE


def _constant(format: Format) -> Callable[[], Format]:
    return lambda: format


NAMED_FORMATS = [
    overload("format-validate", "Format.validate(string) -> optional(list(string))", _validate),
    overload("format-named", "format.named(string) -> optional(Format)", _named),
    *(overload(f"format.{name}", f"format.{name}() -> Format", _constant(format)) for name, format in NAMED.items()),
]
