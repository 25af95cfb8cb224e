"""The machine code by which Envoy calls the methods of a processor: Python is entered for what they want to see, else not.

    new               24 bytes for the stream: the configuration, two bytes of flags, how much of a body has come
    request_headers   the stream has begun; accept-encoding is taken off where answers are to come plain
    request_body, response_body
                      of a body that is collected, Envoy keeps each piece; Python is told of the last, or when it is too long
    destroy           Python is told where it keeps something of the stream

A configuration is five numbers: the function that is called, what it wants (``WANTS_…``), how long a body may be, and a media
type of which it is known that such answers are collected: where it is, and how long. For one of these, 200 and without an
encoding, Python is not asked. The function is given the stream, its state, and the event (with ``ENDS`` where nothing
follows); it returns what Envoy is told and, above ``FLAGS``, what the stream's flags are from then on; or ``ANSWERED``: there
may be no stream any more. Where it raises, the fault is ours: it is written to the log, and the request answered with 500.
Source: as ``machine.py``.
"""

from __future__ import annotations

from sampan.gateway.plugins.jumps import RESPONSE
from sampan.gateway.plugins.machine import CALLBACK, FILTER, PREFIX
from sampan.gateway.plugins.message_jumps import MessageFunctions

REQUEST_HEADERS, REQUEST_BODY, REQUEST_TRAILERS, RESPONSE_HEADERS, RESPONSE_BODY, RESPONSE_TRAILERS, DESTROY = range(7)
"""Events, as Python is told of them."""
ENDS = 1 << 8
WANTS_REQUEST, WANTS_RESPONSE, TAKES_ENCODING_OFF, KNOWS_KIND = 1, 2, 4, 8
COLLECTS_REQUEST, COLLECTS_RESPONSE, KEPT, OVER = 1, 2, 4, 8
"""A stream's flags: which body is collected, whether Python keeps something of it, whether Python has done with it."""
FLAGS, ANSWERED = 8, 1 << 16
BEGUN_AT, FLAGS_AT, SIZE_AT = 8, 9, 16
"""Where they are in the state."""
CONTINUE, STOP, BUFFER = 0, 1, 1
"""What Envoy is told of headers, or of a piece of a body."""
RECEIVED_REQUEST, BUFFERED_REQUEST, RECEIVED_RESPONSE, BUFFERED_RESPONSE = range(4)
"""Bodies, as the ABI has them: the piece that has come, and what was kept."""
ACCEPTS, KIND, ENCODING, STATUS = "accept-encoding", "content-type", "content-encoding", ":status"


