"""Faults carried out: the difference between those that are and those that are to be, in the namespaces of a laboratory."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Sequence

from sampan.lab import faults as kinds
from sampan.lab import features
from sampan.lab.errors import LabError
from sampan.lab.fabric import Fabric
from sampan.lab.faults import Fault
from sampan.lab.plan import Cable, Plan, Plug
from sampan.lab.processes import signal_all
from sampan.lab.topology import Impairment
from sampan.network import links, qdiscs
from sampan.network.netlink import NetlinkError


class Injury:
    """The faults of a laboratory; ``faults`` is what is in force."""

    def __init__(self, fabric: Fabric) -> None:
        self.fabric = fabric
        self.faults: tuple[Fault, ...] = ()
        self.filtered: dict[str, str] = {}
        """Place → the rules it has."""
        self.shaped: dict[tuple[str, int], Impairment] = {}
        self.down: dict[str, Plug] = {}
        self.routes: dict[str, list[bytes]] = {}
        """Link that is cut → what puts back the routes and addresses that went with its end."""

    def inflict(self, plan: Plan, faults: Sequence[Fault]) -> None:
        """Have these faults and no others. Raises ``LabError``."""
        for fault in faults:
            if isinstance(fault, kinds.Delay) and not features.has("netem"):
                raise LabError(
                    f"{kinds.describe(fault)}: this kernel has no {features.WHERE['netem']}",
                    "loss, rate, cut, flap, one-way, pause and partition need none",
                )
        shaping = features.has("tbf") if any(isinstance(fault, kinds.Rate) for fault in faults) else True
        self.filter(kinds.rules_of(faults, plan, shaping=shaping))
        self.shape(kinds.shaped(faults, plan) if shaping else {})
        self.cut(kinds.down(faults, plan))
        before = {fault.node for fault in self.faults if isinstance(fault, kinds.Pause)}
        after = {fault.node for fault in faults if isinstance(fault, kinds.Pause)}
        for node in before - after:
            self.processes(node, signal.SIGCONT)
        for node in after - before:
            self.processes(node, signal.SIGSTOP)
        self.faults = tuple(faults)

    def processes(self, node: str, number: int) -> None:
        if node in self.fabric.places:
            signal_all(self.fabric.places[node].netns, number)

    def filter(self, rules: kinds.Rules) -> None:
        texts = {place: kinds.nft_text(devices) for place, devices in rules.items()}
        for place in self.filtered.keys() - texts.keys():
            texts[place] = kinds.nft_text({})
        for place, text in texts.items():
            if text != self.filtered.get(place) and place in self.fabric.places:
                self.fabric.nft(place, text)
            if rules.get(place):
                self.filtered[place] = text
            else:
                self.filtered.pop(place, None)

    def shape(self, wanted: dict[tuple[str, int], Impairment]) -> None:
        for place, number in self.shaped.keys() - wanted.keys():
            if place in self.fabric.places:
                with contextlib.suppress(NetlinkError):  # it went with its link
                    self.fabric.places[place].netlink.batch([qdiscs.plain(number)])
            del self.shaped[place, number]
        for (place, number), impairment in wanted.items():
            if self.shaped.get((place, number)) == impairment:
                continue
            if impairment.delay_seconds:
                seconds, jitter = impairment.delay_seconds, impairment.jitter_seconds
                message = qdiscs.emulate(number, seconds, jitter, impairment.rate_bits)
            else:
                message = qdiscs.shape(number, impairment.rate_bits)
            try:
                self.fabric.places[place].netlink.batch([message])
            except NetlinkError as error:
                raise LabError(f"a link of {place or 'the bridges'}: the kernel refuses: {error.strerror}") from error
            self.shaped[place, number] = impairment

    def cut(self, wanted: dict[str, Plug]) -> None:
        for name in self.down.keys() - wanted.keys():
            plug = self.down.pop(name)
            kept = self.routes.pop(name)
            place = self.fabric.places.get(plug.place)
            if place is not None:
                with contextlib.suppress(NetlinkError):  # it went with its link
                    place.netlink.batch([links.set_state(plug.number, up=True), *kept])
        for name, plug in wanted.items():
            if name in self.down:
                continue
            place = self.fabric.places[plug.place]
            kept = links.kept_by(place.netlink, plug.number) if plug.place else []
            place.netlink.batch([links.set_state(plug.number, up=False)])
            self.down[name], self.routes[name] = plug, kept

    def forget(self, place: str) -> None:
        """A place is new: what was done there is gone."""
        self.filtered.pop(place, None)
        for key in [key for key in self.shaped if key[0] == place]:
            del self.shaped[key]
        for name in [name for name, plug in self.down.items() if plug.place == place]:
            del self.down[name], self.routes[name]

    def forget_cable(self, cable: Cable) -> None:
        """A cable is gone, perhaps for another one of its name: what was done to it is gone, too."""
        for plug in cable.ends:
            self.filtered.pop(plug.place, None)
            self.shaped.pop((plug.place, plug.number), None)
        self.down.pop(cable.name, None)
        self.routes.pop(cable.name, None)
