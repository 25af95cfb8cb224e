"""The string formats of OpenAPI that Kubernetes checks in custom resources (kube-openapi's ``strfmt`` registry).

Held to what a generic Kubernetes API server (1.37) says of 200 values: ``tests/unit/schema/test_formats.py``.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime

_datetime = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_duration = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_scala_part = re.compile(r"[0-9]+\s*([A-Za-zµ]+)", re.ASCII)
SCALA_UNITS = frozenset(("ns", "us", "µs", "ms", "s", "m", "h", "hr", "d", "w", "wk"))
SCALA_WORDS = ("nano", "micro", "milli", "sec", "min", "hour", "day", "week")
_uuid = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{12}", re.I | re.A)
_mac = re.compile(
    r"[0-9a-f]{2}(?:([:-])[0-9a-f]{2})(?:\1[0-9a-f]{2})*|[0-9a-f]{4}(?:\.[0-9a-f]{4})+|[0-9a-f]+", re.I | re.A
)
MAC_DIGITS = (12, 16, 40)
_leading_zeros = re.compile(r"(?<![0-9A-Fa-f:.])0+(?=[0-9]+\.)|(?<=\.)0+(?=[0-9])", re.ASCII)
_colour = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", re.ASCII)
_part_of_colour = r"\s*(?:0|[1-9][0-9]?|1[0-9][0-9]?|2[0-4][0-9]|25[0-5])\s*"
_rgb = re.compile(rf"rgb\({_part_of_colour},{_part_of_colour},{_part_of_colour}\)", re.ASCII)
_ssn = re.compile(r"[0-9]{3}[- ][0-9]{2}[- ][0-9]{4}", re.ASCII)
_card = re.compile(
    r"4[0-9]{12}(?:[0-9]{3})?|5[1-5][0-9]{14}|6(?:011|5[0-9][0-9])[0-9]{12}|3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
    r"|(?:2131|1800|35[0-9]{3})[0-9]{11}",
    re.ASCII,
)
_base64 = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=|[A-Za-z0-9+/]{4})", re.ASCII)
_object_id = re.compile(r"[0-9a-f]{24}", re.I | re.A)
_label = "[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
_short_name = re.compile(_label, re.ASCII)
_long_name = re.compile(rf"{_label}(?:\.{_label})*", re.ASCII)

_comment = r"(?:[ \t]|\((?:[^()\\]|\\.)*\))*"
_atom = r"(?:[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]|[^\x00-\x7f])+"
_quoted = r'"(?:[^"\\\r\n]|\\.)*"'
_domain = rf"(?:{_atom}(?:\.{_atom})*|\[[0-9.]+\])"
_address = rf"(?:{_atom}(?:\.{_atom})*|{_quoted})@{_comment}{_domain}"
_email = re.compile(
    rf"[ \t]*(?:{_address}|(?:(?:{_atom}(?:\.{_atom})*|{_quoted}){_comment})*<{_comment}{_address}{_comment}>){_comment}"
)

_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):", re.ASCII)
_escapes = re.compile(r"(?:[^%]|%[0-9A-Fa-f]{2})*", re.DOTALL)
_host = re.compile(
    r"(?:[^@]*@)?(?:\[[0-9A-Fa-f:.]*(?:%25[^\]]*)?\]|(?:[A-Za-z0-9_.~!$&'()*+,;=<>\"-]|[^\x00-\x7f]|%[89A-Fa-f][0-9A-Fa-f])*)(?::[0-9]*)?"
)


def _date(text: str) -> bool:
    return len(text) == 10 and _parses(date.fromisoformat, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True


def _date_time(text: str) -> bool:
    match = _datetime.fullmatch(text)
    return match is not None and _parses(datetime.fromisoformat, text[:19].replace("t", "T"))


def is_duration(text: str) -> bool:
    """Whether a text is a duration of Go, or holds one of Scala (``22 ns``, ``1 day``)."""
    return bool(_duration.fullmatch(text)) or any(map(_is_unit, _scala_part.findall(text)))


def _is_unit(unit: str) -> bool:
    unit = unit.lower()
    return unit in SCALA_UNITS or unit.startswith(SCALA_WORDS)


def _ipv4(text: str) -> bool:
    return "." in text and _parses(ipaddress.ip_address, _without_zeros(text)) and "%" not in text


def _without_zeros(text: str) -> str:
    """Return an address without the leading zeros of an IPv4 address's parts, which Kubernetes still reads over here."""
    return _leading_zeros.sub("", text)


