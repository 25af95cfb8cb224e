"""The first Service APIs, ``networking.x-k8s.io/v1alpha1``: GatewayClass, Gateway, HTTPRoute, TCPRoute, UDPRoute, TLSRoute.

There a Gateway selected routes by labels; since v1alpha2 a route names its parents. So the routes of the sources are tried
against the selectors of the sources' Gateways, and get the parents that chose them.
Source: kubernetes-sigs/gateway-api v0.3.0, apis/v1alpha1.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.convert.notes import Notes
from sampan.gateway.convert.sources import Sources, made, namespace_of
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

GROUP = "networking.x-k8s.io"
ROUTE_KINDS = ("HTTPRoute", "TCPRoute", "UDPRoute", "TLSRoute")
PATH_TYPES = {"Prefix": "PathPrefix", "Exact": "Exact", "RegularExpression": "RegularExpression"}
ADDRESS_TYPES = {"IPAddress": "IPAddress", "NamedAddress": "NamedAddress"}


def convert_service_apis(sources: Sources) -> list[Object]:
    result = [gateway_class(sources, obj) for obj in sources.of(GROUP, "GatewayClass")]
    gateways = list(sources.of(GROUP, "Gateway"))
    result += [gateway(sources, obj) for obj in gateways]
    for obj in sources.of(GROUP, *ROUTE_KINDS):
        result.append(route(sources, obj, gateways))
    for obj in sources.of(GROUP, "BackendPolicy"):
        sources.about(obj).lost("spec", "there is no BackendPolicy any more: write a BackendTLSPolicy for its tls")
    return result


def gateway_class(sources: Sources, obj: Object) -> Object:
    notes, spec = sources.about(obj), obj.get("spec") or {}
    converted: dict[str, Any] = {"controllerName": spec.get("controller", "")}
    notes.changed("spec.controller", "is spec.controllerName")
    if reference := spec.get("parametersRef"):
        converted["parametersRef"] = {key: reference[key] for key in ("group", "kind", "name") if key in reference}
    return made("GatewayClass", obj["metadata"]["name"], "", converted, obj["metadata"].get("labels"))


def gateway(sources: Sources, obj: Object) -> Object:
    notes, spec = sources.about(obj), obj.get("spec") or {}
    listeners = [listener(notes, number, entry) for number, entry in enumerate(spec.get("listeners") or ())]
    converted: dict[str, Any] = {"gatewayClassName": spec.get("gatewayClassName", ""), "listeners": listeners}
    if addresses := spec.get("addresses"):
        converted["addresses"] = [
            {"type": entry.get("type", "IPAddress"), "value": entry["value"]} for entry in addresses
        ]
    return made("Gateway", obj["metadata"]["name"], namespace_of(obj), converted, obj["metadata"].get("labels"))


def listener_name(number: int, entry: Object) -> str:
    return f"{str(entry.get('protocol', 'http')).lower()}-{entry.get('port', 0)}-{number}"


def listener(notes: Notes, number: int, entry: Object) -> Object:
    at, routes = f"spec.listeners[{number}]", entry.get("routes") or {}
    name = listener_name(number, entry)
    notes.changed(at, f'listeners have names since v1alpha2: "{name}"')
    converted: dict[str, Any] = {"name": name, "port": entry.get("port"), "protocol": entry.get("protocol", "HTTP")}
    hostname = entry.get("hostname")
    if hostname and hostname != "*":
        converted["hostname"] = hostname
    if hostname == "*":
        notes.changed(f"{at}.hostname", 'every host is meant by leaving it out, no longer by "*"')
    if tls := entry.get("tls"):
        converted["tls"] = listener_tls(notes, f"{at}.tls", tls)
    kind, namespaces = routes.get("kind"), routes.get("namespaces") or {"from": "Same"}
    allowed: dict[str, Any] = {"namespaces": {key: value for key, value in namespaces.items() if value}}
    if kind:
        allowed["kinds"] = [{"kind": kind}]
        if routes.get("group", GROUP) != GROUP:
            allowed["kinds"] = [{"group": routes["group"], "kind": kind}]
    converted["allowedRoutes"] = allowed
    notes.changed(
        f"{at}.routes", "kind and namespaces are allowedRoutes; its selector of labels is parentRefs in the routes"
    )
    return converted


def listener_tls(notes: Notes, at: str, tls: Object) -> Object:
    converted: dict[str, Any] = {"mode": tls.get("mode", "Terminate")}
    if reference := tls.get("certificateRef"):
        kind = "Secret" if reference.get("kind", "") in ("", "secrets") else reference["kind"]
        converted["certificateRefs"] = [{"group": core_group(reference), "kind": kind, "name": reference["name"]}]
        notes.changed(f"{at}.certificateRef", "is a list: certificateRefs")
    if (tls.get("routeOverride") or {}).get("certificate") == "Allow":
        notes.lost(f"{at}.routeOverride", "routes have no certificates any more: add them to certificateRefs")
    if options := tls.get("options"):
        converted["options"] = options
    return converted


def core_group(reference: Object) -> str:
    group = str(reference.get("group") or "")
    return "" if group == "core" else group


def route(sources: Sources, obj: Object, gateways: list[Object]) -> Object:
    notes, spec, kind = sources.about(obj), obj.get("spec") or {}, obj["kind"]
    converted: dict[str, Any] = {"parentRefs": parents(sources, obj, gateways)}
    notes.changed("spec.gateways", "a route names its Gateways: parentRefs")
    if spec.get("hostnames"):
        converted["hostnames"] = spec["hostnames"]
    if spec.get("tls"):
        notes.lost(
            "spec.tls", "routes have no certificates any more: name its Secret in the listener's certificateRefs"
        )
    rules = spec.get("rules") or ()
    if kind == "HTTPRoute":
        converted["rules"] = [http_rule(notes, f"spec.rules[{n}]", rule) for n, rule in enumerate(rules)]
    else:
        converted["rules"] = [stream_rule(notes, f"spec.rules[{n}]", rule) for n, rule in enumerate(rules)]
        if kind == "TLSRoute":
            names = [name for rule in rules for match in rule.get("matches") or () for name in match.get("snis") or ()]
            converted["hostnames"] = names or converted.get("hostnames", [])
            notes.changed("spec.rules[].matches[].snis", "are spec.hostnames, of the whole route")
    return made(kind, obj["metadata"]["name"], namespace_of(obj), converted, obj["metadata"].get("labels"))


def parents(sources: Sources, obj: Object, gateways: list[Object]) -> list[Object]:
    """Return the parents that a route allowed, and that chose it."""
    notes, allow = sources.about(obj), (obj.get("spec") or {}).get("gateways") or {}
    mode, namespace = allow.get("allow", "SameNamespace"), namespace_of(obj)
    listed = [(str(ref.get("namespace", "")), ref["name"]) for ref in allow.get("gatewayRefs") or ()]
    found: list[Object] = []
    for gateway_object in gateways:
        where, name = namespace_of(gateway_object), gateway_object["metadata"]["name"]
        allowed = mode == "All" or (where == namespace if mode == "SameNamespace" else (where, name) in listed)
        sections = chosen_by(notes, obj, gateway_object) if allowed else []
        found += [reference(name, where, namespace, section) for section in sections]
    known = {(namespace_of(one), one["metadata"]["name"]) for one in gateways}
    found += [
        reference(name, where, namespace) for where, name in listed if (where, name) not in known and mode == "FromList"
    ]
    if not found:
        notes.lost("spec.gateways", "no Gateway among the files chooses this route: add its parentRefs by hand")
    return found


def reference(name: str, where: str, home: str, section: str = "") -> Object:
    found: dict[str, Any] = {"name": name}
    if where and where != home:
        found["namespace"] = where
    if section:
        found["sectionName"] = section
    return found


def chosen_by(notes: Notes, obj: Object, gateway_object: Object) -> list[str]:
    """Return the names of the listeners whose selectors fit a route; ``[""]`` for all of a Gateway's."""
    entries = (gateway_object.get("spec") or {}).get("listeners") or ()
    fits = [number for number, entry in enumerate(entries) if fits_listener(notes, obj, gateway_object, entry)]
    if len(fits) == len(entries):
        return [""] if fits else []
    return [listener_name(number, entries[number]) for number in fits]


