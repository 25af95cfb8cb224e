"""Messages of syslog: many lines kept, nothing cut off, and a receiver that goes away in the middle."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.log_record import Delivery, Fields, Labels
from sampan.logs.outputs import delivering
from sampan.logs.outputs.delivering import Counts, deliver
from sampan.logs.outputs.syslog.message import Messages, element, pieces_of, severity_of
from tests.unit.logs.remote import batch_of, delivery, made, texts_of

MESSAGE = re.compile(
    rb"<(\d{1,3})>1 (\S+) (\S+) (\S+) (\S+) (\S+) (-|(?:\[(?:[^\"\]\\]|\"(?:[^\"\\\]]|\\.)*\")*\])+) \xef\xbb\xbf(.*)",
    re.S,
)
"""RFC 5424, section 6."""


def parsed(message: bytes) -> tuple[bytes, ...]:
    found = MESSAGE.fullmatch(message)
    assert found is not None, message
    return found.groups()


def test_a_trace_is_one_message() -> None:
    (message,) = Messages(1, "host").of(delivery("ERROR a\n  at b\n  at c"), "id-1")
    priority, time, host, app, process, kind, data, text = parsed(message)
    assert (priority, time, host) == (b"11", b"2026-11-30T10:00:00.500000Z", b"host")
    assert (app, process, kind) == (b"web-1", b"web-1", b"-")
    assert text == b"ERROR a\n  at b\n  at c"
    assert b'[kubernetes@32473 namespace="shop" pod="web-1" pod_uid="u-web-1" container="main"' in data
    assert b'[record@32473 id="id-1" sampan.lines="3"' in data


@given(st.text(max_size=3000), st.integers(480, 900))
def test_nothing_is_cut_off(text: str, most: int) -> None:
    text = text.encode("utf-8", "ignore").decode()
    found = list(Messages(16, "h", most_bytes=most).of(delivery(text)))
    assert all(len(message) <= most for message in found)
    assert b"".join(parsed(message)[-1] for message in found) == text.encode()
    for message in found:
        message.decode()


@given(st.binary(max_size=300).map(lambda data: data.decode("utf-8", "ignore").encode()), st.integers(4, 60))
def test_pieces_are_utf_8(text: bytes, most: int) -> None:
    found = list(pieces_of(text, most))
    assert b"".join(found) == text
    assert all(len(piece) <= most and piece.decode() is not None for piece in found)


@given(st.dictionaries(st.text(min_size=1, max_size=40), st.text(max_size=30), min_size=1, max_size=4))
def test_structured_data_can_be_read_whatever_is_in_it(parameters: dict[str, str]) -> None:
    text = element("x@1", parameters)
    assert re.fullmatch(r'\[x@1(?: [!#-<>-\\^-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")+\]', text, re.S)
    values = re.findall(r'="((?:[^"\\\]]|\\["\\\]])*)"', text, re.S)
    assert [re.sub(r"\\(.)", r"\1", value, flags=re.S) for value in values] == list(parameters.values())


def test_severities_and_what_processing_found() -> None:
    assert [severity_of(number) for number in (0, 1, 5, 9, 10, 13, 17, 18, 21, 24)] == [6, 7, 7, 6, 5, 4, 3, 2, 1, 0]
    fields = Fields()
    fields.severity_number, fields.trace_id, fields.attributes = 17, "ab" * 16, {"user": {"id": 7}, "none": None}
    labels, record, observed, _ = delivery("x")
    (message,) = Messages(0, "h").of((Labels({**labels.values, "node": "n 1"}), record, observed, fields))
    priority, _, host, *_, data, _ = parsed(message)
    assert (priority, host) == (b"3", b"n_1")
    assert b'trace_id="' + b"ab" * 16 in data
    assert b"none" not in data


def with_attributes(text: str, size: int) -> Delivery:
    labels, record, observed, _ = delivery(text)
    fields = Fields()
    fields.attributes = {"large": "x" * size}
    return labels, record._replace(text=text.encode()), observed, fields


def test_a_record_without_a_text_is_a_message_however_much_it_has_beside() -> None:
    (message,) = Messages(0, "h", most_bytes=480).of(with_attributes("", 1000))
    assert b"x" * 1000 in message


async def test_what_no_datagram_holds_does_not_hold_the_others() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(60)
        output = made("syslog", url=f"udp://127.0.0.1:{receiver.getsockname()[1]}")
        counts = Counts()
        async with asyncio.timeout(60):
            await deliver(output, [with_attributes("", 70_000), *batch_of(1)], counts)
        await output.close()
        assert parsed(receiver.recv(65536))[-1].decode() == texts_of(1)[0]
    assert (counts.records, counts.refused) == (1, 1)


class Receiver:
    """Takes frames of octet counting; ``close_after`` so many it closes the connection, once."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.close_after = -1
        self.port = 0

    @property
    def texts(self) -> list[str]:
        return [parsed(message)[-1].decode() for message in self.messages]

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while size := await reader.readuntil(b" "):
                self.messages.append(await reader.readexactly(int(size)))
                if len(self.messages) == self.close_after:
                    self.close_after = -1
                    return
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.transport.abort()


@asynccontextmanager
async def receiving(ssl_context: Any = None) -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.handle, "127.0.0.1", 0, ssl=ssl_context)
    receiver.port = server.sockets[0].getsockname()[1]
    async with server:
        yield receiver


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivering, "FIRST_SECONDS", 0.0)


async def until(receiver: Receiver, count: int) -> None:
    async with asyncio.timeout(60):
        while len(receiver.messages) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def test_over_tcp() -> None:
    async with receiving() as receiver:
        output = made("syslog", url=f"tcp://127.0.0.1:{receiver.port}", facility="local3")
        for first in (0, 10):
            await deliver(output, batch_of(10, first=first), Counts())
        await until(receiver, 20)
        await output.close()
    assert receiver.texts == texts_of(20)
    assert parsed(receiver.messages[0])[0] == b"158"


async def test_a_receiver_that_closes_in_the_middle_gets_it_again() -> None:
    async with receiving() as receiver:
        receiver.close_after = 7
        output = made("syslog", url=f"tcp://127.0.0.1:{receiver.port}")
        big = [delivery(f"{number} " + "x" * 100_000) for number in range(60)]
        counts = Counts()
        await deliver(output, big, counts)
        async with asyncio.timeout(60):
            while len({text.split()[0] for text in receiver.texts}) < 60:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        await output.close()
    assert counts.retries >= 1
    assert counts.records == 60


async def test_datagrams() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        receiver.settimeout(60)
        port = receiver.getsockname()[1]
        output = made("syslog", url=f"udp://127.0.0.1:{port}")
        await deliver(output, batch_of(20), Counts())
        found = [parsed(receiver.recv(65536))[-1].decode() for _ in range(20)]
        await output.close()
    assert found == texts_of(20)


async def test_a_port_without_a_receiver_is_asked_again() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    output = made("syslog", url=f"udp://127.0.0.1:{port}")
    counts = Counts()
    delivery_ = asyncio.create_task(deliver(output, batch_of(50), counts))
    async with asyncio.timeout(60):
        while not counts.retries:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    delivery_.cancel()
    await asyncio.wait({delivery_})
    await output.close()
