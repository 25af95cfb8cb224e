"""Keeps the zone equal to the API's objects, change by change: a record is live in the tick in which its event arrives.

Flow: ``Table`` (a reflector that keeps small entries) for Services, EndpointSlices, Namespaces and Pods → ``World`` →
``Zone.update`` of the one Service that changed. A zone with other options is made beside the one that answers.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import Generic, TypeVar

from sampan.client.protocol import Client, ResourceType
from sampan.client.reflector import Reflector, key_of
from sampan.client.resources import ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from sampan.dns import wire
from sampan.dns.entries import Endpoint, Ip, PodEntry, ServiceEntry, SliceEntry, pod_entry, service_entry, slice_entry
from sampan.dns.records import Options, Records, changed_records, checked, collisions, records_of
from sampan.dns.zone import Zone
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.dns")

E = TypeVar("E")
TRIGGERED = "endpoints.kubernetes.io/last-change-trigger-time"
READ = "sampan.dev/entry"
"""Where an object that was read already has its entry."""
AT_A_TIME = 200
"""How many Services are compiled before others have their turn, while another zone is made."""


class Table(Reflector, Generic[E]):
    """The small entries of a resource's objects, by key. ``changed(key, old, new)`` is told of each difference."""

    def __init__(
        self,
        client: Client,
        resource: ResourceType,
        entry_of: Callable[[Object], E | None],
        changed: Callable[[str, E | None, E | None], None],
        seen: Callable[[Object], None] | None = None,
    ) -> None:
        super().__init__(client, resource)
        self.entries: dict[str, E] = {}
        self._entry_of = entry_of
        self._changed = changed
        self._seen = seen

    def replace(self, objects: Iterable[Object]) -> None:
        there = set()
        for obj in objects:
            there.add(key_of(obj))
            self.take(obj)
        for key in [key for key in self.entries if key not in there]:
            self._set(key, None)

    def reduced(self, obj: Object) -> Object:
        """An object as it is on its way: its names and its entry, instead of a hundred thousand whole ones."""
        return {"metadata": {name: obj["metadata"].get(name) for name in ("namespace", "name")}, READ: self._read(obj)}

    def _read(self, obj: Object) -> E | None:
        try:
            return self._entry_of(obj)
        except Exception:
            # one object that cannot be read must not end the copy of all others
            logger.exception("%s %s cannot be read", self.resource.plural, key_of(obj))
            return None

    def take(self, obj: Object) -> None:
        key = key_of(obj)
        self._set(key, obj[READ] if READ in obj else self._read(obj))
        if self._seen is not None and self.has_synced:
            self._seen(obj)

    def forget(self, last: Object) -> None:
        self._set(key_of(last), None)

    def _set(self, key: str, entry: E | None) -> None:
        old = self.entries.get(key)
        if old == entry:
            return
        if entry is None:
            del self.entries[key]
        else:
            self.entries[key] = entry
        try:
            self._changed(key, old, entry)
        except Exception:
            logger.exception("%s %s: its names cannot be told", self.resource.plural, key)


