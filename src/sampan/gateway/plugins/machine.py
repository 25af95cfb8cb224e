"""Machine code, put together by Python: bytes at a place, with labels to jump to and a table of addresses to call through.

A shared object by which Envoy calls Python (``trampolines.py``) has the code of one of two: ``jumps.py`` for hooks,
``exchange_jumps.py`` for processors. Here is what both need: how an instruction gets its operand, how Python is begun, and
the names of what Envoy and CPython have. Source: System V ABI (AMD64 supplement); Intel's manual, volume 2; Envoy's dynamic
module ABI (``source/extensions/dynamic_modules/abi/abi.h``), v0.1.0, as Envoy 1.39 has it; CPython's C API.
"""

from __future__ import annotations

import struct

ABI_VERSION = "v0.1.0"
PREFIX = "envoy_dynamic_module_on_"
FILTER = "http_filter_"
CALLBACK = "envoy_dynamic_module_callback_http_"
SLOTS = ("config_new", "config_destroy")
"""Events that ctypes functions are called for, in the order of their slots."""
EVENTS = (
    "new",
    "destroy",
    "request_headers",
    "request_body",
    "request_trailers",
    "response_headers",
    "response_body",
    "response_trailers",
    "stream_complete",
    "http_callout_done",
    "http_stream_headers",
    "http_stream_data",
    "http_stream_trailers",
    "http_stream_complete",
    "http_stream_reset",
    "scheduled",
    "downstream_above_write_buffer_high_watermark",
    "downstream_below_write_buffer_low_watermark",
)
"""Those that Envoy wants a function for, beside the slots."""
PYTHONS = (
    "Py_IsInitialized",
    "Py_InitializeEx",
    "PyEval_SaveThread",
    "PyGILState_Ensure",
    "PyRun_SimpleString",
    "PyGILState_Release",
    "PyLong_AsSize_t",
    "PyLong_FromSize_t",
    "PyUnicode_DecodeUTF8",
    "PyUnicode_DecodeLatin1",
    "PyBytes_FromStringAndSize",
    "PyObject_Vectorcall",
    "PyErr_WriteUnraisable",
    "Py_DecRef",
    "Py_NewRef",
    "_Py_NoneStruct",
    "malloc",
    "free",
)
ENVOYS = tuple(
    f"{CALLBACK}{name}"
    for name in (
        *("set_header", "add_header", "get_header", "clear_route_cache", "send_response"),
        *("get_body_size", "get_body_chunks_size", "get_body_chunks", "drain_body", "append_body"),
    )
)
"""There in Envoy only: elsewhere the object is loaded without."""
IMPORTS = (*PYTHONS, *ENVOYS)
STATE_SIZE = 24
"""Of a stream: the configuration, and 16 bytes that begin as zeros."""


