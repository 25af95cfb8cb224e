"""A request in Envoy's memory: what a hook asks of it is read there, when it asks.

Runs in Envoy's process, on its thread, and only while Envoy waits for what a hook says of a request: the memory is another's
afterwards. Source: Envoy's dynamic module ABI.
"""

from __future__ import annotations

import codecs
import ctypes
import threading
from collections.abc import Callable, Iterator
from ctypes import PyDLL, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_void_p
from typing import Any

from sampan.gateway.plugins.jumps import REQUEST, UTF8_OF_ENVOY
from sampan.gateway.plugins.request import KEPT, Headers, Request

SOURCE_ADDRESS = 24
"""An attribute's number in the ABI: address and port of who is connected."""


def byte_by_byte(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 as authorization calls have them: each is an exclamation mark."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "!", error.start + 1


codecs.register_error(UTF8_OF_ENVOY, byte_by_byte)


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
    get_attribute = of_envoy("filter_get_attribute_string", c_bool, c_size_t, c_int, c_void_p)
    send_response = of_envoy("send_response", None, c_size_t, c_uint32, c_void_p, c_size_t, *TEXT, *TEXT)
text_at: Any = ctypes.pythonapi.PyUnicode_DecodeUTF8
text_at.restype, text_at.argtypes = ctypes.py_object, (c_size_t, c_size_t, c_char_p)
ERRORS = UTF8_OF_ENVOY.encode()


class Place(threading.local):
    """Where Envoy says where a text is, and how long: each thread has its own."""

    def __init__(self) -> None:
        self.numbers = (c_size_t * 2)()
        self.address = ctypes.addressof(self.numbers)


PLACE = Place()


def nowhere(stream: int, name: bytes) -> Any:
    raise RuntimeError("there is no Envoy in this process")


find: Callable[[int, bytes], str | int | None] = nowhere
"""``jumps.py``'s: a header of the request, None where there is none, how many there are where there are more."""
METHODS: list[Any] = []
"""What the interpreter has to find as long as it runs."""
FASTCALL = 0x80


class Method(ctypes.Structure):
    """A function for Python, as CPython has it (``PyMethodDef``)."""

    _fields_ = (("name", c_char_p), ("function", c_void_p), ("flags", c_int), ("doc", c_char_p))


def function_at(name: str, address: int | None) -> Any:
    """Return a function of the machine's, as Python calls one."""
    made = ctypes.pythonapi.PyCFunction_NewEx
    made.restype, made.argtypes = ctypes.py_object, (c_void_p, c_void_p, c_void_p)
    METHODS.append(Method(name.encode(), address, FASTCALL, None))
    return made(ctypes.addressof(METHODS[-1]), None, None)


def find_with(function: int | None) -> None:
    """Let ``find`` be a function of the machine's, at an address."""
    global find
    find = function_at("find", function)


def header_of(stream: int, name: bytes) -> str | None:
    """Return a header of the request, several of a name with commas between them; None where there is none."""
    found = find(stream, name)
    if not isinstance(found, int):
        return found
    place, several = PLACE, list[str]()
    for number in range(found):
        if get_header(stream, REQUEST, name, len(name), place.address, number, None):
            several.append(text_at(place.numbers[0], place.numbers[1], ERRORS))
    return ",".join(several)


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
        known = self._values.get(key)
        if known is not None or self._is_whole or key in self.removed or key[:1] in ("", ":") or not key.isascii():
            return known
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
