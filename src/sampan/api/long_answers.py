"""Lists that are long: their bytes go out some at a time, and are never all in one piece.

A list is a head, the stored bytes of its objects, and a tail. What is joined is a part of about ``PART_BYTES``, just before
it is sent: it stays in the processor's cache from the join to the socket, nothing of megabytes is allocated, and a client
that reads slowly keeps no more than a part in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sampan.api.request import Response
from sampan.store import Values

PART_BYTES = 128 * 1024
LARGE_PART_BYTES = 8 * PART_BYTES


class ListResponse(Response):
    """A list as the answer to a request. Its ``body`` is made for those who need it whole."""

    __slots__ = ("_head", "_largest", "_size", "_tail", "_values")

    def __init__(self, head: bytes, values: Sequence[bytes], tail: bytes) -> None:
        self._head, self._values, self._tail = head, values, tail
        self.status, self.content_type, self.headers = 200, "application/json", ()
        if isinstance(values, Values):
            size, self._largest = values.size_bytes, values.largest_bytes
        else:
            sizes = list(map(len, values))
            size, self._largest = sum(sizes), max(sizes, default=0)
        self._size = len(head) + size + max(len(values) - 1, 0) + len(tail)

    @property
    def head(self) -> bytes:
        """The list with nothing in it."""
        return self._head + self._tail

    @property
    def values(self) -> Sequence[bytes]:
        """The objects in it."""
        return self._values

    @property
    def body(self) -> bytes:  # type: ignore[override]
        return b"".join([self._head, b",".join(self._values), self._tail])

    @property
    def length(self) -> int:
        return self._size

    def parts(self) -> Iterator[bytes]:
        values, count = self._values, len(self._values)
        step = max(count * PART_BYTES // self._size, 1)
        even = step * self._largest <= LARGE_PART_BYTES
        head, start = self._head, 0
        while start + step < count:
            several = values[start : start + step]
            for piece in (several,) if even else pieces(several):
                yield head + b",".join([*piece, b""])
                head = b""
            start += step
        *before, last = pieces(values[start:])
        for piece in before:
            yield head + b",".join([*piece, b""])
            head = b""
        yield head + b",".join(last) + self._tail


def pieces(values: Sequence[bytes]) -> Sequence[Sequence[bytes]]:
    """Return values of about a part: together, unless they are large (large objects stand side by side)."""
    return [values] if sum(map(len, values)) <= LARGE_PART_BYTES else [(value,) for value in values]
