"""Bodies as a whole, at the level of the conversation with Envoy: what is held back, what goes on, and how long it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.plugins.conversation import PROCESSING_RESPONSE, Pairs
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.exchange import phases_of
from sampan.gateway.plugins.exchanged import Pipe, changed, header_map
from sampan.gateway.plugins.modes import FULL_DUPLEX_STREAMED, mode, of_upgrade
from sampan.gateway.plugins.processor import Processing
from sampan.gateway.plugins.whole import PIECE_BYTES
from sampan.gateway.xds.encode import decode

MOST = 1000
GET = [(":method", "GET"), (":path", "/a"), (":authority", "x"), ("accept-encoding", "gzip")]
JSON = [(":status", "200"), ("content-type", "application/json; charset=utf-8")]


class Said:
    """What has been said of one side."""

    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.body, self.end = b"", ""
        self.pieces: list[bytes] = []
        self.answer: dict[str, Any] = {}


def bodies(mode: dict[str, int]) -> dict[str, int]:
    return {name: value for name, value in mode.items() if name.endswith("_body_mode")}


class Envoy:
    """The other end of a processor's stream."""

    def __init__(
        self, processor: Any, *, opens: bool = False, seconds: float = 5, most: int = MOST, **config: int
    ) -> None:
        deployment = {"settings": {}, "timeout_seconds": seconds, "fails_open": opens, "content_bytes": most}
        if any(name.endswith("_content") for name in phases_of(processor)):
            deployment["content_types"] = ["application/json", "text/*"]
        self.processing = Processing(processor, deployment, Counters("shop/p", "v"))
        self.pipe, self.config = Pipe(), bodies(config or mode(self.processing.phases))

    async def __aenter__(self) -> Envoy:
        self.serving = asyncio.ensure_future(self.processing.serve(self.pipe))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.pipe.close()
        await self.serving

    def headers(self, side: str, pairs: Pairs, *, is_last: bool = False) -> None:
        said = {f"{side}_headers": {"headers": header_map(pairs), "end_of_stream": is_last}}
        self.pipe.tell(**said, protocol_config=self.config)

    def body(self, side: str, data: bytes, *, is_last: bool = False) -> None:
        self.pipe.tell(**{f"{side}_body": {"body": data, "end_of_stream": is_last}})

    async def get(self, *more: tuple[str, str]) -> dict[str, str]:
        """Send a request without a body; return its headers as they go on."""
        self.headers("request", [*GET, *more], is_last=True)
        return (await self.said("request", [*GET, *more], ends=False)).headers

    async def answered(self, pairs: Pairs, body: bytes) -> Said:
        """Send an answer; return what is said of it."""
        self.headers("response", pairs)
        self.body("response", body, is_last=True)
        return await self.said("response", pairs)

    async def said(self, side: str, before: Pairs, *, ends: bool = True) -> Said:
        """Return what is said of a side, to its end or (``ends``) of its headers."""
        found = Said()
        while True:
            content = await self.pipe._out.get()
            assert content is not None, "the stream has ended"
            message = decode(PROCESSING_RESPONSE, content)
            if "immediate_response" in message:
                found.answer = message["immediate_response"]
                return found
            if headers := message.get(f"{side}_headers"):
                found.headers = dict(changed(before, headers["response"].get("header_mutation", {})))
                if not ends:
                    return found
            elif body := message.get(f"{side}_body"):
                piece = body["response"]["body_mutation"]["streamed_response"]
                found.pieces.append(piece.get("body", b""))
                found.body += found.pieces[-1]
                found.end = "body" if piece.get("end_of_stream") else ""
            else:
                found.end = "trailers"
            if found.end:
                return found

    @property
    def report(self) -> dict[str, Any]:
        return self.processing.counters.report()


class Twice:
    def __init__(self) -> None:
        self.had: list[bytes] = []

    async def response_content(self, exchange: Any, content: bytes) -> bytes:
        self.had.append(content)
        exchange.response.headers["x-size"] = len(content)
        exchange.response.status = 203
        return content * 2


@given(st.lists(st.binary(max_size=300), max_size=6), st.booleans(), st.booleans(), st.booleans())
def test_a_body_of_any_pieces(pieces: list[bytes], says_length: bool, opens: bool, trailers: bool) -> None:
    """What is not longer than it may be comes out doubled, the rest as it came or as a failure; whatever its pieces."""
    asyncio.run(play(pieces, says_length, opens, trailers))


