"""A processor called by Envoy: what its methods see and say, through the machine code, with an Envoy of our own."""

from __future__ import annotations

import ctypes
import gc
import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest

from sampan.gateway.plugins import called, envoy_messages, hosted, inline
from sampan.gateway.plugins.called import Called, uses_request
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.counters_socket import CountersSocket
from sampan.gateway.plugins.exchange_jumps import ExchangeJumps
from sampan.gateway.plugins.machine import CALLBACK, FILTER, IMPORTS, PREFIX
from sampan.gateway.plugins.trampolines import IMPORT_TABLE, is_served, written

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
STREAM = 0x7F0000001240
PIECE = 30
"""How much of a body Envoy has in one place."""
Pairs = list[tuple[str, str]]


class Envoy:
    """Envoy's side of one stream: its headers, its bodies piece by piece, and what was answered in the backend's stead."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.headers: dict[int, Pairs] = {}
        self.kept, self.piece = b"", b""
        self.answer: tuple[int, Pairs, bytes] | None = None
        self.rerouted, self.limit = 0, 100
        self.is_kept = False
        """Whether a filter before kept the body, and the piece is all of it."""
        self._memory, self._told = list[Any](), list[Any]()
        self.module = ctypes.PyDLL(written(folder, ExchangeJumps))
        imports = (ctypes.c_size_t * len(IMPORTS)).in_dll(self.module, IMPORT_TABLE)
        for name, function, count in (
            ("set_header", self._set_header, 6),
            ("get_header", self._get_header, 7),
            ("get_body_size", self._body_size, 2),
            ("get_body_chunks_size", self._chunks, 2),
            ("get_body_chunks", self._get_chunks, 3),
            ("drain_body", self._drain, 3),
            ("append_body", self._append, 4),
            ("send_response", self._send_response, 8),
        ):
            made = ctypes.PYFUNCTYPE(ctypes.c_size_t, *[ctypes.c_size_t] * count)(function)
            self._memory.append(made)
            imports[IMPORTS.index(f"{CALLBACK}{name}")] = ctypes.cast(made, ctypes.c_void_p).value or 0
        for name, replaced in {
            "pairs_of": lambda stream, kind: list(self.headers[kind.headers]),
            "clear_route_cache": self._reroute,
            "get_body_chunks": self._get_chunks,
            "get_buffer_limit": lambda stream: self.limit,
            "set_buffer_limit": lambda stream, limit: setattr(self, "limit", limit),
            "is_kept_response": lambda stream: self.is_kept,
            "is_kept_request": lambda stream: self.is_kept,
        }.items():
            monkeypatch.setattr(envoy_messages, name, replaced, raising=False)
        monkeypatch.setattr(envoy_messages, "MACHINE", {})
        envoy_messages.attach(self.module)
        monkeypatch.setattr(called, "client_of", lambda stream: "192.0.2.7")
        monkeypatch.setattr(inline, "send_answer", self._answered)

    def _set_header(self, stream: int, side: int, name: int, size: int, value: int, value_size: int) -> int:
        assert stream == STREAM
        self._set(side, ctypes.string_at(name, size), ctypes.string_at(value, value_size) if value else None)
        return 1

    def _get_header(self, stream: int, side: int, name: int, size: int, found: int, number: int, count: int) -> int:
        assert (stream, number, count) == (STREAM, 0, 0)
        value = dict(self.headers[side]).get(ctypes.string_at(name, size).decode())
        self._tell(found, (value or "").encode("latin-1"))
        return value is not None

    def _tell(self, place: int, data: bytes) -> None:
        self._told.append(ctypes.create_string_buffer(data))
        ctypes.c_size_t.from_address(place).value = ctypes.addressof(self._told[-1])
        ctypes.c_size_t.from_address(place + 8).value = len(data)

    def _data(self, body: int) -> bytes:
        assert body in (0, 1) or self.headers.get(2)
        return self.kept if body in (1, 3) else self.piece

    def _body_size(self, stream: int, body: int) -> int:
        assert stream == STREAM
        return len(self._data(body))

    def _chunks(self, stream: int, body: int) -> int:
        assert stream == STREAM
        return -(-len(self._data(body)) // PIECE)

    def _get_chunks(self, stream: int, body: int, places: int) -> int:
        data = self._data(body)
        for number in range(self._chunks(stream, body)):
            self._tell(places + 16 * number, data[PIECE * number : PIECE * (number + 1)])
        return 1

    def _drain(self, stream: int, body: int, size: int) -> int:
        assert stream == STREAM and size == len(self._data(body))
        return self._put(body, b"")

    def _append(self, stream: int, body: int, data: int, size: int) -> int:
        assert stream == STREAM
        return self._put(body, self._data(body) + ctypes.string_at(data, size))

    def _put(self, body: int, data: bytes) -> int:
        if body in (1, 3):
            self.kept = data
        else:
            self.piece = data
        return 1

    def _send_response(self, stream: int, status: int, *nothing: int) -> int:
        assert stream == STREAM and not any(nothing)
        self.answer = status & 0xFFFFFFFF, [], b""
        return 0

    def _answered(self, stream: int, status: int, headers: list[tuple[bytes, bytes | None]], body: bytes) -> None:
        self.answer = status, [(name.decode(), (value or b"").decode()) for name, value in headers], body
        self.headers[2] = [(":status", str(status))]
        assert self.event("response_headers", STREAM, self.state, 0) == 0, "it is not the plugin's business"

    def _reroute(self, stream: int) -> None:
        self.rerouted += 1

    def _set(self, side: int, name: bytes, value: bytes | None) -> None:
        key = name.decode()
        self.headers[side] = [pair for pair in self.headers[side] if pair[0] != key]
        if value is not None:
            self.headers[side].append((key, value.decode("latin-1")))

    def event(self, name: str, *arguments: int) -> int:
        function = self.module[f"{PREFIX}{FILTER}{name}"]
        function.argtypes, function.restype = [ctypes.c_size_t] * len(arguments), ctypes.c_int
        return int(function(*arguments))

    def begin(self, configuration: int) -> None:
        new = self.module[f"{PREFIX}{FILTER}new"]
        new.argtypes, new.restype = [ctypes.c_size_t] * 2, ctypes.c_size_t
        self.state, self.answer = new(configuration, STREAM), None

    def message(self, side: str, pairs: Pairs, *pieces: bytes, trailers: bool = False) -> tuple[Pairs, bytes] | None:
        """Pass a message through, as the filter manager does; return what goes on, None where it was answered."""
        number = 0 if side == "request" else 2
        self.headers[number], self.kept = list(pairs), b""
        status = self.event(f"{side}_headers", STREAM, self.state, not pieces)
        if self.answer is not None:
            return None
        passed = b""
        for at, piece in enumerate(pieces):
            self.piece, ends = piece, at == len(pieces) - 1 and not trailers
            said = self.event(f"{side}_body", STREAM, self.state, ends)
            if self.answer is not None:
                return None
            if said == 1:
                assert status == 1 and not ends
                self.kept += self.piece
            else:
                passed, self.kept, status = passed + self.kept + self.piece, b"", 0
        if trailers:
            self.piece = b""
            assert self.event(f"{side}_trailers", STREAM, self.state) == 0
            passed += self.kept + self.piece
        return (self.headers[number], passed) if self.answer is None else None

    def end(self) -> None:
        self.event("destroy", self.state)
        self._told.clear()


@pytest.fixture
def envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Envoy:
    return Envoy(tmp_path, monkeypatch)


class Fixed:
    """A configuration as ``config_new`` makes it."""

    def __init__(self, processor: Any, **deployment: Any) -> None:
        said = {"settings": {"a": 1}, "fails_open": False, "reroutes": False, "content_types": ["application/json"]}
        self.called = Called(processor, {**said, "content_bytes": 64, **deployment}, Counters("", ""))
        self.address = ctypes.addressof(self.called.memory)

    @property
    def counted(self) -> tuple[int, int, int]:
        counters = self.called.counters
        assert self.called._ongoing == {}
        return counters.requests, counters.answered, counters.failures


GET: Pairs = [(":method", "GET"), (":path", "/a?b"), (":authority", "shop"), ("accept-encoding", "gzip"), ("x-a", "1")]
OK: Pairs = [(":status", "200"), ("content-type", "application/json; charset=utf-8"), ("content-length", "7")]


class Upper:
    __module__ = "upper"  # nothing there looks at the request: Python is not entered for it

    def response_content(self, exchange: Any, content: bytes) -> bytes | None:
        return content.upper() if content != b"same" else None


def test_a_body_is_replaced_with_its_length_and_answers_are_to_come_plain(envoy: Envoy) -> None:
    fixed = Fixed(Upper())
    envoy.begin(fixed.address)
    passed = envoy.message("request", GET)
    assert passed is not None and "accept-encoding" not in dict(passed[0])
    assert fixed.called._ongoing == {}
    assert envoy.message("response", OK, b"ab", b"", b"cdefg", b"") == ([*OK[:2], ("content-length", "7")], b"ABCDEFG")
    envoy.end()
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", OK[:2], b"abc") == ([*OK[:2], ("content-length", "3")], b"ABC")
    assert envoy.message("response", OK, b"late") == (OK, b"late"), "an answer that came again is not its business"
    envoy.end()
    assert fixed.counted == (2, 0, 0)


@pytest.mark.parametrize(
    ("pairs", "pieces", "trailers", "passed"),
    [
        ([*OK[:1], ("content-type", "image/png")], (b"a", b"b"), False, b"ab"),
        (OK[:1], (b"a",), False, b"a"),
        (OK, (b"", b""), False, b""),
        (OK, (b"same",), False, b"same"),
        ([(":status", "204"), *OK[1:]], (), False, b""),
        ([(":status", "304"), OK[1]], (), False, b""),
        ([(":status", "200"), ("content-type", "application/grpc")], (b"a",), True, b"a"),
    ],
)
def test_what_is_not_its_business_passes(
    envoy: Envoy, pairs: Pairs, pieces: tuple[bytes, ...], trailers: bool, passed: bytes
) -> None:
    fixed = Fixed(Upper(), content_types=["application/json"])
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", pairs, *pieces, trailers=trailers) == (pairs, passed)
    envoy.end()
    assert fixed.counted == (1, 0, 0)


def test_of_a_body_with_trailers_no_length_is_said_and_none_of_one_that_does_not_come(envoy: Envoy) -> None:
    fixed = Fixed(Upper())
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", OK, b"abc", trailers=True) == (OK[:2], b"ABC")
    envoy.end()
    envoy.begin(fixed.address)
    envoy.message("request", [(":method", "HEAD"), *GET[1:]])
    assert envoy.message("response", OK) == (OK[:2], b"")
    envoy.end()


@pytest.mark.parametrize("opens", [False, True])
@pytest.mark.parametrize(
    ("pairs", "pieces", "words"),
    [
        (OK[:2], (b"x" * 60, b"y" * 60, b"z"), "ValueError: its content is longer than the 64 bytes"),
        (OK[:2], (b"x" * 65,), "ValueError: its content is longer than the 64 bytes"),
        ([*OK[:2], ("content-length", "65")], (b"x" * 65,), "ValueError: its content is longer than the 64 bytes"),
        ([*OK, ("content-encoding", "gzip")], (b"x",), "ValueError: its content is encoded (gzip)"),
        (OK, (b"raise",), "KeyError: 'raise'"),
        (OK, (b"text",), "ValueError: it returned 'text'"),
        (OK, (b"split",), "ValueError: header x-b: "),
        (OK, (b"half",), "UnicodeEncodeError: "),
        (OK, (b"status",), "ValueError: 99 is not the status of an answer"),
    ],
)
def test_what_goes_wrong_ends_there(
    envoy: Envoy, capfd: Any, opens: bool, pairs: Pairs, pieces: tuple[bytes, ...], words: str
) -> None:
    class Wrong:
        def response_content(self, exchange: Any, content: bytes) -> Any:
            if content == b"raise":
                raise KeyError("raise")
            if content == b"text":
                return "text"
            if content == b"split":
                exchange.response.headers["x-b"] = "a\r\nb"
            if content == b"half":
                exchange.response.headers["x-b"] = "\ud800"
            if content == b"status":
                exchange.response.status = 99
            return b"never"

    fixed = Fixed(Wrong(), fails_open=opens)
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    passed = envoy.message("response", pairs, *pieces)
    envoy.end()
    if opens:
        assert passed == (pairs, b"".join(pieces))
    else:
        assert envoy.answer is not None and passed is None
        status, headers, body = envoy.answer
        assert (status, headers) == (500, [("content-type", "text/plain")])
        assert body.decode().startswith(f"plugin failed: {words}") and body.endswith(b"\n")
    assert fixed.counted == (1, 0, 1)
    assert words in capfd.readouterr().err


def test_a_body_may_grow_beyond_what_others_may_send(envoy: Envoy) -> None:
    class Grows:
        def response_content(self, exchange: Any, content: bytes) -> bytes:
            return content * 10

    fixed = Fixed(Grows())
    for body, limit in ((b"ten bytes.", 100), (b"11 bytes...", 110)):
        envoy.begin(fixed.address)
        envoy.message("request", GET)
        assert (envoy.message("response", OK, body) or ([], b""))[1] == body * 10
        assert envoy.limit == limit
        envoy.end()


def test_a_body_in_many_places_and_one_that_was_kept_before(envoy: Envoy) -> None:
    fixed = Fixed(Upper(), content_bytes=1000)
    for pieces, is_kept, length in (
        ((b"x" * 70, b"y" * 70), False, 140),
        ((b"", b"z" * 70), True, 70),
        ((b"a" * 31, b""), False, 31),
    ):
        envoy.begin(fixed.address)
        envoy.message("request", GET)
        envoy.is_kept = is_kept
        if is_kept:
            envoy.headers[2], envoy.kept = list(OK[:2]), pieces[1]
            assert envoy.event("response_headers", STREAM, envoy.state, 0) == 1
            envoy.piece = pieces[1]
            assert envoy.event("response_body", STREAM, envoy.state, 1) == 0
            found = envoy.headers[2], envoy.piece
        else:
            found = envoy.message("response", OK[:2], *pieces) or ([], b"")
        assert found == ([*OK[:2], ("content-length", str(length))], b"".join(pieces).upper())
        envoy.end()


def test_python_is_not_asked_for_headers_of_a_media_type_that_it_knows(envoy: Envoy) -> None:
    fixed, seen = Fixed(Upper()), list[int]()
    event = fixed.called._response_headers
    fixed.called._response_headers = lambda one, ends: seen.append(1) or event(one, ends)  # type: ignore[method-assign, func-returns-value]
    for pairs, asked, passed in (
        (OK, 1, b"ABC"),
        (OK, 0, b"ABC"),
        ([*OK[:1], ("content-type", "application/json; charset=utf-9"), *OK[2:]], 1, b"ABC"),
        ([*OK[:1], ("content-type", "application/json")], 1, b"ABC"),
        ([*OK, ("content-encoding", "identity")], 1, b"ABC"),
        ([*OK[:1], ("content-type", "image/png")], 1, b"abc"),
        (OK[:1], 1, b"abc"),
        ([(":status", "101"), *OK[1:]], 1, b"abc"),
        ([(":status", "201"), *OK[1:]], 1, b"ABC"),
        ([(":status", "500"), *OK[1:]], 1, b"ABC"),
        (OK, 0, b"ABC"),
    ):
        seen.clear()
        envoy.begin(fixed.address)
        envoy.message("request", GET)
        found = envoy.message("response", pairs, b"ab", b"c")
        envoy.end()
        assert found is not None and (found[1], len(seen)) == (passed, asked)
        assert dict(found[0]).get("content-length") == ("3" if passed == b"ABC" else dict(pairs).get("content-length"))
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", OK, b"x" * 40, b"x" * 40, b"") is None
    assert envoy.answer is not None and b"longer than the 64 bytes" in envoy.answer[2]
    envoy.end()
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", [(":status", "206"), *OK[1:]], b"x") is None
    assert envoy.answer is not None and b"its content is a part (206)" in envoy.answer[2]
    envoy.end()
    assert fixed.counted == (13, 0, 2)


class Whole:
    """Sees everything, and keeps something between."""

    def request_headers(self, exchange: Any) -> Any:
        exchange.state.path = exchange.request.path
        exchange.request.headers["x-client"] = exchange.request.client
        if exchange.request.headers.get("x-a") == "no":
            return exchange.respond(403, "no\n", {"x-own": "1"})
        return None

    def request_content(self, exchange: Any, content: bytes) -> Any:
        if content == b"bad":
            return exchange.respond(422, "bad\n", {"content-type": "text/html"})
        exchange.request.headers["x-size"] = len(content)
        del exchange.request.headers["x-a"]
        return content + b"!"

    def response_headers(self, exchange: Any) -> None:
        exchange.response.status = 202
        exchange.response.headers["x-path"] = f"{exchange.state.path} {exchange.request.headers['x-client']}"


POST: Pairs = [(":method", "POST"), *GET[1:], ("content-type", "application/json"), ("content-length", "2")]


def test_both_directions_and_what_is_kept_between(envoy: Envoy) -> None:
    fixed = Fixed(Whole(), reroutes=True)
    envoy.begin(fixed.address)
    kept = [pair for pair in POST if pair[0] not in ("x-a", "content-length")]
    passed = envoy.message("request", POST, b"ab", b"")
    assert passed is not None
    assert dict(passed[0]) == {**dict(kept), "x-client": "192.0.2.7", "x-size": "2", "content-length": "3"}
    assert passed[1] == b"ab!" and envoy.rerouted == 1
    answer = envoy.message("response", OK, b"abcdefg")
    assert answer is not None and dict(answer[0]) == {**dict(OK), ":status": "202", "x-path": "/a?b 192.0.2.7"}
    envoy.end()
    assert fixed.counted == (1, 0, 0)


def test_it_answers_in_the_backends_stead(envoy: Envoy) -> None:
    fixed = Fixed(Whole())
    for pairs, pieces, expected in (
        ([*GET[:4], ("x-a", "no")], (), (403, [("content-type", "text/plain"), ("x-own", "1")], b"no\n")),
        (POST, (b"bad",), (422, [("content-type", "text/html")], b"bad\n")),
    ):
        envoy.begin(fixed.address)
        assert envoy.message("request", pairs, *pieces) is None
        assert envoy.answer == expected
        envoy.end()
    assert fixed.counted == (2, 2, 0)


def test_a_client_that_goes_leaves_nothing(envoy: Envoy) -> None:
    fixed = Fixed(Whole())
    for pieces in ((), (b"a", b"b")):
        envoy.begin(fixed.address)
        envoy.headers[0] = list(POST)
        envoy.event("request_headers", STREAM, envoy.state, not pieces)
        for piece in pieces:
            envoy.piece = piece
            assert envoy.event("request_body", STREAM, envoy.state, 0) == 1
        envoy.end()
    assert fixed.counted == (2, 0, 0)


def test_an_answer_of_a_filter_before_it_is_not_its_business(envoy: Envoy) -> None:
    fixed = Fixed(Whole())
    envoy.begin(fixed.address)
    assert envoy.message("response", OK, b"abcdefg") == (OK, b"abcdefg")
    envoy.end()
    assert fixed.counted == (0, 0, 0)


def test_a_fault_of_ours_is_answered_with_500(envoy: Envoy, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    seen: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", seen.append)
    fixed = Fixed(Upper())
    monkeypatch.setattr(fixed.called, "_ongoing", None)
    envoy.begin(fixed.address)
    envoy.message("request", GET)
    assert envoy.message("response", OK, b"abcdefg") is None
    assert envoy.answer == (500, [], b"")
    envoy.end()
    assert isinstance(seen[0].exc_value, AttributeError)


def test_a_failure_without_words_leaves_nothing_to_the_next(envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream's state may come to the place of one before it."""

    class Untold(Exception):
        def __str__(self) -> str:
            raise ValueError("no words")

    class Raises(Whole):
        def request_content(self, exchange: Any, content: bytes) -> Any:
            raise Untold

    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    fixed = Fixed(Raises())
    envoy.begin(fixed.address)
    assert envoy.message("request", POST, b"ab") is None
    assert envoy.answer == (500, [], b"") and fixed.called._ongoing == {}
    envoy.end()


