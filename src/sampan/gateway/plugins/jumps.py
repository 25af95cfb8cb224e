"""The machine code of the shared object by which Envoy calls Python: what is done before a hook is asked, and after it.

    new               24 bytes for the stream, in which what Python said is kept
    request_headers   Python is asked; what it returns is 0 (go on), 1 (answered), or a block: its first headers are set.
                      Where it raises, the fault is ours: it is written to the log, and the request answered with 500
    response_headers  the block's other headers are set, without Python
    destroy           what the stream had is given back

``find`` is no event: it is a function for Python, of CPython's fast calls, that reads a header from Envoy's memory. Every
function is a few moves and calls; each line says which. Source: System V ABI (AMD64 supplement); Intel's manual, volume 2;
Envoy's dynamic module ABI (``source/extensions/dynamic_modules/abi/abi.h``), v0.1.0, as Envoy 1.39 has it; CPython's C API
(``METH_FASTCALL``, the layout of ``PyBytesObject``).
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from sampan.gateway.plugins.machine import CALLBACK, FILTER, PREFIX, Machine

FIND = "sampan_find"
UTF8_OF_ENVOY = "sampan.envoy"
"""The name of how ``find`` reads bytes that are no UTF-8."""

REQUEST, RESPONSE = 0, 2
OWNED, REROUTES = 1, 2
"""A block's flags: it is the stream's own, to be freed with it; the route is chosen anew after the first headers."""
HEAD = struct.Struct("<IIQ")
"""A block's beginning: how many headers of the request, and of the answer, and flags. Operations follow."""
OPERATION = struct.Struct("<QQQQQ")
"""Where a name is and how long, where a value is (0: the header is removed) and how long, and 1 to add to those there are."""


Operation = tuple[bytes, bytes | None, bool]
"""A header's name, its value (None: it is removed), and whether it stands beside others of its name."""


class Block(NamedTuple):
    """What is set of a request and of its answer."""

    request: list[Operation]
    answer: list[Operation]
    flags: int

    def written(self, address: int) -> bytes:
        """Return the block as it stands in memory at an address."""
        headers = [*self.request, *self.answer]
        place = address + HEAD.size + OPERATION.size * len(headers)
        operations, text = [], b""
        for name, value, beside in headers:
            at, text = place + len(text), text + name + (value or b"")
            value_at = at + len(name) if value is not None else 0
            operations.append(OPERATION.pack(at, len(name), value_at, len(value or b""), beside))
        return HEAD.pack(len(self.request), len(self.answer), self.flags) + b"".join(operations) + text

    @property
    def size(self) -> int:
        headers = [*self.request, *self.answer]
        return HEAD.size + sum(OPERATION.size + len(name) + len(value or b"") for name, value, _ in headers)