async def play(pieces: list[bytes], says_length: bool, opens: bool, trailers: bool) -> None:
    whole = b"".join(pieces)
    length = [("content-length", str(len(whole)))] if says_length else []
    processor = Twice()
    async with Envoy(processor, opens=opens) as envoy:
        assert "accept-encoding" not in await envoy.get()
        envoy.headers("response", [*JSON, *length])
        for data in pieces:
            envoy.body("response", data)
        if trailers:
            envoy.pipe.tell(response_trailers={"trailers": header_map([("x-end", "yes")])})
        else:
            envoy.body("response", b"", is_last=True)
        said = await envoy.said("response", [*JSON, *length])
    is_long = len(whole) > MOST
    assert (processor.had, envoy.report["failures"]) == ([] if is_long or not whole else [whole], int(is_long))
    if is_long and not opens:
        assert said.answer["status"]["code"] == 500
        assert b"ValueError: its content is longer than the 1000 bytes that it takes" in said.answer["body"]
        return
    assert (said.body, said.end) == (whole if is_long else whole * 2, "trailers" if trailers else "body")
    if processor.had:
        length = None if trailers else str(len(said.body))
        assert (said.headers.get("content-length"), said.headers[":status"]) == (length, "203")
        assert said.headers["x-size"] == str(len(whole))
    else:
        assert said.headers == dict([*JSON, *length])


async def test_what_passes_untouched() -> None:
    for pairs in (
        [(":status", "200"), ("content-type", "image/png"), ("content-length", "3")],
        [(":status", "200"), ("content-type", "text/event-stream")],
        [(":status", "200"), ("content-type", "application/grpc")],
        [(":status", "200")],
    ):
        processor = Twice()
        async with Envoy(processor) as envoy:
            await envoy.get()
            envoy.headers("response", pairs)
            envoy.body("response", b"one")
            said = await envoy.said("response", pairs, ends=False)  # before it has ended
            envoy.body("response", b"two", is_last=True)
            rest = await envoy.said("response", pairs)
        assert (said.headers, rest.body, processor.had) == (dict(pairs), b"onetwo", [])


async def test_a_stream_that_sends_no_bodies_is_of_another_version() -> None:
    processor = Twice()
    async with Envoy(processor, request_body_mode=FULL_DUPLEX_STREAMED) as envoy:
        await envoy.get()
        envoy.headers("response", JSON)
        assert (await envoy.said("response", JSON, ends=False)).headers == dict(JSON)


async def test_of_an_upgrade_headers_are_seen() -> None:
    processor = Twice()
    async with Envoy(processor, **of_upgrade(("response_content",))) as envoy:
        envoy.headers("request", [*GET, ("upgrade", "websocket")])
        assert (await envoy.said("request", [*GET, ("upgrade", "websocket")], ends=False)).headers[":path"] == "/a"
        envoy.headers("response", [(":status", "101"), ("content-type", "text/plain")])
        assert (await envoy.said("response", [(":status", "101")], ends=False)).headers[":status"] == "101"
    assert processor.had == []


async def test_an_answer_from_before_it_is_not_its_own() -> None:
    processor = Twice()
    async with Envoy(processor) as envoy:
        said = await envoy.answered(JSON, b"denied")
    assert (said.body, said.headers, processor.had) == (b"denied", dict(JSON), [])


async def test_the_length_of_what_does_not_come_is_not_said() -> None:
    long = [*JSON, ("content-length", "7")]
    for method, pairs, says in (
        ("HEAD", long, False),
        ("GET", [(":status", "304"), *long[1:]], False),
        ("GET", [*JSON, ("content-length", "0")], True),
        ("HEAD", [(":status", "200"), ("content-type", "image/png"), ("content-length", "7")], True),
    ):
        async with Envoy(Twice()) as envoy:
            envoy.headers("request", [(":method", method), *GET[1:]], is_last=True)
            await envoy.said("request", GET, ends=False)
            envoy.headers("response", pairs, is_last=True)
            said = await envoy.said("response", pairs, ends=False)
        assert ("content-length" in said.headers) == says, (method, pairs)


