"""One HTTPRoute as Envoy routes: matches, filters, backends. Pure; the result is plain dicts in Envoy's words.

``rules_of`` returns every match of every rule as a ``Ranked`` route, ordered later across routes by the precedence of the
specification: exact before prefix before expression, longer paths first, a method, more headers, more parameters, then the
older route. Source: Gateway API v1 HTTPRoute; Envoy's ``config.route.v3``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from sampan.gateway import refusals
from sampan.gateway.kinds import OWN_GROUP
from sampan.gateway.world import World, age_key
from sampan.schema.objects import Object

OVERWRITE, APPEND = 2, 0
REDIRECT_CODES = {301: 0, 302: 1, 303: 2, 307: 3, 308: 4}
REFUSING_CLUSTER = "sampan/refuses"
"""Answers 500: where the share of backends that do not exist goes."""
RETRY = {"retry_on": "connect-failure,refused-stream", "num_retries": {"value": 2}}


@dataclass
class Ranked:
    """An Envoy route with its place in the order."""

    rank: tuple[Any, ...]
    route: dict[str, Any]


@dataclass
class Problems:
    """What of a route could not be resolved: reason and message, and whether any rule works."""

    reason: str = ""
    messages: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    """Why rules are not served at all, one text for each."""

    def add(self, reason: str, message: str) -> None:
        self.reason = self.reason or reason
        self.messages.append(message)


def rules_of(world: World, route: Object, problems: Problems, used: set[str]) -> list[Ranked]:
    """Return the Envoy routes of an HTTPRoute; ``used`` collects the clusters they lead to."""
    result = []
    for number, rule in enumerate(route["spec"].get("rules") or ()):
        refused = refusals.of_rule(rule)
        if refused:
            problems.dropped.append(f"rule {number}: {refused}")
            continue
        matches = rule.get("matches") or [{"path": {"type": "PathPrefix", "value": "/"}}]
        for match in matches:
            envoy_match = match_of(match)
            action = action_of(world, route, rule, match, problems, used)
            name = f"{route['metadata']['namespace']}/{route['metadata']['name']}/{number}"
            result.append(Ranked(rank_of(match, route, number), {"name": name, "match": envoy_match, **action}))
    return result


def rank_of(match: Object, route: Object, number: int) -> tuple[Any, ...]:
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    order = {"Exact": 0, "RegularExpression": 1, "PathPrefix": 2}[kind]
    headers, parameters = len(match.get("headers") or ()), len(match.get("queryParams") or ())
    return order, -len(value), "method" not in match, -headers, -parameters, age_key(route), number


def match_of(match: Object) -> dict[str, Any]:
    """Return Envoy's RouteMatch."""
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    result: dict[str, Any] = {}
    if kind == "Exact":
        result["path"] = value
    elif kind == "RegularExpression":
        result["safe_regex"] = {"regex": value}
    elif value.rstrip("/"):
        result["path_separated_prefix"] = value.rstrip("/")
    else:
        result["prefix"] = "/"
    headers = [{"name": h["name"], "string_match": string_match(h)} for h in match.get("headers") or ()]
    if "method" in match:
        headers.append({"name": ":method", "string_match": {"exact": match["method"]}})
    if headers:
        result["headers"] = headers
    parameters = [{"name": p["name"], "string_match": string_match(p)} for p in match.get("queryParams") or ()]
    if parameters:
        result["query_parameters"] = parameters
    return result


def string_match(entry: Object) -> dict[str, Any]:
    if entry.get("type", "Exact") == "RegularExpression":
        return {"safe_regex": {"regex": entry["value"]}}
    return {"exact": entry["value"]}


