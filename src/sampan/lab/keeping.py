"""The laboratory inside its keeper: built, checked, its services started; then changed, broken, healed, restarted as asked.

Everything here is called by the one thread of the keeper. ``serving.py`` is the conversation with those who ask.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import random
import signal
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sampan.lab import calls, checking, echo, faults, features, keeper, programs
from sampan.lab.errors import LabError
from sampan.lab.fabric import Fabric
from sampan.lab.faults import Fault
from sampan.lab.injury import Injury
from sampan.lab.plan import FABRIC, Plan
from sampan.lab.planning import plan as planned
from sampan.lab.processes import kill_all, of_namespace
from sampan.lab.programs import World
from sampan.lab.reachability import covering
from sampan.lab.topology import Service, Topology

LISTEN_SECONDS = 30
LISTEN_PAUSE = 0.005
"""Nothing tells when a program listens; it is looked at again after that many seconds."""
LOG_LINES = 8


class Keeping:
    """A running laboratory."""

    def __init__(self, plan: Plan, options: keeper.Options, pid: int) -> None:
        self.plan = plan
        self.options = options
        self.pid = pid
        self.started = time.time()
        self.fabric = Fabric()
        self.injury = Injury(self.fabric)
        self.worlds: dict[str, World] = {}
        self.inflicted: list[Fault] = []
        """By people; what links of the topology suffer comes on top."""
        self.services: dict[int, tuple[str, Service]] = {}
        """Running ones by pid."""
        self.ended: dict[str, list[str]] = {}
        """Node → what ended there by itself."""
        self.checked: checking.Verdict | None = None

    # up

    def up(self) -> None:
        """Build, check, start. Raises ``LabError``."""
        features.require(self.plan.topology)
        self.fabric.build(self.plan)
        if self.options.check:
            self.check(processes=len(os.sched_getaffinity(0)))
        self.suffer()
        self.start_services(list(self.plan.nodes))

    def check(self, processes: int = 1) -> None:
        """Hold all pairs against the plan. Raises ``LabError`` with those that differ."""
        pairs = covering(self.plan)
        self.checked = checking.check(self.fabric.places, self.plan, pairs, processes=processes)
        if not self.checked.well:
            lines = "\n  ".join(self.checked.lines())
            raise LabError(f"laboratory {self.options.name!r} is not as planned:\n  {lines}")

    # programs

    def world(self, node: str) -> World:
        """Return the namespaces of a node's programs; those of the bridges are the keeper's own but for the network."""
        if node not in self.worlds:
            if node in self.plan.nodes:
                netns = self.fabric.places[node].netns
                self.worlds[node] = programs.new_world(self.plan.nodes[node], self.plan.hosts(), netns)
            elif node in self.plan.bridges:
                own = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("mnt", "uts")]
                self.worlds[node] = World(self.fabric.places[FABRIC].netns, own[0], own[1])
            else:
                there = ", ".join([*self.plan.nodes, *self.plan.bridges][:20])
                raise LabError(f"there is no node {node!r}", f"there are {there}")
        return self.worlds[node]

    def environment(self, node: str, inherited: Mapping[str, str]) -> dict[str, str]:
        made = self.plan.nodes.get(node)
        return programs.environment(made, self.options.name, inherited) if made else dict(inherited)

    def start_services(self, nodes: Sequence[str]) -> None:
        """Start what nodes run, wait until it listens where it says so. Raises ``LabError``."""
        begun = [(node, service) for node in nodes for service in self.plan.nodes[node].run]
        pids = {(node, service): self.start_service(node, service) for node, service in begun}
        for node, service in begun:
            if service.listens:
                self.await_listening(node, service, pids[node, service])

    def log(self, node: str) -> Path:
        return programs.LAYERS / "logs" / f"{node}.log"

    def start_service(self, node: str, service: Service) -> int:
        world = self.world(node)
        log = self.log(node)
        log.parent.mkdir(exist_ok=True)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        try:
            env = self.environment(node, os.environ)
            pid = programs.spawn(world, service.command, env=env, cwd=self.options.cwd, stdio=(null, output, output))
        finally:
            os.close(output)
            os.close(null)
        self.services[pid] = (node, service)
        return pid

    def await_listening(self, node: str, service: Service, pid: int) -> None:
        targets = ["127.0.0.1", "::1", *(str(one) for one in echo.addresses_of(self.plan, node))]
        deadline = time.monotonic() + LISTEN_SECONDS
        while not self.fabric.places[node].run(lambda: any(_answers(at, service.listens) for at in targets)):
            command = " ".join(service.command)
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                raise LabError(
                    f"node {node}: {command!r} ended before it listened on port {service.listens}{self.tail(node)}"
                )
            if time.monotonic() > deadline:
                message = f"node {node}: {command!r} does not listen on port {service.listens} after {LISTEN_SECONDS} s"
                raise LabError(message + self.tail(node))
            time.sleep(LISTEN_PAUSE)

    def tail(self, node: str) -> str:
        with contextlib.suppress(OSError):
            lines = self.log(node).read_text(errors="replace").splitlines()[-LOG_LINES:]
            return "".join(f"\n  {line}" for line in lines)
        return ""

    def ended_by_itself(self, pid: int, status: int) -> None:
        """A service ended that nobody ended."""
        if pid in self.services:
            node, service = self.services.pop(pid)
            said = f"{' '.join(service.command)}: exit code {programs.exit_code(status)}"
            self.ended.setdefault(node, []).append(said)

    def stop_programs(self, node: str) -> None:
        place = self.fabric.places[node]
        kill_all(place.netns)
        for pid in [pid for pid, (owner, _) in self.services.items() if owner == node]:
            del self.services[pid]
        self.ended.pop(node, None)
        if node in self.worlds:
            self.worlds.pop(node).close()

    # faults

    def suffer(self, inflicted: Sequence[Fault] | None = None) -> None:
        """Have the faults that people asked for, and those of the topology that none of them replaces."""
        wanted = self.inflicted if inflicted is None else list(inflicted)
        base = [
            fault
            for cable in self.plan.cables.values()
            for fault in faults.of_impairment(cable.name, cable.impairment)
            if not any(faults.replaces(other, fault) for other in wanted)
        ]
        before = self.injury.faults
        try:
            self.injury.inflict(self.plan, [*base, *wanted])
        except Exception:
            with contextlib.suppress(Exception):
                self.injury.inflict(self.plan, before)
            raise
        self.inflicted = wanted

    def inflict(self, fault: Fault) -> None:
        """Add a fault; one of the same kind on the same thing goes. Raises ``LabError``."""
        faults.validate(fault, self.plan)
        self.suffer([*(old for old in self.inflicted if not faults.replaces(fault, old)), fault])

    def heal(self, name: str = "") -> int:
        """Take away the faults of a link or node, or all; return how many there were. Raises ``LabError``."""
        if name and name not in self.plan.cables and name not in self.plan.nodes:
            raise LabError(f"there is no link or node {name!r}")
        kept = [fault for fault in self.inflicted if name and not faults.touches(fault, name)]
        healed = len(self.inflicted) - len(kept)
        self.suffer(kept)
        return healed

    def choose(self, kind: str, seed: int) -> str:
        """Return a link or node, the same for the same seed and topology."""
        among = self.plan.nodes if kind == "node" else self.plan.cables
        return random.Random(seed).choice(sorted(among))

    # change

    def restart(self, node: str) -> None:
        """A node goes down and comes up: its programs end and start, what was made in it by hand is gone, its neighbours see
        their link go down and up; links stay the ones they are. Raises ``LabError``."""
        if node not in self.plan.nodes:
            raise LabError(f"there is no node {node!r}", f"there are {', '.join(list(self.plan.nodes)[:20])}")
        kept = [fault for fault in self.inflicted if not (isinstance(fault, faults.Pause) and fault.node == node)]
        self.stop_programs(node)
        self.fabric.renew(self.plan, node)
        self.injury.forget(node)
        self.suffer(kept)
        self.start_services([node])

    def apply(self, topology: Topology, *, check: bool) -> dict[str, list[str]]:
        """Make this another laboratory, by difference; return what was ``added``, ``removed``, ``changed``, and ``faults``
        that people made and that are in force: with those it is not checked. Raises ``LabError``: when the kernel refuses
        something it is what it was, as far as the kernel lets; when a check finds something it is changed none the less."""
        features.require(topology)
        # hardware addresses follow from the name
        before, after = self.plan, planned(dataclasses.replace(topology, name=self.plan.name), self.plan)
        again = [name for name, node in after.nodes.items() if _programs_differ(before, after, name)]
        stopped = [name for name in before.nodes if name in again or name not in after.nodes]
        for name in stopped:
            self.stop_programs(name)
            programs.forget_layers(name)
        kept = [fault for fault in self.inflicted if self.still_there(fault, after)]
        try:
            self.fabric.change(before, after)
        except (LabError, OSError):
            with contextlib.suppress(LabError, OSError, KeyError):  # of what was made only a part is there
                self.fabric.change(after, before)
                self.forget_changed(before, after)
                self.suffer()
                self.start_services(stopped)
            raise
        self.forget_changed(before, after)
        self.plan = after
        if before.hosts() != after.hosts():
            self.rename_hosts(after)
        try:
            if check and not kept:
                self.injury.inflict(after, [])  # what links suffer by the file is none of the check's business
                self.check()
        finally:
            self.suffer(kept)
            self.start_services(again)
        return {**difference(before, after), "faults": [faults.describe(fault) for fault in kept]}

    def forget_changed(self, before: Plan, after: Plan) -> None:
        """What went has no faults any more, even if another of its name stands in its place."""
        for name in before.nodes.keys() - after.nodes.keys():
            self.injury.forget(name)
        for name, cable in before.cables.items():
            if after.cables.get(name) != cable:
                self.injury.forget_cable(cable)

    def still_there(self, fault: Fault, after: Plan) -> bool:
        try:
            faults.validate(fault, after)
        except LabError:
            return False
        return True

    def rename_hosts(self, plan: Plan) -> None:
        """Nodes whose programs run see the new names."""
        for world in [self.worlds[name] for name in self.worlds if name in plan.nodes]:
            pid = os.fork()
            if pid == 0:
                with contextlib.suppress(BaseException):
                    world.enter()
                    Path("/etc/hosts").write_text(plan.hosts())
                os._exit(0)
            os.waitpid(pid, 0)

    # down

    def down(self) -> None:
        """End every program of the laboratory and let go of everything."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
        self.fabric.close()

    def processes(self, node: str) -> int:
        return len(of_namespace(self.fabric.places[node].netns))


