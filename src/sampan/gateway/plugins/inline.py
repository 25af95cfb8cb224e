"""A hook called by Envoy itself, on the thread that serves the request: no call over a socket, no event loop, no task.

    Envoy's worker ──jumps.py──▶ Inline.ask(stream) ──▶ the plugin's function

The function is the very one that ``host.py`` asks where a hook is asked by authorization calls, with the same counters and
the same ``Request``; only headers are read from Envoy's memory when asked for. What it has set goes back as a block, which
Envoy is told without Python, the answer's headers when there is an answer. It holds Envoy's thread while it runs, so it has
to be one of which ``quick.py`` says that it ends soon. Runs in Envoy's process. Source: Envoy's dynamic module ABI.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import sys
import traceback
from collections.abc import Callable
from ctypes import CFUNCTYPE, PYFUNCTYPE, PyDLL, c_char_p, c_size_t, c_void_p
from threading import get_ident
from time import perf_counter
from typing import Any, NamedTuple

from sampan.gateway.plugins import envoy_memory
from sampan.gateway.plugins.counters import Measured
from sampan.gateway.plugins.envoy_memory import StreamRequest, header_of
from sampan.gateway.plugins.host import HOSTED, Hook, Said, said
from sampan.gateway.plugins.jumps import FIND, OWNED, REROUTES, Block, Operation
from sampan.gateway.plugins.machine import IMPORTS, SLOTS
from sampan.gateway.plugins.request import Answer
from sampan.gateway.plugins.trampolines import IMPORT_TABLE, SLOT_TABLE

CONTINUE, STOP = 0, 1
DETAILS = b"sampan_plugin"
SWITCH_SECONDS = 0.0005
"""How long Envoy's thread waits for Python while another thread computes."""
MOST_KEPT, LONGEST_KEPT = 256, 4096
"""Blocks that are kept to be told again, of each hook, and the bytes of one."""


class Pair(ctypes.Structure):
    """A header of an answer, as the ABI has it."""

    _fields_ = (("key", c_char_p), ("key_size", c_size_t), ("value", c_char_p), ("value_size", c_size_t))


Encoded = list[tuple[bytes, bytes | None]]


class Told(NamedTuple):
    """What Envoy is told, encoded."""

    status: int
    body: bytes
    headers: Encoded
    answer_headers: Encoded


NOTHING = Told(0, b"", [], [])


def told(found: Said) -> Told:
    """Return what a hook said, encoded. Raises ``UnicodeEncodeError``."""
    status, body, headers, removed, answer_headers, cookies = found
    changes: Encoded = [(k.encode(), v.encode()) for k, v in headers.items()]
    if removed:
        changes += [(k.encode(), None) for k in removed]
    additions: Encoded = [(k.encode(), v.encode()) for k, v in answer_headers.items()]
    if cookies:
        additions += [(b"set-cookie", line.encode()) for line in cookies]
    return Told(status, body.encode(), changes, additions)


GRPC = "application/grpc"
GRPC_STATUS = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}
GRPC_UNKNOWN = 2
"""What a client of gRPC is told of an HTTP status. Source: gRPC, "HTTP to gRPC Status Code Mapping"."""


def grpc_status(kind: str, status: int) -> Encoded:
    """Return what Envoy would say to a client of gRPC (the request's ``content-type`` tells); of an answer of a module it
    says 0 (that all is well), unless told."""
    if kind != GRPC and not kind.startswith(f"{GRPC}+"):
        return []
    return [(b"grpc-status", str(GRPC_STATUS.get(status, GRPC_UNKNOWN)).encode())]


Key = tuple[tuple[tuple[str, str], ...], ...]
NOTHING_SET: tuple[Key, ...] = (((),), ((), (), ()))


def key_of(request: StreamRequest) -> Key | None:
    """Return what a hook has set, where it was all text: who sets the same again is told the same."""
    if request.response_cookies:
        return None
    answers = request.response_headers
    for name, value in answers.items():
        if type(value) is not str or type(name) is not str:
            return None
    if "headers" not in request.__dict__:
        return (tuple(answers.items()),)
    headers = request.headers
    return tuple(answers.items()), tuple(headers.changed.items()), tuple([(key, "") for key in sorted(headers.removed)])


allocate: Callable[[int], int]
"""The C library's ``malloc``, as the jumps free it."""