def test_the_answer_to_a_request_that_is_still_collected_has_a_length_of_its_own(envoy: Envoy) -> None:
    """Envoy answers itself: 408, 413."""

    class Both(Upper):
        def request_content(self, exchange: Any, content: bytes) -> Any:
            return content

    fixed = Fixed(Both())
    for _ in range(2):  # the second is of a media type that is known
        envoy.begin(fixed.address)
        envoy.headers[0] = list(POST)
        assert envoy.event("request_headers", STREAM, envoy.state, 0) == 1
        envoy.piece = b"x" * 60
        assert envoy.event("request_body", STREAM, envoy.state, 0) == 1
        passed = envoy.message("response", [(":status", "200"), *OK[1:]], b"y" * 30, b"y" * 30)
        assert passed is not None and passed[1] == b"Y" * 60
        envoy.end()
    assert fixed.counted == (2, 0, 0)


def test_nothing_stays_of_streams(envoy: Envoy) -> None:
    fixed = Fixed(Whole())

    def once() -> None:
        envoy.begin(fixed.address)
        envoy.message("request", POST, b"ab")
        envoy.message("response", OK, b"abcdefg")
        envoy.end()

    for _ in range(20):
        once()
    gc.collect()
    before = len(gc.get_objects())
    for _ in range(50):
        once()
    gc.collect()
    assert len(gc.get_objects()) - before < 40


