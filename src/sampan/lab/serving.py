"""What the keeper is asked: one connection a question, one function an answer, in one event loop.

What takes long (checks, pings) is answered by a fork of the keeper, so that nobody waits for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from typing import Any, NoReturn

from sampan.lab import calls, echo, faults, graph, programs
from sampan.lab.address import peer
from sampan.lab.errors import LabError
from sampan.lab.faults import Cut, Fault
from sampan.lab.keeping import Keeping
from sampan.lab.reachability import Reachability, every
from sampan.lab.reading import read

Message = dict[str, Any]
Answer = tuple[Message, list[int]]
"""What is said, and descriptors that are given away with it."""
KINDS: dict[str, type[Fault]] = {
    "cut": faults.Cut,
    "one-way": faults.OneWay,
    "loss": faults.Loss,
    "rate": faults.Rate,
    "delay": faults.Delay,
    "pause": faults.Pause,
    "partition": faults.Partition,
}
ETH_P_ALL = 3
PING_SECONDS = 1.0


def serve(keeping: Keeping, listener: socket.socket) -> None:
    """Answer until somebody asks for the end, or the owner goes."""
    asyncio.run(Serving(keeping, listener).run())


class Serving:
    def __init__(self, keeping: Keeping, listener: socket.socket) -> None:
        self.keeping = keeping
        self.listener = listener
        self.stopped = asyncio.Event()
        self.exits: dict[int, asyncio.Future[int]] = {}
        self.flaps: dict[str, tuple[asyncio.Task[None], str]] = {}

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
        line = calls.Line(connection)
        with contextlib.closing(line), contextlib.suppress(EOFError, OSError):
            message, descriptors = await receive(line)
            try:
                await self.answer(line, message, descriptors)
            except LabError as error:
                line.send(calls.failure(error))
            except Exception as error:
                line.send({"error": f"the keeper failed: {type(error).__name__}: {error}"})
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    async def answer(self, line: calls.Line, message: Message, descriptors: list[int]) -> None:
        asked = message.get("ask")
        if asked == "run":
            await self.run_program(line, message, descriptors)
        elif asked in ("check", "ping"):
            await self.in_fork(line, self.check if asked == "check" else lambda: self.ping(message))
        elif asked == "down":
            line.send({})
            self.stopped.set()
        elif asked == "flap":
            line.send(self.flap(message))
        else:
            known: dict[str, Callable[[Message], Answer]] = {
                "identity": lambda _: ({"pid": self.keeping.pid}, []),
                "status": self.status,
                "enter": self.enter,
                "socket": self.socket,
                "capture": self.capture,
                "fault": self.fault,
                "heal": self.heal,
                "apply": self.apply,
                "restart": self.restart,
                "logs": self.logs,
                "graph": self.graph,
                "addresses": self.addresses,
            }
            if asked not in known:
                raise LabError(f"the keeper knows no {asked!r}: is it of another version of Sampan?")
            answer, given = known[asked](message)
            try:
                line.send(answer, given)
            finally:
                for descriptor in given:
                    os.close(descriptor)

    # looking

    def status(self, message: Message) -> Answer:
        keeping = self.keeping
        nodes = [
            {
                "name": name,
                "router": node.router,
                "addresses": [str(address) for one in node.interfaces for address in one.addresses],
                "processes": keeping.processes(name),
                "ended": keeping.ended.get(name, []),
            }
            for name, node in keeping.plan.nodes.items()
        ]
        flapping = [f"flap {link}: {said}" for link, (_, said) in self.flaps.items()]
        return {
            "name": keeping.options.name,
            "pid": keeping.pid,
            "seconds": time.time() - keeping.started,
            "source": keeping.plan.topology.source,
            "nodes": nodes,
            "links": list(keeping.plan.cables),
            "faults": [faults.describe(fault) for fault in keeping.injury.faults] + flapping,
        }, []

    def graph(self, message: Message) -> Answer:
        drawn = graph.svg if message["form"] == "svg" else graph.text
        return {"text": drawn(self.keeping.plan, self.keeping.injury.faults)}, []

    def logs(self, message: Message) -> Answer:
        self.known_node(message["node"])
        log = self.keeping.log(message["node"])
        return {"text": log.read_text(errors="replace") if log.exists() else ""}, []

    def addresses(self, message: Message) -> Answer:
        self.known_node(message["node"])
        found = echo.addresses_of(self.keeping.plan, message["node"])
        return {"addresses": [str(address) for address in found]}, []

    def known_node(self, name: str) -> None:
        if name not in self.keeping.plan.nodes:
            raise LabError(f"there is no node {name!r}", f"there are {', '.join(list(self.keeping.plan.nodes)[:20])}")

    # programs and sockets

    def enter(self, message: Message) -> Answer:
        """Give the namespaces of a node: user and pid first, in the order in which they are entered."""
        world = self.keeping.world(message["node"])
        own = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("user", "pid")]
        env = self.keeping.environment(message["node"], {})
        return {"env": env}, [*own, *(os.dup(descriptor) for descriptor in (world.net, world.uts, world.mount))]

    def socket(self, message: Message) -> Answer:
        self.known_node(message["node"])
        place = self.keeping.fabric.places[message["node"]]
        made = place.run(lambda: socket.socket(message["family"], message["type"], message["protocol"]))
        return {}, [made.detach()]

    async def run_program(self, line: calls.Line, message: Message, descriptors: list[int]) -> None:
        if len(descriptors) != 3:
            raise LabError("a program needs three descriptors")
        world = self.keeping.world(message["node"])
        env = self.keeping.environment(message["node"], message["env"])
        pid = programs.spawn(world, message["command"], env=env, cwd=message["cwd"], stdio=descriptors)
        while descriptors:
            os.close(descriptors.pop())
        ended = self.exits.setdefault(pid, asyncio.get_running_loop().create_future())
        line.send({"pid": pid})
        left = asyncio.ensure_future(gone(line))
        try:
            await asyncio.wait((ended, left), return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                line.send({"code": ended.result()})
            else:  # who asked is gone, and so is what was asked for
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(pid, signal.SIGKILL)
        finally:
            left.cancel()

    async def in_fork(self, line: calls.Line, work: Callable[[], Message]) -> None:
        pid = os.fork()
        if pid == 0:
            answer_and_end(line, work)
        ended = self.exits.setdefault(pid, asyncio.get_running_loop().create_future())
        await ended

    def check(self) -> Message:
        verdict = echo.check(self.keeping.fabric.places, self.keeping.plan, every(self.keeping.plan))
        return {"checked": verdict.checked, "well": verdict.well, "lines": verdict.lines()}

    def ping(self, message: Message) -> Message:
        source, target = message["source"], message["target"]
        self.known_node(source)
        self.known_node(target)
        reach = Reachability(self.keeping.plan)
        found = []
        for address in echo.addresses_of(self.keeping.plan, target):
            pair = reach.pair(source, target, address)
            pinger = echo.Pinger(self.keeping.fabric.places[source], address.version)
            answers = echo.ping(pinger, str(address), message["count"], message.get("seconds", PING_SECONDS))
            pinger.close()
            found.append(
                {"address": str(address), "expected": pair.reachable, "path": list(pair.path), "answers": answers}
            )
        return {"targets": found}

    def capture(self, message: Message) -> Answer:
        """Give a packet socket at one end of each link."""
        made: list[int] = []
        ends = []
        for asked in message["links"]:
            name, _, wanted = asked.partition("@")
            if name not in self.keeping.plan.cables:
                faults.validate(Cut(name), self.keeping.plan)
            cable = self.keeping.plan.cables[name]
            shown = [plug.shown for plug in cable.ends]
            if wanted and wanted not in shown:
                raise LabError(f"link {name!r} has the ends {' and '.join(shown)}, not {wanted!r}")
            plug = cable.ends[shown.index(wanted)] if wanted else cable.ends[-1]
            place = self.keeping.fabric.places[plug.place]
            opened = place.run(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
            opened.bind((plug.name, ETH_P_ALL))
            made.append(opened.detach())
            ends.append({"link": name, "end": plug.shown, "interface": plug.name, "mac": plug.mac})
        return {"ends": ends}, made

    # faults and changes

    def fault(self, message: Message) -> Answer:
        kind, given = message["kind"], dict(message["given"])
        seed = message.get("seed")
        for key in ("link", "node"):
            if given.get(key) == "any":
                if seed is None:
                    raise LabError(f"which {key} is any? a seed is needed to choose")
                given[key] = self.keeping.choose(key, seed)
        if kind == "partition":
            given["groups"] = tuple(tuple(group) for group in given["groups"])
        fault = KINDS[kind](**given)
        self.keeping.inflict(fault)
        return {"fault": faults.describe(fault)}, []

    def flap(self, message: Message) -> Message:
        link = message["link"]
        if link == "any":
            link = self.keeping.choose("link", message["seed"])
        faults.validate(Cut(link), self.keeping.plan)
        if not (message["down"] > 0 and message["up"] > 0 and message["times"] >= 1):
            raise LabError("a link flaps at least once, and is down and up for more than no time")
        self.end_flap(link)
        said = f"{message['times']} times, down {message['down']:g}s, up {message['up']:g}s, seed {message['seed']}"
        task = self.tasks.create_task(self.flapping(link, message), name=f"flap {link}")
        self.flaps[link] = (task, said)
        return {"fault": f"flap {link}: {said}"}

    async def flapping(self, link: str, message: Message) -> None:
        """Cut and heal a link; each time lasts from half to one and a half of what was asked, as the seed has it."""
        chance = random.Random(f"{message['seed']}/{link}")
        try:
            for _ in range(message["times"]):
                self.keeping.inflict(Cut(link))
                await asyncio.sleep(message["down"] * chance.uniform(0.5, 1.5))
                self.uncut(link)
                await asyncio.sleep(message["up"] * chance.uniform(0.5, 1.5))
        finally:
            if self.flaps.get(link, (None,))[0] is asyncio.current_task():
                del self.flaps[link]
            self.uncut(link)

    def uncut(self, link: str) -> None:
        if Cut(link) in self.keeping.inflicted and link in self.keeping.plan.cables:
            self.keeping.suffer([fault for fault in self.keeping.inflicted if fault != Cut(link)])

    def end_flap(self, link: str) -> bool:
        if link not in self.flaps:
            return False
        task, _ = self.flaps.pop(link)
        task.cancel()
        return True

    def heal(self, message: Message) -> Answer:
        name = message.get("name", "")
        flaps = [link for link in self.flaps if name in ("", link)]
        ended = sum(self.end_flap(link) for link in flaps)
        return {"healed": self.keeping.heal(name) + ended}, []

    def apply(self, message: Message) -> Answer:
        topology = read(message["topology"], message.get("name", "lab"), message.get("source", ""))
        for link in list(self.flaps):
            self.end_flap(link)
        return self.keeping.apply(topology, check=message["check"]), []

    def restart(self, message: Message) -> Answer:
        self.keeping.restart(message["node"])
        return {}, []


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


async def gone(line: calls.Line) -> None:
    """Return when the other side closes."""
    with contextlib.suppress(OSError):
        await readable(line.socket)


def answer_and_end(line: calls.Line, work: Callable[[], Message]) -> NoReturn:
    """In a fork of the keeper: answer and be gone."""
    try:
        try:
            line.send(work())
        except LabError as error:
            line.send(calls.failure(error))
        except Exception as error:
            line.send({"error": f"{type(error).__name__}: {error}"})
    finally:
        os._exit(0)
