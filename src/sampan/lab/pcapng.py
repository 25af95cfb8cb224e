"""The pcapng file format: one section, an interface a link, packets with nanoseconds. Bytes from values, pure.

Source: draft-ietf-opsawg-pcapng, sections 4.1 (section header), 4.2 (interface description), 4.3 (enhanced packet),
4.6 (interface statistics).
"""

from __future__ import annotations

import struct

SECTION, INTERFACE, STATISTICS, PACKET = 0x0A0D0D0A, 1, 5, 6
MAGIC = 0x1A2B3C4D
LINK_ETHERNET = 1
NANOSECONDS = 9
OPTION_END, OPTION_COMMENT = 0, 1
IF_NAME, IF_DESCRIPTION, IF_MAC, IF_RESOLUTION = 2, 3, 6, 9
EPB_FLAGS, INBOUND, OUTBOUND = 2, 1, 2
ISB_RECEIVED, ISB_DROPPED = 4, 5
SHB_APPLICATION = 4


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("=HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = len(body) + 12
    return struct.pack("=II", kind, size) + body + struct.pack("=I", size)


def section(application: str) -> bytes:
    options = _option(SHB_APPLICATION, application.encode()) + _option(OPTION_END, b"")
    return _block(SECTION, struct.pack("=IHHq", MAGIC, 1, 0, -1) + options)


def interface(name: str, description: str, mac: str, snap_length: int) -> bytes:
    """The next interface of the file; packets name it by its place in the order."""
    options = _option(IF_NAME, name.encode()) + _option(IF_DESCRIPTION, description.encode())
    options += _option(IF_MAC, bytes.fromhex(mac.replace(":", ""))) + _option(IF_RESOLUTION, bytes([NANOSECONDS]))
    return _block(INTERFACE, struct.pack("=HHI", LINK_ETHERNET, 0, snap_length) + options + _option(OPTION_END, b""))


def packet(number: int, nanoseconds: int, data: bytes, length: int, *, outbound: bool) -> bytes:
    """A packet of interface ``number``: what was kept of it, and how long it was."""
    head = struct.pack("=IIIII", number, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF, len(data), length)
    flags = _option(EPB_FLAGS, struct.pack("=I", OUTBOUND if outbound else INBOUND)) + _option(OPTION_END, b"")
    return _block(PACKET, head + _padded(data) + flags)


def statistics(number: int, nanoseconds: int, received: int, dropped: int) -> bytes:
    """How many packets an interface saw, and how many the kernel could not keep."""
    head = struct.pack("=III", number, nanoseconds >> 32, nanoseconds & 0xFFFFFFFF)
    counts = _option(ISB_RECEIVED, struct.pack("=Q", received)) + _option(ISB_DROPPED, struct.pack("=Q", dropped))
    return _block(STATISTICS, head + counts + _option(OPTION_END, b""))
