"""WebAssembly plugins, compiled here: http-wasm (Go, and WAT) in a process of ours, proxy-wasm (WAT) in Envoy."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .eventually import eventually
from .gateway_with_plugins import Alone, alone

SOURCE = Path(__file__).parent / "http_wasm_guest"
SMALL = """
(module
  (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-in")
  (data (i32.const 8) "MARK")
  (func (export "handle_request") (result i64)
    (call $set (i32.const 0) (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 3))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)))
"""
PROXY = """
(module
  (import "env" "proxy_add_header_map_value" (func $add (param i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_get_buffer_bytes" (func $bytes (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (data (i32.const 0) "x-in")
  (data (i32.const 8) "x-out")
  (global $at (mut i32) (i32.const 0))
  (global $size (mut i32) (i32.const 0))
  (global $free (mut i32) (i32.const 4096))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (local $found i32)
    (local.set $found (global.get $free))
    (global.set $free (i32.add (global.get $free) (i32.and (i32.add (local.get $size) (i32.const 7)) (i32.const -8))))
    (local.get $found))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    ;; the settings, as JSON, are what it marks with: type 7 is the plugin's configuration
    (drop (call $bytes (i32.const 7) (i32.const 0) (i32.const 1000) (i32.const 64) (i32.const 68)))
    (global.set $at (i32.load (i32.const 64)))
    (global.set $size (i32.load (i32.const 68)))
    (i32.const 1))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 0) (i32.const 0) (i32.const 4) (global.get $at) (global.get $size)))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $add (i32.const 2) (i32.const 8) (i32.const 5) (i32.const 0) (i32.const 4)))
  (func (export "proxy_on_done") (param i32) (result i32) (i32.const 1)))
"""
CRASH = PROXY.replace("    (call $add (i32.const 0)", "    (unreachable) (call $add (i32.const 0)")


def compiled(folder: Path, source: str) -> Path:
    import wasmtime

    folder.mkdir(exist_ok=True)
    (folder / "plugin.wasm").write_bytes(wasmtime.wat2wasm(source))
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    with alone(tmp_path_factory.mktemp("wasm")) as served:
        yield served


@pytest.fixture(scope="module")
def guest(gateway: Alone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go guest, compiled."""
    go = shutil.which("go")
    if go is None:
        pytest.skip("there is no Go compiler")
    folder = tmp_path_factory.mktemp("guest")
    environment = {**os.environ, "GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-p=2"}
    command = [go, "build", "-buildmode=c-shared", "-o", str(folder / "plugin.wasm"), "."]
    subprocess.run(command, cwd=SOURCE, env=environment, check=True, timeout=600)
    for failure in ("Open", "Closed"):
        settings = {"mark": failure, "deny": "/secret"}
        gateway.plugin(f"go-{failure.lower()}", path=str(folder), settings=settings, failure=failure, timeout="2s")
    for name in ("go-open", "go-closed"):
        gateway.served(name, 150)  # a runtime of Go is compiled
    return folder


def test_a_guest_of_http_wasm_sees_and_changes_all(gateway: Alone, guest: Path) -> None:
    answer = gateway.ask("/go-closed/a?x=y", b"hello")
    assert answer.headers["x-guest"] == "Closed" and answer.headers["x-was"] == "application/json"
    assert b'"BODY": "HELLO"' in answer.body and b'"X-IN": "CLOSED"' in answer.body
    assert int(answer.headers["content-length"]) == len(answer.body)
    denied = gateway.ask("/go-closed/secret")
    assert (denied.status, denied.body, denied.headers["x-guest"]) == (403, b"not you\n", "Closed")
    assert b'"PATH": "/GO/NEW?A=B"' in gateway.ask("/go-closed/a?rewrites").body
    large = b"a" * 300_000
    assert b"A" * 300_000 in gateway.ask("/go-closed/a", large).body


@pytest.mark.parametrize("wrong", ["panics", "loops", "leaks"])
def test_a_guest_that_fails_is_thrown_away(gateway: Alone, guest: Path, wrong: str) -> None:
    passed = gateway.ask(f"/go-open/a?{wrong}", b"hello")
    assert passed.status == 200 and passed.told["body"] == "hello"
    failed = gateway.ask(f"/go-closed/a?{wrong}", b"hello")
    assert failed.status == 500 and failed.body.startswith(b"plugin failed: ")
    assert gateway.ask("/go-closed/a", b"hello").headers["x-guest"] == "Closed"
    said = gateway.counters("go-closed")
    assert said["failures"] and not said["restarts"], "its process goes on"


def test_http_wasm_is_swapped_and_a_broken_module_refused(gateway: Alone, tmp_path: Path) -> None:
    folder = compiled(tmp_path / "small", SMALL.replace("MARK", "one"))
    gateway.plugin("small", path=str(folder))
    gateway.served("small")
    assert gateway.ask("/small").told["headers"]["x-in"] == "one"
    compiled(folder, SMALL.replace("MARK", "two"))
    eventually("the new one serves", lambda: gateway.ask("/small").told["headers"]["x-in"] == "two")
    (folder / "plugin.wasm").write_bytes(b"\0asm\x01\0\0\0\x07\xff")
    eventually(
        "it is told", lambda: "plugin.wasm: it ends too early: this is no WebAssembly module" in gateway.log.read_text()
    )
    assert gateway.ask("/small").told["headers"]["x-in"] == "two"


def test_proxy_wasm_runs_in_envoy(gateway: Alone, tmp_path: Path) -> None:
    folder = compiled(tmp_path / "proxy", PROXY)
    gateway.plugin("proxy", path=str(folder), settings={"a": "b"})
    gateway.served("proxy")
    answer = gateway.ask("/proxy", b"hello")
    assert (answer.told["headers"]["x-in"], answer.headers["x-out"]) == ('{"a": "b"}', "x-in")
    gateway.plugin("proxy", path=str(folder), settings={"a": "c"})
    eventually("new settings are there", lambda: gateway.ask("/proxy").told["headers"]["x-in"] == '{"a": "c"}')


def test_proxy_wasm_that_crashes_or_cannot_be_linked(gateway: Alone, tmp_path: Path) -> None:
    crash = compiled(tmp_path / "crash", CRASH)
    gateway.plugin("crash-closed", path=str(crash))
    gateway.plugin("crash-open", path=str(crash), failure="Open")
    eventually("closed is refused", lambda: gateway.status("/crash-closed") in (500, 503))
    eventually("open passes", lambda: gateway.status("/crash-open") == 200)
    assert gateway.ask("/plain").status == 200
    strange = PROXY.replace("proxy_add_header_map_value", "proxy_of_nobody")
    gateway.plugin("strange", path=str(compiled(tmp_path / "strange", strange)))
    eventually("Envoy's refusal is told", lambda: "Envoy refused it" in gateway.log.read_text())
    assert gateway.ask("/plain").status == 200