def _programs_differ(before: Plan, after: Plan, name: str) -> bool:
    if name not in before.nodes:
        return True
    one, other = before.nodes[name], after.nodes[name]
    return (one.run, one.files, one.env) != (other.run, other.files, other.env)


def _answers(address: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(0.2)
        with contextlib.suppress(OSError):
            probe.connect((address, port))
            return True
    return False


def difference(before: Plan, after: Plan) -> dict[str, list[str]]:
    """Return the names of what came, went and stayed another."""
    found: dict[str, list[str]] = {"added": [], "removed": [], "changed": []}
    things: list[tuple[str, Mapping[str, object], Mapping[str, object]]] = [
        ("node", before.nodes, after.nodes),
        ("bridge", before.bridges, after.bridges),
        ("link", before.cables, after.cables),
    ]
    for kind, one, other in things:
        found["added"] += [f"{kind} {name}" for name in other if name not in one]
        found["removed"] += [f"{kind} {name}" for name in one if name not in other]
        found["changed"] += [f"{kind} {name}" for name in one if name in other and one[name] != other[name]]
    return found


def keep(plan: Plan, options: keeper.Options, listener: socket.socket, line: calls.Line, pid: int) -> None:
    """Be the keeper of a laboratory, until it is asked to end or its owner goes. Raises ``LabError`` before it is ready."""
    keeper.settle()
    keeper.detach()
    keeping = Keeping(plan, options, pid)
    keeping.up()
    checked = keeping.checked.checked if keeping.checked else 0
    line.send(
        {"name": options.name, "pid": pid, "nodes": len(plan.nodes), "links": len(plan.cables), "checked": checked}
    )
    line.close()
    from sampan.lab.serving import serve  # asyncio is imported when the laboratory is ready

    serve(keeping, listener)
