"""The cluster's zone, compiled: question bytes (lower-cased name, type, class) to the bytes of the answer.

A change of a Service recompiles the questions it had and has, nothing else. The zone keeps no records, only answers and
whose they are: what several Services answer together (a reverse name) is compiled from the records of all of them, computed
anew. What is too much to compile ahead (names of pods, of zones) is computed when it is asked for, in ``asked.py``.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple

from sampan.dns import wire
from sampan.dns.entries import Ip
from sampan.dns.records import Data, Options, Records, ServiceTarget, ancestors, type_of

FLAGS = wire.QR | wire.AUTHORITATIVE | wire.RECURSION_DESIRED | wire.RECURSION_AVAILABLE
KINDS = (wire.A, wire.AAAA, wire.SRV, wire.PTR, wire.TXT, wire.SOA, wire.NS)
ENDINGS = tuple(struct.pack("!HH", kind, wire.IN) for kind in KINDS)
MOST_TARGETS = 256
VERSION = "1.1.0"
"""Of the specification: what ``dns-version`` says."""


class Answer(NamedTuple):
    """What a compiled answer is made of, around the question: the owner's name is a pointer to it."""

    head: bytes
    """Flags and counts: the header without its identity."""
    body: bytes
    turns: int
    """How many records of one size the body begins with: they are given in turn. 1: they stay."""
    size: int
    """Of one of those, in bytes."""


class Found(NamedTuple):
    """An answer as records, their names written out."""

    code: int
    answers: list[bytes]
    authorities: list[bytes]
    additional: list[bytes]
    authoritative: bool = True
    by: str = "kubernetes"
    """Who found it: the directive's name."""
    authentic: bool = False
    """Whether a resolver vouches for it (the AD bit)."""


