"""A hook called by Envoy itself, on the thread that serves the request: no call over a socket, no event loop, no task.

    Envoy's worker ──trampolines.py──▶ request_headers(stream, number of the configuration) ──▶ the plugin's function

The function is the very one that ``host.py`` asks where a hook is asked by authorization calls, with the same counters and
the same ``Request``; only headers are read from Envoy's memory when asked for. It holds Envoy's thread while it runs,
so it has to be one of which ``quick.py`` says that it ends soon. Runs in Envoy's process. Source: Envoy's dynamic module ABI.
"""

from __future__ import annotations

import codecs
import ctypes
import importlib
import itertools
import json
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from ctypes import CFUNCTYPE, PyDLL, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from functools import lru_cache
from typing import Any, NamedTuple

from sampan.gateway.plugins.host import HOSTED, Hook, Said, said
from sampan.gateway.plugins.request import KEPT, Headers, Request, header
from sampan.gateway.plugins.trampolines import PENDING_COUNT, PENDING_TABLE, SLOT_TABLE, SLOTS, place_of

CONTINUE, STOP = 0, 1
REQUEST, RESPONSE = 0, 2
SOURCE_ADDRESS = 24
"""An attribute's number in the ABI: address and port of who is connected."""
DETAILS = b"sampan_plugin"
UTF8_OF_ENVOY = "sampan.envoy"
"""How bytes are read that are no UTF-8: as authorization calls have them, each is an exclamation mark."""

SWITCH_SECONDS = 0.0005
"""How long Envoy's thread waits for Python while another thread computes."""


def byte_by_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "!", error.start + 1


codecs.register_error(UTF8_OF_ENVOY, byte_by_byte)


class Pair(ctypes.Structure):
    """A header of an answer, as the ABI has it."""

    _fields_ = (("key", c_char_p), ("key_size", c_size_t), ("value", c_char_p), ("value_size", c_size_t))


def of_envoy(name: str, result: Any, *arguments: Any) -> Any:
    """Return a function of Envoy's, called with the GIL held: each takes less than to let it go and take it again."""
    found = getattr(ENVOY, f"envoy_dynamic_module_callback_http_{name}")
    found.restype, found.argtypes = result, arguments
    return found


ENVOY = PyDLL(None)
IN_ENVOY = hasattr(ENVOY, "envoy_dynamic_module_callback_http_get_header")
if IN_ENVOY:
    TEXT = (c_char_p, c_size_t)
    get_header = of_envoy("get_header", c_bool, c_size_t, c_int, *TEXT, c_void_p, c_size_t, c_void_p)
    get_headers_size = of_envoy("get_headers_size", c_size_t, c_size_t, c_int)
    get_headers = of_envoy("get_headers", c_bool, c_size_t, c_int, c_void_p)
    set_header = of_envoy("set_header", c_bool, c_size_t, c_int, *TEXT, *TEXT)
    add_header = of_envoy("add_header", c_bool, c_size_t, c_int, *TEXT, *TEXT)
    get_attribute = of_envoy("filter_get_attribute_string", c_bool, c_size_t, c_int, c_void_p)
    send_response = of_envoy("send_response", None, c_size_t, c_uint32, c_void_p, c_size_t, *TEXT, *TEXT)
    clear_route_cache = of_envoy("clear_route_cache", None, c_size_t)
text_at: Any = ctypes.pythonapi.PyUnicode_DecodeUTF8
text_at.restype, text_at.argtypes = ctypes.py_object, (c_size_t, c_size_t, c_char_p)
ERRORS = UTF8_OF_ENVOY.encode()


class Place(threading.local):
    """Where Envoy says where a text is, and how many there are: each thread has its own."""

    def __init__(self) -> None:
        self.numbers = (c_size_t * 3)()
        self.address = ctypes.addressof(self.numbers)
        self.count_address = self.address + 2 * ctypes.sizeof(c_size_t)


PLACE = Place()


def header_of(stream: int, name: bytes) -> str | None:
    """Return a header of the request, several of a name with commas between them; None where there is none."""
    place = PLACE
    numbers = place.numbers
    if not get_header(stream, REQUEST, name, len(name), place.address, 0, place.count_address):
        return None
    found: str = text_at(numbers[0], numbers[1], ERRORS)
    for number in range(1, numbers[2]):
        if get_header(stream, REQUEST, name, len(name), place.address, number, None):
            found = f"{found},{text_at(numbers[0], numbers[1], ERRORS)}"
    return found


