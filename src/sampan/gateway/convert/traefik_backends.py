"""Traefik's services of a route as backendRefs: Services, and TraefikServices that weigh or mirror them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.gateway.convert.notes import Notes
from sampan.gateway.convert.sources import Sources, namespace_of
from sampan.schema.objects import Object

DEEPEST = 8
"""TraefikServices may name each other."""
NO_SETTING = ("strategy", "responseForwarding", "serversTransport", "healthCheck", "passHostHeader", "terminationDelay")
DEFAULTS = {"strategy": "RoundRobin", "passHostHeader": True}


def backends_of(sources: Sources, route: Object, services: Sequence[Object], notes: Notes, at: str) -> Object:
    """Return the fields of a rule that services make: ``backendRefs``, ``filters`` of mirrors, ``sessionPersistence``."""
    found = Backends(sources, route, notes)
    for number, service in enumerate(services):
        found.add(service, f"{at}[{number}]", 1, DEEPEST)
    rule: dict[str, Any] = {}
    if found.mirrors:
        rule["filters"] = [{"type": "RequestMirror", "requestMirror": mirror} for mirror in found.mirrors]
    if found.session:
        rule["sessionPersistence"] = found.session
    rule["backendRefs"] = found.references
    return rule


def scheme_note(services: Sequence[Object], notes: Notes, at: str) -> None:
    for number, service in enumerate(services):
        scheme = service.get("scheme")
        if scheme == "h2c":
            notes.changed(f"{at}[{number}].scheme", "set appProtocol: kubernetes.io/h2c in the port of the Service")
        elif scheme == "https":
            notes.lost(
                f"{at}[{number}].scheme", "write a BackendTLSPolicy for the Service: what it trusts must be said"
            )


class Backends:
    def __init__(self, sources: Sources, route: Object, notes: Notes) -> None:
        self.sources, self.route, self.notes = sources, route, notes
        self.references: list[Object] = []
        self.mirrors: list[Object] = []
        self.session: Object = {}

    def add(self, service: Object, at: str, weight: int, deep: int) -> None:
        for field in NO_SETTING:
            if service.get(field) not in (None, {}, DEFAULTS.get(field)):
                self.notes.lost(f"{at}.{field}", "there is no such setting of a backend")
        weight *= int(service.get("weight", 1))
        if service.get("kind", "Service") == "TraefikService":
            self._composed(service, at, weight, deep)
            return
        reference = self._reference(service, at)
        if reference is not None:
            self.references.append({**reference, "weight": weight} if weight != 1 else reference)
        if cookie := (service.get("sticky") or {}).get("cookie"):
            self._sticky(cookie, f"{at}.sticky.cookie")

    def _sticky(self, cookie: Object, at: str) -> None:
        self.session = {"type": "Cookie", "sessionName": cookie.get("name") or "session"}
        if seconds := cookie.get("maxAge"):
            self.session |= {"absoluteTimeout": f"{seconds}s", "cookieConfig": {"lifetimeType": "Permanent"}}
        for field in set(cookie) - {"name", "maxAge"}:
            self.notes.lost(f"{at}.{field}", "a session has a name and a time")

    def _reference(self, service: Object, at: str) -> Object | None:
        home = namespace_of(self.route)
        where = service.get("namespace") or home
        port = service.get("port")
        if isinstance(port, str) and not port.isdecimal():
            number = self.sources.service_port(where, service["name"], port)
            if number is None:
                self.notes.lost(
                    f"{at}.port", f'the number of port "{port}" stands in the Service: give me its manifest, too'
                )
                return None
            port = number
        if port is None:
            self.notes.lost(f"{at}.port", "a backend needs the number of its port")
            return None
        reference: dict[str, Any] = {"name": service["name"], "port": int(port)}
        if where != home:
            reference["namespace"] = where
            self.notes.changed(f"{at}.namespace", f"a Service of another namespace needs a ReferenceGrant in {where}")
        return reference

    def _composed(self, service: Object, at: str, weight: int, deep: int) -> None:
        where = service.get("namespace") or namespace_of(self.route)
        found = self._traefik_service(where, service["name"])
        if found is None or not deep:
            self.notes.lost(
                at, f'TraefikService "{service["name"]}" is not among the files' if deep else "it names itself"
            )
            return
        spec = found.get("spec") or {}
        if weighted := spec.get("weighted"):
            for number, part in enumerate(weighted.get("services") or ()):
                self.add({"namespace": where, **part}, f"{at}.weighted.services[{number}]", weight, deep - 1)
            if cookie := (weighted.get("sticky") or {}).get("cookie"):
                self._sticky(cookie, f"{at}.weighted.sticky.cookie")
        elif mirroring := spec.get("mirroring"):
            main = {
                key: value for key, value in mirroring.items() if key not in ("mirrors", "mirrorBody", "maxBodySize")
            }
            self.add({"namespace": where, **main}, f"{at}.mirroring", weight, deep - 1)
            for number, mirror in enumerate(mirroring.get("mirrors") or ()):
                reference = self._reference({"namespace": where, **mirror}, f"{at}.mirroring.mirrors[{number}]")
                if reference is not None:
                    self.mirrors.append({"backendRef": reference, "percent": int(mirror.get("percent", 0))})
        else:
            self.notes.lost(at, f'TraefikService "{service["name"]}" neither weighs nor mirrors')

    def _traefik_service(self, namespace: str, name: str) -> Object | None:
        group = str(self.route["apiVersion"]).rpartition("/")[0]
        for obj in self.sources.of(group, "TraefikService"):
            if obj["metadata"]["name"] == name and namespace_of(obj) == namespace:
                return obj
        return None
