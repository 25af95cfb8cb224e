"""Parts of a batch: of records that have ids they keep them, however often they are cut."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sampan.logs.log_record import Batch, Delivery

ROUND_BYTES = 300
"""What a record's labels and marks take in a request, about."""


class Numbered(list[Delivery]):
    """A batch whose records have ids that stay theirs when they are sent again: ``ids`` is as long as the batch."""

    __slots__ = ("ids",)

    def __init__(self, deliveries: Iterable[Delivery], ids: Sequence[str]) -> None:
        super().__init__(deliveries)
        self.ids = ids


def ids_of(batch: Batch) -> Sequence[str] | None:
    return batch.ids if isinstance(batch, Numbered) else None


def cut(batch: Batch, start: int, end: int) -> Batch:
    """Return records ``start`` to ``end``, with their ids."""
    ids = ids_of(batch)
    return batch[start:end] if ids is None else Numbered(batch[start:end], ids[start:end])


def only(batch: Batch, numbers: Sequence[int]) -> Batch:
    """Return these records of a batch, with their ids."""
    ids = ids_of(batch)
    chosen = [batch[number] for number in numbers]
    return chosen if ids is None else Numbered(chosen, [ids[number] for number in numbers])


def together(parts: Iterable[Batch]) -> Batch:
    found = list(parts)
    if len(found) == 1:
        return found[0]
    deliveries = [delivery for part in found for delivery in part]
    if not found or any(ids_of(part) is None for part in found):
        return deliveries
    return Numbered(deliveries, [one for part in found for one in ids_of(part) or ()])


def size_of(delivery: Delivery) -> int:
    """Return about how many bytes a record takes in a request."""
    return len(delivery[1].text) + ROUND_BYTES


def in_parts(batch: Batch, most_bytes: int) -> Iterator[Batch]:
    """Yield a batch in parts of about so many bytes, of one record at least."""
    start = size = 0
    for number, delivery in enumerate(batch):
        size += size_of(delivery)
        if size > most_bytes and number > start:
            yield cut(batch, start, number)
            start, size = number, size_of(delivery)
    if start < len(batch):
        yield batch if start == 0 else cut(batch, start, len(batch))