class Does:
    """What it is told, with a request's body and with an answer's."""

    def __init__(self, does: Any) -> None:
        self.does = does

    def request_headers(self, exchange: Any) -> None:
        exchange.request.headers["x-in"] = "yes"

    async def request_content(self, exchange: Any, content: bytes) -> Any:
        return await self.does(exchange, content)

    async def response_content(self, exchange: Any, content: bytes) -> Any:
        return await self.does(exchange, content)


async def text(exchange: Any, content: bytes) -> str:
    return "text"


async def sleeps(exchange: Any, content: bytes) -> None:
    await asyncio.Event().wait()


async def splits(exchange: Any, content: bytes) -> None:
    getattr(exchange, "response", exchange.request).headers["x-a"] = "b\r\nc: d"


@pytest.mark.parametrize(
    ("does", "encoding", "words"),
    [
        (text, "", b"it returned 'text': bytes, nothing, or exchange.respond(...) is expected"),
        (sleeps, "", b"it took longer than 0.1 s"),
        (splits, "", b"header x-a: "),
        (splits, "gzip", b"its content is encoded (gzip): what it was is not known"),
    ],
)
async def test_what_fails(does: Any, encoding: str, words: bytes) -> None:
    """Of both sides: as it came, and without what the plugin had changed; or 500."""
    encoded = [("content-encoding", encoding)] if encoding else []
    post = [(":method", "POST"), *GET[1:], ("content-type", "text/plain"), ("content-length", "5"), *encoded]
    for opens in (True, False):
        async with Envoy(Does(does), opens=opens, seconds=0.1) as envoy:
            envoy.headers("request", post)
            envoy.body("request", b"hello", is_last=True)
            said = await envoy.said("request", post)
        if opens:
            assert (said.headers, said.body, said.answer) == (dict(post), b"hello", {})
        else:
            assert said.answer["status"]["code"] == 500 and words in said.answer["body"]
        async with Envoy(Does(does), opens=opens, seconds=0.1) as envoy:
            await envoy.get()
            said = await envoy.answered([*JSON, *encoded], b"hello")
        if opens:
            assert (said.headers, said.body) == (dict([*JSON, *encoded]), b"hello")
        else:
            assert said.answer["status"]["code"] == 500 and words in said.answer["body"]


async def test_answers_in_the_place_of_a_body() -> None:
    async def answers(exchange: Any, content: bytes) -> Any:
        return exchange.respond(422, f"not {content.decode()}\n", {"x-why": "because"})

    async with Envoy(Does(answers)) as envoy:
        envoy.headers("request", [*GET, ("content-type", "text/plain")])
        envoy.body("request", b"hello", is_last=True)
        said = (await envoy.said("request", GET)).answer
        assert (said["status"]["code"], said["body"]) == (422, b"not hello\n")
        headers = [(one["header"]["key"], one["header"]["raw_value"]) for one in said["headers"]["set_headers"]]
        assert headers == [("content-type", b"text/plain"), ("x-why", b"because")]
    async with Envoy(Does(answers)) as envoy:
        await envoy.get()
        assert (await envoy.answered(JSON, b"{}")).answer["status"]["code"] == 422


async def test_trailers_of_a_request_are_refused() -> None:
    """Envoy would send its body twice."""

    class Streams:
        async def request_body(self, exchange: Any, chunks: Any) -> Any:
            async for chunk in chunks:
                yield chunk

    for processor, kind in ((Does(text), "text/plain"), (Does(text), "image/png"), (Streams(), "text/plain")):
        async with Envoy(processor) as envoy:
            envoy.headers("request", [*GET, ("content-type", kind)])
            envoy.body("request", b"hello")
            envoy.pipe.tell(request_trailers={"trailers": header_map([("x-end", "yes")])})
            said = (await envoy.said("request", GET)).answer
            assert (said["status"]["code"], said["body"][:22]) == (501, b"trailers of a request ")


async def test_what_is_made_may_be_long_or_nothing() -> None:
    for made in (b"", b"x" * (2 * PIECE_BYTES + 1), bytearray(b"y")):

        async def does(exchange: Any, content: bytes, made: Any = made) -> Any:
            return made

        async with Envoy(Does(does)) as envoy:
            await envoy.get()
            said = await envoy.answered(JSON, b"{}")
        assert (said.body, said.headers["content-length"]) == (bytes(made), str(len(made)))
        assert max(map(len, said.pieces)) <= PIECE_BYTES and len(said.pieces) == max(1, -(-len(made) // PIECE_BYTES))
