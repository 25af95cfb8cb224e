"""A store's log that is none: what an in-memory store writes to. ``Database`` tells what the methods are for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sampan.store.database import Row
from sampan.store.expiries import Expiry
from sampan.store.protocol import StoreError


class NoDatabase:
    """Takes every row and keeps none: the state is in memory, and goes with the process."""

    name = "memory"

    def rows(self) -> Iterator[Row]:
        return iter(())

    def reseal(self) -> int:
        return 0

    def meta(self, name: str) -> int:
        return 0

    def expiries(self) -> dict[int, float]:
        return {}

    def marks(self) -> list[tuple[int, float]]:
        return []

    def insert(self, rows: Sequence[Row], expiries: Sequence[Expiry] = ()) -> None: ...

    def append(self, rows: Sequence[Row], expiries: Sequence[Expiry] = ()) -> None: ...

    def kernel_sync(self) -> None: ...

    def sync(self, rows: Sequence[Row]) -> None: ...

    def without_kernel(self) -> None: ...

    def unsynced(self, rows: Sequence[Row], error: OSError) -> StoreError:
        return StoreError(str(error))

    def checkpoint_is_due(self) -> bool:
        return False

    def checkpoint(self) -> None: ...

    def compact(self, revision: int, before: int) -> None: ...

    def remember(self, name: str, value: int) -> None: ...

    def close(self) -> None: ...
