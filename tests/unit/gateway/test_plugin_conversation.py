"""What a processor's doings come to in Envoy's words, and what becomes of what it does wrong; no Envoy, no process."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.plugins.conversation import by_name, mutation
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.exchange import REPLAYED_BYTES, phases_of
from sampan.gateway.plugins.exchanged import changed, exchanged
from sampan.gateway.plugins.modes import FULL_DUPLEX_STREAMED, NOTHING, SEND, SKIP, mode, of_upgrade
from sampan.gateway.plugins.processor import Processing
from sampan.gateway.plugins.rehearsal import Played, ask, read, texts

NAMES = st.sampled_from(["accept", "cookie", "set-cookie", "x-a", "x-b"])
HEADERS = st.lists(st.tuples(NAMES, st.text(st.characters(max_codepoint=255, exclude_characters="\0\r\n"), max_size=5)))


@given(HEADERS, HEADERS)
def test_a_mutation_makes_one_list_of_headers_of_another(before: list[Any], after: list[Any]) -> None:
    assert by_name(changed(before, as_sent(mutation(before, after)))) == by_name(after)


def as_sent(said: dict[str, Any]) -> dict[str, Any]:
    """False is not sent in protobuf."""
    for option in said["set_headers"]:
        option["append"] = {"value": True} if option["append"]["value"] else {}
    return said


def test_envoy_sends_what_there_are_methods_for() -> None:
    assert mode(("response_headers",)) == {
        "request_header_mode": SEND,
        "response_header_mode": SEND,
        "request_body_mode": 0,
        "response_body_mode": 0,
        "request_trailer_mode": SKIP,
        "response_trailer_mode": SKIP,
    }
    streamed = mode(("request_body",))
    assert streamed["request_body_mode"] == FULL_DUPLEX_STREAMED and streamed["request_trailer_mode"] == SEND
    assert streamed["response_header_mode"] == SKIP
    phases = ("response_headers", "request_content", "response_content")
    assert mode(phases)["request_body_mode"] == mode(phases)["response_body_mode"] == FULL_DUPLEX_STREAMED
    upgrade = of_upgrade(phases)
    assert (upgrade["request_body_mode"], upgrade["response_body_mode"], upgrade["response_header_mode"]) == (
        NOTHING,
        NOTHING,
        SEND,
    )


def test_methods_that_are_none() -> None:
    class Nothing:
        pass

    class Whole:
        async def response_body(self, exchange: Any, chunks: Any) -> bytes:
            return b""

    with pytest.raises(TypeError, match="has none of the methods request_headers, request_body"):
        phases_of(Nothing())
    with pytest.raises(TypeError, match="response_body is to be an async generator"):
        phases_of(Whole())


def test_what_does_not_go_together_is_no_processor() -> None:
    class Content:
        def response_content(self, exchange: Any, content: bytes) -> None:
            pass

    class Both(Content):
        async def response_body(self, exchange: Any, chunks: Any) -> Any:
            yield b""

    class Pieces:
        async def request_content(self, exchange: Any, content: bytes) -> Any:
            yield b""

    assert phases_of(Content()) == phases_of(Content(), ["text/*"]) == ("response_content",)
    for processor, types, words in (
        (Both(), ["*/*"], "response_content and response_body: only one of them may be there"),
        (Pieces(), ["*/*"], "request_content is to return the whole body"),
        (Content(), [], "response_content: plugin.toml is to say for which bodies, with content-types"),
        (object, ["*/*"], "has none of the methods"),
        (
            Headers(),
            ["*/*"],
            "content-types in plugin.toml: there is none of the methods request_content, response_content",
        ),
    ):
        with pytest.raises(TypeError, match=words):
            phases_of(processor, types)


class Headers:
    def request_headers(self, exchange: Any) -> None:
        pass


async def play(
    processor: Any, *, opens: bool = False, body: str = "hello", answer: bytes = b"fine"
) -> tuple[Any, Any, Any]:
    """Return what came back, what the backend was asked, and the counters' report."""
    deployment = {"settings": {}, "timeout_seconds": 0.2, "fails_open": opens}
    processing = Processing(processor, deployment, Counters("shop/p", "v"))
    asked: dict[str, Any] = {}

    async def backend(scope: Any, receive: Any, send: Any) -> None:
        asked.update(path=scope["path"], headers=texts(scope["headers"]), body=(await read(receive)).decode())
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-from", b"backend")]})
        await send({"type": "http.response.body", "body": answer})

    played = Played("one")
    request = {"method": "POST", "path": "/a?b=c", "body": body, "client": "192.0.2.7"}
    await ask(exchanged(processing, backend), request, played)
    return played, asked, processing.counters.report()