class Follower:
    """What is known of the cluster (``asked.World``), and the zone made of it.

    ``programmed(kind, seconds)`` is told how long after its cause a change of endpoints is live; ``collided(key, pods)`` of
    pods that cannot be called by their name."""

    def __init__(self, client: Client, options: Options, server_addresses: Iterable[Ip], *, turn: bool = True) -> None:
        self._server_addresses = tuple(server_addresses)
        self.zone = self.new_zone(options, turn=turn)
        self.programmed: Callable[[str, float], None] = lambda kind, seconds: None
        self.collided: Callable[[str, dict[str, str]], None] = lambda key, pods: None
        self.services: Table[ServiceEntry] = Table(client, SERVICES, service_entry, self._on_service)
        self.slices: Table[SliceEntry] = Table(client, ENDPOINT_SLICES, slice_entry, self._on_slice, self._measure)
        self.namespaces: Table[bool] = Table(client, NAMESPACES, lambda obj: True, self._on_namespace)
        self.pods: Table[PodEntry] = Table(client, PODS, pod_entry, self._on_pod)
        self._slices_of: dict[str, dict[str, SliceEntry]] = {}
        self._services_at: dict[Ip, str | frozenset[str]] = {}
        self._pods_at: dict[Ip, str] = {}
        self._collisions: dict[str, dict[str, str]] = {}
        self._next: Zone | None = None
        self._begun = False

    @property
    def tables(self) -> tuple[Reflector, ...]:
        return self.services, self.slices, self.namespaces

    # what is known (asked.World)

    def service(self, key: str) -> ServiceEntry | None:
        return self.services.entries.get(key)

    def endpoints(self, key: str) -> Iterator[Endpoint]:
        for piece in self._slices_of.get(key, {}).values():
            yield from piece.endpoints

    def services_at(self, address: Ip) -> Iterable[str]:
        keys = self._services_at.get(address, ())
        return (keys,) if isinstance(keys, str) else keys

    def pod(self, namespace: str, name: str) -> PodEntry | None:
        return self.pods.entries.get(f"{namespace}/{name}")

    def pod_at(self, address: Ip) -> PodEntry | None:
        key = self._pods_at.get(address)
        return self.pods.entries.get(key) if key is not None else None

    # changes

    def _on_service(self, key: str, old: ServiceEntry | None, new: ServiceEntry | None) -> None:
        self._update(key)

    def _on_slice(self, name: str, old: SliceEntry | None, new: SliceEntry | None) -> None:
        for piece in (old, new):
            if piece is not None and piece.service:
                pieces = self._slices_of.setdefault(piece.service, {})
                if piece is new:
                    pieces[name] = new
                else:
                    pieces.pop(name, None)
                if not pieces:
                    del self._slices_of[piece.service]
        for key in {piece.service for piece in (old, new) if piece is not None and piece.service}:
            changed = differing(old, new) if old is None or new is None or old.service == new.service else None
            addresses = {endpoint.address for piece in (old, new) if piece for endpoint in piece.endpoints}
            self._place(key, addresses)
            if changed is None or not self._change(key, changed):
                self._update(key)

    def _place(self, key: str, addresses: set[Ip]) -> None:
        """Note at which of some addresses a Service has endpoints."""
        now = {endpoint.address for endpoint in self.endpoints(key)}
        for address in addresses:
            keys = set(self.services_at(address))
            (keys.add if address in now else keys.discard)(key)
            if not keys:
                self._services_at.pop(address, None)
            else:
                self._services_at[address] = frozenset(keys) if len(keys) > 1 else keys.pop()

    def _on_namespace(self, name: str, old: bool | None, new: bool | None) -> None:
        for zone in self._zones():
            zone.set_namespace(name, bool(new))

    def _on_pod(self, key: str, old: PodEntry | None, new: PodEntry | None) -> None:
        for address in old.addresses if old is not None else ():
            if self._pods_at.get(address) == key:
                del self._pods_at[address]
        if new is not None and not new.host_network:  # whose address is the node's
            self._pods_at.update(dict.fromkeys(new.addresses, key))

    def _measure(self, piece: Object) -> None:
        """Tell how long after its cause a slice's change is live: kube-controller-manager notes when that was."""
        metadata = piece["metadata"]
        when = (metadata.get("annotations") or {}).get(TRIGGERED)
        service = self.service(slice_entry(piece).service)
        if when and service is not None and service.kind == "Headless":
            try:
                began = datetime.fromisoformat(when).timestamp()
            except ValueError:
                return
            self.programmed("headless_with_selector", max(time.time() - began, 0.0))

    def _zones(self) -> list[Zone]:
        return [self.zone] if self._next is None else [self.zone, self._next]

    def _update(self, key: str) -> None:
        if not self._begun:
            return
        for zone in self._zones():
            zone.update(key, self.records(key, zone.options))
        service = self.service(key)
        if service is not None:
            self._tell_collisions(key, service)

    def _change(self, key: str, changed: set[Endpoint]) -> bool:
        """Tell of some endpoints of a headless Service that has them; False where it must be told as a whole."""
        service = self.service(key)
        if service is None or not self._begun:
            return False
        endpoints = list(self.endpoints(key))
        for zone in self._zones():
            found = changed_records(service, endpoints, changed, zone.options)
            if found is None:
                return False
            try:
                zone.change(key, checked(found[0]), found[1])
            except wire.WireError:
                return False  # it says so as a whole
        self._tell_collisions(key, service)
        return True

    def records(self, key: str, options: Options | None = None) -> Records:
        """Return the records of a Service as it is now; none where it is gone or its names cannot be sent."""
        service = self.service(key)
        if service is None:
            return {}
        try:
            return checked(records_of(service, list(self.endpoints(key)), options or self.zone.options))
        except wire.WireError as error:
            logger.warning("Service %s has no records: %s", key, error)
            return {}

    def _tell_collisions(self, key: str, service: ServiceEntry) -> None:
        there = [one for one in self.endpoints(key) if one.ready or service.publish_not_ready]
        found = collisions(there) if self.zone.options.endpoint_pod_names else {}
        if found != self._collisions.get(key, {}):
            self._collisions[key] = found
            if found:
                self.collided(key, found)
            else:
                del self._collisions[key]

    # zones

    def new_zone(self, options: Options, *, turn: bool = True) -> Zone:
        """Return an empty zone. ``turn``: whether several addresses are given in turn."""
        return Zone(options, self._server_addresses, lambda key: self.records(key, options), turn=turn)

    def begin(self) -> None:
        """Compile all that the tables hold, once they are whole; from now on each change is compiled as it comes."""
        self._begun = True
        for key in self.services.entries:
            self._update(key)

    async def become(self, zone: Zone) -> None:
        """Fill another zone, and put it in the place of the present one when it is whole. Changes meanwhile go into both."""
        self._next = zone
        try:
            for name in list(self.namespaces.entries):
                zone.set_namespace(name, True)
            for number, key in enumerate(list(self.services.entries)):
                zone.update(key, self.records(key, zone.options))
                if number % AT_A_TIME == AT_A_TIME - 1:
                    await asyncio.sleep(0)
            self.zone = zone
        finally:
            self._next = None


def differing(old: SliceEntry | None, new: SliceEntry | None) -> set[Endpoint]:
    """Return the endpoints that are in one of two slices only."""
    before = set(old.endpoints) if old is not None else set()
    return before.symmetric_difference(new.endpoints if new is not None else ())
