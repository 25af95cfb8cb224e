"""Devices as ResourceSlices publish them, and as selectors see them. Pure. Source: KEP-4381, KEP-4815 (counters), KEP-5055
(taints), k8s.io/dynamic-resource-allocation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.schema.cel.errors import CelError
from sampan.schema.node_selectors import term_matches
from sampan.schema.objects import Object
from sampan.schema.tolerations import tolerates

if TYPE_CHECKING:
    from sampan.schema.cel.program import Program

KEEPING_AWAY = ("NoSchedule", "NoExecute")


class DeviceId(NamedTuple):
    driver: str
    pool: str
    device: str


class DeviceError(Exception):
    """A selector could not be asked; the message says which and why."""


@dataclass(frozen=True, eq=False)
class Device:
    """A device of a pool, in the shape of resource.k8s.io/v1."""

    id: DeviceId
    body: Object
    spec: Object
    """Of its ResourceSlice."""

    def is_on(self, node: str, labels: Mapping[str, str]) -> bool:
        """Whether the device can be used on a node."""
        place = self.place
        if place.get("allNodes"):
            return True
        if place.get("nodeName"):
            return bool(place["nodeName"] == node)
        terms = (place.get("nodeSelector") or {}).get("nodeSelectorTerms") or ()
        return any(term_matches(term, node, labels) for term in terms)

    @property
    def place(self) -> Object:
        """What says where it is: the device itself where its slice leaves it to them."""
        return self.body if self.spec.get("perDeviceNodeSelection") else self.spec

    @property
    def node_selector(self) -> Object | None:
        """Return the nodes it can be used on as a NodeSelector, None for all."""
        place = self.place
        if place.get("nodeName"):
            field = {"key": "metadata.name", "operator": "In", "values": [place["nodeName"]]}
            return {"nodeSelectorTerms": [{"matchFields": [field]}]}
        return place.get("nodeSelector")

    def attribute(self, name: str) -> Any:
        """Return the value of an attribute by its whole name, None when it has none."""
        attributes = self.body.get("attributes") or {}
        domain, _, short = name.rpartition("/")
        found = attributes.get(name)
        if found is None and domain == self.id.driver:
            found = attributes.get(short)
        return None if found is None else (next(iter(found)), next(iter(found.values())))

    def repels(self, tolerations: Iterable[Object]) -> bool:
        borne = list(tolerations)
        taints = (taint for taint in self.body.get("taints") or () if taint["effect"] in KEEPING_AWAY)
        return any(not any(tolerates(one, taint) for one in borne) for taint in taints)

    def consumed(self) -> Iterator[tuple[str, str, str]]:
        """Yield counter set, counter and amount of what it takes of its pool's shared counters."""
        for one in self.body.get("consumesCounters") or ():
            for name, counter in (one.get("counters") or {}).items():
                yield one["counterSet"], name, counter["value"]


class Domains(dict[str, Any]):
    """Attributes by domain: of a domain that a device does not know it has none."""

    def __missing__(self, domain: str) -> dict[str, Any]:
        return {}

    def get(self, domain: str, default: Any = None) -> Any:
        return self[domain]

    def __contains__(self, domain: object) -> bool:
        return True


def cel_value(device: Device) -> Object:
    """Return ``device`` as selectors see it."""
    from sampan.schema.cel.libraries.quantities import quantity_of, semver_of

    attributes, capacity = Domains(), Domains()
    for name, value in (device.body.get("attributes") or {}).items():
        domain, short = split(name, device.id.driver)
        kind, one = next(iter(value.items()))
        attributes.setdefault(domain, {})[short] = semver_of(one) if kind == "version" else one
    for name, value in (device.body.get("capacity") or {}).items():
        domain, short = split(name, device.id.driver)
        capacity.setdefault(domain, {})[short] = quantity_of(str(value["value"]))
    several = bool(device.body.get("allowMultipleAllocations"))
    return {"driver": device.id.driver, "attributes": attributes, "capacity": capacity,
            "allowMultipleAllocations": several}  # fmt: skip


def split(name: str, driver: str) -> tuple[str, str]:
    domain, slash, short = name.rpartition("/")
    return (domain, short) if slash else (driver, name)


@lru_cache(maxsize=256)
def program(expression: str) -> Program:
    # the engine comes with the first selector: most clusters have none
    from sampan.api.resources.device_selectors import selector_environment
    from sampan.schema.cel.program import compile

    return compile(expression, selector_environment())


def chosen(device: Device, selectors: Iterable[Object], whose: str) -> bool:
    """Whether all selectors choose a device. Raises ``DeviceError``."""
    value: Object | None = None
    for index, selector in enumerate(selectors):
        expression = (selector.get("cel") or {}).get("expression", "")
        try:
            value = value if value is not None else cel_value(device)
            if program(expression).evaluate({"device": value}) is not True:
                return False
        except CelError as error:
            raise DeviceError(f"{whose}: selector #{index}: CEL runtime error: {error}") from error
    return True


@dataclass
class Pool:
    """The devices of one pool, of its newest generation."""

    key: tuple[str, str]
    slices: list[Object]
    complete: bool

    def devices(self) -> Iterator[Device]:
        for one in self.slices:
            for body in one["spec"].get("devices") or ():
                yield Device(DeviceId(*self.key, body["name"]), body, one["spec"])

    def counters(self) -> dict[tuple[str, str], str]:
        """Return what the pool has of each shared counter, by set and name."""
        return {
            (group["name"], name): counter["value"]
            for one in self.slices
            for group in one["spec"].get("sharedCounters") or ()
            for name, counter in (group.get("counters") or {}).items()
        }


def pools_of(slices: Iterable[Object]) -> list[Pool]:
    """Return the pools that the slices make; of each only the newest generation counts, and it is complete when all its
    slices are there."""
    by_pool: dict[tuple[str, str], list[Object]] = {}
    for one in slices:
        spec = one["spec"]
        by_pool.setdefault((spec["driver"], spec["pool"]["name"]), []).append(one)
    found = []
    for key, several in sorted(by_pool.items()):
        newest = max(one["spec"]["pool"].get("generation") or 0 for one in several)
        current = [one for one in several if (one["spec"]["pool"].get("generation") or 0) == newest]
        current.sort(key=lambda one: str(one["metadata"]["name"]))
        wanted = max(one["spec"]["pool"].get("resourceSliceCount") or 1 for one in current)
        found.append(Pool(key, current, len(current) >= wanted))
    return found
