"""The machine code of functions for Python that read and change a message in Envoy's memory (``envoy_messages.py`` has them).

CPython calls them like functions of its own, which takes a fraction of what a call by ctypes takes. Source: as
``machine.py``; CPython's C API (``METH_FASTCALL``, the layout of ``PyBytesObject``).
"""

from __future__ import annotations

from sampan.gateway.plugins.machine import CALLBACK, Machine

READ_HEADER, SET_HEADER, READ_BODY, REPLACE_BODY = (
    f"sampan_{name}" for name in ("read_header", "set_header", "read_body", "replace_body")
)
"""Functions for Python, of CPython's fast calls."""


class MessageFunctions(Machine):
    functions = (READ_HEADER, SET_HEADER, READ_BODY, REPLACE_BODY)

    def write(self) -> None:
        self._read_header()
        self._set_header()
        self._read_body()
        self._replace_body()

    def _arguments(self, label: str) -> None:
        """Begin a function for Python: the stream is in r12, the number after it in r13, the arguments' place in rbx; 32
        bytes from rsp + 16 on are free."""
        self._put(label)
        self._add("53 41 54 41 55")  # push rbx; push r12; push r13
        self._add("48 83 ec 30")  # sub rsp, 48
        self._add("48 89 f3")  # mov rbx, rsi
        self._add("48 8b 3b")  # mov rdi, [rbx]
        self._call("PyLong_AsSize_t")
        self._add("49 89 c4")  # mov r12, rax
        self._add("48 8b 7b 08")  # mov rdi, [rbx + 8]
        self._call("PyLong_AsSize_t")
        self._add("49 89 c5")  # mov r13, rax

    def _place(self) -> None:
        """Put the stream and the number after it where a function of Envoy's has its first two arguments."""
        self._add("4c 89 e7")  # mov rdi, r12
        self._add("44 89 ee")  # mov esi, r13d

    def _return(self) -> None:
        self._add("48 83 c4 30 41 5d 41 5c 5b c3")  # add rsp, 48; pop r13; pop r12; pop rbx; ret

    def _read_header(self) -> None:
        """``read_header(module, [stream, side, name], 3) → str | None``: the first of a name, a character for each byte."""
        self._arguments(READ_HEADER)
        self._place()
        self._add("48 8b 43 10")  # mov rax, [rbx + 16]
        self._add("48 8d 50 20")  # lea rdx, [rax + 32]: the bytes
        self._add("48 8b 48 10")  # mov rcx, [rax + 16]: how many
        self._add("4c 8d 44 24 10")  # lea r8, [rsp + 16]
        self._add("45 31 c9")  # xor r9d, r9d: the first
        self._add("4c 89 0c 24")  # mov [rsp], r9: how many there are is not asked
        self._call(f"{CALLBACK}get_header")
        self._add("84 c0")  # test al, al
        self._jump("0f 84", "no header")  # jz
        self._add("48 8b 7c 24 10")  # mov rdi, [rsp + 16]
        self._add("48 8b 74 24 18")  # mov rsi, [rsp + 24]
        self._add("31 d2")  # xor edx, edx
        self._call("PyUnicode_DecodeLatin1")
        self._return()
        self._put("no header")
        self._put("returns None")
        self._to("48 8b 3d", self._imports["_Py_NoneStruct"])  # mov rdi, [import]
        self._call("Py_NewRef")
        self._return()

    def _set_header(self) -> None:
        """``set_header(module, [stream, side, name, value], 4) → None``: removed where the value is None."""
        self._arguments(SET_HEADER)
        self._place()
        self._add("48 8b 43 10")  # mov rax, [rbx + 16]
        self._add("48 8d 50 20")  # lea rdx, [rax + 32]
        self._add("48 8b 48 10")  # mov rcx, [rax + 16]
        self._add("45 31 c0 45 31 c9")  # xor r8d, r8d; xor r9d, r9d
        self._add("48 8b 43 18")  # mov rax, [rbx + 24]
        self._to("48 3b 05", self._imports["_Py_NoneStruct"])  # cmp rax, [import]
        self._jump("0f 84", "is removed")  # jz
        self._add("4c 8d 40 20")  # lea r8, [rax + 32]
        self._add("4c 8b 48 10")  # mov r9, [rax + 16]
        self._put("is removed")
        self._call(f"{CALLBACK}set_header")
        self._jump("e9", "returns None")  # jmp

    def _read_body(self) -> None:
        """``read_body(module, [stream, body], 2) → bytes | int``: all there is of it; how many pieces, where there are more
        than one."""
        self._arguments(READ_BODY)
        self._place()
        self._call(f"{CALLBACK}get_body_chunks_size")
        self._add("48 83 f8 01")  # cmp rax, 1
        self._jump("0f 87", "pieces")  # ja
        self._jump("0f 82", "no body")  # jb
        self._place()
        self._add("48 8d 54 24 10")  # lea rdx, [rsp + 16]
        self._call(f"{CALLBACK}get_body_chunks")
        self._add("48 8b 7c 24 10")  # mov rdi, [rsp + 16]
        self._add("48 8b 74 24 18")  # mov rsi, [rsp + 24]
        self._call("PyBytes_FromStringAndSize")
        self._return()
        self._put("no body")
        self._add("48 89 e7 31 f6")  # mov rdi, rsp; xor esi, esi
        self._call("PyBytes_FromStringAndSize")
        self._return()
        self._put("pieces")
        self._add("48 89 c7")  # mov rdi, rax
        self._call("PyLong_FromSize_t")
        self._return()

    def _replace_body(self) -> None:
        """``replace_body(module, [stream, body, content], 3) → int``: what is there goes; 1 where the content is in its
        place, 0 where there is no such body."""
        self._arguments(REPLACE_BODY)
        self._place()
        self._call(f"{CALLBACK}get_body_size")
        self._add("48 89 c2")  # mov rdx, rax
        self._place()
        self._call(f"{CALLBACK}drain_body")
        self._place()
        self._add("48 8b 43 10")  # mov rax, [rbx + 16]
        self._add("48 8d 50 20")  # lea rdx, [rax + 32]
        self._add("48 8b 48 10")  # mov rcx, [rax + 16]
        self._call(f"{CALLBACK}append_body")
        self._add("0f b6 f8")  # movzx edi, al
        self._call("PyLong_FromSize_t")
        self._return()