def _ipv6(text: str) -> bool:
    return "%" not in text and _parses(ipaddress.IPv6Address, text)


def _cidr(text: str) -> bool:
    mask = text.rpartition("/")[2]
    return "%" not in text and "/" in text and mask.isdigit() and _parses(ipaddress.ip_interface, _without_zeros(text))


def _uuid_of(version: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        match = _uuid.fullmatch(text)
        if match is None:
            return False
        return not version or (match[1] == version and (version == "3" or match[2] in "89abAB"))

    return check


def _mac_address(text: str) -> bool:
    return _mac.fullmatch(text) is not None and len(re.sub("[:.-]", "", text)) in MAC_DIGITS


def _hostname(text: str) -> bool:
    """As strfmt's pattern: one label, or labels with dots behind them, and a last part of at least two letters."""
    parts = text.split(".")
    if len(text.encode()) > 255 or any(len(part.encode()) > 63 for part in parts):
        return False
    if len(parts) == 1:
        return _one_label(text)
    *labels, last = parts
    letters = len(last) >= 2 and all(unicodedata.category(letter)[0] == "L" for letter in last)
    return letters and all(map(_dotted_label, labels))


def _one_label(text: str) -> bool:
    """A first character, perhaps a dash, and others."""
    return bool(text) and "-" not in text[0] + text[1:].removeprefix("-") and all(map(_in_label, text))


def _dotted_label(text: str) -> bool:
    return bool(text) and text[0] != "-" and text[-1] != "-" and all(map(_in_label, text))


def _in_label(character: str) -> bool:
    if character.isascii():
        return character.isalnum() or character in "-$+<=>^`|~"
    return unicodedata.category(character)[0] in "LS"


def _uri(text: str) -> bool:
    """As Go's ``url.ParseRequestURI``: an absolute URI or an absolute path."""
    if text == "*":
        return True
    if not text or any(character < " " or character == "\x7f" for character in text):
        return False
    match = _scheme.match(text)
    rest = (text[match.end() :] if match else text).partition("?")[0]
    if not rest.startswith("/"):
        return match is not None
    if match and rest.startswith("//"):
        host, slash, path = rest[2:].partition("/")
        return _host.fullmatch(host) is not None and _escapes.fullmatch(slash + path) is not None
    return _escapes.fullmatch(rest) is not None


def _isbn10(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch("[0-9]{9}[0-9X]", digits, re.ASCII):
        return False
    values = [10 if digit == "X" else int(digit) for digit in digits]
    return sum(place * value for place, value in enumerate(values, 1)) % 11 == 0


def _isbn13(text: str) -> bool:
    digits = re.sub(r"[\s-]", "", text)
    if not re.fullmatch("[0-9]{13}", digits, re.ASCII):
        return False
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits)) % 10 == 0


def _credit_card(text: str) -> bool:
    digits = re.sub("[^0-9]+", "", text)
    if not _card.fullmatch(digits):
        return False
    doubled = [int(digit) * (1 + place % 2) for place, digit in enumerate(reversed(digits))]
    return sum(value // 10 + value % 10 for value in doubled) % 10 == 0


def _matches(pattern: re.Pattern[str], longest: int = 0) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None and (not longest or len(text) <= longest)


FORMATS: dict[str, Callable[[str], bool]] = {
    "bsonobjectid": _matches(_object_id),
    "byte": _matches(_base64),
    "cidr": _cidr,
    "creditcard": _credit_card,
    "date": _date,
    "datetime": _date_time,
    "duration": is_duration,
    "email": _matches(_email),
    "hexcolor": _matches(_colour),
    "hostname": _hostname,
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "isbn": lambda text: _isbn10(text) or _isbn13(text),
    "isbn10": _isbn10,
    "isbn13": _isbn13,
    "k8slongname": _matches(_long_name, 253),
    "k8sshortname": _matches(_short_name, 63),
    "mac": _mac_address,
    "password": lambda text: True,
    "rgbcolor": _matches(_rgb),
    "ssn": _matches(_ssn),
    "uri": _uri,
    "uuid": _uuid_of(""),
    "uuid3": _uuid_of("3"),
    "uuid4": _uuid_of("4"),
    "uuid5": _uuid_of("5"),
}
"""By the format's name without dashes; a format that is not here is not checked, as in Kubernetes."""


def format_check(name: str) -> Callable[[str], bool] | None:
    return FORMATS.get(name.replace("-", ""))