def action_of(
    world: World, route: Object, rule: Object, match: Object, problems: Problems, used: set[str]
) -> dict[str, Any]:
    """Return what happens to a request that matches: the action, header changes, plugins."""
    result: dict[str, Any] = {}
    forward: dict[str, Any] = {"timeout": duration(rule.get("timeouts")), "retry_policy": RETRY}
    redirect: dict[str, Any] | None = None
    for item in rule.get("filters") or ():
        kind = item["type"]
        if kind == "RequestHeaderModifier":
            change_headers(result, "request", item["requestHeaderModifier"])
        elif kind == "ResponseHeaderModifier":
            change_headers(result, "response", item["responseHeaderModifier"])
        elif kind == "RequestRedirect":
            redirect = redirect_of(item["requestRedirect"], match)
        elif kind == "URLRewrite":
            forward |= rewrite_of(item["urlRewrite"], match)
        elif kind == "RequestMirror":
            cluster = backend_cluster(world, route, item["requestMirror"]["backendRef"], problems)
            if cluster:
                used.add(cluster)
                forward.setdefault("request_mirror_policies", []).append({"cluster": cluster})
        elif not extend(world, route, item["extensionRef"], result, problems):
            return {"direct_response": {"status": 500}}
    if redirect is not None:
        return {**result, "redirect": redirect}
    backends = rule.get("backendRefs") or []
    if not backends:
        return {**result, "direct_response": {"status": 500}}
    target = target_of(world, route, backends, problems, used)
    if target is None:
        return {**result, "direct_response": {"status": 500}}
    return {**result, "route": {**forward, **target}}


def target_of(
    world: World, route: Object, backends: list[Object], problems: Problems, used: set[str]
) -> dict[str, Any] | None:
    """Return the cluster or weighted clusters; None when nothing can be reached."""
    shares = []
    for backend in backends:
        weight = backend.get("weight", 1)
        cluster = backend_cluster(world, route, backend, problems)
        if weight <= 0:
            continue
        share: dict[str, Any] = {"name": cluster or REFUSING_CLUSTER, "weight": {"value": weight}}
        for item in backend.get("filters") or ():
            if item["type"] == "RequestHeaderModifier":
                change_headers(share, "request", item["requestHeaderModifier"])
            elif item["type"] == "ResponseHeaderModifier":
                change_headers(share, "response", item["responseHeaderModifier"])
        shares.append(share)
    if not shares or all(share["name"] == REFUSING_CLUSTER for share in shares):
        return None
    used.update(share["name"] for share in shares)
    if len(shares) == 1 and len(shares[0]) == 2:
        return {"cluster": shares[0]["name"]}
    return {"weighted_clusters": {"clusters": shares}}


def backend_cluster(world: World, route: Object, backend: Object, problems: Problems) -> str:
    """Return the cluster of a backend (``ns/service/port``); ``""`` with a problem noted where there is none."""
    if backend.get("group", "") not in ("", "core") or backend.get("kind", "Service") != "Service":
        problems.add(
            "InvalidKind", f"backend {backend['name']} is of kind {backend.get('kind')}, only Service is known"
        )
        return ""
    own = route["metadata"]["namespace"]
    namespace = backend.get("namespace") or own
    if not world.granted("HTTPRoute", own, "Service", namespace, backend["name"]):
        problems.add("RefNotPermitted", f"no ReferenceGrant of {namespace} permits the backend {backend['name']}")
        return ""
    service = world.services.get(f"{namespace}/{backend['name']}")
    if service is None:
        problems.add("BackendNotFound", f"Service {namespace}/{backend['name']} does not exist")
        return ""
    port = backend.get("port")
    if port is None or not any(entry["port"] == port for entry in service["spec"].get("ports") or ()):
        problems.add("BackendNotFound", f"Service {namespace}/{backend['name']} has no port {port}")
        return ""
    return f"{namespace}/{backend['name']}/{port}"


def change_headers(result: dict[str, Any], which: str, change: Object) -> None:
    """Add a header modifier to a route or to a share of one."""
    options = [
        {"header": {"key": h["name"], "value": literal(h["value"])}, "append_action": action}
        for section, action in (("set", OVERWRITE), ("add", APPEND))
        for h in change.get(section) or ()
    ]
    if options:
        result.setdefault(f"{which}_headers_to_add", []).extend(options)
    if change.get("remove"):
        result.setdefault(f"{which}_headers_to_remove", []).extend(change["remove"])


