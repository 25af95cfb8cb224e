"""Guests of http-wasm: how many there are, where they are called, and what becomes of those that take their time."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any

import pytest
import wasmtime

from sampan.gateway.plugins import http_wasm, wasm_guest
from sampan.gateway.plugins.http_wasm import PROVEN, HttpWasm

GUEST = """
(module
  (import "http_handler" "log" (func $log (param i32 i32 i32)))
  (import "http_handler" "get_method" (func $method (param i32 i32) (result i32)))
  (import "http_handler" "read_body" (func $read (param i32 i32 i32) (result i64)))
  (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-answersx-body")
  (global $answers (mut i32) (i32.const 48))
  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 1) (i32.const 400)))
    (i64.load (i32.const 400)))
  (func $busy (local $end i64)
    (local.set $end (i64.add (call $now) (i64.const 1000000000)))
    (loop $more (br_if $more (i64.lt_u (call $now) (local.get $end)))))
  (func $is (param $letter i32) (result i32) (i32.eq (i32.load8_u (i32.const 100)) (local.get $letter)))
  (func (export "handle_request") (result i64)
    (call $log (i32.const 0) (i32.const 0) (i32.const 1))
    (drop (call $method (i32.const 100) (i32.const 10)))
    (i32.store8 (i32.const 300) (global.get $answers))
    (call $set (i32.const 0) (i32.const 0) (i32.const 9) (i32.const 300) (i32.const 1))
    (if (call $is (i32.const 66)) (then (call $busy)))
    (if (call $is (i32.const 76)) (then (loop $ever (br $ever))))
    (if (call $is (i32.const 82)) (then
      (call $set (i32.const 0) (i32.const 9) (i32.const 6) (i32.const 200)
        (i32.wrap_i64 (call $read (i32.const 0) (i32.const 200) (i32.const 100))))))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)
    (global.set $answers (i32.add (global.get $answers) (i32.const 1)))))
"""
"""Tells the backend how many answers it has seen. When the method begins with B it is busy for a second, with L without end,
and with R it reads the body."""


async def backend(scope: Any, receive: Any, send: Any) -> None:
    while (await receive()).get("more_body"):
        pass
    headers = [(name, value) for name, value in scope["headers"] if name.startswith(b"x-")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok", "more_body": False})


class Where:
    """Counts guests, and the threads that they are called in."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.made, self.threads = 0, list[str]()
        monkeypatch.setattr(wasm_guest.Guest, "log", lambda *_: self.threads.append(threading.current_thread().name))
        made = wasm_guest.Guest.__init__

        def counted(guest: Any, middleware: Any) -> None:
            self.made += 1
            made(guest, middleware)

        monkeypatch.setattr(wasm_guest.Guest, "__init__", counted)

    @property
    def here(self) -> str:
        return threading.current_thread().name


@pytest.fixture
def where(monkeypatch: pytest.MonkeyPatch) -> Where:
    return Where(monkeypatch)


def guests(seconds: float = 60) -> HttpWasm:
    return HttpWasm(backend, bytes(wasmtime.wat2wasm(GUEST)), {}, seconds)


async def ask(app: HttpWasm, method: str = "GET", *pieces: bytes, leaves: bool = False) -> dict[str, str]:
    """Return the headers of the answer. ``leaves``: its taker ends all that is left to do when it has the end."""
    scope = {"type": "http", "method": method, "path": "/", "query_string": b"", "headers": [], "client": ("::1", 1)}
    left = [*pieces]
    found: dict[str, str] = {}

    async def receive() -> Any:
        await asyncio.sleep(0)
        piece = left.pop(0) if left else b""
        return {"type": "http.request", "body": piece, "more_body": bool(left)}

    async def send(message: Any) -> None:
        found.update((k.decode(), v.decode()) for k, v in message.get("headers", ()))
        if leaves and message["type"] == "http.response.body":
            raise asyncio.CancelledError

    try:
        await app(scope, receive, send)
    except asyncio.CancelledError:
        if not leaves:
            raise
    return found


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(work)


@pytest.mark.parametrize("leaves", [False, True])
def test_guests_are_used_again_and_see_every_answer(where: Where, leaves: bool) -> None:
    async def work() -> None:
        app = guests()
        found = [(await ask(app, leaves=leaves))["x-answers"] for _ in range(5)]
        assert found == ["0", "1", "2", "3", "4"] and where.made == 1
        await asyncio.gather(*(ask(app, leaves=leaves) for _ in range(3)))
        assert where.made <= 3

    run(work())


def test_calls_that_end_soon_need_no_thread(where: Where) -> None:
    async def work() -> None:
        app = guests()
        await ask(app)
        assert where.threads.pop() != where.here
        app._soon = PROVEN
        await ask(app)
        assert where.threads.pop() == where.here
        app._soon = PROVEN - 3
        await ask(app)
        assert where.threads.pop() != where.here

    run(work())


def test_a_call_that_takes_its_time_goes_to_a_thread(where: Where) -> None:
    async def work() -> None:
        app = guests(seconds=2)
        app._soon = PROVEN
        assert (await ask(app, "BUSY"))["x-answers"] == "0"
        first, second = where.threads
        assert first == where.here != second and where.made == 2
        assert app._soon < 0

    run(work())


def test_a_call_that_never_ends_is_interrupted(where: Where) -> None:
    async def work() -> None:
        app = guests(seconds=0.2)
        app._soon = PROVEN
        with pytest.raises(wasmtime.Trap) as raised:
            await ask(app, "LOOP")
        assert raised.value.trap_code == wasmtime.TrapCode.INTERRUPT
        assert (await ask(app))["x-answers"] == "0" and where.made == 3, "what was interrupted is not used again"

    run(work())


def test_a_body_that_has_not_come_is_read_in_a_thread(where: Where) -> None:
    async def work() -> None:
        app = guests()
        for _ in range(2):
            app._soon = PROVEN
            assert (await ask(app, "READ", b"one", b"two"))["x-body"] == "onetwo"
        assert [name == where.here for name in where.threads] == [True, False, False], "it is known then"

    run(work())


def test_no_more_guests_are_kept_than_may_be(where: Where, monkeypatch: pytest.MonkeyPatch) -> None:
    async def kept() -> int:
        app = guests()
        app._soon = PROVEN
        await asyncio.gather(*(ask(app) for _ in range(5)))
        await asyncio.gather(*(ask(app) for _ in range(5)))
        return len(app._idle)

    assert asyncio.run(kept()) == 5
    monkeypatch.setattr(http_wasm, "IDLE", 2)
    assert asyncio.run(kept()) == 2
    monkeypatch.setattr(http_wasm, "IDLE", 5)
    monkeypatch.setattr(http_wasm, "IDLE_BYTES", 3 << 16)  # a page of WebAssembly's memory has 64 KiB
    assert asyncio.run(kept()) == 3
