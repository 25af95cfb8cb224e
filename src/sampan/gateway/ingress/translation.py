"""One Ingress or IngressRoute as objects of Gateway API: what ``convert`` makes of it, fitted into the world.

``translated`` reads what it needs of the world (classes, Services whose ports have names, canaries of the same hosts,
TraefikServices), so it is made again when that changes, and then only.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sampan.gateway.convert import convert
from sampan.gateway.convert.nginx_annotations import is_canary
from sampan.gateway.convert.notes import Note, named
from sampan.gateway.ingress.classes import class_of
from sampan.gateway.ingress.shared import NAMESPACE, SEPARATOR, Wish, gateway_name
from sampan.gateway.kinds import resources as r
from sampan.gateway.model.indexes import INGRESSES, hosts_of_ingress
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

KINDS = ("Ingress", *(r.world_kind(resource) for resource in r.INGRESS_ROUTES))
TRAEFIK_SERVICE = r.world_kind(r.TRAEFIK_SERVICES)
DEEPEST = 8
"""How many TraefikServices may stand behind each other."""


@dataclass(frozen=True)
class Translation:
    ingress_class: str
    age: tuple[str, str, str]
    objects: dict[tuple[str, str], Object]
    """``(kind, key)`` → a route, Middleware or policy."""
    wishes: tuple[Wish, ...]
    problems: tuple[str, ...]
    """What of it is not served, by field."""


def translated(world: World, kind: str, key: str) -> Translation | None:
    """Return what an object comes to; None when it is not there or another controller's."""
    obj = world.get(kind, key)
    if obj is None:
        return None
    ingress_class = class_of(world, obj)
    if not ingress_class:
        return None
    problems: list[str] = []
    if ((world.get("IngressClass", ingress_class) or {}).get("spec") or {}).get("parameters"):
        problems.append(f"spec.ingressClassName: the parameters of IngressClass {ingress_class} are not read")
    metadata = obj["metadata"]
    age = metadata.get("creationTimestamp", ""), metadata["namespace"], metadata["name"]
    sources = [obj, *related(world, obj)]
    try:
        conversion = convert([*sources, *backends(world, sources)])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        problem = f"spec: it cannot be read: {type(error).__name__}: {error}"
        return Translation(ingress_class, age, {}, (), (*problems, problem))
    problems += told(conversion.notes, named(obj))
    if obj["kind"] == "Ingress" and is_canary(obj):
        return Translation(ingress_class, age, {}, (), tuple(problems))
    made = Made(obj, ingress_class, conversion.objects)
    return Translation(ingress_class, age, made.objects(), made.wishes, tuple(problems))


def told(notes: Iterable[Note], name: str) -> list[str]:
    return [f"{note.field}: {note.text}" for note in notes if note.lost and note.object == name]


def related(world: World, obj: Object) -> list[Object]:
    """Return the canaries of an Ingress; of a canary, the Ingresses it may belong to."""
    if obj["kind"] != "Ingress":
        return []
    found: dict[str, Object] = {}
    for place in hosts_of_ingress(obj):
        for other in world.find(INGRESSES, place):
            if is_canary(other) != is_canary(obj) and class_of(world, other):
                found[other["metadata"]["name"]] = other
    return [found[name] for name in sorted(found)]


def backends(world: World, sources: list[Object]) -> list[Object]:
    """Return the Services whose ports are named, and the TraefikServices."""
    found: dict[tuple[str, str], Object] = {}
    for obj in sources:
        namespace = obj["metadata"]["namespace"]
        spec = obj.get("spec") or {}
        if obj["kind"] == "Ingress":
            for name in named_ports(spec):
                add(found, "Service", f"{namespace}/{name}", world)
        else:
            for route in spec.get("routes") or ():
                for service in route.get("services") or ():
                    of_traefik(world, service, namespace, found, DEEPEST)
    return list(found.values())


def add(found: dict[tuple[str, str], Object], kind: str, key: str, world: World) -> Object | None:
    obj: Object | None = world.get(kind, key)
    if obj is not None:
        found[kind, key] = {"apiVersion": "v1", "kind": "Service", **obj} if kind == "Service" else obj
    return obj


