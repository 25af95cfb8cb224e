"""The object by which Envoy calls Python, loaded by this process as Envoy loads it."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.gateway.plugins import inline
from sampan.gateway.plugins.trampolines import FILTER, PENDING_COUNT, PREFIX, SLOTS, built, is_served, place_of, written

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")


def event(library: ctypes.CDLL, name: str, *arguments: int) -> int:
    function = library[f"{PREFIX}{FILTER}{name}"]
    function.argtypes = [ctypes.c_size_t] * len(arguments)
    function.restype = ctypes.c_size_t
    return int(function(*arguments))


def test_what_nobody_has_filled_returns_zero(tmp_path: Path) -> None:
    library = ctypes.CDLL(written(tmp_path))
    assert [event(library, name, 4096, 7, 1, 0, 0) & 0xFFFFFFFF for name in SLOTS] == [0] * len(SLOTS)
    assert event(library, "new", 7, 4096) == 7
    assert event(library, "request_body", 4096, 7, 1) & 0xFFFFFFFF == 0


def test_python_is_asked_once_it_has_filled_the_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interval = sys.getswitchinterval()
    monkeypatch.setattr(inline, "PENDING", {})
    monkeypatch.setattr(inline, "COUNTS", inline.COUNTS)
    library = ctypes.CDLL(written(tmp_path))
    begin = library[f"{PREFIX}program_init"]
    begin.restype = ctypes.c_char_p
    try:
        assert begin() == b"v0.1.0"
    finally:
        sys.setswitchinterval(interval)
    said = b"no json"
    place = ctypes.create_string_buffer(said)
    assert event(library, "config_new", 0, 0, 0, ctypes.addressof(place), len(said)) == 0

    stream, neighbour = 0x7F0000001240, 0x7F0000001240 + 64 * PENDING_COUNT
    inline.PENDING[stream] = [(b"x-mark", b"yes")]
    inline.COUNTS[place_of(stream)] += 1
    for other in (neighbour, stream + 64):
        event(library, "stream_complete", other, 1)
        assert stream in inline.PENDING and inline.COUNTS[place_of(stream)] == 1
    event(library, "stream_complete", stream, 1)
    assert not inline.PENDING and inline.COUNTS[place_of(stream)] == 0


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