class Jumps(Machine):
    """The code of hooks. A stream's state: the configuration (what is called), its block, whether the answer has got its
    headers."""

    texts = (("errors", UTF8_OF_ENVOY),)
    functions = (FIND,)

    def write(self) -> None:
        self._destroy()
        self._request_headers()
        self._response_headers()
        self._apply()
        self._find()

    def _destroy(self) -> None:
        """``destroy(state)``."""
        self._put(f"{PREFIX}{FILTER}destroy")
        self._add("53")  # push rbx
        self._add("48 89 fb")  # mov rbx, rdi
        self._add("48 8b 7b 08")  # mov rdi, [rbx + 8]
        self._add("48 85 ff")  # test rdi, rdi
        self._jump("0f 84", "keeps its block")  # jz
        self._add(f"f6 47 08 {OWNED:02x}")  # test byte [rdi + 8], OWNED
        self._jump("0f 84", "keeps its block")  # jz
        self._call("free")
        self._put("keeps its block")
        self._add("48 89 df")  # mov rdi, rbx
        self._add("5b")  # pop rbx
        self._to("ff 25", self._imports["free"])  # jmp [free]

    def _request_headers(self) -> None:
        """``request_headers(stream, state, ends) → status``: the function of the configuration is called with the stream."""
        self._put(f"{PREFIX}{FILTER}request_headers")
        self._add("53 41 54 41 55 41 56 55")  # push rbx; push r12; push r13; push r14; push rbp
        self._add("48 83 ec 20")  # sub rsp, 32: a place that CPython may use, the argument
        self._add("48 89 fb")  # mov rbx, rdi
        self._add("49 89 f4")  # mov r12, rsi
        self._call("PyGILState_Ensure")
        self._add("89 c5")  # mov ebp, eax
        self._add("48 89 df")  # mov rdi, rbx
        self._call("PyLong_FromSize_t")
        self._add("48 89 44 24 08")  # mov [rsp + 8], rax
        self._add("49 8b 3c 24")  # mov rdi, [r12]
        self._add("48 8d 74 24 08")  # lea rsi, [rsp + 8]
        self._add("48 ba 01 00 00 00 00 00 00 80")  # mov rdx, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET
        self._add("31 c9")  # xor ecx, ecx
        self._call("PyObject_Vectorcall")
        self._add("49 89 c5")  # mov r13, rax
        self._add("48 8b 7c 24 08")  # mov rdi, [rsp + 8]
        self._call("Py_DecRef")
        self._take_result()
        self._add("49 8b 3c 24")  # mov rdi, [r12]
        self._call("PyErr_WriteUnraisable")
        self._answer_500()
        self._add("41 be 01 00 00 00")  # mov r14d, 1
        self._put("returned")
        self._add("89 ef")  # mov edi, ebp
        self._call("PyGILState_Release")
        self._add("4c 89 f0")  # mov rax, r14
        self._add("48 83 f8 01")  # cmp rax, 1
        self._jump("0f 86", "asked")  # jbe
        self._add("49 89 44 24 08")  # mov [r12 + 8], rax
        self._add("49 89 c4")  # mov r12, rax
        self._add("48 89 df")  # mov rdi, rbx
        self._add("31 f6")  # xor esi, esi (REQUEST)
        self._add(f"48 8d 50 {HEAD.size:02x}")  # lea rdx, [rax + HEAD]
        self._add("8b 08")  # mov ecx, [rax]
        self._jump("e8", "apply")  # call
        self._add(f"41 f6 44 24 08 {REROUTES:02x}")  # test byte [r12 + 8], REROUTES
        self._jump("0f 84", "stays on its route")  # jz
        self._add("48 89 df")  # mov rdi, rbx
        self._call(f"{CALLBACK}clear_route_cache")
        self._put("stays on its route")
        self._add("31 c0")  # xor eax, eax
        self._put("asked")
        self._add(
            "48 83 c4 20 5d 41 5e 41 5d 41 5c 5b c3"
        )  # add rsp, 32; pop rbp; pop r14; pop r13; pop r12; pop rbx; ret

    def _response_headers(self) -> None:
        """``response_headers(stream, state, ends) → status``: once for a stream."""
        self._put(f"{PREFIX}{FILTER}response_headers")
        self._add("48 8b 46 08")  # mov rax, [rsi + 8]
        self._add("48 85 c0")  # test rax, rax
        self._jump("0f 84", "zero")  # jz
        self._add("80 7e 10 00")  # cmp byte [rsi + 16], 0
        self._jump("0f 85", "zero")  # jnz
        self._add("c6 46 10 01")  # mov byte [rsi + 16], 1
        self._add("50")  # push rax (which aligns the stack)
        self._add("8b 08")  # mov ecx, [rax]
        self._add("48 8d 14 89")  # lea rdx, [rcx + rcx * 4]
        self._add(f"48 8d 54 d0 {HEAD.size:02x}")  # lea rdx, [rax + rdx * 8 + HEAD]
        self._add("8b 48 04")  # mov ecx, [rax + 4]
        self._add(f"be {RESPONSE:02x} 00 00 00")  # mov esi, RESPONSE
        self._jump("e8", "apply")  # call
        self._add("58 31 c0 c3")  # pop rax; xor eax, eax; ret

    def _apply(self) -> None:
        """``apply(stream, side, operations, count)``: set, remove or add each header."""
        self._put("apply")
        self._add(
            "53 41 54 41 55 41 56 50"
        )  # push rbx; push r12; push r13; push r14; push rax (which aligns the stack)
        self._add("48 89 fb")  # mov rbx, rdi
        self._add("41 89 f6")  # mov r14d, esi
        self._add("49 89 d4")  # mov r12, rdx
        self._add("41 89 cd")  # mov r13d, ecx
        self._put("next")
        self._add("45 85 ed")  # test r13d, r13d
        self._jump("0f 84", "applied")  # jz
        self._add("48 89 df")  # mov rdi, rbx
        self._add("44 89 f6")  # mov esi, r14d
        self._add("49 8b 14 24")  # mov rdx, [r12]
        self._add("49 8b 4c 24 08")  # mov rcx, [r12 + 8]
        self._add("4d 8b 44 24 10")  # mov r8, [r12 + 16]
        self._add("4d 8b 4c 24 18")  # mov r9, [r12 + 24]
        self._add("41 80 7c 24 20 00")  # cmp byte [r12 + 32], 0
        self._jump("0f 85", "beside")  # jnz
        self._call(f"{CALLBACK}set_header")
        self._jump("e9", "done")  # jmp
        self._put("beside")
        self._call(f"{CALLBACK}add_header")
        self._put("done")
        self._add(f"49 83 c4 {OPERATION.size:02x}")  # add r12, 40
        self._add("41 ff cd")  # dec r13d
        self._jump("e9", "next")  # jmp
        self._put("applied")
        self._add("58 41 5e 41 5d 41 5c 5b c3")  # pop rax; pop r14; pop r13; pop r12; pop rbx; ret

    def _find(self) -> None:
        """``find(module, [stream, name], 2) → str | None | int``: a header of the request; how many where there are more."""
        self._put(FIND)
        self._add("53 41 54")  # push rbx; push r12
        self._add("48 83 ec 28")  # sub rsp, 40: an argument; how many; where the value is; how long
        self._add("48 89 f3")  # mov rbx, rsi
        self._add("48 8b 3b")  # mov rdi, [rbx]
        self._call("PyLong_AsSize_t")
        self._add("4c 8b 63 08")  # mov r12, [rbx + 8]
        self._add("48 89 c7")  # mov rdi, rax
        self._add("31 f6")  # xor esi, esi (REQUEST)
        self._add("49 8d 54 24 20")  # lea rdx, [r12 + 32]: the bytes
        self._add("49 8b 4c 24 10")  # mov rcx, [r12 + 16]: how many
        self._add("4c 8d 44 24 10")  # lea r8, [rsp + 16]
        self._add("45 31 c9")  # xor r9d, r9d: the first
        self._add("48 8d 44 24 08")  # lea rax, [rsp + 8]
        self._add("48 89 04 24")  # mov [rsp], rax
        self._call(f"{CALLBACK}get_header")
        self._add("84 c0")  # test al, al
        self._jump("0f 84", "none")  # jz
        self._add("48 8b 7c 24 08")  # mov rdi, [rsp + 8]
        self._add("48 83 ff 01")  # cmp rdi, 1
        self._jump("0f 87", "several")  # ja
        self._add("48 8b 7c 24 10")  # mov rdi, [rsp + 16]
        self._add("48 8b 74 24 18")  # mov rsi, [rsp + 24]
        self._jump("48 8d 15", "errors")  # lea rdx, [errors]
        self._call("PyUnicode_DecodeUTF8")
        self._jump("e9", "found")  # jmp
        self._put("several")
        self._call("PyLong_FromSize_t")
        self._jump("e9", "found")  # jmp
        self._put("none")
        self._to("48 8b 3d", self._imports["_Py_NoneStruct"])  # mov rdi, [import]
        self._call("Py_NewRef")
        self._put("found")
        self._add("48 83 c4 28 41 5c 5b c3")  # add rsp, 40; pop r12; pop rbx; ret