def named_ports(spec: Object) -> Iterator[str]:
    """Yield the names of the Services whose ports an Ingress names."""
    paths = [path for rule in spec.get("rules") or () for path in (rule.get("http") or {}).get("paths") or ()]
    for backend in (spec.get("defaultBackend") or {}, *(path.get("backend") or {} for path in paths)):
        service = backend.get("service") or {}
        if (service.get("port") or {}).get("name"):
            yield str(service.get("name"))


def of_traefik(world: World, service: Object, namespace: str, found: dict[tuple[str, str], Object], deep: int) -> None:
    where = service.get("namespace") or namespace
    key = f"{where}/{service.get('name')}"
    if service.get("kind", "Service") == "Service":
        if isinstance(service.get("port"), str) and not service["port"].isdecimal():
            add(found, "Service", key, world)
        inside = list(service.get("mirrors") or ())
    else:
        obj = add(found, TRAEFIK_SERVICE, key, world) if deep else None
        spec = (obj or {}).get("spec") or {}
        mirroring = spec.get("mirroring")
        inside = [*((spec.get("weighted") or {}).get("services") or ()), *([mirroring] if mirroring else ())]
    for part in inside:
        of_traefik(world, part, where, found, deep - 1)


class Made:
    """The objects of a conversion, with names that are nobody else's, on the shared Gateway."""

    def __init__(self, source: Object, ingress_class: str, objects: list[Object]) -> None:
        self._source, self._class = source, ingress_class
        self._namespace = source["metadata"]["namespace"]
        self._objects = [copy.deepcopy(obj) for obj in objects]
        self._sections: dict[str, str] = {}
        self.wishes = tuple(self._wishes())
        self._own = {obj["metadata"]["name"] for obj in self._objects if obj["kind"] == "Middleware"}

    def _wishes(self) -> Iterator[Wish]:
        for gateway in (obj for obj in self._objects if obj["kind"] == "Gateway"):
            for listener in gateway["spec"]["listeners"]:
                protocol, tls = listener["protocol"], listener.get("tls") or {}
                plain = protocol in ("HTTP", "TCP", "UDP")
                mode = "" if plain else str(tls.get("mode", "Terminate"))
                secrets = tuple((self._namespace, entry["name"]) for entry in tls.get("certificateRefs") or ())
                if mode == "Terminate" and not secrets:
                    continue  # told by the conversion: a listener without a certificate would serve nobody
                hostname = "" if plain else listener.get("hostname", "")
                wish = Wish(listener["port"], protocol, hostname, mode, secrets)
                self._sections[listener["name"]] = wish.section
                yield wish

    def objects(self) -> dict[tuple[str, str], Object]:
        result: dict[tuple[str, str], Object] = {}
        for obj in self._objects:
            if obj["kind"] == "Gateway":
                continue
            name = self._name(obj["metadata"]["name"])
            while (obj["kind"], f"{self._namespace}/{name}") in result:
                name += "_"  # hosts a.b and a-b have the same name
            if "parentRefs" in obj["spec"]:
                obj["spec"]["parentRefs"] = list(self._parents(obj["spec"]["parentRefs"]))
                rename(obj["spec"].get("rules") or (), self._own, self._name)
            metadata = {
                "name": name,
                "namespace": self._namespace,
                "creationTimestamp": self._source["metadata"].get("creationTimestamp", ""),
            }
            result[obj["kind"], f"{self._namespace}/{name}"] = {**obj, "metadata": metadata}
        return result

    def _name(self, name: str) -> str:
        return SEPARATOR.join((self._source["kind"].lower(), self._source["metadata"]["name"], name))

    def _parents(self, references: list[Object]) -> Iterator[Object]:
        sections = dict.fromkeys(self._sections.get(reference.get("sectionName", "")) for reference in references)
        for section in filter(None, sections):
            yield {"name": gateway_name(self._class), "namespace": NAMESPACE, "sectionName": section}


def rename(rules: Iterable[Any], own: set[str], name_of: Any) -> None:
    """Let references to Middlewares of the conversion have their new names."""
    for rule in rules:
        for entry in (*(rule.get("filters") or ()), *rule.get("backendRefs", ())):
            reference = entry.get("extensionRef") or {}
            if reference.get("group") == r.OWN_GROUP and reference["name"] in own:
                reference["name"] = name_of(reference["name"])