def fits_listener(notes: Notes, obj: Object, gateway_object: Object, entry: Object) -> bool:
    routes = entry.get("routes") or {}
    if routes.get("kind", obj["kind"]) != obj["kind"]:
        return False
    namespaces = routes.get("namespaces") or {}
    mode = namespaces.get("from", "Same")
    if mode == "Same" and namespace_of(gateway_object) != namespace_of(obj):
        return False
    if mode == "Selector":
        notes.changed(
            "spec.gateways", "the listener selects by labels of namespaces: its status says whether it takes this one"
        )
    return label_selector(routes.get("selector") or {}).matches(obj["metadata"].get("labels") or {})


def http_rule(notes: Notes, at: str, rule: Object) -> Object:
    matches = [http_match(notes, f"{at}.matches[{n}]", match) for n, match in enumerate(rule.get("matches") or ())]
    converted: dict[str, Any] = {}
    if matches:
        converted["matches"] = matches
    filters = [f for n, f in enumerate(rule.get("filters") or ()) for f in http_filter(notes, f"{at}.filters[{n}]", f)]
    if filters:
        converted["filters"] = filters
    if forward := rule.get("forwardTo"):
        notes.changed(f"{at}.forwardTo", "is backendRefs")
        converted["backendRefs"] = [
            backend(notes, f"{at}.forwardTo[{n}]", one, http=True) for n, one in enumerate(forward)
        ]
    return converted