class Zone:
    """``records_of`` returns the records of a Service by its key, as they are now."""

    def __init__(
        self,
        options: Options,
        server_addresses: Iterable[Ip],
        records_of: Callable[[str], Records],
        *,
        turn: bool = True,
    ) -> None:
        self.options = options
        self.domain = options.domain
        self.suffix = wire.name_to_wire(self.domain)
        self.reverse = tuple(wire.name_to_wire(zone) for zone in options.reverse)
        self.fallthrough = tuple(wire.name_to_wire(zone) for zone in options.fallthrough)
        self.answers: dict[bytes, Answer] = {}
        self.aliases: dict[bytes, bytes] = {}
        """Names of ExternalName Services and where they point, in wire form."""
        self.namespaces: set[str] = set()
        self._turn = turn
        self._records_of = records_of
        self._questions: dict[str, tuple[bytes, ...] | set[bytes]] = {}
        """The questions of a Service, by its key; a set of one that changes piece by piece."""
        self._holders: dict[bytes, str | set[str]] = {}
        """Whose an answer is: one key, or several."""
        self._between: dict[bytes, int] = {}
        """Names that exist because others are below them, and how many those are."""
        # a TTL and a minimum of 0: "no such name" is not to be remembered, it may exist in a moment
        server, contact = (wire.name_to_wire(f"{one}.{self.domain}") for one in ("ns.dns", "hostmaster"))
        soa = wire.soa_data(server, contact, 1, 0)
        self.soa = wire.record(self.suffix, wire.SOA, 0, soa)
        for name in (self.domain, f"svc.{self.domain}", f"pod.{self.domain}", f"dns.{self.domain}"):
            self._between[wire.name_to_wire(name)] = 1
        self._compile_apex(server_addresses, soa)

    def _compile_apex(self, server_addresses: Iterable[Ip], soa: bytes) -> None:
        apex: Records = {
            (self.domain, wire.NS): [f"ns.dns.{self.domain}"],
            (f"dns-version.{self.domain}", wire.TXT): [VERSION],
        }
        for address in server_addresses:
            apex.setdefault((f"ns.dns.{self.domain}", type_of(address)), []).append(address)
        for (name, kind), data in apex.items():
            self._compile(question_key(wire.name_to_wire(name), kind), kind, data, apex)
        self.answers[question_key(self.suffix, wire.SOA)] = compiled(
            [wire.record(b"\xc0\x0c", wire.SOA, 0, soa)], [], 1
        )

    # changes

    def update(self, key: str, records: Records) -> None:
        """Take over the records of a Service; none: it is gone."""
        before = self._questions.pop(key, ())
        now = {question_key(wire.name_to_wire(name), kind): (name, kind) for name, kind in records}
        for question in before:
            if question not in now:
                self._leave(question, key, records)
        for question, record in now.items():
            self._hold(question, record, key, records, records)
        if now:
            self._questions[key] = tuple(now)

    def change(self, key: str, records: Records, beside: Records) -> None:
        """Take over some records of a Service that has many; those without data are gone. ``beside``: the addresses that its
        SRV records lead to."""
        questions = self._questions.get(key, ())
        known = questions if isinstance(questions, set) else set(questions)
        for record, data in records.items():
            question = question_key(wire.name_to_wire(record[0]), record[1])
            if data:
                known.add(question)
                self._hold(question, record, key, records, beside)
            elif question in known:
                known.discard(question)
                self._leave(question, key, beside)
        self._questions.pop(key, None)
        if known:
            self._questions[key] = known

    def _hold(self, question: bytes, record: tuple[str, int], key: str, records: Records, beside: Records) -> None:
        holders = self._holders.get(question)
        if holders is None:
            self._holders[question] = key
            self._exist(record[0], 1)
        elif holders != key:
            (shared := {holders} if isinstance(holders, str) else holders).add(key)
            self._holders[question] = shared
        self._compile(question, record[1], self._data(question, record, key, records), beside)

    def _leave(self, question: bytes, key: str, records: Records) -> None:
        name, kind = wire.wire_to_name(question[:-4]), int.from_bytes(question[-4:-2])
        holders = self._holders[question]
        if isinstance(holders, str) or len(holders) == 1:
            del self._holders[question]
            self._exist(name, -1)
            self._compile(question, kind, [], records)
            return
        holders.discard(key)
        self._compile(question, kind, self._data(question, (name, kind), "", {}), records)

    def _data(self, question: bytes, record: tuple[str, int], key: str, records: Records) -> list[Data]:
        """Return what all that hold a question say, each once."""
        holders = self._holders[question]
        if isinstance(holders, str):
            return records[record]
        found: dict[Data, None] = {}
        for holder in sorted(holders):
            own = records if holder == key else self._records_of(holder)
            found.update(dict.fromkeys(own.get(record, ())))
        return list(found)

    def _exist(self, name: str, step: int) -> None:
        for above in ancestors(name, self.domain):
            key = wire.name_to_wire(above)
            count = self._between.get(key, 0) + step
            if count:
                self._between[key] = count
            else:
                del self._between[key]

    def set_namespace(self, name: str, present: bool) -> None:
        """A namespace's own names exist as long as it does."""
        if present == (name in self.namespaces) or not self.options.exposes(name):
            return
        (self.namespaces.add if present else self.namespaces.discard)(name)
        for tree in ("svc", "pod"):
            key = wire.name_to_wire(f"{name}.{tree}.{self.domain}")
            if present:
                self._between[key] = 1
            else:
                self._between.pop(key, None)

    def _compile(self, question: bytes, kind: int, data: list[Data], records: Records) -> None:
        if kind == wire.CNAME:
            if data:
                self.aliases[question[:-4]] = wire.name_to_wire(str(data[0]))
            else:
                self.aliases.pop(question[:-4], None)
            return
        if not data or (kind == wire.PTR and not self.reverses(question[:-4])):
            self.answers.pop(question, None)
            return
        ttl = self.options.ttl
        made = [wire.record(wire.POINTER_TO_QUESTION, kind, ttl, to_wire(kind, item)) for item in data]
        beside = targets(data, records, ttl) if kind == wire.SRV else []
        turns = len(made) if self._turn and kind in (wire.A, wire.AAAA) else 1
        self.answers[question] = compiled(made, beside, turns)

    # questions

    def contains(self, name: bytes) -> bool:
        """Whether a lower-cased name in wire form is one that we alone answer for."""
        return wire.is_below(name, self.suffix)

    def reverses(self, name: bytes) -> bool:
        return any(wire.is_below(name, zone) for zone in self.reverse)

    def falls_through(self, name: bytes) -> bool:
        """Whether others are asked about a name that is not there."""
        return any(wire.is_below(name, zone) for zone in self.fallthrough)

    def exists(self, name: bytes) -> bool:
        """Whether a name is there, with whatever records."""
        if name in self._between or name in self.aliases:
            return True
        return not self.answers.keys().isdisjoint([name + ending for ending in ENDINGS])

    def holders(self, name: bytes, kind: int) -> list[str]:
        """Return the keys of the Services whose answer it is."""
        kind = wire.CNAME if name in self.aliases else kind
        holders = self._holders.get(question_key(name, kind), ())
        return [holders] if isinstance(holders, str) else sorted(holders)

    def compiled(self, name: bytes, kind: int) -> Found | None:
        """Return the answer to a question as records, None where it is not among the compiled ones."""
        answer = self.answers.get(question_key(name, kind))
        if answer is None and kind == wire.ANY:  # one set of records is an answer to ANY (RFC 8482)
            answer = next((one for kind in KINDS if (one := self.answers.get(question_key(name, kind)))), None)
        if answer is None:
            return None
        pieces = [name + piece[2:] if piece[:2] == wire.POINTER_TO_QUESTION else piece for piece in split(answer.body)]
        (count,) = struct.unpack_from("!H", answer.head, 4)
        return Found(wire.NO_ERROR, pieces[:count], [], pieces[count:])

    def denial(self, *, exists: bool) -> Found:
        return Found(wire.NO_ERROR if exists else wire.NAME_ERROR, [], [self.soa], [])


