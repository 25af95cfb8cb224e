"""The string formats of OpenAPI that Kubernetes checks in custom resources (kube-openapi's ``strfmt`` registry)."""

from __future__ import annotations

import binascii
import ipaddress
import re
from collections.abc import Callable
from datetime import date, datetime

_datetime = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})", re.ASCII
)
_duration = re.compile(r"[-+]?(?:0|(?:(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_words = r"nanoseconds?|nanos?|microseconds?|micros?|milliseconds?|millis?|seconds?|minutes?|hours?|days?|weeks?"
_scala_duration = re.compile(
    rf"[0-9]+(?:\.[0-9]+)?\s*(?:ns|us|µs|μs|ms|sec|secs|s|min|mins|m|hrs|hr|h|d|w|{_words})", re.ASCII | re.IGNORECASE
)
_uuid = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?([0-9a-f])[0-9a-f]{3}-?([0-9a-f])[0-9a-f]{3}-?[0-9a-f]{12}", re.I | re.A)
_hostname = re.compile(
    r"(?=.{1,253}$)[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
    r"(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?)*\.?",
    re.ASCII,
)
_email = re.compile(r"[^\s@<>]+@[^\s@<>]+", re.ASCII)
_mac = re.compile(
    r"(?:[0-9a-f]{2}([:-]))(?:[0-9a-f]{2}\1){4,18}[0-9a-f]{2}|(?:[0-9a-f]{4}\.){2,9}[0-9a-f]{4}", re.I | re.A
)
_leading_zeros = re.compile(r"(?<![0-9A-Fa-f:.])0+(?=[0-9]+\.)|(?<=\.)0+(?=[0-9])", re.ASCII)
_uri = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:[^\s]+|/[^\s]*)", re.ASCII)
_colour = re.compile(r"#?(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})", re.ASCII)
_ssn = re.compile(r"[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4}", re.ASCII)


def _date(text: str) -> bool:
    return len(text) == 10 and _parses(date.fromisoformat, text)


def _parses(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except (ValueError, binascii.Error):
        return False
    return True


def _date_time(text: str) -> bool:
    match = _datetime.fullmatch(text)
    return match is not None and _parses(datetime.fromisoformat, text[:19].replace("t", "T"))


def is_duration(text: str) -> bool:
    return bool(_duration.fullmatch(text) or _scala_duration.fullmatch(text))


def _ipv4(text: str) -> bool:
    return "." in text and _parses(ipaddress.ip_address, _without_zeros(text)) and "%" not in text


def _without_zeros(text: str) -> str:
    """Return an address without the leading zeros of an IPv4 address's parts, which Kubernetes still reads over here."""
    return _leading_zeros.sub("", text)


def _ipv6(text: str) -> bool:
    return "%" not in text and _parses(ipaddress.IPv6Address, text)


def _cidr(text: str) -> bool:
    return "/" in text and text.rpartition("/")[2].isdigit() and _parses(ipaddress.ip_interface, _without_zeros(text))


def _uuid_of(version: str) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        match = _uuid.fullmatch(text)
        if match is None:
            return False
        return not version or (match[1] == version and (version == "3" or match[2] in "89abAB"))

    return check


def _base64(text: str) -> bool:
    return text != "" and _parses(
        lambda data: binascii.a2b_base64(data, strict_mode=True), text.replace("\n", "").replace("\r", "")
    )


def _matches(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


FORMATS: dict[str, Callable[[str], bool]] = {
    "byte": _base64,
    "cidr": _cidr,
    "date": _date,
    "datetime": _date_time,
    "duration": is_duration,
    "email": _matches(_email),
    "hexcolor": _matches(_colour),
    "hostname": _matches(_hostname),
    "ipv4": _ipv4,
    "ipv6": _ipv6,
    "mac": _matches(_mac),
    "ssn": _matches(_ssn),
    "uri": _matches(_uri),
    "uuid": _uuid_of(""),
    "uuid3": _uuid_of("3"),
    "uuid4": _uuid_of("4"),
    "uuid5": _uuid_of("5"),
}
"""By the format's name without dashes; a format that is not here is not checked, as in Kubernetes."""


def format_check(name: str) -> Callable[[str], bool] | None:
    return FORMATS.get(name.replace("-", ""))
