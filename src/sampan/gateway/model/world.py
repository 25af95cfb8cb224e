"""What computations look at, and which of them must run again when something changes.

``World`` holds objects by kind and key, as the informers have them, and what computations made of them (under kinds of our
own, as ``GatewayModel``). A computation is a tuple, as ``("route", "HTTPRoute", "shop/web")``. While it runs, every ``get``
and ``find`` is noted; ``put`` returns nothing but marks the computations that read what changed. Equal values change
nothing, so a change ends where it makes no difference. This is why a change of one route among ten thousand costs what it
touches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from sys import intern
from typing import Any

from sampan.gateway.copies import Lean, Packed, unpack
from sampan.gateway.kinds.resources import CLASS, controller_of
from sampan.schema.objects import Object

Computation = tuple[Hashable, ...]
Token = tuple[str, Hashable]
IndexFunction = Callable[[Object], Iterable[str]]
NOBODY: dict[Hashable, Any] = {}
MOST_FEW = 8


class Few(tuple[Computation, ...]):
    """Computations that read the same: in thousands of pairs, a set of each would take 150 bytes more."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where this gateway runs; it does not change."""

    node_ip: str = "127.0.0.1"
    plugin_sockets: str = "/run"
    """Directory of the sockets that plugins answer on."""
    pyvoy_module: str = ""
    inline_module: str = ""
    """By which Envoy calls hooks itself; empty where that is not served, and they are asked by authorization calls."""
    exchange_module: str = ""
    """By which it calls processors; empty where that is not served, and their processes are asked."""
    log_dir: str = ""
    on_host: bool = False
    """Whether a Gateway's ports are the host's own, at the addresses it asks for."""
    metrics_port: int = 10299
    """0: the counters are not served."""
    gateway_class: str = CLASS
    """What this gateway serves of a cluster that may have others: the objects of its controllerName."""

    secret_namespaces: frozenset[str] = frozenset()
    """The namespaces whose Secrets are read; empty: all."""

    @property
    def controller(self) -> str:
        return controller_of(self.gateway_class)

    @property
    def has_mesh(self) -> bool:
        """Whether routes of Services are ours: a Service's address leads to one Envoy only."""
        return self.gateway_class == CLASS


def meaning(obj: Object) -> tuple[Any, ...]:
    """Return what of an API object a computation may depend on: not its status, not its version."""
    metadata = obj["metadata"]
    rest = {key: value for key, value in obj.items() if key not in ("metadata", "status")}
    return (
        rest,
        metadata.get("labels"),
        metadata.get("uid"),
        metadata.get("generation"),
        metadata.get("annotations"),
        metadata.get("deletionTimestamp"),
    )