class ExchangeJumps(MessageFunctions):
    texts = ((ACCEPTS, ACCEPTS), (KIND, KIND), (ENCODING, ENCODING), (STATUS, STATUS))

    def write(self) -> None:
        super().write()
        self._destroy()
        self._request_headers()
        self._response_headers()
        for side, flag, event, body in (
            ("request", COLLECTS_REQUEST, REQUEST_BODY, RECEIVED_REQUEST),
            ("response", COLLECTS_RESPONSE, RESPONSE_BODY, RECEIVED_RESPONSE),
        ):
            self._body(side, flag, event, body)
            self._trailers(side, flag, event + REQUEST_TRAILERS - REQUEST_BODY)
        self._collect()
        self._ask()

    def _destroy(self) -> None:
        """``destroy(state)``."""
        self._put(f"{PREFIX}{FILTER}destroy")
        self._add("53")  # push rbx
        self._add("48 89 fb")  # mov rbx, rdi
        self._add(f"f6 43 {FLAGS_AT:02x} {KEPT:02x}")  # test byte [rbx + FLAGS_AT], KEPT
        self._jump("0f 84", "nothing is kept")  # jz
        self._add("31 ff")  # xor edi, edi: the stream is no more
        self._add("48 89 de")  # mov rsi, rbx
        self._add("31 d2")  # xor edx, edx
        self._add(f"b9 {DESTROY:02x} 00 00 00")  # mov ecx, DESTROY
        self._jump("e8", "ask")  # call
        self._put("nothing is kept")
        self._add("48 89 df")  # mov rdi, rbx
        self._add("5b")  # pop rbx
        self._to("ff 25", self._imports["free"])  # jmp [free]

    def _request_headers(self) -> None:
        """``request_headers(stream, state, ends) → status``."""
        self._put(f"{PREFIX}{FILTER}request_headers")
        self._add(f"c6 46 {BEGUN_AT:02x} 01")  # mov byte [rsi + BEGUN_AT], 1
        self._add("48 8b 06")  # mov rax, [rsi]
        self._add(f"f6 40 08 {TAKES_ENCODING_OFF:02x}")  # test byte [rax + 8], TAKES_ENCODING_OFF
        self._jump("0f 84", "keeps its encoding")  # jz
        self._add("57 56 52")  # push rdi; push rsi; push rdx (which aligns the stack)
        self._add("31 f6")  # xor esi, esi: of the request
        self._jump("48 8d 15", ACCEPTS)  # lea rdx, [accept-encoding]
        self._add(f"b9 {len(ACCEPTS):02x} 00 00 00")  # mov ecx, its length
        self._add("45 31 c0 45 31 c9")  # xor r8d, r8d; xor r9d, r9d: it is removed
        self._call(f"{CALLBACK}set_header")
        self._add("5a 5e 5f")  # pop rdx; pop rsi; pop rdi
        self._add("48 8b 06")  # mov rax, [rsi]
        self._put("keeps its encoding")
        self._add(f"f6 40 08 {WANTS_REQUEST:02x}")  # test byte [rax + 8], WANTS_REQUEST
        self._jump("0f 84", "zero")  # jz
        self._add(f"b9 {REQUEST_HEADERS:02x} 00 00 00")  # mov ecx, REQUEST_HEADERS
        self._jump("e9", "ask")  # jmp

    def _response_headers(self) -> None:
        """``response_headers(stream, state, ends) → status``: not of an answer that a filter before has given itself."""
        self._put(f"{PREFIX}{FILTER}response_headers")
        self._add(f"80 7e {BEGUN_AT:02x} 00")  # cmp byte [rsi + BEGUN_AT], 0
        self._jump("0f 84", "zero")  # jz
        self._add(f"f6 46 {FLAGS_AT:02x} {OVER:02x}")  # test byte [rsi + FLAGS_AT], OVER
        self._jump("0f 85", "zero")  # jnz
        self._add("48 8b 06")  # mov rax, [rsi]
        self._add(f"f6 40 08 {WANTS_RESPONSE:02x}")  # test byte [rax + 8], WANTS_RESPONSE
        self._jump("0f 84", "zero")  # jz
        self._add(f"f6 40 08 {KNOWS_KIND:02x}")  # test byte [rax + 8], KNOWS_KIND
        self._jump("0f 84", "is not known")  # jz
        self._add("84 d2")  # test dl, dl
        self._jump("0f 85", "is not known")  # jnz: nothing follows
        self._add("57 56 52")  # push rdi; push rsi; push rdx
        self._add("48 83 ec 20")  # sub rsp, 32: how many are asked for, where the value is, how long
        self._find(KIND)
        self._jump("0f 84", "is another")  # jz
        self._add("48 8b 44 24 28")  # mov rax, [rsp + 40]: the state
        self._add("48 8b 00")  # mov rax, [rax]
        self._add("48 8b 4c 24 18")  # mov rcx, [rsp + 24]
        self._add("48 3b 48 20")  # cmp rcx, [rax + 32]
        self._jump("0f 85", "is another")  # jne
        self._add("48 8b 74 24 10")  # mov rsi, [rsp + 16]
        self._add("48 8b 78 18")  # mov rdi, [rax + 24]
        self._add("f3 a6")  # repe cmpsb
        self._jump("0f 85", "is another")  # jne
        self._add("48 8b 7c 24 30")  # mov rdi, [rsp + 48]: the stream
        self._find(ENCODING)
        self._jump("0f 85", "is another")  # jnz
        self._add("48 8b 7c 24 30")  # mov rdi, [rsp + 48]
        self._find(STATUS)
        self._jump("0f 84", "is another")  # jz
        self._add("48 8b 44 24 10")  # mov rax, [rsp + 16]: three digits
        self._add("66 81 38 32 30")  # cmp word [rax], "20"
        self._jump("0f 85", "is another")  # jne: an upgrade, an error
        self._add("80 78 02 30")  # cmp byte [rax + 2], "0"
        self._jump("0f 85", "is another")  # jne: a part of it
        self._add("48 8b 74 24 28")  # mov rsi, [rsp + 40]
        self._add(f"80 4e {FLAGS_AT:02x} {COLLECTS_RESPONSE:02x}")  # or byte [rsi + FLAGS_AT], COLLECTS_RESPONSE
        self._add("31 c9")  # xor ecx, ecx
        self._add(f"48 89 4e {SIZE_AT:02x}")  # mov [rsi + SIZE_AT], rcx: of a request that Envoy answers while it comes
        self._add("48 83 c4 38")  # add rsp, 56
        self._add(f"b8 {STOP:02x} 00 00 00 c3")  # mov eax, STOP; ret
        self._put("is another")
        self._add("48 83 c4 20")  # add rsp, 32
        self._add("5a 5e 5f")  # pop rdx; pop rsi; pop rdi
        self._put("is not known")
        self._add(f"b9 {RESPONSE_HEADERS:02x} 00 00 00")  # mov ecx, RESPONSE_HEADERS
        self._jump("e9", "ask")  # jmp

    def _find(self, name: str) -> None:
        """Look for a header of the answer of the stream in rdi: where it is, at rsp + 16, and how long; zero, where there is
        none."""
        self._add(f"be {RESPONSE:02x} 00 00 00")  # mov esi, RESPONSE
        self._jump("48 8d 15", name)  # lea rdx, [name]
        self._add(f"b9 {len(name):02x} 00 00 00")  # mov ecx, its length
        self._add("4c 8d 44 24 10")  # lea r8, [rsp + 16]
        self._add("45 31 c9")  # xor r9d, r9d: the first
        self._add("4c 89 0c 24")  # mov [rsp], r9: how many there are is not asked
        self._call(f"{CALLBACK}get_header")
        self._add("84 c0")  # test al, al

    def _body(self, side: str, flag: int, event: int, body: int) -> None:
        """``request_body(stream, state, ends) → status``, and of the response."""
        self._put(f"{PREFIX}{FILTER}{side}_body")
        self._add(f"f6 46 {FLAGS_AT:02x} {flag:02x}")  # test byte [rsi + FLAGS_AT], flag
        self._jump("0f 84", "zero")  # jz
        self._add(f"b9 {event:02x} 00 00 00")  # mov ecx, event
        self._add(f"41 b8 {body:02x} 00 00 00")  # mov r8d, body
        self._jump("e9", "collect")  # jmp

    def _trailers(self, side: str, flag: int, event: int) -> None:
        """``request_trailers(stream, state) → status``, and of the response."""
        self._put(f"{PREFIX}{FILTER}{side}_trailers")
        self._add(f"f6 46 {FLAGS_AT:02x} {flag:02x}")  # test byte [rsi + FLAGS_AT], flag
        self._jump("0f 84", "zero")  # jz
        self._add(f"b9 {event:02x} 00 00 00")  # mov ecx, event
        self._add("ba 01 00 00 00")  # mov edx, 1: nothing follows
        self._jump("e9", "ask")  # jmp

    def _collect(self) -> None:
        """``collect(stream, state, ends, event, body) → status``: a piece has come."""
        self._put("collect")
        self._add("57 56 52 51 53")  # push rdi; push rsi; push rdx; push rcx; push rbx (which aligns the stack)
        self._add("44 89 c6")  # mov esi, r8d
        self._call(f"{CALLBACK}get_body_size")
        self._add("5b 59 5a 5e 5f")  # pop rbx; pop rcx; pop rdx; pop rsi; pop rdi
        self._add(f"48 03 46 {SIZE_AT:02x}")  # add rax, [rsi + SIZE_AT]
        self._add(f"48 89 46 {SIZE_AT:02x}")  # mov [rsi + SIZE_AT], rax
        self._add("84 d2")  # test dl, dl
        self._jump("0f 85", "ask")  # jnz
        self._add("4c 8b 06")  # mov r8, [rsi]
        self._add("49 3b 40 10")  # cmp rax, [r8 + 16]
        self._jump("0f 87", "ask")  # ja
        self._add(f"b8 {BUFFER:02x} 00 00 00 c3")  # mov eax, BUFFER; ret

    def _ask(self) -> None:
        """``ask(stream, state, ends, event) → status``: the function of the configuration is called."""
        self._put("ask")
        self._add("53 41 54 41 55 41 56 55")  # push rbx; push r12; push r13; push r14; push rbp
        self._add("48 83 ec 30")  # sub rsp, 48: a place that CPython may use, three arguments
        self._add("48 89 fb")  # mov rbx, rdi
        self._add("49 89 f4")  # mov r12, rsi
        self._add("0f b6 d2")  # movzx edx, dl
        self._add("c1 e2 08")  # shl edx, 8
        self._add("09 d1")  # or ecx, edx
        self._add("41 89 ce")  # mov r14d, ecx
        self._call("PyGILState_Ensure")
        self._add("89 c5")  # mov ebp, eax
        for source, place in (("48 89 df", 8), ("4c 89 e7", 16), ("44 89 f7", 24)):  # mov rdi, rbx; r12; edi, r14d
            self._add(source)
            self._call("PyLong_FromSize_t")
            self._add(f"48 89 44 24 {place:02x}")  # mov [rsp + place], rax
        self._add("49 8b 04 24")  # mov rax, [r12]
        self._add("48 8b 38")  # mov rdi, [rax]
        self._add("48 8d 74 24 08")  # lea rsi, [rsp + 8]
        self._add("48 ba 03 00 00 00 00 00 00 80")  # mov rdx, 3 | PY_VECTORCALL_ARGUMENTS_OFFSET
        self._add("31 c9")  # xor ecx, ecx
        self._call("PyObject_Vectorcall")
        self._add("49 89 c5")  # mov r13, rax
        for place in (8, 16, 24):
            self._add(f"48 8b 7c 24 {place:02x}")  # mov rdi, [rsp + place]
            self._call("Py_DecRef")
        self._take_result()
        self._add("49 8b 04 24")  # mov rax, [r12]
        self._add("48 8b 38")  # mov rdi, [rax]
        self._call("PyErr_WriteUnraisable")
        self._add("48 85 db")  # test rbx, rbx
        self._jump("0f 84", "nobody waits")  # jz: the stream is no more
        self._add(f"41 c6 44 24 {FLAGS_AT:02x} {OVER:02x}")  # mov byte [r12 + FLAGS_AT], OVER
        self._answer_500()
        self._put("nobody waits")
        self._add(f"41 be {(ANSWERED | STOP).to_bytes(4, 'little').hex(' ')}")  # mov r14d, ANSWERED | STOP
        self._put("returned")
        self._add("89 ef")  # mov edi, ebp
        self._call("PyGILState_Release")
        self._add("44 89 f0")  # mov eax, r14d
        self._add(f"a9 {ANSWERED.to_bytes(4, 'little').hex(' ')}")  # test eax, ANSWERED
        self._jump("0f 85", "is answered")  # jnz: what was the state may be another's
        self._add("89 c1")  # mov ecx, eax
        self._add(f"c1 e9 {FLAGS:02x}")  # shr ecx, FLAGS
        self._add(f"41 88 4c 24 {FLAGS_AT:02x}")  # mov [r12 + FLAGS_AT], cl
        self._add("31 c9")  # xor ecx, ecx
        self._add(f"49 89 4c 24 {SIZE_AT:02x}")  # mov [r12 + SIZE_AT], rcx
        self._put("is answered")
        self._add("0f b6 c0")  # movzx eax, al
        self._add(
            "48 83 c4 30 5d 41 5e 41 5d 41 5c 5b c3"
        )  # add rsp, 48; pop rbp; pop r14; pop r13; pop r12; pop rbx; ret
