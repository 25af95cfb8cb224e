"""The conversation of the keeper: one connection a question, in one event loop.

What takes long (checks, pings) is answered by a fork of the keeper, so that nobody waits for it. ``answers.py`` has the
answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Sequence
from typing import NoReturn

from sampan.lab import calls, programs
from sampan.lab.address import peer
from sampan.lab.answers import QUICK, SLOW, Answer, Answers, Message
from sampan.lab.errors import LabError
from sampan.lab.flaps import Flaps
from sampan.lab.keeping import Keeping


def serve(keeping: Keeping, listener: socket.socket) -> None:
    """Answer until somebody asks for the end, or the owner goes."""
    asyncio.run(Serving(keeping, listener).run())


class Serving:
    def __init__(self, keeping: Keeping, listener: socket.socket) -> None:
        self.keeping = keeping
        self.listener = listener
        self.stopped = asyncio.Event()
        self.exits: dict[int, asyncio.Future[int]] = {}

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self.reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopped.set)
        lifeline = self.keeping.options.lifeline
        if lifeline >= 0:
            loop.add_reader(lifeline, self.stopped.set)
        self.reap()
        self.listener.setblocking(False)
        async with asyncio.TaskGroup() as tasks:
            self.tasks = tasks
            self.answers = Answers(self.keeping, Flaps(self.keeping, tasks))
            accepting = tasks.create_task(self.accept(), name="accept")
            await self.stopped.wait()
            # programs, namespaces and what is said right now end with the process
            self.keeping.down()
            accepting.cancel()
            os._exit(0)

    async def accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self.listener)
            if peer(connection)[1] != 0:  # whoever made the laboratory is 0 in its user namespace, too
                connection.close()
                continue
            self.tasks.create_task(self.converse(connection), name="converse")

    def reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                self.keeping.ended_by_itself(pid, status)
                if (waiting := self.exits.pop(pid, None)) is not None and not waiting.done():
                    waiting.set_result(programs.exit_code(status))

    async def converse(self, connection: socket.socket) -> None:
        """Answer one question. Whatever happens to it, the laboratory goes on."""
        line = calls.Line(connection)
        descriptors: list[int] = []
        with contextlib.closing(line), contextlib.suppress(EOFError, OSError):
            try:
                message, descriptors = await receive(line)
                await self.answer(line, message, descriptors)
            except LabError as error:
                await say(line, calls.failure(error))
            except EOFError:
                raise
            except Exception as error:
                await say(line, {"error": f"the keeper failed: {type(error).__name__}: {error}"})
            finally:
                for descriptor in [*descriptors, *line.descriptors]:
                    os.close(descriptor)

    async def answer(self, line: calls.Line, message: Message, descriptors: list[int]) -> None:
        asked = message.get("ask")
        if asked == "run":
            await self.run_program(line, message, descriptors)
        elif asked == "down":
            await say(line, {})
            self.stopped.set()
        elif asked in SLOW:
            await self.in_fork(line, lambda: getattr(self.answers, asked)(message))
        elif asked in QUICK:
            said, given = getattr(self.answers, asked)(message)
            try:
                await say(line, said, given)
            finally:
                for descriptor in given:
                    os.close(descriptor)
        else:
            raise LabError(f"the keeper knows no {asked!r}: is it of another version of Sampan?")

    async def run_program(self, line: calls.Line, message: Message, descriptors: list[int]) -> None:
        if len(descriptors) != 3:
            raise LabError("a program needs three descriptors")
        world = self.keeping.world(message["node"])
        env = self.keeping.environment(message["node"], message["env"])
        pid = programs.spawn(world, message["command"], env=env, cwd=message["cwd"], stdio=descriptors)
        while descriptors:
            os.close(descriptors.pop())
        ended = self.exit_of(pid)
        try:
            await say(line, {"pid": pid})
            await first_of(ended, line)
        finally:
            if not ended.done():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        if ended.done():
            await say(line, {"code": ended.result()})

    async def in_fork(self, line: calls.Line, work: Callable[[], Answer]) -> None:
        pid = os.fork()
        if pid == 0:
            answer_and_end(line, work)
        ended = self.exit_of(pid)
        await first_of(ended, line)
        if not ended.done():
            os.kill(pid, signal.SIGKILL)

    def exit_of(self, pid: int) -> asyncio.Future[int]:
        return self.exits.setdefault(pid, asyncio.get_running_loop().create_future())


async def readable(descriptor: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()

    def tell() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(descriptor, tell)
    try:
        await ready
    finally:
        loop.remove_reader(descriptor)


async def receive(line: calls.Line) -> tuple[Message, list[int]]:
    """Wait for a message. Raises ``EOFError``."""
    while (message := line.take()) is None:
        await readable(line.socket)
        if not line.feed():
            raise EOFError
    return message


async def say(line: calls.Line, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Send a message, however long the other side takes to read it."""
    rest = line.begin(message, descriptors)
    if rest:
        await asyncio.get_running_loop().sock_sendall(line.socket, rest)


async def first_of(ended: asyncio.Future[int], line: calls.Line) -> None:
    """Return when a process has ended, or who asked for it is gone: then nobody wants it any more."""
    left = asyncio.ensure_future(gone(line))
    try:
        await asyncio.wait((ended, left), return_when=asyncio.FIRST_COMPLETED)
    finally:
        left.cancel()


async def gone(line: calls.Line) -> None:
    """Return when the other side closes."""
    with contextlib.suppress(OSError):
        await readable(line.socket)


def answer_and_end(line: calls.Line, work: Callable[[], Answer]) -> NoReturn:
    """In a fork of the keeper: answer and be gone."""
    try:
        line.socket.setblocking(True)  # the keeper itself says nothing more here
        try:
            line.send(*work())
        except LabError as error:
            line.send(calls.failure(error))
        except Exception as error:
            line.send({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)