def stream_rule(notes: Notes, at: str, rule: Object) -> Object:
    forward = rule.get("forwardTo") or ()
    notes.changed(f"{at}.forwardTo", "is backendRefs")
    if any(match.get("extensionRef") for match in rule.get("matches") or ()):
        notes.lost(f"{at}.matches", "there are no matches by extensionRef any more")
    return {"backendRefs": [backend(notes, f"{at}.forwardTo[{n}]", one, http=False) for n, one in enumerate(forward)]}


def http_match(notes: Notes, at: str, match: Object) -> Object:
    converted: dict[str, Any] = {}
    if path := match.get("path"):
        kind = path.get("type", "Prefix")
        if kind == "Prefix":
            notes.changed(f"{at}.path.type", "Prefix is PathPrefix, and ends at a slash: /foo is no prefix of /foobar")
        if kind == "ImplementationSpecific":
            notes.changed(f"{at}.path.type", "ImplementationSpecific is no longer there: taken as PathPrefix")
        converted["path"] = {"type": PATH_TYPES.get(kind, "PathPrefix"), "value": path.get("value", "/")}
    for field in ("headers", "queryParams"):
        found = match.get(field)
        if found and found.get("values"):
            kind = "RegularExpression" if found.get("type") == "RegularExpression" else "Exact"
            notes.changed(f"{at}.{field}", "are a list of type, name and value")
            converted[field] = [{"type": kind, "name": name, "value": value} for name, value in found["values"].items()]
    if match.get("extensionRef"):
        notes.lost(f"{at}.extensionRef", "there are no matches by extensionRef any more")
    return converted


def http_filter(notes: Notes, at: str, entry: Object) -> list[Object]:
    kind = entry.get("type")
    if kind in ("ModifyRequestHeader", "RequestHeaderModifier"):
        change = entry.get("modifyRequestHeader") or entry.get("requestHeaderModifier") or {}
        converted: dict[str, Any] = {}
        for verb in ("set", "add"):
            if change.get(verb):
                converted[verb] = [{"name": name, "value": value} for name, value in change[verb].items()]
        if change.get("remove"):
            converted["remove"] = change["remove"]
        notes.changed(at, "is a RequestHeaderModifier, its headers are lists of name and value")
        return [{"type": "RequestHeaderModifier", "requestHeaderModifier": converted}]
    if kind in ("MirrorRequest", "RequestMirror"):
        target = entry.get("mirrorRequest") or entry.get("requestMirror") or {}
        notes.changed(at, "is a RequestMirror")
        reference_of = backend(notes, at, target, http=False)
        reference_of.pop("weight", None)
        return [{"type": "RequestMirror", "requestMirror": {"backendRef": reference_of}}]
    if entry.get("extensionRef"):
        notes.changed(at, "Custom is ExtensionRef")
        return [{"type": "ExtensionRef", "extensionRef": entry["extensionRef"]}]
    notes.lost(at, f"there is no filter {kind}")
    return []


def backend(notes: Notes, at: str, forward: Object, *, http: bool) -> Object:
    converted: dict[str, Any] = {}
    if forward.get("serviceName"):
        converted["name"] = forward["serviceName"]
    elif found := forward.get("backendRef"):
        converted = {"group": core_group(found), "kind": found.get("kind", "Service"), "name": found["name"]}
    if forward.get("port"):
        converted["port"] = forward["port"]
    elif "kind" not in converted:
        notes.lost(f"{at}.port", "a Service as backend needs a port: add it to the backendRef")
    if "weight" in forward:
        converted["weight"] = forward["weight"]
    if http and forward.get("filters"):
        filters = [
            f for n, entry in enumerate(forward["filters"]) for f in http_filter(notes, f"{at}.filters[{n}]", entry)
        ]
        converted["filters"] = filters
    return converted
