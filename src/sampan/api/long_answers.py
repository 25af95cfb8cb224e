"""Lists that are long: their bytes go out some at a time, and are never all in one piece.

A list is a head, the stored bytes of its objects, and a tail. What is joined is a part of about ``PART_BYTES``, just before
it is sent: it stays in the processor's cache from the join to the socket, nothing of megabytes is allocated, and a client
that reads slowly keeps no more than a part in memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sampan.api.request import Response

PART_BYTES = 64 * 1024


class ListResponse(Response):
    """A list as the answer to a request. Its ``body`` is made for those who need it whole."""

    __slots__ = ("_head", "_size", "_tail", "_values")

    def __init__(self, head: bytes, values: Sequence[bytes], tail: bytes) -> None:
        self._head, self._values, self._tail = head, values, tail
        self.status, self.content_type, self.headers = 200, "application/json", ()
        self._size = len(head) + sum(map(len, values)) + max(len(values) - 1, 0) + len(tail)

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
        head = self._head
        for start in range(0, count - step, step):
            yield head + b",".join([*values[start : start + step], b""])
            head = b""
        rest = (count - 1) // step * step if count else 0
        yield head + b",".join(values[rest:]) + self._tail
