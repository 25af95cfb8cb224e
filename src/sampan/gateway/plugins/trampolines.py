"""The shared object by which Envoy calls Python functions: an ELF file, written by Python.

Envoy loads a *dynamic module* as a shared object and finds the functions of its events by name. There are two: for hooks
(``jumps.py`` has the code, ``inline.py`` is what it calls) and for processors (``exchange_jumps.py``, ``hosted.py``).
What begins and ends a configuration jumps through a slot, an address in memory, that the module in Python fills with a
function of its own. When the object is loaded it begins Python, where pyvoy has not done so, and imports that module. A
slot that nobody has filled returns 0, which makes Envoy refuse the filter's configuration.

``built`` is a pure function; nothing is compiled, and there is no compiler needed. Source: System V ABI (ELF, AMD64
supplement).
"""

from __future__ import annotations

import hashlib
import platform
import struct
from pathlib import Path

from sampan.gateway.plugins.exchange_jumps import ExchangeJumps
from sampan.gateway.plugins.jumps import Jumps
from sampan.gateway.plugins.machine import ENVOYS, EVENTS, FILTER, IMPORTS, PREFIX, SLOTS, Machine

PAGE = 0x1000
HEADER_SIZE, SEGMENT_SIZE, SYMBOL_SIZE, RELOCATION_SIZE = 64, 56, 24, 24
LOAD, DYNAMIC, STACK = 1, 2, 0x6474E551
EXECUTE, WRITE, READ = 1, 2, 4
GLOBAL, GLOBAL_OBJECT, GLOBAL_FUNCTION, WEAK = 0x10, 0x11, 0x12, 0x20
GLOB_DAT, RELATIVE = 6, 8
HASH, STRTAB, SYMTAB, RELA, RELASZ, RELAENT, STRSZ, SYMENT = 4, 5, 6, 7, 8, 9, 10, 11
SLOT_TABLE, IMPORT_TABLE = "sampan_slots", "sampan_imports"


def is_served() -> bool:
    """Return whether this machine is one that the jumps are written for."""
    return platform.system() == "Linux" and platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"


CALLED: dict[type[Machine], str] = {Jumps: "inline", ExchangeJumps: "hosted"}
"""Code → the module beside this one that it calls."""


def written(folder: Path, machine: type[Machine] = Jumps) -> str:
    """Write the object, unless it is there, and return its path. The name has the content's hash: one that an Envoy has
    loaded is never written again."""
    path = folder / f"libsampan-{CALLED[machine]}-{hashlib.sha256(built('', machine)).hexdigest()[:12]}.so"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_bytes(built(str(path), machine))
        partial.rename(path)
    return str(path)


def built(path: str, machine: type[Machine] = Jumps) -> bytes:
    """Return the object that is to be at a path."""
    module = CALLED[machine]
    source = f"import sampan.gateway.plugins.{module} as {module}; {module}.attach({path!r})"
    exported = [f"{PREFIX}{FILTER}{name}" for name in (*SLOTS, *EVENTS)]
    exported += [f"{PREFIX}program_init", *machine.functions, SLOT_TABLE, IMPORT_TABLE]
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
    size = len(machine(text_at, 0, 0, source).code)
    data_at = aligned(text_at + size, PAGE)
    imports_at = data_at + 9 * 16
    slots_at = imports_at + 8 * len(IMPORTS)
    jumps = machine(text_at, imports_at, slots_at, source)
    labels = {**jumps.labels, SLOT_TABLE: slots_at, IMPORT_TABLE: imports_at}

    numbers = [*range(2, len(names) + 1), 0]
    table = struct.pack(f"<4I{len(numbers)}I", 1, len(names) + 1, 1, 0, *numbers)  # one chain: there are few
    symbols = bytes(SYMBOL_SIZE)
    for name in names:
        if name in IMPORTS:
            kind, section, value = WEAK if name in ENVOYS else GLOBAL, 0, 0
        else:
            kind, section, value = (
                GLOBAL_OBJECT if name in (SLOT_TABLE, IMPORT_TABLE) else GLOBAL_FUNCTION,
                1,
                labels[name],
            )
        symbols += struct.pack("<IBBHQQ", places[name], kind, 0, section, value, 8 if section else 0)
    relocations = b"".join(
        struct.pack("<QQq", imports_at + 8 * i, (i + 1) << 32 | GLOB_DAT, 0) for i in range(len(IMPORTS))
    ) + b"".join(struct.pack("<QQq", slots_at + 8 * i, RELATIVE, labels["zero"]) for i in range(len(SLOTS)))
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
        segment(LOAD, READ | EXECUTE, 0, text_at + len(jumps.code), PAGE)
        + segment(LOAD, READ | WRITE, data_at, len(data), PAGE)
        + segment(DYNAMIC, READ | WRITE, data_at, len(dynamic), 8)
        + segment(STACK, READ | WRITE, 0, 0, 16)
    )
    content = file_header() + segments
    for place, part in (
        (hash_at, table),
        (symbols_at, symbols),
        (strings_at, strings),
        (relocations_at, relocations),
        (text_at, bytes(jumps.code)),
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


def segment(kind: int, rights: int, place: int, size: int, alignment: int) -> bytes:
    return struct.pack("<IIQQQQQQ", kind, rights, place, place, place, size, size, alignment)
