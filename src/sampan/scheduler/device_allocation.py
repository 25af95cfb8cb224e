"""Which devices a pod's claims get on a node: a search that gives back what does not lead to an end. Pure.

Each request of a claim is a number of slots (or all matching devices), or the first of several alternatives that works; a
device is given once, constraints compare what was given, shared counters of a pool are not overdrawn. Source: KEP-4381,
KEP-4816 (alternatives), k8s.io/dynamic-resource-allocation/structured.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sampan.scheduler.devices import Device, DeviceError, DeviceId, Pool, chosen
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

MOST_DEVICES = 32
"""Of one claim."""
LONGEST_SEARCH = 100_000
"""Steps after which a search gives up: claims that are written to be hard must not stop everybody's scheduler."""


@dataclass(frozen=True)
class Given:
    """A device that was given to a request."""

    request: str
    device: Device
    wish: Object

    @property
    def admin(self) -> bool:
        return bool(self.wish.get("adminAccess"))


@dataclass
class Inventory:
    """What there is: pools, classes by name, and which devices have an owner already."""

    pools: Sequence[Pool]
    classes: Mapping[str, Object]
    taken: frozenset[DeviceId]


@dataclass
class Search:
    """One search on one node; ``allocate`` is its door."""

    inventory: Inventory
    node: str
    labels: Mapping[str, str]
    used: set[DeviceId] = field(default_factory=set)
    steps: int = 0

    def __post_init__(self) -> None:
        self.devices = [
            device
            for pool in self.inventory.pools
            if pool.complete
            for device in pool.devices()
            if device.is_on(self.node, self.labels)
        ]
        self._matching: dict[int, list[Device]] = {}
        self._left = counters_left(self.inventory)

    def matching(self, wish: Object, whose: str) -> list[Device]:
        """Return the devices that a wish's class and selectors choose, taken ones too."""
        known = self._matching.get(id(wish))
        if known is None:
            device_class = self.inventory.classes.get(wish["deviceClassName"])
            if device_class is None:
                raise DeviceError(f"{whose}: device class {wish['deviceClassName']} does not exist")
            selectors = (device_class.get("spec") or {}).get("selectors") or ()
            known = self._matching[id(wish)] = [
                device
                for device in self.devices
                if chosen(device, selectors, f"class {wish['deviceClassName']}")
                and chosen(device, wish.get("selectors") or (), whose)
            ]
        return known

    def claims(self, claims: Sequence[Object], given: list[list[Given]]) -> bool:
        """Give each claim what it asks for, the rest of them after it; ``given`` has what was found."""
        if len(given) == len(claims):
            return True
        claim = claims[len(given)]
        for found in self.requests(claim, 0, []):
            given.append(found)
            if self.claims(claims, given):
                return True
            given.pop()
        return False

    def requests(self, claim: Object, index: int, so_far: list[Given]) -> Iterator[list[Given]]:
        """Yield each way to fulfil the requests of a claim from one on."""
        requests = claim["spec"].get("devices", {}).get("requests") or ()
        if index == len(requests):
            yield list(so_far)
            return
        request = requests[index]
        alternatives = [(request["name"], request["exactly"])] if request.get("exactly") else [
            (f"{request['name']}/{one['name']}", one) for one in request.get("firstAvailable") or ()
        ]  # fmt: skip
        for name, wish in alternatives:
            for _ in self.slots(claim, name, wish, so_far):
                yield from self.requests(claim, index + 1, so_far)

    def slots(self, claim: Object, name: str, wish: Object, so_far: list[Given]) -> Iterator[None]:
        """Yield after each way to give a wish its devices, with them in ``so_far``."""
        whose = f"claim {claim['metadata']['name']}, request {name}"
        candidates = [one for one in self.matching(wish, whose) if not one.repels(wish.get("tolerations") or ())]
        everything = wish.get("allocationMode") == "All"
        count = len(candidates) if everything else int(wish.get("count") or 1)
        if not count or len(so_far) + count > MOST_DEVICES:
            return
        yield from self.choose(claim, name, wish, so_far, candidates, 0, count, everything)

    def choose(
        self,
        claim: Object,
        name: str,
        wish: Object,
        so_far: list[Given],
        candidates: Sequence[Device],
        begin: int,
        count: int,
        everything: bool,
    ) -> Iterator[None]:
        if count == 0:
            yield
            return
        last = begin + 1 if everything else len(candidates) - count + 1
        for at in range(begin, last):
            self.steps += 1
            if self.steps > LONGEST_SEARCH:
                raise DeviceError(f"claim {claim['metadata']['name']}: the search for devices takes too long")
            one = Given(name, candidates[at], wish)
            if not self.take(claim, one, so_far):
                continue
            so_far.append(one)
            yield from self.choose(claim, name, wish, so_far, candidates, at + 1, count - 1, everything)
            so_far.pop()
            self.give_back(one)

    def take(self, claim: Object, one: Given, so_far: Sequence[Given]) -> bool:
        """Take a device if it is free and nothing speaks against it."""
        device = one.device
        if not all(keeps(constraint, one, so_far) for constraint in claim["spec"]["devices"].get("constraints") or ()):
            return False
        if one.admin:
            return True  # who administers a device takes it from nobody
        if device.id in self.inventory.taken or device.id in self.used or not self.draw(device, 1):
            return False
        self.used.add(device.id)
        return True

    def give_back(self, one: Given) -> None:
        if not one.admin:
            self.used.discard(one.device.id)
            self.draw(one.device, -1)

    def draw(self, device: Device, sign: int) -> bool:
        """Take what a device consumes of its pool's counters (1), or put it back (-1)."""
        amounts = [((device.id[:2], group, name), sign * parse(value).nano) for group, name, value in device.consumed()]
        if any(self._left.get(key, 0) < amount for key, amount in amounts):
            return False
        for key, amount in amounts:
            self._left[key] = self._left.get(key, 0) - amount
        return True