class StreamHeaders(Headers):
    """A request's headers, read from Envoy one by one, or all when all are asked for."""

    def __init__(self, stream: int) -> None:
        self._kept = KEPT
        self._values = {}
        self.changed = {}
        self.removed = set()
        self.stream = stream
        self._is_whole = False

    def _find(self, key: str) -> str | None:
        if key in self._values:
            return self._values[key]
        if self._is_whole or key in self.removed or key.startswith(":") or not key.isascii() or not key:
            return None
        found = header_of(living(self.stream), key.encode())
        if found is not None:
            self._values[key] = found
        return found

    def _read(self) -> None:
        if self._is_whole:
            return
        stream = living(self.stream)
        count = get_headers_size(stream, REQUEST)
        places = (c_size_t * (4 * count))()
        get_headers(stream, REQUEST, places)
        found: dict[str, str] = {}
        for start in range(0, 4 * count, 4):
            key = text_at(places[start], places[start + 1], ERRORS)
            value = text_at(places[start + 2], places[start + 3], ERRORS)
            if not key.startswith(":"):
                found[key] = f"{found[key]},{value}" if key in found else value
        self._values = {**found, **self.changed}
        for key in self.removed:
            self._values.pop(key, None)
        self._is_whole = True

    def __getitem__(self, name: str) -> str:
        found = self._find(name.lower())
        if found is None:
            raise KeyError(name.lower())
        return found

    def get(self, name: str, default: Any = None) -> Any:
        found = self._find(name.lower())
        return default if found is None else found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._find(name.lower()) is not None

    def __delitem__(self, name: str) -> None:
        self._find(name.lower())
        super().__delitem__(name)

    def __iter__(self) -> Iterator[str]:
        self._read()
        return super().__iter__()

    def __len__(self) -> int:
        self._read()
        return super().__len__()


def living(stream: int) -> int:
    """Return a stream's number. Raises ``RuntimeError`` when the request is over, and its memory another's."""
    if not stream:
        raise RuntimeError("the request is over")
    return stream


class StreamRequest(Request):
    """A request in Envoy's memory: what is asked for is read."""

    headers: StreamHeaders
    certificate, body = "", b""

    def __init__(self, stream: int, settings: Any) -> None:
        self.stream, self.settings = stream, settings
        self.response_headers, self.response_cookies = {}, []

    def __getattr__(self, name: str) -> Any:
        """Return what is not there yet, and keep it."""
        read = READ.get(name)
        if read is None:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        found = self.__dict__[name] = read(living(self.stream))
        return found

    def end(self) -> None:
        """Let nobody read of Envoy's memory what is there no more."""
        self.stream = 0
        if "headers" in self.__dict__:
            self.headers.stream = 0


def client_of(stream: int) -> str:
    if not get_attribute(stream, SOURCE_ADDRESS, PLACE.address):
        return ""
    address: str = text_at(PLACE.numbers[0], PLACE.numbers[1], ERRORS)
    host, colon, _ = address.rpartition(":")
    return host.strip("[]") if colon else address


READ: dict[str, Callable[[int], Any]] = {
    "headers": StreamHeaders,
    "method": lambda stream: header_of(stream, b":method") or "GET",
    "path": lambda stream: header_of(stream, b":path") or "/",
    "host": lambda stream: header_of(stream, b":authority") or "",
    "scheme": lambda stream: header_of(stream, b":scheme") or "http",
    "client": client_of,
}
Encoded = list[tuple[bytes, bytes | None]]


class Told(NamedTuple):
    """What Envoy is told, encoded."""

    status: int
    body: bytes
    headers: Encoded
    answer_headers: Encoded


PASSES: Encoded = []
NOTHING = Told(0, b"", PASSES, PASSES)


@lru_cache(2048)
def encoded(name: str, value: str) -> tuple[bytes, bytes | None]:
    """Return a header as Envoy is told it. Raises ``UnicodeEncodeError``."""
    return name.encode(), value.encode()


def judged(request: StreamRequest, answer: Any) -> Told:
    """Return what a hook did, checked and encoded, as ``told(said(…))`` does: in fewer steps where the request passes, and
    headers that were never asked for are not looked at. Raises ``ValueError``."""
    if answer is not None or request.response_cookies:
        return told(said(request, answer))
    changes = additions = PASSES
    answers = request.response_headers
    if answers:
        answers = dict([header(*pair) for pair in answers.items()])
    if "headers" in request.__dict__:
        headers = request.headers
        if headers.changed:
            changes = [encoded(*pair) for pair in headers.changed.items()]
        if headers.removed:
            changes = changes + [(key.encode(), None) for key in sorted(headers.removed)]
    if answers:
        additions = [encoded(*pair) for pair in answers.items()]
    elif changes is PASSES:
        return NOTHING
    return Told(0, b"", changes, additions)


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


def grpc_status(stream: int, status: int) -> Encoded:
    """Return what Envoy would say to a client of gRPC; of an answer of a module it says 0 (that all is well), unless told."""
    kind = header_of(stream, b"content-type") or ""
    if kind != GRPC and not kind.startswith(f"{GRPC}+"):
        return []
    return [(b"grpc-status", str(GRPC_STATUS.get(status, GRPC_UNKNOWN)).encode())]


