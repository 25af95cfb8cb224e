"""Traefik's IngressRoute, IngressRouteTCP and IngressRouteUDP as Gateways and routes; its Middlewares stay as they are, and
are referred to.

All routes of a namespace share a Gateway with a listener for each entry point and host.
Source: Traefik v3, CRDs ``traefik.io/v1alpha1`` (and ``traefik.containo.us/v1alpha1`` of Traefik 2).
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.convert.gateways import SharedGateway
from sampan.gateway.convert.notes import Notes
from sampan.gateway.convert.sources import Sources, made, name_from, namespace_of
from sampan.gateway.convert.traefik_backends import backends_of, scheme_note
from sampan.gateway.convert.traefik_matches import Matched, matched, server_names
from sampan.gateway.convert.traefik_rules import RuleError, alternatives
from sampan.gateway.kinds.resources import MIDDLEWARES_ANNOTATION, TRAEFIK_GROUP
from sampan.schema.objects import Object

GROUPS = ("traefik.io", "traefik.containo.us")
GATEWAY = "traefik"
UNSUPPORTED_TLS = ("certResolver", "store", "options", "domains")


def convert_ingress_routes(sources: Sources) -> list[Object]:
    gateways: dict[str, SharedGateway] = {}
    routes: list[Object] = []
    for group in GROUPS:
        for obj in sources.of(group, "IngressRoute", "IngressRouteTCP", "IngressRouteUDP"):
            shared = gateways.setdefault(namespace_of(obj), SharedGateway(sources, namespace_of(obj), GATEWAY))
            routes += OneRoute(sources, obj, shared).objects()
        for obj in sources.of(group, "ServersTransport", "ServersTransportTCP", "TLSOption", "TLSStore"):
            sources.about(obj).lost(
                "spec", f"there is no {obj['kind']}: TLS to backends is a BackendTLSPolicy's matter"
            )
    kept = [obj for group in GROUPS for obj in sources.of(group, "Middleware", "MiddlewareTCP")]
    return [*kept, *(shared.object() for shared in gateways.values()), *routes]


class OneRoute:
    def __init__(self, sources: Sources, obj: Object, gateway: SharedGateway) -> None:
        self.sources, self.source, self.gateway = sources, obj, gateway
        self.notes: Notes = sources.about(obj)
        self.namespace, self.name = namespace_of(obj), obj["metadata"]["name"]
        self.spec: Object = obj.get("spec") or {}
        self.tls: Object | None = self.spec.get("tls")

    def objects(self) -> list[Object]:
        for field in UNSUPPORTED_TLS:
            if (self.tls or {}).get(field):
                self.notes.lost(f"spec.tls.{field}", "a listener has its certificates from Secrets: name one")
        if self.spec.get("parentRefs"):
            self.notes.lost("spec.parentRefs", "a route of routes is not known: name the rule of the parent in each")
        kind = self.source["kind"]
        if kind == "IngressRoute":
            return self._http()
        return self._tcp() if kind == "IngressRouteTCP" else self._udp()

    def entry_points(self, default: str) -> list[str]:
        found = []
        for name in self.spec.get("entryPoints") or [default]:
            if name in self.sources.entry_points:
                found.append(name)
            else:
                self.notes.lost("spec.entryPoints", f'the port of "{name}" is not known: say --entry-point {name}=PORT')
        return found

    def _listener(self, entry_point: str, host: str, protocol: str, secret: str = "", mode: str = "") -> str:
        name = name_from(entry_point, host, "" if protocol in ("HTTP", "HTTPS") else protocol)
        port = self.sources.entry_points[entry_point]
        return self.gateway.listener(name, host, port, protocol, secret, passthrough=mode == "Passthrough")

    def _parents(self, names: list[str]) -> list[Object]:
        return [{"name": GATEWAY, "sectionName": name} for name in names]

    # HTTP

    def _http(self) -> list[Object]:
        by_hosts: dict[tuple[str, ...], list[Object]] = {}
        for number, route in enumerate(self.spec.get("routes") or ()):
            at = f"spec.routes[{number}]"
            if route.get("priority"):
                self.notes.lost(f"{at}.priority", "the more specific match comes first: there are no priorities")
            filters, backends = self._filters(at, route), self._backends(at, route)
            for hosts, matches in self._matches(at, route).items():
                rule: dict[str, Any] = {"matches": matches} if matches != [{}] else {}
                if filters:
                    rule["filters"] = filters
                by_hosts.setdefault(hosts, []).append({**rule, **backends})
        result = []
        for place, (hosts, rules) in enumerate(by_hosts.items()):
            spec: dict[str, Any] = {"parentRefs": self._http_parents(hosts)}
            if hosts:
                spec["hostnames"] = list(hosts)
            spec["rules"] = rules
            name = self.name if place == 0 else name_from(self.name, str(place + 1))
            result.append(made("HTTPRoute", name, self.namespace, spec, self.source["metadata"].get("labels")))
        return result

    def _http_parents(self, hosts: tuple[str, ...]) -> list[Object]:
        secret = str((self.tls or {}).get("secretName") or "")
        protocol = "HTTP" if self.tls is None else "HTTPS"
        if protocol == "HTTPS" and not secret:
            self.notes.lost("spec.tls.secretName", "HTTPS needs the Secret of a certificate: add certificateRefs")
        points = self.entry_points("web" if self.tls is None else "websecure")
        names = [self._listener(point, host, protocol, secret) for point in points for host in hosts or ("",)]
        return self._parents(names)

    def _matches(self, at: str, route: Object) -> dict[tuple[str, ...], list[Object]]:
        """Return the matches of a rule by its hosts."""
        try:
            found = [matched(alternative) for alternative in alternatives(route.get("match") or "")]
        except RuleError as error:
            self.notes.lost(f"{at}.match", f"the rule is not understood: {error}")
            return {}
        by_match: dict[str, tuple[Object, list[str]]] = {}
        for one in found:
            self._tell(at, one)
            if one.impossible:
                continue
            match, hosts = by_match.setdefault(repr(one.match), (one.match, []))
            hosts += one.hosts
        by_hosts: dict[tuple[str, ...], list[Object]] = {}
        for match, hosts in by_match.values():
            by_hosts.setdefault(tuple(dict.fromkeys(hosts)), []).append(match)
        return by_hosts

    def _tell(self, at: str, one: Matched) -> None:
        for text in one.changed:
            self.notes.changed(f"{at}.match", text)
        for text in one.lost:
            self.notes.lost(f"{at}.match", text)

    def _filters(self, at: str, route: Object) -> list[Object]:
        filters = []
        for number, reference in enumerate(route.get("middlewares") or ()):
            where = reference.get("namespace") or self.namespace
            if where != self.namespace:
                self.notes.lost(f"{at}.middlewares[{number}]", f"a route sees the Middlewares of its own namespace: copy "
                                f"{reference['name']} of {where}")  # fmt: skip
                continue
            group = str(self.source["apiVersion"]).rpartition("/")[0]
            extension = {"group": group, "kind": "Middleware", "name": reference["name"]}
            filters.append({"type": "ExtensionRef", "extensionRef": extension})
        return filters

    def _backends(self, at: str, route: Object) -> Object:
        """Return ``backendRefs`` and what else services say of a rule."""
        found = backends_of(self.sources, self.source, route.get("services") or (), self.notes, f"{at}.services")
        scheme_note(route.get("services") or (), self.notes, f"{at}.services")
        return found

    # TCP and UDP

    def _tcp(self) -> list[Object]:
        result = []
        for number, route in enumerate(self.spec.get("routes") or ()):
            at = f"spec.routes[{number}]"
            middlewares = self._connections(at, route)
            try:
                names, lost = server_names(alternatives(route.get("match") or ""))
            except RuleError as error:
                self.notes.lost(f"{at}.match", f"the rule is not understood: {error}")
                continue
            for text in lost:
                self.notes.lost(f"{at}.match", text)
            name = self.name if number == 0 else name_from(self.name, str(number + 1))
            made_route = self._tcp_route(at, route, name, names)
            if middlewares:
                made_route["metadata"]["annotations"] = {MIDDLEWARES_ANNOTATION: ", ".join(middlewares)}
            result.append(made_route)
        return result

    def _connections(self, at: str, route: Object) -> list[str]:
        """Return the MiddlewareTCPs of a route, as an annotation names them."""
        found = []
        for number, reference in enumerate(route.get("middlewares") or ()):
            where = reference.get("namespace") or self.namespace
            if where != self.namespace:
                text = f"a route sees the Middlewares of its own namespace: copy {reference['name']} of {where}"
                self.notes.lost(f"{at}.middlewares[{number}]", text)
            elif not str(self.source["apiVersion"]).startswith(f"{TRAEFIK_GROUP}/"):
                self.notes.lost(f"{at}.middlewares[{number}]", f"a MiddlewareTCP is of {TRAEFIK_GROUP}")
            else:
                found.append(f"{TRAEFIK_GROUP}/{reference['name']}")
        return found

    def _tcp_route(self, at: str, route: Object, name: str, names: list[str]) -> Object:
        rule = self._backends(at, route)
        points = self.entry_points("web")
        if not names and self.tls is None:
            sections = [self._listener(point, "", "TCP") for point in points]
            return made("TCPRoute", name, self.namespace, {"parentRefs": self._parents(sections), "rules": [rule]})
        passthrough = bool((self.tls or {}).get("passthrough"))
        secret, mode = str((self.tls or {}).get("secretName") or ""), "Passthrough" if passthrough else "Terminate"
        if not passthrough and not secret:
            self.notes.lost(
                "spec.tls.secretName", "a TLS listener needs the Secret of its certificate: add certificateRefs"
            )
        sections = [
            self._listener(point, host, "TLS", "" if passthrough else secret, mode)
            for point in points
            for host in names or [""]
        ]
        spec: dict[str, Any] = {"parentRefs": self._parents(sections), "rules": [rule]}
        if names:
            spec["hostnames"] = names
        return made("TLSRoute", name, self.namespace, spec)

    def _udp(self) -> list[Object]:
        result = []
        sections = [self._listener(point, "", "UDP") for point in self.entry_points("web")]
        for number, route in enumerate(self.spec.get("routes") or ()):
            rule = self._backends(f"spec.routes[{number}]", route)
            name = self.name if number == 0 else name_from(self.name, str(number + 1))
            result.append(
                made("UDPRoute", name, self.namespace, {"parentRefs": self._parents(sections), "rules": [rule]})
            )
        return result