CounterKey = tuple[tuple[str, str], str, str]


def counters_left(inventory: Inventory) -> dict[CounterKey, int]:
    """Return what is left of each pool's shared counters, in nano units."""
    left: dict[CounterKey, int] = {}
    for pool in inventory.pools:
        for (group, name), value in pool.counters().items():
            left[pool.key, group, name] = parse(value).nano
        if any(key[0] == pool.key for key in left):
            for device in pool.devices():
                if device.id in inventory.taken:
                    for group, name, value in device.consumed():
                        key = (pool.key, group, name)
                        left[key] = left.get(key, 0) - parse(value).nano
    return left


def keeps(constraint: Object, one: Given, so_far: Iterable[Given]) -> bool:
    """Whether a device may join those that were given, by a constraint on their attributes."""
    names = constraint.get("requests") or ()

    def concerned(given: Given) -> bool:
        return not names or given.request in names or given.request.partition("/")[0] in names

    if not concerned(one):
        return True
    same, distinct = constraint.get("matchAttribute"), constraint.get("distinctAttribute")
    others = [given for given in so_far if concerned(given)]
    if same:
        value = one.device.attribute(same)
        return value is not None and all(given.device.attribute(same) == value for given in others)
    if distinct:
        value = one.device.attribute(distinct)
        return value is not None and all(given.device.attribute(distinct) != value for given in others)
    return True


def allocate(
    claims: Sequence[Object], inventory: Inventory, node: str, labels: Mapping[str, str]
) -> list[Object] | None:
    """Return the ``status.allocation`` of each claim on a node, None where the devices do not suffice. Raises
    ``DeviceError``."""
    given: list[list[Given]] = []
    if not Search(inventory, node, labels).claims(claims, given):
        return None
    return [allocation_of(claim, found, inventory.classes) for claim, found in zip(claims, given, strict=True)]


def allocation_of(claim: Object, given: Sequence[Given], classes: Mapping[str, Object]) -> Object:
    results: list[Object] = []
    config: list[Object] = []
    for one in given:
        result: Object = {"request": one.request, **one.device.id._asdict()}
        if one.admin:
            result["adminAccess"] = True
        if one.wish.get("tolerations"):
            result["tolerations"] = one.wish["tolerations"]
        results.append(result)
    for request, class_name in dict.fromkeys((one.request, one.wish["deviceClassName"]) for one in given):
        for entry in (classes[class_name].get("spec") or {}).get("config") or ():
            config.append({"source": "FromClass", "requests": [request], **entry})
    asked = {name for one in given for name in (one.request, one.request.partition("/")[0])}
    for entry in claim["spec"]["devices"].get("config") or ():
        if not entry.get("requests") or asked & set(entry["requests"]):
            config.append({"source": "FromClaim", **entry})
    made: Object = {"devices": {"results": results, **({"config": config} if config else {})}}
    selector = together([one.device.node_selector for one in given])
    return {**made, "nodeSelector": selector} if selector else made


def together(selectors: Iterable[Object | None]) -> Object | None:
    """Return the NodeSelector of nodes that all of them choose, None for all nodes. One with several terms stands alone."""
    requirements: dict[str, list[Any]] = {"matchFields": [], "matchExpressions": []}
    for selector in selectors:
        terms = (selector or {}).get("nodeSelectorTerms") or ()
        if len(terms) > 1:
            return selector
        for kind, found in requirements.items():
            for term in terms:
                found += [one for one in term.get(kind) or () if one not in found]
    term = {kind: found for kind, found in requirements.items() if found}
    return {"nodeSelectorTerms": [term]} if term else None


def devices_of(claim: Object) -> Iterator[DeviceId]:
    """Yield the devices that a claim has to itself."""
    allocation = (claim.get("status") or {}).get("allocation") or {}
    for one in (allocation.get("devices") or {}).get("results") or ():
        if not one.get("adminAccess"):
            yield DeviceId(one["driver"], one["pool"], one["device"])
