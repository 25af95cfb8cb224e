"""Matchers of one alternative of a Traefik rule as an HTTPRoute's match and host names, or as a TLSRoute's."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sampan.gateway.convert.traefik_rules import Matcher
from sampan.schema.objects import Object

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH")
SUBDOMAIN = re.compile(r"\^?(\[\^\.\]\+|\.\+|\.\*|\[a-zA-Z0-9-\]\+|\[a-z0-9-\]\+)\\\.(?P<rest>[a-zA-Z0-9\\.-]+)\$?")


@dataclass
class Matched:
    """What one alternative comes out as."""

    hosts: list[str] = field(default_factory=list)
    match: dict[str, Any] = field(default_factory=dict)
    changed: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    impossible: bool = False
    """Something that narrows it could not be said: the alternative would let in what it kept out."""


def matched(alternative: list[Matcher]) -> Matched:
    result = Matched()
    for matcher in alternative:
        read = MATCHERS.get(matcher.name)
        if matcher.negated or read is None or not matcher.arguments:
            why = "nothing is matched by what it is not" if matcher.negated else "there is no such match"
            result.lost.append(f"{matcher}: {why}: the alternative is left out")
            result.impossible = True
        else:
            read(result, *matcher.arguments)
    return result


def unanchored(expression: str) -> str:
    """Return an expression that must fit the whole text, for one that Traefik looks for anywhere in it."""
    begin = expression.removeprefix("^") if expression.startswith("^") else f".*{expression}"
    return begin.removesuffix("$") if begin.endswith("$") and not begin.endswith(r"\$") else f"{begin}.*"


def host(result: Matched, name: str) -> None:
    if result.hosts and name not in result.hosts:
        result.lost.append(f"Host(`{name}`): a request has one host: the alternative is left out")
        result.impossible = True
    result.hosts = [name.lower()]


def host_regexp(result: Matched, expression: str) -> None:
    found = SUBDOMAIN.fullmatch(expression)
    if found is None:
        result.lost.append(f"HostRegexp(`{expression}`): hosts are names or *.domain: the alternative is left out")
        result.impossible = True
        return
    name = "*." + found["rest"].replace("\\.", ".")
    result.changed.append(f"HostRegexp(`{expression}`) is {name}")
    result.hosts = [name]


def path(kind: str) -> Callable[[Matched, str], None]:
    def read(result: Matched, value: str) -> None:
        if "path" in result.match:
            result.lost.append(f"{value}: a request has one path: the alternative is left out")
            result.impossible = True
            return
        if kind == "PathPrefix" and value.rstrip("/") and not value.endswith("/"):
            result.changed.append(f"PathPrefix(`{value}`) ends at a slash: {value}x is not matched any more")
        if kind == "RegularExpression":
            value = unanchored(value)
            result.changed.append(f"an expression must fit the whole path: {value}")
        result.match["path"] = {"type": kind, "value": value}

    return read


def named(where: str, expression: bool) -> Callable[..., None]:
    def read(result: Matched, name: str, *values: str) -> None:
        if len(values) != 1:
            result.lost.append(f"{name}: one value is expected: the alternative is left out")
            result.impossible = True
            return
        value = unanchored(values[0]) if expression else values[0]
        if any(one["name"].lower() == name.lower() for one in result.match.get(where, ())):
            result.lost.append(f"{name}: it can be matched once: the alternative is left out")
            result.impossible = True
            return
        kind: Object = {"type": "RegularExpression"} if expression else {}
        result.match.setdefault(where, []).append({**kind, "name": name, "value": value})

    return read


def method(result: Matched, name: str) -> None:
    if name.upper() not in METHODS or result.match.get("method", name.upper()) != name.upper():
        result.lost.append(
            f"Method(`{name}`): {', '.join(METHODS)} are known, one at a time: the alternative is left out"
        )
        result.impossible = True
    result.match["method"] = name.upper()


MATCHERS: dict[str, Callable[..., None]] = {
    "Host": host,
    "HostRegexp": host_regexp,
    "Path": path("Exact"),
    "PathPrefix": path("PathPrefix"),
    "PathRegexp": path("RegularExpression"),
    "Header": named("headers", False),
    "Headers": named("headers", False),
    "HeaderRegexp": named("headers", True),
    "HeadersRegexp": named("headers", True),
    "Query": named("queryParams", False),
    "QueryRegexp": named("queryParams", True),
    "Method": method,
}


def server_names(found: list[list[Matcher]]) -> tuple[list[str], list[str]]:
    """Return the names of a TCP rule (none: every one), and what of it cannot be said."""
    names: list[str] = []
    lost: list[str] = []
    for alternative in found:
        for matcher in alternative:
            if matcher.name != "HostSNI" or matcher.negated or len(matcher.arguments) != 1:
                lost.append(f"{matcher}: connections are told apart by HostSNI alone")
            elif matcher.arguments[0] != "*":
                names.append(matcher.arguments[0])
    return list(dict.fromkeys(names)), lost