async def test_all_parts_can_be_changed() -> None:
    class All:
        def request_headers(self, exchange: Any) -> None:
            assert (exchange.request.client, exchange.request.path) == ("192.0.2.7", "/a?b=c")
            exchange.request.headers["X-In"] = "é"
            exchange.state.seen = 0

        async def request_body(self, exchange: Any, chunks: Any) -> Any:
            async for chunk in chunks:
                exchange.state.seen += len(chunk)
                yield chunk.upper()

        async def response_headers(self, exchange: Any) -> None:
            exchange.response.status = 202
            exchange.response.headers["x-seen"] = exchange.state.seen
            del exchange.response.headers["x-from"]

        async def response_body(self, exchange: Any, chunks: Any) -> Any:
            yield b"<"
            async for chunk in chunks:
                yield chunk
            yield b">"

    played, asked, report = await play(All(), body="ab" * 1000)
    assert (played.status, played.body, asked["body"]) == (202, "<fine>", "AB" * 1000)
    assert played.headers["x-seen"] == "2000" and "x-from" not in played.headers
    assert asked["headers"]["x-in"].encode("latin-1").decode() == "é"
    assert report["requests"] == 1 and report["failures"] == 0


class Late:
    def __init__(self, take: int, give: bool) -> None:
        self.take, self.give = take, give

    async def request_body(self, exchange: Any, chunks: Any) -> Any:
        taken = 0
        async for chunk in chunks:
            taken += len(chunk)
            if self.give:
                yield chunk
            if taken >= self.take:
                raise ValueError("on purpose")


@pytest.mark.parametrize(
    ("processor", "size", "passes"),
    [
        (Late(1, give=False), 3000, True),
        (Late(3000, give=False), 3000, True),
        (Late(1, give=True), 3000, False),
        (Late(REPLAYED_BYTES + 1, give=False), REPLAYED_BYTES + 5000, False),
    ],
)
async def test_a_body_passes_while_all_of_it_is_there(processor: Late, size: int, passes: bool) -> None:
    played, asked, report = await play(processor, opens=True, body="x" * size)
    assert played.status == (200 if passes else 500)
    if passes:
        assert asked["body"] == "x" * size
    assert report["errors"][0]["error"] == "ValueError: on purpose"


class Sleeps:
    async def response_headers(self, exchange: Any) -> None:
        await asyncio.Event().wait()


class SleepsInBody:
    async def response_body(self, exchange: Any, chunks: Any) -> Any:
        async for _ in chunks:
            await asyncio.Event().wait()
            yield b""


class Numbers:
    async def response_body(self, exchange: Any, chunks: Any) -> Any:
        async for _ in chunks:
            yield 7


class Status:
    def response_headers(self, exchange: Any) -> None:
        exchange.response.status = 99


@pytest.mark.parametrize("processor", [Sleeps(), SleepsInBody(), Numbers(), Status()])
@pytest.mark.parametrize("opens", [True, False])
async def test_what_fails_on_the_way_back(processor: Any, opens: bool) -> None:
    played, _, report = await play(processor, opens=opens)
    assert (played.status, played.body) == (200, "fine") if opens else played.status == 500
    assert report["failures"] == 1
    words = "longer than 0.2 s" if "Sleeps" in type(processor).__name__ else "ValueError"
    assert words in report["errors"][0]["error"]
