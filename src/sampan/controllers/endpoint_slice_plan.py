"""Which EndpointSlices are written when the endpoints of a Service change: as few as can be. Pure.

What flows: the slices that are there and the endpoints that should be, by their sets of ports, to what is to be created,
updated and deleted. An endpoint stays in the slice that has it. New ones go first to slices that are written anyway, then all
of what is left into the one slice that they fill best, then into new slices; a slice that would go is used for one that
would come. Source: KEP-752, staging/src/k8s.io/endpointslice/reconciler.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.controllers.service_endpoints import Group, ports_key
from sampan.schema.objects import Object

AT_MOST = 100
"""Endpoints of a slice."""
Identity = tuple[object, ...]


@dataclass
class Plan:
    create: list[Group] = field(default_factory=list)
    update: list[Object] = field(default_factory=list)
    """Slices as they should be."""
    delete: list[Object] = field(default_factory=list)


@dataclass
class Draft:
    """A slice, and what it should hold."""

    was: Object
    endpoints: list[Object]
    is_changed: bool

    def fill(self, waiting: dict[Identity, Object], at_most: int) -> None:
        """Take as many of those that wait as there is room for."""
        while waiting and len(self.endpoints) < at_most:
            self.endpoints.append(waiting.pop(next(iter(waiting))))
            self.is_changed = True


def identity(endpoint: Object) -> Identity:
    """Return what makes an endpoint the same one: its addresses, name and pod. Everything else of it may change."""
    target = endpoint.get("targetRef") or {}
    return (tuple(endpoint.get("addresses") or ()), endpoint.get("hostname"), target.get("uid"))


def plan(
    present: Iterable[Object], wanted: Mapping[bytes, Group], labels: Mapping[str, str], at_most: int = AT_MOST
) -> Plan:
    """Return what to do so that slices of one address family hold the endpoints ``wanted`` (by ``ports_key``), each slice
    with ``labels`` and the endpoints of one set of ports; without endpoints there is one empty slice."""
    result = Plan()
    by_ports: dict[bytes, list[Object]] = {}
    for one in sorted(present, key=lambda one: str(one["metadata"]["name"])):
        by_ports.setdefault(ports_key(one.get("ports") or []), []).append(one)
    count = sum(map(len, by_ports.values()))
    for key, (ports, endpoints) in sorted(wanted.items()):
        _of_ports(result, by_ports.pop(key, []), ports, endpoints, labels, at_most)
    for left in by_ports.values():
        result.delete += left
    if len(result.delete) == count and not result.create:
        placeholder = next((one for one in result.delete if _is_placeholder(one, labels)), None)
        if placeholder is not None:
            result.delete.remove(placeholder)
        else:
            result.create.append(([], []))
    while result.create and result.delete:
        ports, endpoints = result.create.pop(0)
        result.update.append(_as(result.delete.pop(0), labels, endpoints, ports))
    return result


def _of_ports(
    result: Plan,
    present: list[Object],
    ports: list[Object],
    endpoints: list[Object],
    labels: Mapping[str, str],
    at_most: int,
) -> None:
    waiting = {identity(one): one for one in endpoints}
    drafts = [_kept(one, waiting, labels) for one in present]
    for draft in sorted(drafts, key=lambda one: -len(one.endpoints)):
        if draft.is_changed or not draft.endpoints:
            draft.fill(waiting, at_most)
    while waiting:
        best = _best_filled([one for one in drafts if not one.is_changed], len(waiting), at_most)
        if best is None:
            best = Draft({}, [], True)
            result.create.append((ports, best.endpoints))
        best.fill(waiting, at_most)
    result.delete += [draft.was for draft in drafts if not draft.endpoints]
    result.update += [_as(one.was, labels, one.endpoints) for one in drafts if one.endpoints and one.is_changed]


def _kept(one: Object, waiting: dict[Identity, Object], labels: Mapping[str, str]) -> Draft:
    """Return what of a slice stays, as it should be now; that waits for no slice any more."""
    before = one.get("endpoints") or []
    found = [waiting.pop(key) for endpoint in before if (key := identity(endpoint)) in waiting]
    return Draft(one, found, found != before or one["metadata"].get("labels") != labels)


def _best_filled(drafts: list[Draft], more: int, at_most: int) -> Draft | None:
    """Return the slice that is nearest to full with so many more, None if none has room for all of them."""
    fitting = [one for one in drafts if len(one.endpoints) + more <= at_most]
    return max(fitting, key=lambda one: len(one.endpoints), default=None)


def _is_placeholder(one: Object, labels: Mapping[str, str]) -> bool:
    return not one.get("endpoints") and not one.get("ports") and one["metadata"].get("labels") == labels


def _as(one: Object, labels: Mapping[str, str], endpoints: list[Object], ports: list[Object] | None = None) -> Object:
    changed = {**one, "metadata": {**one["metadata"], "labels": dict(labels)}, "endpoints": endpoints}
    return changed if ports is None else {**changed, "ports": ports}