PENDING: dict[int, Encoded] = {}
"""Stream → headers for its answer. A stream that ends without one takes them with it (``stream_complete``)."""
COUNTS: Any = (ctypes.c_uint32 * PENDING_COUNT)()
"""The object's own table, as soon as there is one."""


def taken(stream: int) -> Encoded | None:
    """Return what is pending for a stream, which it is no more."""
    found = PENDING.pop(stream, None)
    if found is not None:
        COUNTS[place_of(stream)] -= 1
    return found


def put(stream: int, side: int, headers: Encoded) -> None:
    for key, value in headers:
        if value is None:
            set_header(stream, side, key, len(key), None, 0)
        elif key == b"set-cookie":
            add_header(stream, side, key, len(key), value, len(value))
        else:
            set_header(stream, side, key, len(key), value, len(value))


class Inline:
    """A configuration of the filter: a hook, and what its Plugin says of it."""

    def __init__(self, hook: Hook, *, reroutes: bool) -> None:
        self.settings, self.reroutes = hook.settings, reroutes
        self._judge = hook.judge

    def ask(self, stream: int) -> int:
        request = StreamRequest(stream, self.settings)
        try:
            found = self._judge(request, judged, told)
        finally:
            request.end()
        if found.status:
            answer_headers = found.answer_headers + grpc_status(stream, found.status)
            pairs = (Pair * len(answer_headers))()
            for number, (key, value) in enumerate(answer_headers):
                pairs[number] = Pair(key, len(key), value, len(value or b""))
            body = found.body
            send_response(stream, found.status, pairs, len(pairs), body, len(body), DETAILS, len(DETAILS))
            return STOP
        if found.headers:
            put(stream, REQUEST, found.headers)
            if self.reroutes:
                clear_route_cache(stream)
        if found.answer_headers:
            PENDING[stream] = found.answer_headers
            COUNTS[place_of(stream)] += 1
        return CONTINUE


CONFIGURATIONS: dict[int, Inline] = {}
NUMBERS = itertools.count(1)
THREADS: set[int] = set()
"""Those whose state Python keeps between two calls."""


def config_new(_: int, name: int, name_size: int, config: int, config_size: int) -> int:
    """Return the number of a configuration; 0, so that Envoy refuses it, where the plugin cannot be had."""
    try:
        told = json.loads(ctypes.string_at(config, config_size))
        importlib.import_module(f"{told['package']}_app")
        number = next(NUMBERS)
        CONFIGURATIONS[number] = Inline(HOSTED[told["package"]], reroutes=told["reroutes"])
        return number
    except Exception:
        traceback.print_exc()
        return 0


def config_destroy(number: int) -> None:
    CONFIGURATIONS.pop(number, None)


def request_headers(stream: int, number: int, _: bool) -> int:
    if (
        threading.get_ident() not in THREADS
    ):  # ctypes makes a state for a call and forgets it, unless it is taken once more
        THREADS.add(threading.get_ident())
        ctypes.pythonapi.PyGILState_Ensure()
    try:
        return CONFIGURATIONS[number].ask(stream)
    except Exception:  # ``judge`` has answered for the plugin: this is a fault of ours
        traceback.print_exc()
        send_response(stream, 500, None, 0, b"", 0, DETAILS, len(DETAILS))
        return STOP


def response_headers(stream: int, _: int, __: bool) -> int:
    found = taken(stream)
    if found is not None:
        put(stream, RESPONSE, found)
    return CONTINUE


def stream_complete(stream: int, _: int) -> None:
    taken(stream)


EVENT = CFUNCTYPE(c_int, c_size_t, c_size_t, c_bool)
EVENTS: dict[str, Any] = {
    "config_new": CFUNCTYPE(c_size_t, *[c_size_t] * 5)(config_new),
    "config_destroy": CFUNCTYPE(None, c_size_t)(config_destroy),
    "request_headers": EVENT(request_headers),
    "response_headers": EVENT(response_headers),
    "stream_complete": CFUNCTYPE(None, c_size_t, c_size_t)(stream_complete),
}


def attach(path: str) -> None:
    """Fill the slots of an object that Envoy is loading. It stays loaded: its slots lead here for good."""
    global COUNTS
    library = ctypes.CDLL(path)
    COUNTS = (ctypes.c_uint32 * PENDING_COUNT).in_dll(library, PENDING_TABLE)
    slots = (c_void_p * len(SLOTS)).in_dll(library, SLOT_TABLE)
    for number, name in enumerate(SLOTS):
        slots[number] = ctypes.cast(EVENTS[name], c_void_p).value
    sys.setswitchinterval(SWITCH_SECONDS)
