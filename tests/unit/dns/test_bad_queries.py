"""What cannot be answered is said, what deserves no answer gets none, and no bytes end the server."""

from __future__ import annotations

import struct

import dns.message
import dns.opcode
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.dns import wire
from sampan.dns.asking import Pending
from sampan.dns.forwarding.upstream_answer import read

from .cluster import NOBODY, Cluster, ask, code, query

WEB = "web.shop.svc.cluster.local"


def small() -> Cluster:
    made = Cluster()
    made.namespace("shop")
    made.service("web", clusterIP="10.240.64.7")
    return made


CLUSTER = small()
RESPONDER = CLUSTER.responder()


@pytest.mark.parametrize("kind", ["AXFR", "IXFR"])
def test_zone_transfers_are_refused(kind: str) -> None:
    for udp in (True, False):
        assert code(ask(RESPONDER, "cluster.local", kind, udp=udp)) == "REFUSED"


def test_other_classes_are_refused() -> None:
    assert code(ask(RESPONDER, "version.bind", "TXT", rdclass="CH")) == "REFUSED"


def test_other_operations_are_not_implemented() -> None:
    asked = dns.message.make_query(WEB + ".", "A")
    asked.set_opcode(dns.opcode.NOTIFY)
    answer = RESPONDER.answer(asked.to_wire(), NOBODY)
    assert isinstance(answer, bytes) and answer[3] & 0xF == wire.NOT_IMPLEMENTED


def test_answers_get_no_answer() -> None:
    responder, asked = RESPONDER, bytearray(query(WEB))
    asked[2] |= 0x80
    assert responder.answer(bytes(asked), NOBODY) is None
    assert responder.answer(bytes(asked[:13]), NOBODY) is None
    assert responder.answer(b"short", NOBODY) is None


@pytest.mark.parametrize(
    "data",
    [
        query(WEB)[:-3],
        b"\0\1\1\0\0\0\0\0\0\0\0\0",  # no question
        b"\0\1\1\0\0\2\0\0\0\0\0\0" + query(WEB)[12:] * 2,
        b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",  # a name that points to itself
        b"\0\1\1\0\0\1\0\0\0\0\0\0\x40" + b"x" * 64 + b"\0\0\1\0\1",  # a label of 64 bytes
        b"\0\1\1\0\0\1\0\0\0\0\0\0" + (b"\x3f" + b"x" * 63) * 5 + b"\0\0\1\0\1",  # a name of 321 bytes
        b"\0\1\1\0\0\1\0\0\0\0\0\2" + query(WEB)[12:] + wire.opt_record() * 2,
        b"\0\1\1\0\0\1\0\0\0\0\xff\xff" + query(WEB)[12:] + wire.opt_record(),
    ],
)
def test_malformed_queries_are_told(data: bytes) -> None:
    answer = RESPONDER.answer(data, NOBODY)
    assert isinstance(answer, bytes) and answer[:2] == data[:2] and answer[3] & 0xF == wire.FORMAT_ERROR


@given(st.binary(max_size=600))
def test_no_bytes_crash_the_responder(data: bytes) -> None:
    result = RESPONDER.answer(data, NOBODY)
    assert result is None or isinstance(result, (bytes, Pending))


LABELS = st.lists(st.binary(min_size=1, max_size=63), max_size=6)


@given(
    LABELS,
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 65535),
    st.integers(0, 3),
    st.binary(max_size=60),
)
def test_no_question_crashes_it_and_answers_can_be_read(
    labels: list[bytes], kind: int, class_: int, flags: int, additional: int, tail: bytes
) -> None:
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    head = struct.pack("!HHHHHH", 1, flags, 1, 0, 0, additional)
    result = RESPONDER.answer(head + name + struct.pack("!HH", kind, class_) + tail, NOBODY)
    if isinstance(result, bytes) and flags >> 11 & 0xF != dns.opcode.UPDATE:  # its question is read as a zone
        dns.message.from_wire(result, ignore_trailing=False)


@given(st.binary(max_size=600))
def test_no_answer_of_a_resolver_crashes_us(data: bytes) -> None:
    try:
        found = read(data)
        found.records()
        found.aged(3)
    except wire.WireError:
        return


@given(st.data())
def test_what_is_read_of_a_damaged_answer_is_no_crash(draw: st.DataObject) -> None:
    asked = dns.message.make_query("www.example.org.", "A")
    answer = dns.message.make_response(asked)
    answer.answer.append(dns.rrset.from_text("www.example.org.", 60, "IN", "CNAME", "x.example.org."))
    answer.answer.append(dns.rrset.from_text("x.example.org.", 60, "IN", "A", "192.0.2.1"))
    raw = bytearray(answer.to_wire())
    for _ in range(draw.draw(st.integers(1, 4))):
        raw[draw.draw(st.integers(2, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    try:
        read(bytes(raw)).records()
    except wire.WireError:
        return


@given(st.from_regex(r"[a-z0-9_-]{1,63}(\.[a-z0-9-]{1,63}){0,2}", fullmatch=True))
def test_names_come_back(name: str) -> None:
    assert wire.wire_to_name(wire.name_to_wire(name)) == name
