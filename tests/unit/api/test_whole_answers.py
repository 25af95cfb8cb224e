"""Answers and bodies that are whole take a short way through our HTTP protocol: the wire sees no difference."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.asgi import respond
from sampan.api.long_answers import PART_BYTES, ListResponse
from sampan.api.request import Response
from sampan.api.whole import Outbox, Whole, head_of


class Flow:
    def __init__(self) -> None:
        self.write_paused, self.drained = False, 0

    async def drain(self) -> None:
        self.drained += 1


class Cycle:
    """What uvicorn knows of a request."""

    def __init__(self, body: bytes = b"", **state: Any) -> None:
        self.body, self.more_body, self.disconnected = bytearray(body), False, False
        self.waiting_for_100_continue = self.response_started = self.response_complete = False
        self.keep_alive, self.flow, self.message_event = True, Flow(), asyncio.Event()
        self.message_event.set()
        self.completed = 0
        for name, value in state.items():
            setattr(self, name, value)

    def on_response(self) -> None:
        self.completed += 1


class Transport:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False

    def is_closing(self) -> bool:
        return self.closed

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self) -> None:
        self.closed = True


def whole(cycle: Cycle, transport: Transport | None = None) -> Whole:
    return Whole(cycle, transport or Transport(), Outbox(asyncio.get_running_loop()))


async def sent(method: str, response: Response, *, direct: bool, **state: Any) -> tuple[bytes, Cycle, Transport]:
    """Return what an answer is on the wire, the short way or from ASGI's messages."""
    cycle, transport = Cycle(**state), Transport()
    scope: dict[str, Any] = {"method": method}
    messages: list[Any] = []

    async def send(message: Any) -> None:
        messages.append(message)

    await respond(scope, send, response, None, whole(cycle, transport) if direct else None)
    if direct:
        await asyncio.sleep(0)
        assert not messages
        return b"".join(transport.written), cycle, transport
    start, *rest = messages
    assert [message.get("more_body", False) for message in rest] == [True] * (len(rest) - 1) + [False]
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in start["headers"])
    head = b"HTTP/1.1 %d " % start["status"] + {200: b"OK", 201: b"Created"}[start["status"]] + b"\r\n"
    return head + lines + b"\r\n" + b"".join(m["body"] for m in rest), cycle, transport


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD"])
@pytest.mark.parametrize("size", [0, 10, 100_000])
async def test_both_ways_write_the_same(method: str, size: int) -> None:
    response = Response(b"x" * size, 201 if method == "POST" else 200)
    short, cycle, _ = await sent(method, response, direct=True)
    long, _, _ = await sent(method, response, direct=False)
    assert short == long
    assert cycle.response_complete and cycle.completed == 1 and cycle.message_event.is_set()


async def test_a_connection_that_is_not_kept_is_closed() -> None:
    wire, _, transport = await sent("GET", Response(b"{}"), direct=True, keep_alive=False)
    assert b"connection: close\r\n" in wire and transport.closed


async def test_a_client_that_does_not_read_is_waited_for_and_one_that_left_is_told_nothing() -> None:
    flow = Flow()
    flow.write_paused = True
    wire, _, _ = await sent("GET", Response(b"{}"), direct=True, flow=flow)
    assert flow.drained == 1 and wire
    wire, cycle, _ = await sent("GET", Response(b"{}"), direct=True, disconnected=True)
    assert wire == b"" and cycle.completed == 0


async def test_no_header_has_two_lines() -> None:
    with pytest.raises(RuntimeError, match="more than one line"):
        await whole(Cycle()).answer(
            head_of(200, "text/plain", True), [(b"warning", b"a\r\nset-cookie: b")], Response(b""), True
        )
    for value in (b"a\nb", b"a\r\n\r\nb"):
        with pytest.raises(RuntimeError, match="more than one line"):
            await whole(Cycle()).answer(head_of(200, "a", True), [(b"warning", value)], Response(b""), True)