def compiled(records: list[bytes], beside: list[bytes], turns: int) -> Answer:
    head = _heads.setdefault((len(records), len(beside)), struct.pack("!HHHHH", FLAGS, 1, len(records), 0, len(beside)))
    return Answer(head, b"".join((*records, *beside)), turns, len(records[0]))


_heads: dict[tuple[int, int], bytes] = {}
"""Many answers have the same."""


def targets(data: list[Data], records: Records, ttl: int) -> list[bytes]:
    """Return the addresses of what SRV records lead to: names of the same Service. None of very many, whose answer has no
    room for them."""
    found: list[bytes] = []
    if len(data) > MOST_TARGETS:
        return found
    for name in dict.fromkeys(item.target for item in data if isinstance(item, ServiceTarget)):
        owner = wire.name_to_wire(name.lower())
        for kind in (wire.A, wire.AAAA):
            found += [
                wire.record(owner, kind, ttl, to_wire(kind, one)) for one in records.get((name.lower(), kind), ())
            ]
    return found


def question_key(name: bytes, kind: int) -> bytes:
    return name + struct.pack("!HH", kind, wire.IN)


def split(body: bytes) -> list[bytes]:
    """Return the records of a compiled body one by one."""
    found, offset = [], 0
    while offset < len(body):
        end = wire.skip_name(body, offset, pointers=True) + 10
        end += int.from_bytes(body[end - 2 : end])
        found.append(body[offset:end])
        offset = end
    return found


def to_wire(kind: int, data: Data) -> bytes:
    """Return the data of a record in wire form."""
    if isinstance(data, ServiceTarget):
        return wire.srv_data(0, data.weight, data.port, wire.name_to_wire(data.target))
    if isinstance(data, str):
        return wire.txt_data(data) if kind == wire.TXT else wire.name_to_wire(data)
    return data.packed