class Inline:
    """A configuration of the filter: a hook, and what its Plugin says of it."""

    def __init__(self, hook: Hook, *, reroutes: bool) -> None:
        self._function, self._settings, self._counters = hook.function, hook.settings, hook.counters
        self._hook, self._reroutes = hook, reroutes
        self._blocks: dict[Key | None, int] = dict.fromkeys(NOTHING_SET, CONTINUE)
        self._kept: list[Any] = []
        """The blocks' memory. Envoy ends a configuration after all its streams."""

    def ask(self, stream: int) -> int:
        """Return 0 when the request goes on, 1 when it was answered, the address of a block when something is to be set. The
        request is over when this returns: no loop is asked, and no time is kept."""
        begun = perf_counter()
        if get_ident() not in THREADS:
            keep_thread()
        request = StreamRequest(stream, self._settings)
        measured = None
        own = NOTHING
        try:
            answer = self._function(request)
            key = key_of(request) if answer is None else None
            found = self._blocks.get(key)
            if found is None:
                made = told(said(request, answer))
                own, found = (made, STOP) if made.status else (NOTHING, self._block(made, key))
            if answer is not None:
                measured = Measured(self._counters)
                measured.answered = isinstance(answer, Answer)
        except BaseException as error:
            measured = Measured(self._counters)
            measured.failed(error)
            own = told(self._hook.failure(error))
            found = STOP if own.status else CONTINUE
        request.end()
        now = perf_counter()
        self._counters.note(now - begun, now, measured)
        if found == STOP:
            answered(stream, own)
        return found

    def _block(self, made: Told, key: Key | None) -> int:
        """Return the address of a block for what passes, 0 where nothing is to be set; kept for who sets the same again."""
        if not made.headers and not made.answer_headers:
            return CONTINUE
        flags = REROUTES if self._reroutes and made.headers else 0
        block = Block(operations(made.headers), operations(made.answer_headers), flags)
        if key is not None and len(self._blocks) < MOST_KEPT and block.size <= LONGEST_KEPT:
            self._kept.append(ctypes.create_string_buffer(block.size))
            address = self._blocks[key] = ctypes.addressof(self._kept[-1])
        else:
            block = block._replace(flags=flags | OWNED)
            address = allocate(block.size)
            if not address:
                raise MemoryError("no memory for the headers that a plugin has set")
        ctypes.memmove(address, block.written(address), block.size)
        return address


def answered(stream: int, own: Told) -> None:
    """Answer in the backend's stead."""
    kind = header_of(stream, b"content-type") or ""
    send_answer(stream, own.status, own.answer_headers + grpc_status(kind, own.status), own.body)


def send_answer(stream: int, status: int, headers: Encoded, body: bytes) -> None:
    pairs = (Pair * len(headers))()
    for number, (key, value) in enumerate(headers):
        pairs[number] = Pair(key, len(key), value, len(value or b""))
    envoy_memory.send_response(stream, status, pairs, len(pairs), body, len(body), DETAILS, len(DETAILS))


def operations(headers: Encoded) -> list[Operation]:
    return [(key, value, value is not None and key == b"set-cookie") for key, value in headers]


CONFIGURATIONS: dict[int, Callable[[int], int]] = {}
"""Address → what is called for each stream. It is here for as long as Envoy has the configuration."""
THREADS: set[int] = set()
"""Those whose state Python keeps between two calls."""


def keep_thread() -> None:
    """Keep this thread's state: one that is made for a call is forgotten after it, unless it is taken once more."""
    THREADS.add(get_ident())
    ctypes.pythonapi.PyGILState_Ensure()


def config_new(_: int, name: int, name_size: int, config: int, config_size: int) -> int:
    """Return a configuration; 0, so that Envoy refuses it, where the plugin cannot be had."""
    try:
        said = json.loads(ctypes.string_at(config, config_size))
        importlib.import_module(f"{said['package']}_app")
        asked = Inline(HOSTED[said["package"]], reroutes=said["reroutes"]).ask
        CONFIGURATIONS[id(asked)] = asked
        return id(asked)
    except Exception:
        traceback.print_exc()
        return 0


def config_destroy(configuration: int) -> None:
    CONFIGURATIONS.pop(configuration, None)


EVENTS: dict[str, Any] = {
    "config_new": CFUNCTYPE(c_size_t, *[c_size_t] * 5)(config_new),
    "config_destroy": CFUNCTYPE(None, c_size_t)(config_destroy),
}


def attach(path: str) -> None:
    """Fill the slots of an object that Envoy is loading. It stays loaded: its slots lead here for good."""
    global allocate
    library = PyDLL(path)
    slots = (c_void_p * len(SLOTS)).in_dll(library, SLOT_TABLE)
    for number, name in enumerate(SLOTS):
        slots[number] = ctypes.cast(EVENTS[name], c_void_p).value
    imports = (c_size_t * len(IMPORTS)).in_dll(library, IMPORT_TABLE)
    allocate = PYFUNCTYPE(c_size_t, c_size_t)(imports[IMPORTS.index("malloc")])
    envoy_memory.find_with(ctypes.cast(library[FIND], c_void_p).value)
    sys.setswitchinterval(SWITCH_SECONDS)
