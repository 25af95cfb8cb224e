"""Numbers as protobuf has them: seven bits a byte, the lowest first. Source: the protobuf encoding, "Base 128 varints"."""

from __future__ import annotations

SMALL = [bytes([value]) for value in range(0x80)]


def varint(value: int) -> bytes:
    """Return the bytes of an integer; a negative one is that of 64 bits."""
    if 0 <= value < 0x80:
        return SMALL[value]
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Return ``(value, offset behind it)``. Raises ``IndexError`` where the bytes end before it does, ``OverflowError`` for
    more than 64 bits."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise OverflowError("integer overflow")