def literal(value: str) -> str:
    """Return a header value that Envoy takes as it is: ``%`` begins a substitution there."""
    return value.replace("%", "%%")


def redirect_of(spec: Object, match: Object) -> dict[str, Any]:
    result: dict[str, Any] = {"response_code": REDIRECT_CODES[spec.get("statusCode", 302)]}
    if spec.get("scheme"):
        result["scheme_redirect"] = spec["scheme"]
    if spec.get("hostname"):
        result["host_redirect"] = spec["hostname"]
    if spec.get("port"):
        result["port_redirect"] = spec["port"]
    path = spec.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        result["path_redirect"] = path.get("replaceFullPath", "/")
    elif path.get("type") == "ReplacePrefixMatch":
        result["prefix_rewrite"] = path.get("replacePrefixMatch") or "/"
    return result


def rewrite_of(spec: Object, match: Object) -> dict[str, Any]:
    result: dict[str, Any] = {}
    if spec.get("hostname"):
        result["host_rewrite_literal"] = spec["hostname"]
    path = spec.get("path") or {}
    if path.get("type") == "ReplaceFullPath":
        replacement = path.get("replaceFullPath", "/").replace("\\", "\\\\")
        result["regex_rewrite"] = {"pattern": {"regex": "^.*$"}, "substitution": replacement}
    elif path.get("type") == "ReplacePrefixMatch":
        prefix = ((match.get("path") or {}).get("value") or "/").rstrip("/")
        replacement = (path.get("replacePrefixMatch") or "/").rstrip("/").replace("\\", "\\\\")
        # `/foo` becomes `/xyz` and not `/xyz/`, and with an empty replacement still `/`
        rest = "(/.*)?" if replacement else "/*(.*)"
        substitution = f"{replacement}\\1" if replacement else "/\\1"
        result["regex_rewrite"] = {
            "pattern": {"regex": f"^{re.escape(prefix)}{rest}$"},
            "substitution": substitution,
        }
    return result


UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def duration(timeouts: Object | None) -> dict[str, int]:
    """Return the request's time limit; zero (none) where none is given."""
    text = (timeouts or {}).get("backendRequest") or (timeouts or {}).get("request") or "0s"
    seconds = sum(int(n) * UNITS[unit] for n, unit in re.findall(r"(\d+)(ms|h|m|s)", text))
    return {"seconds": int(seconds), "nanos": round(seconds % 1 * 1_000_000_000)}


def extend(world: World, route: Object, reference: Object, result: dict[str, Any], problems: Problems) -> bool:
    """Apply an ExtensionRef; False when it cannot be resolved (the rule then answers 500)."""
    key = f"{route['metadata']['namespace']}/{reference['name']}"
    kind = reference["kind"]
    if reference["group"] == OWN_GROUP and kind == "Middleware" and key in world.middlewares:
        headers = world.middlewares[key]["spec"].get("headers") or {}
        for which, name in (("request", "customRequestHeaders"), ("response", "customResponseHeaders")):
            values = headers.get(name) or {}
            change = {
                "set": [{"name": n, "value": v} for n, v in values.items() if v],
                "remove": [n for n, v in values.items() if not v],
            }
            refused = refusals.of_headers(change)
            if refused:
                problems.add("InvalidMiddleware", f"Middleware {key}: {refused}")
                return False
            change_headers(result, which, change)
        return True
    if reference["group"] == OWN_GROUP and kind == "Plugin" and key in world.plugins:
        if key in world.plugin_problems:
            live = "the version before it keeps serving" if key in world.live_plugins else "no version of it is live"
            problems.add("InvalidPlugin", f"Plugin {key}: {world.plugin_problems[key]}; {live}")
        if key not in world.live_plugins:
            return False
        per_route = {"@type": "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute", "check_settings": {}}
        result.setdefault("typed_per_filter_config", {})[plugin_filter(key)] = per_route
        return True
    problems.add("InvalidKind", f"{kind}.{reference['group']} {key} does not exist")
    return False


def plugin_filter(key: str) -> str:
    """Return the name of a plugin's filter in Envoy."""
    return f"plugin/{key}"
