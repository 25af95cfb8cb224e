"""An agent on files of a test: turns taken by hand, so that nothing is waited for."""

from __future__ import annotations

from pathlib import Path

import orjson

from sampan.logs.agent import Agent
from sampan.logs.joining import Joiner
from sampan.logs.outputs.output import Output
from sampan.logs.outputs.registry import output_named
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.reading.ledger import Ledger


class Bench:
    """A folder ``logs``, an agent that reads it, and its output ``out.json``."""

    def __init__(self, home: Path, output: Output | None = None, linger_seconds: float = 0) -> None:
        self.home, self.logs, self.out = home, home / "logs", home / "out.json"
        self.logs.mkdir(exist_ok=True)
        self.output, self.linger = output, linger_seconds
        self.agent = self.make()
        self.begun = False

    def make(self) -> Agent:
        ledger = Ledger(self.home / "state" / "positions.db")
        following = Following(
            Roots([str(self.logs)]),
            ledger.positions(),
            make_joiner=lambda _: Joiner,
            linger_seconds=self.linger,
            settling_seconds=0,
        )
        output = self.output or output_named(f"json:{self.out}", self.home / "state")
        return Agent(following, ledger, [output], flush_seconds=3600)

    async def turn(self) -> None:
        """Let the agent look, read, deliver and commit."""
        if not self.begun:
            await self.agent._begin(watch=False)
            self.begun = True
        self.agent._look()
        self.agent.following.all_may_be_written()
        await self.agent._turn()

    async def crash(self) -> None:
        """Begin with a new agent, as after ``kill -9``: what was held in memory is gone."""
        await self.agent.close()
        self.agent, self.begun = self.make(), False

    async def end(self) -> list[str]:
        """Stop the agent; return the texts of all records."""
        await self.turn()
        await self.agent.stop()
        return self.texts()

    def texts(self) -> list[str]:
        return [orjson.loads(line)["text"] for line in self.out.read_bytes().splitlines()]

    def write(self, name: str, *lines: str) -> None:
        with (self.logs / name).open("a") as file:
            file.writelines(f"2026-11-30T10:00:00Z stdout F {line}\n" for line in lines)