def test_who_looks_at_the_request_in_its_answer_is_told_it_as_it_came() -> None:
    class Looks:
        def response_headers(self, exchange: Any) -> Any:
            return (lambda: exchange.request.path)()

    class Deaf:
        def response_headers(self, exchange: Any) -> None:
            exchange.response.headers["x"] = "y"

    assert uses_request(Looks())
    assert not any("request" in called.names_in(one.__code__) for one in (Deaf.response_headers,))


def test_a_configuration_comes_and_goes_with_its_counters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    for version in ("one", "two"):
        (tmp_path / f"sampan_plugin_called_{version}").mkdir()
        plugin = tmp_path / f"sampan_plugin_called_{version}/plugin.py"
        plugin.write_text("class P:\n    def response_headers(self, exchange):\n        pass\n")

    def begun(version: str, socket_name: str = "c.sock") -> int:
        deployment = {"key": "a/b", "entry_point": "plugin:P", "factory": False, "settings": {}, "fails_open": False}
        said = {"package": f"sampan_plugin_called_{version}", "version": version}
        said |= {"deployment": {**deployment, "reroutes": False}, "counters": str(tmp_path / socket_name)}
        text = json.dumps(said).encode()
        place = ctypes.create_string_buffer(text)
        return hosted.config_new(0, 0, 0, ctypes.addressof(place), len(text))

    def reported() -> tuple[str, str, int]:
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(tmp_path / "c.sock"))
            connection = http.client.HTTPConnection("x")
            connection.sock = plain
            connection.request("GET", "/counters")
            report = json.loads(connection.getresponse().read())
        return report["plugin"], report["version"], report["requests"]

    made = [begun("one") for _ in range(2)]
    assert all(made) and len(hosted.HOSTED) == 1
    hosted.HOSTED["sampan_plugin_called_one"].called.counters.note(0.1, 1.0)
    assert reported() == ("a/b", "one", 1)
    for configuration in made:
        hosted.config_destroy(configuration)
        assert reported() == ("a/b", "one", 1)
    assert not hosted.PACKAGES
    again = begun("one")
    assert reported() == ("a/b", "one", 1), "it is called again"
    other = begun("two")
    assert len(hosted.HOSTED) == 2
    hosted.config_destroy(again)
    assert list(hosted.HOSTED) == ["sampan_plugin_called_two"]
    assert reported() == ("a/b", "two", 0)
    hosted.config_destroy(other)
    assert reported() == ("a/b", "two", 0)
    back = begun("one")
    assert list(hosted.HOSTED) == ["sampan_plugin_called_one"]
    assert reported() == ("a/b", "one", 0)
    monkeypatch.setattr(hosted, "MOST_UNUSED", 0)
    hosted.config_destroy(back)
    assert not (tmp_path / "c.sock").exists() and not hosted.HOSTED and not hosted.PACKAGES
    bad = b"no json"
    place = ctypes.create_string_buffer(bad)
    assert hosted.config_new(0, 0, 0, ctypes.addressof(place), len(bad)) == 0


def test_another_versions_counters_take_the_place(tmp_path: Path) -> None:
    path = str(tmp_path / "c.sock")
    old = CountersSocket(path, Counters("a/b", "old"))
    new = CountersSocket(path, Counters("a/b", "new"))
    old.close()
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(path)
        plain.sendall(b"GET /counters HTTP/1.1\r\n\r\n")
        assert b'"version": "new"' in plain.makefile("rb").read()
    new.close()
    assert not Path(path).exists()


@pytest.fixture(autouse=True)
def thread_state() -> Iterator[None]:
    """The test's thread is Python's own: its state is not kept once more."""
    inline.THREADS.add(get_ident())
    yield
