"""The time of WebAssembly guests: the runtime's epochs go on while there are guests that run, and one that has had its number
of them is interrupted."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

TICK_SECONDS = 0.02


class Clock:
    """Lets an engine's epochs go on. It is wound up by the first guest that runs, and stands still after an epoch in which
    none did: guests that come one after the other wake no thread."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self._change = threading.Condition()
        self._running = self._begun = 0
        self._goes = False
        threading.Thread(target=self._go, name="epochs", daemon=True).start()

    def _go(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._goes)
                begun = self._begun
                self._change.wait(TICK_SECONDS)
                self._goes = self._running > 0 or self._begun != begun
            self._engine.increment_epoch()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Let time go on while a guest runs."""
        with self._change:
            self._running += 1
            self._begun += 1
            if not self._goes:
                self._goes = True
                self._change.notify()
        try:
            yield
        finally:
            with self._change:
                self._running -= 1


def epochs(seconds: float) -> int:
    """Return how many epochs are no less than a time, wherever the first of them is."""
    return max(1, int(seconds / TICK_SECONDS)) + 1
