"""The cluster's zone, compiled: question bytes (lower-cased name, type, class) to the records of the answer as bytes.

A change of a Service recompiles the names it had and has, nothing else. Records that many hold (a reverse name, a name above
others) go with their last holder. Several addresses are kept in several orders, so that clients spread over them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from sampan.dns import wire
from sampan.dns.records import Data, Key, Records, ServiceTarget, ancestors, pod_address

TTL_SECONDS = 5
ORDERS_AT_MOST = 16


class Answer(NamedTuple):
    """The counts and records behind the question; the owner's name is a pointer to the question's."""

    counts: bytes
    """ANCOUNT, NSCOUNT, ARCOUNT."""
    orders: tuple[bytes, ...]
    additional: int


class Zone:
    def __init__(self, domain: str, server_ip: str) -> None:
        self.domain = domain.lower().strip(".")
        self.suffix = wire.name_to_wire(self.domain)
        self.answers: dict[bytes, Answer] = {}
        self.aliases: dict[bytes, str] = {}
        """Names of ExternalName Services (wire form) and where they point."""
        self.namespaces: set[str] = set()
        self._contributions: dict[str, Records] = {}
        self._holders: dict[Key, dict[str, list[Data]]] = {}
        self._existing: dict[bytes, int] = {}
        server = wire.name_to_wire(f"ns.dns.{self.domain}")
        # a minimum and a TTL of 0: "no such name" is not to be remembered, it may exist in a moment
        self.soa = wire.record(
            self.suffix, wire.SOA, 0, wire.soa_data(server, wire.name_to_wire(f"hostmaster.{self.domain}"), 1, 0)
        )
        for name in (self.domain, f"svc.{self.domain}", f"pod.{self.domain}"):
            self._exist(name, 1)
        apex: Records = {
            (f"ns.dns.{self.domain}", wire.A): [IPv4Address(server_ip)],
            (self.domain, wire.NS): [f"ns.dns.{self.domain}"],
            (f"dns-version.{self.domain}", wire.TXT): ["1.1.0"],
        }
        self.update({"": apex})
        soa = wire.record(wire.POINTER_TO_QUESTION, wire.SOA, 0, self.soa[len(self.suffix) + 10 :])
        self.answers[question_key(self.suffix, wire.SOA)] = Answer(struct.pack("!HHH", 1, 0, 0), (soa,), 0)

    # changes

    def update(self, changed: dict[str, Records]) -> None:
        """Take over the records of some Services (by key); an empty one is gone."""
        touched: set[Key] = set()
        for key, new in changed.items():
            old = self._contributions.pop(key, {})
            for record in old:
                if record not in new:
                    holders = self._holders[record]
                    del holders[key]
                    if not holders:
                        del self._holders[record]
                    self._exist_below(record[0], -1)
            for record, data in new.items():
                self._holders.setdefault(record, {})[key] = data
                if record not in old:
                    self._exist_below(record[0], 1)
            if new:
                self._contributions[key] = new
            touched.update(old)
            touched.update(new)
        # SRV answers carry their targets' addresses: those last
        for record in sorted(touched, key=lambda record: record[1] == wire.SRV):
            self._compile(record)

    def set_namespace(self, name: str, present: bool) -> None:
        """A namespace's own names exist as long as it does."""
        if present == (name in self.namespaces):
            return
        (self.namespaces.add if present else self.namespaces.discard)(name)
        for tree in ("svc", "pod"):
            self._exist(f"{name}.{tree}.{self.domain}", 1 if present else -1)

    def _exist_below(self, name: str, step: int) -> None:
        self._exist(name, step)
        for above in ancestors(name, self.domain):
            self._exist(above, step)

    def _exist(self, name: str, step: int) -> None:
        key = wire.name_to_wire(name)
        count = self._existing.get(key, 0) + step
        if count:
            self._existing[key] = count
        else:
            self._existing.pop(key, None)

    def _compile(self, record: Key) -> None:
        name, kind = record
        key = wire.name_to_wire(name)
        data = _distinct(self._holders.get(record, {}).values())
        if kind == wire.CNAME:
            if data:
                self.aliases[key] = str(data[0])
            else:
                self.aliases.pop(key, None)
            return
        if not data:
            self.answers.pop(question_key(key, kind), None)
            return
        records = [wire.record(wire.POINTER_TO_QUESTION, kind, TTL_SECONDS, to_wire(kind, item)) for item in data]
        additional = self._targets(data) if kind == wire.SRV else []
        orders = [
            b"".join([*records[turn:], *records[:turn], *additional])
            for turn in range(min(len(records), ORDERS_AT_MOST))
        ]
        counts = struct.pack("!HHH", len(records), 0, len(additional))
        self.answers[question_key(key, kind)] = Answer(counts, tuple(orders), len(additional))

    def records(self, name: bytes, kind: int) -> list[bytes]:
        """Return the records of a name (lower-cased, wire form), each with its owner written out."""
        data = _distinct(self._holders.get((wire.wire_to_name(name), kind), {}).values())
        return [wire.record(name, kind, TTL_SECONDS, to_wire(kind, item)) for item in data]

    def _targets(self, data: list[Data]) -> list[bytes]:
        found = []
        for name in dict.fromkeys(item.target for item in data if isinstance(item, ServiceTarget)):
            for kind in (wire.A, wire.AAAA):
                found += self.records(wire.name_to_wire(name.lower()), kind)
        return found

    # questions

    def contains(self, name: bytes) -> bool:
        """Whether a lower-cased name in wire form is of the zone (its suffix at a label's border)."""
        if not name.endswith(self.suffix):
            return False
        border = len(name) - len(self.suffix)
        offset = 0
        while offset < border:
            offset += name[offset] + 1
        return offset == border

    def exists(self, name: bytes) -> bool:
        return name in self._existing or name in self.aliases

    def pod(self, name: bytes) -> IPv4Address | IPv6Address | None:
        """Return the address of a pod's name, ``<address with dashes>.<namespace>.pod.<zone>``."""
        label, _, rest = wire.wire_to_name(name).partition(".")
        namespace, _, tree = rest.partition(".")
        if tree != f"pod.{self.domain}" or namespace not in self.namespaces:
            return None
        return pod_address(label)


def question_key(name: bytes, kind: int) -> bytes:
    return name + struct.pack("!HH", kind, wire.IN)


def to_wire(kind: int, data: Data) -> bytes:
    """Return the data of a record in wire form."""
    if isinstance(data, ServiceTarget):
        return wire.srv_data(0, data.weight, data.port, wire.name_to_wire(data.target))
    if isinstance(data, str):
        return wire.txt_data(data) if kind == wire.TXT else wire.name_to_wire(data)
    return wire.address_data(data)


def _distinct(lists: Iterable[list[Data]]) -> list[Data]:
    return list(dict.fromkeys(item for listed in lists for item in listed))