class Machine:
    """The code, at a place, with the addresses of what it jumps through. ``labels`` has where each function is; what it has
    none for returns 0."""

    texts: tuple[tuple[str, str], ...] = ()
    """Label → a text that the code needs, ended by a NUL."""
    functions: tuple[str, ...] = ()
    """Labels that Python finds by name, beside those of events."""

    def __init__(self, place: int, imports_at: int, slots_at: int, source: str) -> None:
        self.place, self.code, self.labels = place, bytearray(), dict[str, int]()
        self._imports = {name: imports_at + 8 * i for i, name in enumerate(IMPORTS)}
        self._slots = {name: slots_at + 8 * i for i, name in enumerate(SLOTS)}
        self._open: list[tuple[int, str]] = []
        self._put("zero")
        self._add("31 c0 c3")  # xor eax, eax; ret
        for name in SLOTS:
            self._put(f"{PREFIX}{FILTER}{name}")
            self._to("ff 25", self._slots[name])  # jmp [slot]
        self._new()
        self.write()
        self._begin(source)
        for name in EVENTS:
            self.labels.setdefault(f"{PREFIX}{FILTER}{name}", self.labels["zero"])
        for at, label in self._open:
            self.code[at : at + 4] = struct.pack("<i", self.labels[label] - (self.place + at + 4))

    def write(self) -> None:
        """Put the functions of events."""

    @property
    def _here(self) -> int:
        return self.place + len(self.code)

    def _put(self, label: str) -> None:
        self.labels[label] = self._here

    def _add(self, code: str) -> None:
        self.code.extend(bytes.fromhex(code))

    def _to(self, code: str, target: int) -> None:
        """Add an instruction whose operand is an address, relative to the instruction after it."""
        self._add(code)
        self.code.extend(struct.pack("<i", target - (self._here + 4)))

    def _jump(self, code: str, label: str) -> None:
        """Add a jump to a label, which may come later."""
        self._add(code)
        self._open.append((len(self.code), label))
        self.code.extend(bytes(4))

    def _call(self, name: str) -> None:
        self._to("ff 15", self._imports[name])  # call [import]

    def _new(self) -> None:
        """``new(configuration, stream) → state``."""
        self._put(f"{PREFIX}{FILTER}new")
        self._add("57")  # push rdi
        self._add(f"bf {STATE_SIZE:02x} 00 00 00")  # mov edi, STATE_SIZE
        self._call("malloc")
        self._add("59")  # pop rcx
        self._add("48 89 08")  # mov [rax], rcx
        self._add("31 c9")  # xor ecx, ecx
        self._add("48 89 48 08")  # mov [rax + 8], rcx
        self._add("48 89 48 10")  # mov [rax + 16], rcx
        self._add("c3")  # ret

    def _take_result(self) -> None:
        """Add what is done with what Python returned, in r13: its number is in r14, and ``returned`` is jumped to; where it
        raised, the code goes on at ``raised``."""
        self._add("4d 85 ed")  # test r13, r13
        self._jump("0f 84", "raised")  # jz
        self._add("4c 89 ef")  # mov rdi, r13
        self._call("PyLong_AsSize_t")
        self._add("49 89 c6")  # mov r14, rax
        self._add("4c 89 ef")  # mov rdi, r13
        self._call("Py_DecRef")
        self._jump("e9", "returned")  # jmp
        self._put("raised")

    def _answer_500(self) -> None:
        """Add what answers the stream in rbx with 500, since a fault of ours has been written to the log."""
        self._add("6a 00 6a 00")  # push 0; push 0: no details
        self._add("48 89 df")  # mov rdi, rbx
        self._add("be f4 01 00 00")  # mov esi, 500
        self._add("31 d2 31 c9 45 31 c0 45 31 c9")  # xor edx, edx; xor ecx, ecx; xor r8d, r8d; xor r9d, r9d
        self._call(f"{CALLBACK}send_response")
        self._add("48 83 c4 10")  # add rsp, 16

    def _begin(self, source: str) -> None:
        """Add what runs once, when the object is loaded: begin Python if need be, tell it the script with the GIL held,
        return the version of the ABI."""
        self._put(f"{PREFIX}program_init")
        self._add("53")  # push rbx, which also aligns the stack
        self._call("Py_IsInitialized")
        self._add("85 c0")  # test eax, eax
        self._jump("0f 85", "begun")  # jnz
        self._add("31 ff")  # xor edi, edi: no handlers of signals
        self._call("Py_InitializeEx")
        self._call("PyEval_SaveThread")
        self._put("begun")
        self._call("PyGILState_Ensure")
        self._add("89 c3")  # mov ebx, eax
        self._jump("48 8d 3d", "source")  # lea rdi, [source]
        self._call("PyRun_SimpleString")
        self._add("89 df")  # mov edi, ebx
        self._call("PyGILState_Release")
        self._jump("48 8d 05", "version")  # lea rax, [version]
        self._add("5b c3")  # pop rbx; ret
        for label, text in (("source", source), ("version", ABI_VERSION), *self.texts):
            self._put(label)
            self.code.extend(text.encode() + b"\0")
