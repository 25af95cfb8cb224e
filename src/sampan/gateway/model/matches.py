"""What a rule matches, as Envoy's ``RouteMatch``, and its place among others. Pure.

Envoy takes a route configuration whole or not at all, so one bad value would hold back the routes of everyone on the same
listener: what it would refuse is found here (``Unsupported``) and drops the rule it stands in. Source: Gateway API v1
HTTPRouteMatch and GRPCRouteMatch (with their precedence); Envoy's API v3 constraints; RE2's syntax.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.filters.headers import check
from sampan.gateway.model.expressions import checked
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

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
    parameters = [
        {"name": p["name"], "string_match": string_match(p, f"queryParams[{p['name']}].value")}
        for p in match.get("queryParams") or ()
    ]
    if parameters:
        result["query_parameters"] = parameters
    return result


def path_match(kind: str, value: str) -> dict[str, Any]:
    if kind == "RegularExpression":
        return safe_regex(value, "path.value")
    if not value.startswith("/") or "?" in value or "#" in value:
        raise Unsupported(f"path.value: {value!r} does not begin with / or has a ? or # in it")
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
        at = f"headers[{header['name']}].value"
        result.append({"name": header["name"], "string_match": string_match(header, at)})
    return result


def refuse_underscores(match: Object) -> None:
    """Raise ``Unsupported`` for a match by a header that no request has, since those with a ``_`` are dropped."""
    for header in match.get("headers") or ():
        if "_" in header["name"]:
            text = "headers with a _ in their name are dropped; underscoresInHeaders of GatewayParameters lets them in"
            raise Unsupported(f"headers[{header['name']}].name: {text}")


def string_match(entry: Object, at: str) -> dict[str, Any]:
    if entry.get("type", "Exact") == "RegularExpression":
        return safe_regex(entry["value"], at)
    return {"exact": entry["value"]}


def safe_regex(text: str, at: str) -> dict[str, Any]:
    """Return Envoy's matcher. Raises ``Unsupported``, the field at the beginning."""
    try:
        checked(text)
    except Unsupported as error:
        raise Unsupported(f"{at}: {error}") from None
    return {"safe_regex": {"regex": text}}


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
        result = safe_regex(expression, "method")
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
