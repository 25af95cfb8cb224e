"""The object by which Envoy calls Python, loaded by this process as Envoy loads it."""

from __future__ import annotations

import ctypes
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins import envoy_memory, inline
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.host import OURS, Hook
from sampan.gateway.plugins.machine import CALLBACK, FILTER, IMPORTS, PREFIX, SLOTS
from sampan.gateway.plugins.trampolines import IMPORT_TABLE, SLOT_TABLE, built, is_served, written

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
STREAM = 0x7F0000001240


def event(library: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = library[f"{PREFIX}{FILTER}{name}"]
    function.argtypes = [ctypes.c_size_t] * len(arguments)
    function.restype = ctypes.c_size_t
    return int(function(*arguments))


class Envoy:
    """Envoy's side: what a module calls, and a request's headers."""

    def __init__(self, folder: Path) -> None:
        self.heard: list[tuple[Any, ...]] = []
        self.headers: dict[bytes, list[bytes]] = {}
        self._memory: list[Any] = []
        self.module = ctypes.PyDLL(written(folder))
        imports = (ctypes.c_size_t * len(IMPORTS)).in_dll(self.module, IMPORT_TABLE)
        eight, seven, six, one = ([ctypes.c_size_t] * count for count in (8, 7, 6, 1))
        for name, function, places in (
            ("set_header", self.set_header, six),
            ("add_header", self.add_header, six),
            ("get_header", self.get_header, seven),
            ("clear_route_cache", self.clear_route_cache, one),
            ("send_response", self.send_response, eight),
        ):
            self._memory.append(ctypes.PYFUNCTYPE(ctypes.c_size_t, *places)(function))
            imports[IMPORTS.index(f"{CALLBACK}{name}")] = ctypes.cast(self._memory[-1], ctypes.c_void_p).value or 0

    def set_header(self, stream: int, side: int, name: int, name_size: int, value: int, size: int) -> int:
        assert stream == STREAM
        self.heard.append(("set", side, text(name, name_size), text(value, size)))
        return 1

    def add_header(self, stream: int, side: int, name: int, name_size: int, value: int, size: int) -> int:
        assert stream == STREAM
        self.heard.append(("add", side, text(name, name_size), text(value, size)))
        return 1

    def get_header(self, stream: int, side: int, name: int, size: int, found: int, number: int, count: int) -> int:
        assert (stream, side, number) == (STREAM, 0, 0)
        values = self.headers.get(text(name, size) or b"", [])
        ctypes.c_size_t.from_address(count).value = len(values)
        if values:
            self._memory.append(ctypes.create_string_buffer(values[0]))
            ctypes.c_size_t.from_address(found).value = ctypes.addressof(self._memory[-1])
            ctypes.c_size_t.from_address(found + 8).value = len(values[0])
        return bool(values)

    def clear_route_cache(self, stream: int) -> int:
        self.heard.append(("reroute", stream))
        return 0

    def send_response(self, stream: int, status: int, *nothing: int) -> int:
        assert stream == STREAM and not any(nothing)
        self.heard.append(("answer", status & 0xFFFFFFFF))
        return 0

    def attached(self) -> None:
        inline.attach(self.module._name)


def text(address: int, size: int) -> bytes | None:
    return ctypes.string_at(address, size) if address else None


@pytest.fixture
def envoy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Envoy]:
    interval = sys.getswitchinterval()
    monkeypatch.setattr(envoy_memory, "find", envoy_memory.find)
    monkeypatch.setattr(inline, "allocate", None, raising=False)
    made = Envoy(tmp_path)
    made.attached()
    yield made
    sys.setswitchinterval(interval)


def configured(function: Any, *, reroutes: bool = False) -> int:
    asked = inline.Inline(Hook(function, OURS, Counters("", "")), reroutes=reroutes).ask
    inline.CONFIGURATIONS[id(asked)] = asked
    return id(asked)


def inline_of(configuration: int) -> inline.Inline:
    return inline.CONFIGURATIONS[configuration].__self__  # type: ignore[attr-defined, no-any-return]


def test_what_nobody_has_filled_returns_zero(tmp_path: Path) -> None:
    library = ctypes.CDLL(written(tmp_path))
    state = event(library, "new", 7, STREAM)
    assert ctypes.c_size_t.from_address(state).value == 7
    assert event(library, "config_new", 0, 0, 0, 0, 0) == event(library, "config_destroy", 7) == 0
    assert event(library, "response_headers", STREAM, state, 1) == 0
    assert event(library, "request_body", STREAM, state, 1) & 0xFFFFFFFF == 0
    event(library, "destroy", state)


def test_python_is_asked_once_it_has_filled_the_slots(tmp_path: Path) -> None:
    interval = sys.getswitchinterval()
    library = ctypes.CDLL(written(tmp_path))
    slots = (ctypes.c_void_p * len(SLOTS)).in_dll(library, SLOT_TABLE)
    before = list(slots)
    begin = library[f"{PREFIX}program_init"]
    begin.restype = ctypes.c_char_p
    try:
        assert begin() == b"v0.1.0"
    finally:
        sys.setswitchinterval(interval)
    assert all(now != then for now, then in zip(slots, before, strict=True))
    said = b"no json"
    place = ctypes.create_string_buffer(said)
    assert event(library, "config_new", 0, 0, 0, ctypes.addressof(place), len(said)) == 0


