"""Links that flap: cut and healed again and again, by tasks of the keeper's loop, as a seed has it."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass

from sampan.lab import faults
from sampan.lab.errors import LabError
from sampan.lab.faults import Cut
from sampan.lab.keeping import Keeping


@dataclass(frozen=True, slots=True)
class Flap:
    """``times`` times out and in again, each for a half to one and a half of the seconds asked for."""

    link: str
    down: float
    up: float
    times: int
    seed: int

    def __str__(self) -> str:
        return f"flap {self.link}: {self.times} times, down {self.down:g}s, up {self.up:g}s, seed {self.seed}"


class Flaps:
    """The links that flap now."""

    def __init__(self, keeping: Keeping, tasks: asyncio.TaskGroup) -> None:
        self.keeping = keeping
        self.tasks = tasks
        self.running: dict[str, tuple[Flap, asyncio.Task[None]]] = {}
        self.failed: list[str] = []

    def described(self) -> list[str]:
        """Return those that flap, and those that could not go on."""
        return [*(str(flap) for flap, _ in self.running.values()), *self.failed]

    def begin(self, flap: Flap) -> None:
        """Have a link flap, in place of a flap that it has. Raises ``LabError``."""
        faults.validate(Cut(flap.link), self.keeping.plan)
        if not (flap.down > 0 and flap.up > 0 and flap.times >= 1):
            raise LabError("a link flaps at least once, and is down and up for more than no time")
        self.end(flap.link)
        self.running[flap.link] = flap, self.tasks.create_task(self.flapping(flap), name=str(flap))

    def end(self, name: str = "") -> int:
        """End the flapping of a link, or of all; return how many flapped."""
        links = [link for link in self.running if name in ("", link)]
        for link in links:
            self.running.pop(link)[1].cancel()
            with contextlib.suppress(LabError, OSError):
                self.uncut(link)
        return len(links)

    async def flapping(self, flap: Flap) -> None:
        chance = random.Random(f"{flap.seed}/{flap.link}")
        try:
            for _ in range(flap.times):
                self.keeping.inflict(Cut(flap.link))
                await asyncio.sleep(flap.down * chance.uniform(0.5, 1.5))
                self.uncut(flap.link)
                await asyncio.sleep(flap.up * chance.uniform(0.5, 1.5))
        except (LabError, OSError) as error:  # the others must not end with it
            self.failed.append(f"{flap} ended: {error}")
        finally:
            if self.running.get(flap.link, (None,))[0] is flap:
                del self.running[flap.link]
                with contextlib.suppress(LabError, OSError):
                    self.uncut(flap.link)

    def uncut(self, link: str) -> None:
        if Cut(link) in self.keeping.inflicted and link in self.keeping.plan.cables:
            self.keeping.suffer([fault for fault in self.keeping.inflicted if fault != Cut(link)])
