"""The shared object by which Envoy calls Python functions: a file of jumps, written by Python.

Envoy loads a *dynamic module* as a shared object and finds the functions of its events by name. Here each of them is a jump
through a slot, an address in memory, that ``inline.py`` fills with a function of its own; the rest return 0 ("go on"). When
the object is loaded it begins Python, where pyvoy has not done so, and imports ``inline.py``. A slot that nobody has filled
returns 0 as well, which makes Envoy refuse the filter's configuration. Of an answer and of a stream's end, Python is told
only where it has noted that something is pending for it: a number, in a table by the stream's address.

``built`` is a pure function; nothing is compiled, and there is no compiler needed. Source: System V ABI (ELF, AMD64
supplement); Envoy's dynamic module ABI (``source/extensions/dynamic_modules/abi/abi.h``), v0.1.0, as Envoy 1.39 has it.
"""

from __future__ import annotations

import hashlib
import platform
import struct
from pathlib import Path

PAGE = 0x1000
HEADER_SIZE, SEGMENT_SIZE, SYMBOL_SIZE, RELOCATION_SIZE = 64, 56, 24, 24
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551
EXECUTE, WRITE, READ = 1, 2, 4
GLOBAL_FUNCTION, GLOBAL_OBJECT = 0x12, 0x11
GLOB_DAT, RELATIVE = 6, 8
HASH, STRTAB, SYMTAB, RELA, RELASZ, RELAENT, STRSZ, SYMENT = 4, 5, 6, 7, 8, 9, 10, 11

ABI_VERSION = "v0.1.0"
PREFIX = "envoy_dynamic_module_on_"
FILTER = "http_filter_"
SLOTS = ("config_new", "config_destroy", "request_headers", "response_headers", "stream_complete")
"""Events that Python is called for, in the order of their slots."""
IF_PENDING = ("response_headers", "stream_complete")
"""Those of them for which something has to be pending."""
PENDING_COUNT = 4096
"""Of the table's numbers, 32 bits each; streams whose addresses share one are told of each other's, and find nothing."""
QUIET = (
    "destroy",
    "request_body",
    "request_trailers",
    "response_body",
    "response_trailers",
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
"""Events that Envoy wants a function for, and we nothing."""
IMPORTS = (
    "Py_IsInitialized",
    "Py_InitializeEx",
    "PyEval_SaveThread",
    "PyGILState_Ensure",
    "PyRun_SimpleString",
    "PyGILState_Release",
)
SLOT_TABLE, PENDING_TABLE = "sampan_slots", "sampan_pending"

RETURN_ZERO = b"\x31\xc0\xc3"
RETURN_FIRST = b"\x48\x89\xf8\xc3"
"""What Envoy calls to have a filter made for a request: its first argument is our configuration, which will do."""
PLACE_OF_STREAM = b"\x48\x89\xf8\x48\xc1\xe8\x06\x25\xff\x0f\x00\x00"
"""mov rax, rdi; shr rax, 6; and eax, 4095: what Envoy allocates lies 64 bytes apart at least."""
UNLESS_PENDING_RETURN_ZERO = b"\x83\x3c\x81\x00\x75\x03\x31\xc0\xc3"
"""cmp dword [rcx + rax * 4], 0; jne over the rest; xor eax, eax; ret."""
JUMP_THROUGH, CALL_THROUGH, LOAD_TABLE = b"\xff\x25", b"\xff\x15", b"\x48\x8d\x0d"
LOAD_FIRST, LOAD_RESULT = b"\x48\x8d\x3d", b"\x48\x8d\x05"


def is_served() -> bool:
    """Return whether this machine is one that the jumps are written for."""
    return platform.system() == "Linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


def place_of(stream: int) -> int:
    """Return where in the table a stream's number is."""
    return stream >> 6 & PENDING_COUNT - 1


def written(folder: Path) -> str:
    """Write the object, unless it is there, and return its path. The name has the content's hash: one that an Envoy has
    loaded is never written again."""
    path = folder / f"libsampan-{hashlib.sha256(built('')).hexdigest()[:12]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(built(str(path)))
        partial.rename(path)
    return str(path)


def built(path: str) -> bytes:
    """Return the object that is to be at a path."""
    source = f"import sampan.gateway.plugins.inline as inline; inline.attach({path!r})"
    exported = [f"{PREFIX}{FILTER}{name}" for name in (*SLOTS, *QUIET, "new")]
    exported += [f"{PREFIX}program_init", SLOT_TABLE, PENDING_TABLE]
    names = [*IMPORTS, *exported]
    strings, places = b"\0", {}
    for name in names:
        places[name] = len(strings)
        strings += name.encode() + b"\0"
    hash_at = HEADER_SIZE + 4 * SEGMENT_SIZE
    symbols_at = aligned(hash_at + 4 * (3 + 1 + len(names)), 8)
    strings_at = symbols_at + SYMBOL_SIZE * (1 + len(names))
    relocations_at = aligned(strings_at + len(strings), 8)
    text_at = aligned(relocations_at + RELOCATION_SIZE * (len(IMPORTS) + len(SLOTS)), 16)
    size = len(Text(text_at, 0, 0, 0, source).code)
    data_at = aligned(text_at + size, PAGE)
    imports_at = data_at + 9 * 16
    slots_at = imports_at + 8 * len(IMPORTS)
    pending_at = slots_at + 8 * len(SLOTS)
    text = Text(text_at, imports_at, slots_at, pending_at, source)
    text.labels |= {SLOT_TABLE: slots_at, PENDING_TABLE: pending_at}

    numbers = [*range(2, len(names) + 1), 0]
    table = struct.pack(f"<4I{len(numbers)}I", 1, len(names) + 1, 1, 0, *numbers)  # one chain: there are few
    symbols = bytes(SYMBOL_SIZE)
    for name in names:
        kind = GLOBAL_OBJECT if name in (SLOT_TABLE, PENDING_TABLE) else GLOBAL_FUNCTION
        section, value = (0, 0) if name in IMPORTS else (1, text.labels[name])
        symbols += struct.pack("<IBBHQQ", places[name], kind, 0, section, value, 8 if section else 0)
    relocations = b"".join(
        struct.pack("<QQq", imports_at + 8 * i, (i + 1) << 32 | GLOB_DAT, 0) for i in range(len(IMPORTS))
    ) + b"".join(struct.pack("<QQq", slots_at + 8 * i, RELATIVE, text.labels["zero"]) for i in range(len(SLOTS)))
    entries = [
        (HASH, hash_at),
        (STRTAB, strings_at),
        (SYMTAB, symbols_at),
        (STRSZ, len(strings)),
        (SYMENT, SYMBOL_SIZE),
    ]
    entries += [(RELA, relocations_at), (RELASZ, len(relocations)), (RELAENT, RELOCATION_SIZE), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *entry) for entry in entries)
    data = dynamic + bytes(8 * (len(IMPORTS) + len(SLOTS)))
    segments = (
        segment(LOAD, READ | EXECUTE, 0, text_at + len(text.code), PAGE)
        + segment(LOAD, READ | WRITE, data_at, len(data), PAGE, zeros=4 * PENDING_COUNT)
        + segment(DYNAMIC, READ | WRITE, data_at, len(dynamic), 8)
        + segment(STACK, READ | WRITE, 0, 0, 16)
    )
    content = file_header() + segments
    for place, part in (
        (hash_at, table),
        (symbols_at, symbols),
        (strings_at, strings),
        (relocations_at, relocations),
        (text_at, bytes(text.code)),
        (data_at, data),
    ):
        content = content.ljust(place, b"\0") + part
    return content