class World:
    def __init__(self, surroundings: Surroundings | None = None) -> None:
        self.surroundings = surroundings or Surroundings()
        self.dirty: set[Computation] = set()
        self._values: dict[str, dict[Hashable, Any]] = {}
        self._index_functions: dict[str, list[tuple[str, IndexFunction]]] = {}
        self._indexes: dict[str, dict[str, dict[Hashable, Any]]] = {}
        self._readers: dict[str, dict[Hashable, Computation | Few | set[Computation]]] = {}
        """Kind → key → who reads it. Most of what is read is read by one: that one itself, or by few."""
        self._reads: dict[Computation, tuple[Hashable, ...]] = {}
        """Kind, key, kind, key …: a set of pairs would be some kilobytes a route."""
        self._current: set[Token] | None = None
        self._moments: set[float] = set()
        self.clock: Callable[[], float] = time.time

    # reading

    def get(self, kind: str, key: Hashable) -> Any:
        """Return a value, or None. ``<kind> status`` as kind reads an object whole, its status included."""
        if self._current is not None:
            self._current.add((kind, key))
        return unpacked(self._values.get(kind.removesuffix(" status"), NOBODY).get(key))

    def find(self, index: str, value: str) -> list[Any]:
        """Return the objects that an index has under a value."""
        if self._current is not None:
            self._current.add((index, value))
        return [unpacked(obj) for obj in self._indexes[index].get(value, {}).values()]

    def passed(self, moment: float) -> bool:
        """Whether a time (seconds since the epoch) is over; what asks runs again when it is."""
        if moment <= self.clock():
            return True
        if self._current is not None:
            self._current.add(("Passed", moment))
            self._moments.add(moment)
        return False

    def all(self, kind: str) -> dict[Hashable, Any]:
        """Return all values of a kind, objects as they are kept. Not noted: a computation must not call it."""
        return self._values.get(kind, {})

    # changing

    def add_index(self, name: str, kind: str, function: IndexFunction) -> None:
        self._index_functions.setdefault(kind, []).append((name, function))
        self._indexes[name] = {}

    def put_object(self, kind: str, key: str, obj: Object | None) -> bool:
        """Take over an API object (None: it is gone). Return whether it means something else than before."""
        old = unpacked(self._values.get(kind, NOBODY).get(key))
        kept = obj.packed if isinstance(obj, Lean) else obj
        self._changed((f"{kind} status", key))
        if old is not None and obj is not None and meaning(old) == meaning(obj):
            self._values[kind][key] = kept
            for name, function in self._index_functions.get(kind, ()):
                for value in function(obj):
                    self._indexes[name][value][key] = kept
            return False
        for name, function in self._index_functions.get(kind, ()):
            table = self._indexes[name]
            for value in set(function(old)) if old is not None else ():
                bucket = table[value]
                bucket.pop(key, None)
                if not bucket:
                    del table[value]
                self._changed((name, value))
            for value in set(function(obj)) if obj is not None else ():
                table.setdefault(value, {})[key] = kept
                self._changed((name, value))
        self._set(kind, key, kept)
        return True

    def put(self, kind: str, key: Hashable, value: Any) -> bool:
        """Take over what a computation made (None: nothing any more). Return whether it differs."""
        if self._values.get(kind, {}).get(key) == value:
            return False
        self._set(kind, key, value)
        return True

    def _set(self, kind: str, key: Hashable, value: Any) -> None:
        values = self._values.setdefault(kind, {})
        if value is None:
            values.pop(key, None)
        else:
            values[key] = value
        self._changed((kind, key))

    def _changed(self, token: Token) -> None:
        readers = self._readers.get(token[0], NOBODY).get(token[1])
        if readers is None:
            return
        if isinstance(readers, (Few, set)):
            self.dirty.update(readers)
        else:
            self.dirty.add(readers)

    def time_passes(self) -> float | None:
        """Mark what asked for a time that is over now. Return the next one that is asked for."""
        self._moments = {moment for moment in self._moments if moment in self._readers.get("Passed", NOBODY)}
        now = self.clock()
        for moment in [moment for moment in self._moments if moment <= now]:
            self._moments.discard(moment)
            self._changed(("Passed", moment))
        return min(self._moments, default=None)

    # computing

    @contextmanager
    def computing(self, computation: Computation) -> Iterator[None]:
        """Note what is read inside, in place of what the computation read before."""
        before, self._current = self._current, set()
        reads = self._current
        try:
            yield
        finally:
            self._current = before
            old = set(pairs(self._reads.get(computation, ())))
            for token in old - reads:
                self._forget_reader(token, computation)
            for token in reads - old:
                self._add_reader(token, computation)
            if reads != old or computation not in self._reads:
                self._reads[computation] = tuple(part for token in reads for part in token)

    def drop(self, computation: Computation) -> None:
        """Forget a computation that is not needed any more."""
        for token in pairs(self._reads.pop(computation, ())):
            self._forget_reader(token, computation)
        self.dirty.discard(computation)

    def _add_reader(self, token: Token, computation: Computation) -> None:
        kind, key = token
        of_kind = self._readers.setdefault(kind, {})
        readers = of_kind.get(key)
        if readers is None:
            of_kind[key] = computation
        elif isinstance(readers, set):
            readers.add(computation)
        elif isinstance(readers, Few):
            if computation not in readers:
                several = *readers, computation
                of_kind[key] = Few(several) if len(several) <= MOST_FEW else set(several)
        elif readers != computation:
            of_kind[key] = Few((readers, computation))

    def _forget_reader(self, token: Token, computation: Computation) -> None:
        kind, key = token
        of_kind = self._readers[kind]
        readers = of_kind[key]
        if isinstance(readers, set):
            readers.discard(computation)
            if len(readers) == 1:
                of_kind[key] = readers.pop()
        elif isinstance(readers, Few):
            left = Few(reader for reader in readers if reader != computation)
            of_kind[key] = left if len(left) > 1 else left[0]
        else:
            del of_kind[key]
            if not of_kind:
                del self._readers[kind]


def unpacked(value: Any) -> Any:
    return unpack(value) if value.__class__ is Packed else value


def pairs(reads: tuple[Hashable, ...]) -> Iterator[Token]:
    """Yield the tokens of what a computation reads."""
    parts = iter(reads)
    for kind in parts:
        yield str(kind), next(parts)


def age_key(obj: Object) -> tuple[str, str, str]:
    """Sort key of the specification's tie-breaks: oldest first, then by name."""
    metadata = obj["metadata"]
    return intern(metadata.get("creationTimestamp", "")), intern(metadata.get("namespace", "")), metadata["name"]


def key_of(obj: Object) -> str:
    metadata = obj["metadata"]
    return f"{metadata['namespace']}/{metadata['name']}" if metadata.get("namespace") else str(metadata["name"])
