"""What the keeper answers: one method a question, from plain data to plain data and descriptors."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from sampan.lab import checking, echo, faults, graph
from sampan.lab.errors import LabError
from sampan.lab.faults import Cut, Fault
from sampan.lab.flaps import Flap, Flaps
from sampan.lab.keeping import Keeping
from sampan.lab.reachability import Reachability, every
from sampan.lab.reading import read
from sampan.network import links

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
QUICK = (
    "identity", "status", "addresses", "graph", "logs", "enter", "socket", "capture", "fault", "flap", "heal", "apply",
    "restart",
)  # fmt: skip
"""Questions that are answered at once."""
SLOW = ("check", "ping")
"""And those that wait for others, and are answered by a fork."""


class Answers:
    """Answers about one laboratory. All raise ``LabError`` with what is wrong about a question."""

    def __init__(self, keeping: Keeping, flaps: Flaps) -> None:
        self.keeping = keeping
        self.flaps = flaps

    def identity(self, message: Message) -> Answer:
        return {"pid": self.keeping.pid}, []

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
        return {
            "name": keeping.options.name,
            "pid": keeping.pid,
            "seconds": time.time() - keeping.started,
            "source": keeping.plan.topology.source,
            "nodes": nodes,
            "links": self.links(),
            "faults": [faults.describe(fault) for fault in keeping.injury.faults] + self.flaps.described(),
        }, []

    def links(self) -> list[Message]:
        """Return every link with its ends, whether it is up, and what came out at the end that is named last."""
        counters = {
            (name, one.number): one
            for name, place in self.keeping.fabric.places.items()
            for one in links.traffic(place.netlink)
        }
        found = []
        for cable in self.keeping.plan.cables.values():
            plug = cable.ends[1]
            one = counters[plug.place, plug.number]
            counted = {"packets": one.received_packets + one.sent_packets, "bytes": one.received_bytes + one.sent_bytes}
            ends = [end.shown for end in cable.ends]
            found.append({"name": cable.name, "ends": ends, "state": one.operational, **counted})
        return found

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

    # asking the nodes

    def check(self, message: Message) -> Answer:
        verdict = checking.check(self.keeping.fabric.places, self.keeping.plan, every(self.keeping.plan))
        return {"checked": verdict.checked, "well": verdict.well, "lines": verdict.lines()}, []

    def ping(self, message: Message) -> Answer:
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
        return {"targets": found}, []

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

    def flap(self, message: Message) -> Answer:
        link = self.keeping.choose("link", message["seed"]) if message["link"] == "any" else message["link"]
        flap = Flap(link, message["down"], message["up"], message["times"], message["seed"])
        self.flaps.begin(flap)
        return {"fault": str(flap)}, []

    def heal(self, message: Message) -> Answer:
        name = message.get("name", "")
        ended = self.flaps.end(name)
        return {"healed": self.keeping.heal(name) + ended}, []

    def apply(self, message: Message) -> Answer:
        topology = read(message["topology"], message.get("name", "lab"), message.get("source", ""))
        self.flaps.end()
        return self.keeping.apply(topology, check=message["check"]), []

    def restart(self, message: Message) -> Answer:
        self.keeping.restart(message["node"])
        return {}, []
