"""One request in a WebAssembly guest: what its host functions see and change.

A ``Guest`` is an instance of the module with a store of its own; for one request at a time it works on a ``Call``. Source:
the http-wasm HTTP handler ABI (http-wasm.io): features, headers, bodies, and how numbers of two halves are given back.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sampan.gateway.plugins.wasm_clock import epochs

if TYPE_CHECKING:
    from sampan.gateway.plugins.http_wasm import HttpWasm

BUFFER_REQUEST, BUFFER_RESPONSE = 1, 2
SUPPORTED = BUFFER_REQUEST | BUFFER_RESPONSE
REQUEST, RESPONSE = 0, 1
MEMORY_BYTES = 64 << 20
"""Of one instance."""
WORDS = {-1: "debug", 0: "info", 1: "warn", 2: "error"}


class Pairs:
    """Headers as a guest sees and changes them: names in lower case, several values each."""

    def __init__(self, pairs: list[tuple[bytes, bytes]]) -> None:
        self.pairs = [(name.lower(), value) for name, value in pairs]

    def names(self) -> list[bytes]:
        return list(dict.fromkeys(name for name, _ in self.pairs))

    def values(self, name: bytes) -> list[bytes]:
        return [value for key, value in self.pairs if key == name.lower()]

    def remove(self, name: bytes) -> None:
        self.pairs = [pair for pair in self.pairs if pair[0] != name.lower()]

    def add(self, name: bytes, value: bytes) -> None:
        self.pairs.append((name.lower(), value))


class Body:
    """A body as a guest reads and writes it: what it writes first takes the place of what was there."""

    def __init__(self, more: Callable[[], bytes | None]) -> None:
        self._more = more
        self._ended = False
        self.unread = b""
        self.written: bytes | None = None

    def read(self, limit: int) -> tuple[bytes, bool]:
        """Return up to ``limit`` bytes, and whether that is all."""
        while len(self.unread) < limit and not self._ended:
            piece = self._more()
            self._ended = piece is None
            self.unread += piece or b""
        found, self.unread = self.unread[:limit], self.unread[limit:]
        return found, self._ended and not self.unread

    def write(self, data: bytes) -> None:
        self.written = (self.written or b"") + data


class Call:
    """One request on its way through a guest."""

    def __init__(self, scope: Any) -> None:
        self.method: bytes = scope["method"].encode()
        query = scope["query_string"]
        self.uri: bytes = (scope.get("raw_path") or scope["path"].encode()).partition(b"?")[0] + (
            b"?" + query if query else b""
        )
        self.version = f"HTTP/{scope.get('http_version', '1.1')}".encode()
        host, port = scope.get("client") or ("", 0)
        self.peer = f"[{host}]:{port}".encode() if ":" in host else f"{host}:{port}".encode()
        self.status = 200
        self.headers = {REQUEST: Pairs(list(scope["headers"])), RESPONSE: Pairs([])}
        self.bodies: dict[int, Body] = {}


class Guest:
    """An instance of the module, for one request at a time."""

    def __init__(self, middleware: HttpWasm) -> None:
        import wasmtime

        self._all = middleware
        self.features = 0
        self.call: Call | None = None
        self.seconds = middleware.seconds
        """That a call may take."""
        self.memory_bytes = 0
        """That it has while it is kept."""
        self.store = wasmtime.Store(middleware.engine)
        self.store.set_limits(memory_size=MEMORY_BYTES)
        wasi = wasmtime.WasiConfig()
        wasi.inherit_stderr()
        self.store.set_wasi(wasi)
        self.renew()
        linker = wasmtime.Linker(middleware.engine)
        linker.define_wasi()
        for name, (function, parameters, results) in self.functions().items():
            types = [wasmtime.ValType.i32() for _ in range(parameters)]
            given = [wasmtime.ValType.i64() if one == 64 else wasmtime.ValType.i32() for one in results]
            linker.define_func("http_handler", name, wasmtime.FuncType(types, given), function)
        exports = linker.instantiate(self.store, middleware.module).exports(self.store)
        self._memory = exports["memory"]
        start = exports.get("_initialize") or exports.get("_start")
        if start is not None:
            start(self.store)
        self._handle_request, self._handle_response = exports["handle_request"], exports.get("handle_response")

    def measured_bytes(self) -> int:
        return int(self._memory.data_len(self.store))

    def renew(self) -> None:
        """Give it its time from now."""
        self.store.set_epoch_deadline(epochs(self.seconds))

    def request(self, call: Call, seconds: float) -> tuple[int, bool]:
        """Return the guest's word for the request, and whether it goes on. Raises what the runtime raises."""
        self.call, self.seconds = call, seconds
        self.renew()
        said = self._handle_request(self.store)
        return said >> 32, bool(said & 0xFFFFFFFF)

    def response(self, word: int, seconds: float, *, failed: bool) -> None:
        self.seconds = seconds
        self.renew()
        if self._handle_response is not None:
            self._handle_response(self.store, word, int(failed))

    # what the guest calls

    def functions(self) -> dict[str, tuple[Callable[..., Any], int, tuple[int, ...]]]:
        """Return name → function, number of parameters, sizes of its results."""
        return {
            "enable_features": (self.enable_features, 1, (32,)),
            "get_config": (lambda at, most: self.put(self._all.config, at, most), 2, (32,)),
            "log_enabled": (lambda level: int(level >= 0), 1, (32,)),
            "log": (self.log, 3, ()),
            "get_method": (lambda at, most: self.put(self.now.method, at, most), 2, (32,)),
            "set_method": (lambda at, size: setattr(self.now, "method", self.get(at, size)), 2, ()),
            "get_uri": (lambda at, most: self.put(self.now.uri, at, most), 2, (32,)),
            "set_uri": (lambda at, size: setattr(self.now, "uri", self.get(at, size) or b"/"), 2, ()),
            "get_protocol_version": (lambda at, most: self.put(self.now.version, at, most), 2, (32,)),
            "get_source_addr": (lambda at, most: self.put(self.now.peer, at, most), 2, (32,)),
            "get_header_names": (lambda kind, at, most: self.put_all(self.of(kind).names(), at, most), 3, (64,)),
            "get_header_values": (self.get_header_values, 5, (64,)),
            "set_header_value": (self.set_header_value, 5, ()),
            "add_header_value": (self.add_header_value, 5, ()),
            "remove_header": (lambda kind, at, size: self.of(kind).remove(self.get(at, size)), 3, ()),
            "read_body": (self.read_body, 3, (64,)),
            "write_body": (lambda kind, at, size: self.body(kind).write(self.get(at, size)), 3, ()),
            "get_status_code": (lambda: self.now.status, 0, (32,)),
            "set_status_code": (lambda status: setattr(self.now, "status", status), 1, ()),
        }

    @property
    def now(self) -> Call:
        if self.call is None:
            raise RuntimeError("there is no request yet")
        return self.call

    def get(self, at: int, size: int) -> bytes:
        at, size = at & 0xFFFFFFFF, size & 0xFFFFFFFF
        if at + size > self._memory.data_len(self.store):
            raise IndexError("out of the guest's memory")
        return bytes(self._memory.read(self.store, at, at + size))

    def put(self, data: bytes, at: int, most: int) -> int:
        """Write what fits as a whole; return its length."""
        if 0 < len(data) <= most & 0xFFFFFFFF:
            self._memory.write(self.store, data, at & 0xFFFFFFFF)
        return len(data)

    def put_all(self, values: list[bytes], at: int, most: int) -> int:
        data = b"".join(value + b"\0" for value in values)
        return len(values) << 32 | self.put(data, at, most)

    def of(self, kind: int) -> Pairs:
        if kind not in (REQUEST, RESPONSE):
            raise ValueError(f"headers of kind {kind}: trailers are not served")
        return self.now.headers[kind]

    def body(self, kind: int) -> Body:
        return self.now.bodies[kind]

    def enable_features(self, features: int) -> int:
        self.features |= features & SUPPORTED
        return self.features

    def log(self, level: int, at: int, size: int) -> None:
        print(f"{WORDS.get(level, level)}: {self.get(at, size).decode(errors='replace')}", file=sys.stderr)

    def get_header_values(self, kind: int, at: int, size: int, to: int, most: int) -> int:
        return self.put_all(self.of(kind).values(self.get(at, size)), to, most)

    def set_header_value(self, kind: int, at: int, size: int, value: int, value_size: int) -> None:
        headers, name = self.of(kind), self.get(at, size)
        headers.remove(name)
        headers.add(name, self.get(value, value_size))

    def add_header_value(self, kind: int, at: int, size: int, value: int, value_size: int) -> None:
        self.of(kind).add(self.get(at, size), self.get(value, value_size))

    def read_body(self, kind: int, at: int, most: int) -> int:
        data, is_all = self.body(kind).read(most & 0xFFFFFFFF)
        self.renew()  # waiting for the client is not the guest's time
        if data:
            self._memory.write(self.store, data, at & 0xFFFFFFFF)
        return int(is_all) << 32 | len(data)