def test_envoy_is_told_what_a_hook_has_set(envoy: Envoy) -> None:
    said = iter(["a", "b", "a", "long" * 2000])

    def hook(request: Any) -> None:
        request.headers["X-New"] = next(said)
        del request.headers["x-old"]
        request.response_headers["x-mark"] = "yes"

    envoy.headers = {b"x-old": [b"here"]}
    number = configured(hook, reroutes=True)
    blocks = []
    for value in (b"a", b"b", b"a", b"long" * 2000):
        envoy.heard.clear()
        state = event(envoy.module, "new", number, STREAM)
        assert event(envoy.module, "request_headers", STREAM, state, 1) == 0
        blocks.append(ctypes.c_size_t.from_address(state + 8).value)
        assert envoy.heard == [("set", 0, b"x-new", value), ("set", 0, b"x-old", None), ("reroute", STREAM)]
        envoy.heard.clear()
        for _ in range(2):  # an answer has its headers once
            assert event(envoy.module, "response_headers", STREAM, state, 1) == 0
            assert envoy.heard == [("set", 2, b"x-mark", b"yes")]
        event(envoy.module, "destroy", state)
    assert blocks[0] == blocks[2] != blocks[1]
    assert inline_of(number)._hook.counters.requests == 4


def test_a_fault_of_ours_lets_nobody_through(envoy: Envoy, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(stream: int) -> int:
        raise BaseException(stream)

    written: list[Any] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: written.append(told.exc_value.args[0]))
    before = sys.getrefcount(fault)
    state = event(envoy.module, "new", id(fault), STREAM)
    for _ in range(100):
        assert event(envoy.module, "request_headers", STREAM, state, 1) == 1
    assert envoy.heard == [("answer", 500)] * 100 and written == [STREAM] * 100
    event(envoy.module, "destroy", state)
    assert sys.getrefcount(fault) == before


def test_what_a_request_takes_is_given_back(envoy: Envoy) -> None:
    configuration = configured(lambda request: request.response_headers.update({"x-mark": "yes"}))

    def after(count: int) -> int:
        for _ in range(count):
            state = event(envoy.module, "new", configuration, STREAM)
            event(envoy.module, "request_headers", STREAM, state, 1)
            event(envoy.module, "destroy", state)
        gc.collect()
        return sys.getallocatedblocks()

    before = after(100)
    assert after(5000) - before < 1000


def test_cookies_stand_beside_each_other(envoy: Envoy) -> None:
    def hook(request: Any) -> None:
        request.response_cookies.extend(["a=1", "b=2"])

    state = event(envoy.module, "new", configured(hook), STREAM)
    assert event(envoy.module, "request_headers", STREAM, state, 1) == 0 and not envoy.heard
    event(envoy.module, "response_headers", STREAM, state, 1)
    assert envoy.heard == [("add", 2, b"set-cookie", b"a=1"), ("add", 2, b"set-cookie", b"b=2")]
    event(envoy.module, "destroy", state)


def test_values_that_are_equal_and_written_otherwise(envoy: Envoy) -> None:
    said = iter([1, True, 1.0, "1"])

    def hook(request: Any) -> None:
        request.response_headers["x-mark"] = next(said)

    number = configured(hook)
    for value in (b"1", b"True", b"1.0", b"1"):
        envoy.heard.clear()
        state = event(envoy.module, "new", number, STREAM)
        event(envoy.module, "request_headers", STREAM, state, 1)
        event(envoy.module, "response_headers", STREAM, state, 1)
        assert envoy.heard == [("set", 2, b"x-mark", value)]
        event(envoy.module, "destroy", state)


def test_no_more_is_kept_than_may_be(envoy: Envoy) -> None:
    numbers = iter(range(10 * inline.MOST_KEPT))

    def hook(request: Any) -> None:
        request.response_headers["x-number"] = str(next(numbers))

    number = configured(hook)
    for _ in range(3 * inline.MOST_KEPT):
        state = event(envoy.module, "new", number, STREAM)
        event(envoy.module, "request_headers", STREAM, state, 1)
        event(envoy.module, "response_headers", STREAM, state, 1)
        event(envoy.module, "destroy", state)
    assert [text for *_, text in envoy.heard] == [str(number).encode() for number in range(3 * inline.MOST_KEPT)]
    made = inline_of(number)
    assert len(made._blocks) == inline.MOST_KEPT and len(made._kept) <= inline.MOST_KEPT


def test_headers_are_read_as_they_are(envoy: Envoy) -> None:
    envoy.headers = {b"x-one": [b"a\xff\xe2\x82z \xc3\xa9"], b"x-empty": [b""], b"x-two": [b"1", b"2"]}
    assert envoy_memory.find(STREAM, b"x-one") == "a!!!z é"
    assert envoy_memory.find(STREAM, b"x-empty") == ""
    assert envoy_memory.find(STREAM, b"x-two") == 2
    assert envoy_memory.find(STREAM, b"x-none") is None


def test_an_object_that_is_there_is_not_written_again(tmp_path: Path) -> None:
    first = Path(written(tmp_path))
    before = first.stat()
    assert written(tmp_path) == str(first) and first.stat().st_mtime_ns == before.st_mtime_ns
    assert first.read_bytes() == built(str(first))


def test_it_imports_what_fills_them_when_it_is_loaded(tmp_path: Path) -> None:
    path = written(tmp_path)
    code = f"""
import ctypes, json, sys
library = ctypes.CDLL({path!r})
function = library["{PREFIX}{FILTER}config_new"]
function.argtypes, function.restype = [ctypes.c_size_t] * 5, ctypes.c_size_t
print(json.dumps([function(0, 0, 0, 0, 0), "sampan.gateway.plugins.inline" in sys.modules]))
library["{PREFIX}program_init"]()
print(json.dumps("sampan.gateway.plugins.inline" in sys.modules))
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert [json.loads(line) for line in found] == [[0, False], True]
