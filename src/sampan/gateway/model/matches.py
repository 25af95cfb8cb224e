"""What a rule matches, as Envoy's ``RouteMatch``, and its place among others. Pure.

Envoy takes a route configuration whole or not at all, so one bad value would hold back the routes of everyone on the same
listener: what it would refuse is found here (``Unsupported``) and drops the rule it stands in. Source: Gateway API v1
HTTPRouteMatch and GRPCRouteMatch (with their precedence); Envoy's API v3 constraints; RE2's syntax.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.headers import check
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

ESCAPE = re.compile(r"\\.", re.DOTALL)
BRACKETS = re.compile(r"\[\^?\]?[^\]]*\]")
NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|[*+?}]\+")
"""Look-around, atomic groups, conditions, back references by name, possessive repeats."""
RE2_ONLY = re.compile(r"\\[pPQCz]|\(\?<\w|\[\[:|(?<!^)\(\?[a-zA-Z-]+\)|\(\?[a-z]*U")
"""What RE2 reads and Python does not: Python cannot tell whether the rest is well formed."""

Rank = tuple[Any, ...]


def http_match(match: Object) -> dict[str, Any]:
    """Return the ``RouteMatch`` of an HTTPRoute's match. Raises ``Unsupported``."""
    path = match.get("path") or {}
    result = path_match(path.get("type", "PathPrefix"), path.get("value", "/"))
    headers = header_matches(match)
    if "method" in match:
        headers.append({"name": ":method", "string_match": {"exact": match["method"]}})
    if headers:
        result["headers"] = headers
    parameters = [{"name": p["name"], "string_match": string_match(p)} for p in match.get("queryParams") or ()]
    if parameters:
        result["query_parameters"] = parameters
    return result


def path_match(kind: str, value: str) -> dict[str, Any]:
    if kind == "RegularExpression":
        return {"safe_regex": {"regex": checked_regex(value)}}
    if not value.startswith("/") or "?" in value or "#" in value:
        raise Unsupported(f"the path {value!r} does not begin with / or has a ? or # in it")
    if kind == "Exact":
        return {"path": value}
    if value.rstrip("/"):
        return {"path_separated_prefix": value.rstrip("/")}
    return {"prefix": "/"}


def header_matches(match: Object) -> list[dict[str, Any]]:
    result = []
    for header in match.get("headers") or ():
        if header["name"].lower() != "host":
            check(header["name"])
        result.append({"name": header["name"], "string_match": string_match(header)})
    return result


def string_match(entry: Object) -> dict[str, Any]:
    if entry.get("type", "Exact") == "RegularExpression":
        return {"safe_regex": {"regex": checked_regex(entry["value"])}}
    return {"exact": entry["value"]}


def http_rank(match: Object) -> Rank:
    """Sort key: exact before expression before prefix, the longer first, a method, more headers, more parameters."""
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    order = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}[kind]
    headers, parameters = len(match.get("headers") or ()), len(match.get("queryParams") or ())
    return order, -len(value), "method" not in match, -headers, -parameters


def grpc_match(match: Object) -> dict[str, Any]:
    """Return the ``RouteMatch`` of a GRPCRoute's match. Raises ``Unsupported``."""
    method = match.get("method") or {}
    service, name = method.get("service") or "", method.get("method") or ""
    if method.get("type", "Exact") == "RegularExpression":
        expression = f"/{f'(?:{service})' if service else '[^/]+'}/{f'(?:{name})' if name else '[^/]+'}"
        result: dict[str, Any] = {"safe_regex": {"regex": checked_regex(expression)}}
    elif service and name:
        result = path_match("Exact", f"/{service}/{name}")
    elif service:
        result = {"prefix": f"/{service}/"}
    elif name:
        result = {"safe_regex": {"regex": f"/[^/]+/{re.escape(name)}"}}
    else:
        result = {"prefix": "/"}
    headers = header_matches(match)
    if headers:
        result["headers"] = headers
    return result


def grpc_rank(match: Object) -> Rank:
    """Sort key: the longer service, then the longer method, more headers; among the exact paths of HTTPRoutes."""
    method = match.get("method") or {}
    service, name = len(method.get("service") or ""), len(method.get("method") or "")
    order = 1 if method.get("type", "Exact") == "RegularExpression" else 0 if service and name else 2
    return order, -(service * 1025 + name), True, -len(match.get("headers") or ()), 0


def checked_regex(text: str) -> str:
    """Return an expression that RE2 takes, as far as can be told: Envoy has the last word. Raises ``Unsupported``."""
    plain = BRACKETS.sub("x", ESCAPE.sub("x", text))
    if NOT_RE2.search(plain) or re.search(r"(?<!\\)(?:\\\\)*\\[1-9]", text):
        raise Unsupported(f"the expression {text!r} uses what RE2 does not know (look-around, back references)")
    if not RE2_ONLY.search(text):
        try:
            re.compile(text)
        except (re.error, OverflowError, RecursionError) as error:
            raise Unsupported(f"the expression {text!r} is not well formed: {error}") from error
    return text