def aligned(place: int, to: int) -> int:
    return (place + to - 1) & -to


def file_header() -> bytes:
    identity = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    shared, amd64 = 3, 62
    sizes = (HEADER_SIZE, SEGMENT_SIZE, 4, 64, 0, 0)
    return identity + struct.pack("<HHIQQQI6H", shared, amd64, 1, 0, HEADER_SIZE, 0, 0, *sizes)


def segment(kind: int, rights: int, place: int, size: int, alignment: int, zeros: int = 0) -> bytes:
    """Return a segment of the file; ``zeros`` are in memory only."""
    return struct.pack("<IIQQQQQQ", kind, rights, place, place, place, size, size + zeros, alignment)


class Text:
    """The machine's code, at a place, with addresses of what it jumps through."""

    def __init__(self, place: int, imports_at: int, slots_at: int, pending_at: int, source: str) -> None:
        self.place, self.code, self.labels = place, bytearray(), dict[str, int]()
        self._imports = {name: imports_at + 8 * i for i, name in enumerate(IMPORTS)}
        self._put("zero", RETURN_ZERO)
        for name in QUIET:
            self.labels[f"{PREFIX}{FILTER}{name}"] = self.labels["zero"]
        self._put(f"{PREFIX}{FILTER}new", RETURN_FIRST)
        for i, name in enumerate(SLOTS):
            self._put(f"{PREFIX}{FILTER}{name}", b"")
            if name in IF_PENDING:
                self.code.extend(PLACE_OF_STREAM)
                self._to(LOAD_TABLE, pending_at)
                self.code.extend(UNLESS_PENDING_RETURN_ZERO)
            self._to(JUMP_THROUGH, slots_at + 8 * i)
        self._put("source", source.encode() + b"\0")
        self._put("version", ABI_VERSION.encode() + b"\0")
        self.code.extend(bytes(aligned(self._here, 16) - self._here))
        self._begin()

    @property
    def _here(self) -> int:
        return self.place + len(self.code)

    def _put(self, label: str, code: bytes) -> None:
        self.labels[label] = self._here
        self.code.extend(code)

    def _to(self, instruction: bytes, target: int) -> None:
        """Add an instruction whose operand is an address, relative to the instruction after it."""
        distance = (target - (self._here + len(instruction) + 4)) & 0xFFFFFFFF
        self.code.extend(instruction + struct.pack("<I", distance))

    def _call(self, name: str) -> None:
        self._to(CALL_THROUGH, self._imports[name])

    def _begin(self) -> None:
        """Add what runs once, when the object is loaded: begin Python if need be, tell it the script with the GIL held,
        return the version of the ABI."""
        self._put(f"{PREFIX}program_init", b"\x53")  # push rbx, which also aligns the stack
        self._call("Py_IsInitialized")
        self.code.extend(b"\x85\xc0\x75\x0e")  # test eax, eax; jnz over the next three
        self.code.extend(b"\x31\xff")  # xor edi, edi: no handlers of signals
        self._call("Py_InitializeEx")
        self._call("PyEval_SaveThread")
        self._call("PyGILState_Ensure")
        self.code.extend(b"\x89\xc3")  # mov ebx, eax
        self._to(LOAD_FIRST, self.labels["source"])
        self._call("PyRun_SimpleString")
        self.code.extend(b"\x89\xdf")  # mov edi, ebx
        self._call("PyGILState_Release")
        self._to(LOAD_RESULT, self.labels["version"])
        self.code.extend(b"\x5b\xc3")  # pop rbx; ret