async def test_a_body_is_taken_only_when_it_is_all_there() -> None:
    cycle = Cycle(b"body")
    assert whole(cycle).body() == b"body"
    assert not cycle.message_event.is_set() and not cycle.body
    assert whole(Cycle(b"bo", more_body=True)).body() is None
    assert whole(Cycle(b"body", waiting_for_100_continue=True)).body() is None
    assert whole(Cycle(b"body", disconnected=True)).body() is None


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [10],
        [10, 20],
        [300_000, 1, 2],
        [1000] * 700,
        [1, 400_000, *[100] * 5000],
        [*[10] * 10_000, *[1_000_000] * 6, 10],
        [*[1_000_000] * 6, *[10] * 10_000],
    ],
)
async def test_a_list_is_sent_in_parts_that_make_it_up(sizes: list[int]) -> None:
    values = [b"v" * size for size in sizes]
    answer = ListResponse(b'{"items":[', values, b"]}\n")
    whole = b'{"items":[' + b",".join(values) + b"]}\n"
    parts = list(answer.parts())
    assert b"".join(parts) == answer.body == whole and answer.length == len(whole)
    assert max(map(len, parts)) <= 2 * PART_BYTES + max(sizes, default=0) * 2
    for direct in (True, False):
        assert (await sent("GET", answer, direct=direct))[0].endswith(b"\r\n\r\n" + whole)


async def test_no_more_of_a_list_is_made_than_the_client_reads() -> None:
    made = 0

    class Slow(Flow):
        async def drain(self) -> None:
            self.drained += 1
            if self.drained == 3:
                cycle.disconnected = True

    class Counted(ListResponse):
        def parts(self):  # type: ignore[no-untyped-def]
            nonlocal made
            for part in super().parts():
                made += 1
                yield part

    flow = Slow()
    cycle, transport = Cycle(flow=flow), Transport()
    flow.write_paused = True
    answer = Counted(b"[", [b"v" * 1000] * 5000, b"]")
    await respond({"method": "GET"}, None, answer, None, whole(cycle, transport))  # type: ignore[arg-type]
    assert made == 2 and len(transport.written) == 1 and not cycle.response_complete


async def test_answers_of_one_turn_are_written_in_order_after_it() -> None:
    order: list[bytes] = []

    class Ordered(Transport):
        def write(self, data: bytes) -> None:
            order.append(data[-1:])

    outbox, first, second, gone = Outbox(asyncio.get_running_loop()), Ordered(), Ordered(), Ordered()
    for transport, body in ((first, b"1"), (second, b"2"), (gone, b"x"), (first, b"3")):
        await Whole(Cycle(), transport, outbox).answer(head_of(200, "a", True), (), Response(body), True)
    gone.close()
    assert order == []
    await asyncio.sleep(0)
    assert order == [b"1", b"2", b"3"]
    await Whole(Cycle(), first, outbox).answer(head_of(200, "a", True), (), Response(b"4"), True)
    await Whole(Cycle(keep_alive=False), second, outbox).answer(head_of(200, "a", True), (), Response(b"5"), True)
    assert order[3:] == [b"4", b"5"] and second.closed  # it is closed at once: nothing may wait


async def test_a_connection_that_breaks_keeps_no_answer_from_the_others() -> None:
    class Broken(Transport):
        aborted = False

        def write(self, data: bytes) -> None:
            raise RuntimeError("the record layer is gone")

        def abort(self) -> None:
            self.aborted = True

    outbox, broken, other = Outbox(asyncio.get_running_loop()), Broken(), Transport()
    for transport in (broken, other):
        await Whole(Cycle(), transport, outbox).answer(head_of(200, "a", True), (), Response(b"1"), True)
    await asyncio.sleep(0)
    assert broken.aborted and b"".join(other.written).endswith(b"\r\n\r\n1")
