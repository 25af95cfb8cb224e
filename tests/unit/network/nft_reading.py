"""As much of nftables as the policies' table needs: takes its transactions, refuses what the kernel would, judges packets."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import NamedTuple


class Packet(NamedTuple):
    source: str
    destination: str
    protocol: str
    port: int

    @property
    def version(self) -> int:
        return ip_address(self.source).version


class Refused(Exception):
    """What the kernel would not take."""


@dataclass
class Table:
    sets: dict[str, dict[str, str]] = field(default_factory=dict)
    chains: dict[str, list[str]] = field(default_factory=dict)

    def load(self, text: str) -> None:
        """Take a whole table or a transaction; all of it or, where something is refused, nothing that counts."""
        chain = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("delete table"):
                self.sets, self.chains = {}, {}
            elif chain and line == "}":
                chain = ""
            elif chain and not line.startswith("type "):
                self.chains[chain].append(line)
            elif found := re.fullmatch(r"(?:map|set) (\S+) \{.*\}", line):
                self.sets[found[1]] = {}
            elif found := re.fullmatch(r"chain (\S+) \{", line):
                chain = found[1]
                self.chains[chain] = []
            elif found := re.fullmatch(r"(add|delete|flush) (element|rule|chain|set) inet \S+ (\S+)(?: (.*))?", line):
                self._do(*found.groups())
        self._check()

    def _do(self, verb: str, what: str, name: str, rest: str | None) -> None:
        if what == "set":
            if verb == "add":
                assert name not in self.sets
                self.sets[name] = {}
            else:
                del self.sets[name]
        elif what == "chain" and verb == "delete":
            if self.chains.pop(name):
                raise Refused(f"{name} is not empty")
        elif what == "chain":
            if (verb == "add") == (name in self.chains):
                raise Refused(f"{verb} {name}")
            self.chains[name] = []
        elif what == "rule":
            assert rest
            self.chains[name].append(rest)
        else:
            assert rest
            for element in rest.strip("{} ").split(", "):
                key, _, verdict = element.partition(" : ")
                if verb == "delete":
                    del self.sets[name][key]
                elif self.sets[name].setdefault(key, verdict) != verdict:
                    raise Refused(f"{name} {key} is there already")

    def _check(self) -> None:
        """Nothing that is referred to is missing."""
        words = [rule for rules in self.chains.values() for rule in rules]
        words += [verdict for elements in self.sets.values() for verdict in elements.values()]
        for text in words:
            text = re.sub(r'comment ".*"', "", text)
            for name in re.findall(r"@(\S+)", text):
                assert name in self.sets, f"no set {name}"
            for name in re.findall(r"(?:goto|jump) (\S+)", text):
                assert name in self.chains, f"no chain {name}"

    def allows(self, packet: Packet) -> bool:
        """Whether the first packet of a connection comes through."""
        return self._run("forward", packet) != "drop"

    def _run(self, chain: str, packet: Packet) -> str:
        for rule in self.chains[chain]:
            verdict = self._rule(rule, packet)
            kind, _, target = verdict.partition(" ")
            if kind in ("accept", "drop"):
                return kind
            if kind in ("goto", "jump"):
                found = self._run(target, packet)
                if found or kind == "goto":
                    return found
        return ""

    def _rule(self, rule: str, packet: Packet) -> str:
        """Return the verdict of a rule, empty where it does not match."""
        rest = re.sub(r' ?comment ".*"$', "", rule)
        while rest:
            if rest.startswith("ct state"):
                return ""
            if found := re.match(r"counter ?", rest):
                pass
            elif found := re.match(r"(accept|drop|(?:goto|jump) \S+)$", rest):
                return found[1]
            elif found := re.match(r"(ip6?) ([sd]addr) vmap @(\S+)", rest):
                key = self._field(found[1], found[2], packet)
                return self.sets[found[3]].get(key, "") if key else ""
            elif found := re.match(r"(ip6?) ([sd]addr) \. (?:(ip6?) ([sd]addr)|(\w+) dport) @(\S+) ?", rest):
                first = self._field(found[1], found[2], packet)
                second = self._field(found[3], found[4], packet) if found[3] else self._port(found[5], packet)
                if f"{first} . {second}" not in self.sets[found[6]]:
                    return ""
            elif found := re.match(r"(ip6?) ([sd]addr) (!= )?(@\S+|\{.*?\}|\S+) ?", rest):
                address = self._field(found[1], found[2], packet)
                if not address or self._within(address, found[4]) is bool(found[3]):
                    return ""
            elif found := re.match(r"meta (l4proto|nfproto) (\S+) ?", rest):
                if found[2] not in (packet.protocol, f"ipv{packet.version}"):
                    return ""
            elif found := re.match(r"(\w+) dport \{ (.*?) \} ?", rest):
                ranges = [part.split("-") for part in found[2].split(", ")]
                port = self._port(found[1], packet)
                if not port or not any(int(each[0]) <= int(port) <= int(each[-1]) for each in ranges):
                    return ""
            else:
                raise AssertionError(f"not understood: {rest}")
            rest = rest[found.end() :]
        return ""

    def _field(self, family: str, side: str, packet: Packet) -> str:
        if (family == "ip6") != (packet.version == 6):
            return ""
        return packet.source if side == "saddr" else packet.destination

    def _port(self, protocol: str, packet: Packet) -> str:
        return str(packet.port) if protocol == packet.protocol else ""

    def _within(self, address: str, where: str) -> bool:
        if where.startswith("@"):
            return address in self.sets[where[1:]]
        return any(ip_address(address) in ip_network(text) for text in where.strip("{} ").split(", "))
