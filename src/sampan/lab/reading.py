"""YAML, or the same as keywords, to a ``Topology``. Every field that is wrong is told by its path, all of them at once.

A field is read by one function from its value and its path; what it cannot read it tells the ``Reader`` and goes on with a
value of the right type, so that one mistake does not hide the next.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, TypeVar

import yaml

from sampan.lab.errors import LabError, TopologyError
from sampan.lab.topology import (
    Bridge,
    File,
    Impairment,
    Interface,
    Link,
    LinkEnd,
    Node,
    Route,
    Service,
    Subnet,
    Topology,
)
from sampan.network.netlink import Address, Network

NAME = re.compile(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?")
INTERFACE_NAME = re.compile(r"[^\s/:%]+")
INTERFACE_NAME_MAX = 15
"""IFNAMSIZ without the zero byte (linux/if.h)."""
MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
BITS = {"": 1, "bit": 1, "kbit": 1_000, "mbit": 1_000_000, "gbit": 1_000_000_000}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}
IMPAIRMENT = ("loss", "rate", "delay", "jitter")
VLAN_MAX = 4094

T = TypeVar("T")


def load(source: str | Path | Mapping[str, Any]) -> Topology:
    """Return the topology of a YAML file, or of a mapping as YAML has it. Raises ``TopologyError``, ``LabError``."""
    if isinstance(source, Mapping):
        return read(source)
    path = Path(source)
    return read(parse(path), name=path.stem, source=str(path.resolve()))


def parse(path: Path) -> Any:
    """Return the plain data of a YAML file. Raises ``LabError``."""
    try:
        return yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        raise LabError(f"{path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise LabError(f"{path}: {' '.join(str(error).split())}", "the file must be YAML") from error


def read(data: object, name: str = "lab", source: str = "") -> Topology:
    """Return the topology of plain data. Raises ``TopologyError`` with all that is wrong."""
    reader = Reader()
    topology = reader.topology(data, name, source)
    if reader.problems:
        raise TopologyError(reader.problems)
    return topology


class Reader:
    """Reads fields; ``problems`` is what could not be read."""

    def __init__(self) -> None:
        self.problems: list[str] = []

    def wrong(self, path: str, message: str) -> None:
        self.problems.append(f"{path or 'topology'}: {message}")

    # shapes

    def fields(
        self, value: object, path: str, known: tuple[str, ...], required: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.wrong(path, f"must be a mapping with {', '.join(known)}, is {_shown(value)}")
            return {}
        for key in value:
            if key not in known:
                self.wrong(_at(path, str(key)), f"unknown field; there are {', '.join(known)}")
        for key in required:
            if value.get(key) in (None, ""):
                self.wrong(_at(path, key), "required")
        return {key: given for key, given in value.items() if given is not None}

    def each(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if value is None:
            return
        if not isinstance(value, list | tuple):
            self.wrong(path, f"must be a list, is {_shown(value)}")
            return
        for index, one in enumerate(value):
            yield f"{path}[{index}]", one

    def one_or_more(self, value: object, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, list | tuple):
            yield from self.each(value, path)
        elif value is not None:
            yield path, value

    # values

    def text(self, value: object, path: str, pattern: re.Pattern[str], what: str) -> str:
        if isinstance(value, bool) or not isinstance(value, str | int) or not pattern.fullmatch(str(value)):
            self.wrong(path, f"must be {what}, is {_shown(value)}")
            return ""
        return str(value)

    def name(self, value: object, path: str) -> str:
        return self.text(value, path, NAME, "a name of letters, digits and '-', at most 63")

    def reference(self, value: object, path: str) -> str:
        return "" if value in (None, "") else self.name(value, path)

    def interface_name(self, value: object, path: str) -> str:
        if value in (None, ""):
            return ""
        name = self.text(value, path, INTERFACE_NAME, "an interface's name without blanks, '/', ':' and '%'")
        if len(name.encode()) > INTERFACE_NAME_MAX:
            length = len(name.encode())
            self.wrong(path, f"{name!r} is {length} bytes long; Linux takes at most {INTERFACE_NAME_MAX}")
        elif name in (".", "..", "lo", "all", "default"):
            self.wrong(path, f"{name!r} cannot be the name of an interface")
        return name

    def flag(self, value: object, path: str) -> bool:
        if not isinstance(value, bool):
            self.wrong(path, f"must be true or false, is {_shown(value)}")
        return value is True

    def number(self, value: object, path: str, low: int, high: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            self.wrong(path, f"must be a number from {low} to {high}, is {_shown(value)}")
            return low
        return value

    def parsed(self, value: object, path: str, parse: Callable[[str], T], what: str) -> T | None:
        try:
            if not isinstance(value, str):
                raise ValueError
            return parse(value)
        except ValueError:
            self.wrong(path, f"must be {what}, is {_shown(value)}")
            return None

    def addresses(self, value: object, path: str) -> tuple[Address, ...]:
        found = [self.parsed(one, at, ip_address, "an IP address") for at, one in self.one_or_more(value, path)]
        return tuple(one for one in found if one is not None)

    def networks(self, value: object, path: str) -> tuple[Network, ...]:
        found = []
        for at, one in self.one_or_more(value, path):
            network = self.parsed(one, at, lambda text: ip_network(text, strict=False), "a range such as 10.1.0.0/24")
            if network is None:
                continue
            if str(network) != one and "/" in one and str(network.network_address) != one.split("/")[0].lower():
                self.wrong(at, f"{one} has host bits set; the range is {network}")
            found.append(network)
        for version in (4, 6):
            if len([one for one in found if one.version == version]) > 1 and not path.startswith("pools"):
                self.wrong(path, f"more than one range of IPv{version}")
        return tuple(found)

    def quantity(self, value: object, path: str, units: Mapping[str, float], what: str) -> float:
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", str(value).lower())
        if isinstance(value, bool) or not match or match[2] not in units:
            self.wrong(path, f"must be {what}, is {_shown(value)}")
            return 0
        return float(match[1]) * units[match[2]]

    def impairment(self, data: Mapping[str, Any], path: str) -> Impairment:
        loss = 0.0
        if "loss" in data:
            try:
                loss = float(str(data["loss"]).rstrip("%"))
            except ValueError:
                loss = -1
            if not 0 <= loss <= 100 or isinstance(data["loss"], bool):
                self.wrong(_at(path, "loss"), f"must be a percentage from 0 to 100, is {_shown(data['loss'])}")
        rate, delay, jitter = 0.0, 0.0, 0.0
        if "rate" in data:
            rate = self.quantity(data["rate"], _at(path, "rate"), BITS, "a rate such as 10mbit")
        if "delay" in data:
            delay = self.quantity(data["delay"], _at(path, "delay"), SECONDS, "a time such as 20ms")
        if "jitter" in data:
            jitter = self.quantity(data["jitter"], _at(path, "jitter"), SECONDS, "a time such as 5ms")
            if jitter > delay:
                self.wrong(_at(path, "jitter"), "must not be more than the delay")
        return Impairment(max(loss, 0), int(rate), delay, jitter)

    # things

    def topology(self, data: object, name: str, source: str) -> Topology:
        known = ("name", "pools", "subnets", "bridges", "nodes", "links")
        given = self.fields(data, "", known)
        if isinstance(data, Mapping) and not given.get("nodes"):
            self.wrong("nodes", "a laboratory has at least one node")
        return Topology(
            name=self.name(given["name"], "name")
            if "name" in given
            else re.sub(r"[^a-zA-Z0-9-]+", "-", name).strip("-"),
            pools=self.networks(given.get("pools"), "pools"),
            subnets=tuple(self.subnet(one, path) for path, one in self.each(given.get("subnets"), "subnets")),
            bridges=tuple(self.bridge(one, path) for path, one in self.each(given.get("bridges"), "bridges")),
            nodes=tuple(self.node(one, path) for path, one in self.each(given.get("nodes"), "nodes")),
            links=tuple(self.link(one, path) for path, one in self.each(given.get("links"), "links")),
            source=source,
        )

    def subnet(self, data: object, path: str) -> Subnet:
        if isinstance(data, str):
            return Subnet(self.name(data, path))
        given = self.fields(data, path, ("name", "cidr", "vlan", "over"), ("name",))
        vlan = self.number(given["vlan"], f"{path}.vlan", 1, VLAN_MAX) if "vlan" in given else 0
        if ("vlan" in given) != ("over" in given):
            missing = "over" if "vlan" in given else "vlan"
            self.wrong(f"{path}.{missing}", "required: vlan and over belong together")
        return Subnet(
            self.name(given.get("name"), f"{path}.name") if given.get("name") else "",
            self.networks(given.get("cidr"), f"{path}.cidr"),
            vlan,
            self.reference(given.get("over"), f"{path}.over"),
        )

    def bridge(self, data: object, path: str) -> Bridge:
        given = self.fields(data, path, ("name", "subnet"), ("name", "subnet"))
        name = self.reference(given.get("name"), f"{path}.name")
        if len(name) > INTERFACE_NAME_MAX:
            self.wrong(f"{path}.name", f"{name!r} is {len(name)} bytes long; Linux takes at most {INTERFACE_NAME_MAX}")
        return Bridge(name, self.reference(given.get("subnet"), f"{path}.subnet"))

    def interface(self, data: object, path: str, known: tuple[str, ...], required: tuple[str, ...]) -> Interface:
        given = self.fields(data, path, known, required)
        mac = str(given.get("mac", "")).lower()
        if mac and (not MAC.fullmatch(mac) or int(mac[:2], 16) & 1):
            self.wrong(f"{path}.mac", f"must be the hardware address of one station, is {_shown(given['mac'])}")
        return Interface(
            subnet=self.reference(given.get("subnet"), f"{path}.subnet"),
            name=self.interface_name(given.get("name"), f"{path}.name"),
            addresses=self.addresses(given.get("address"), f"{path}.address"),
            mac=mac,
            mtu=self.number(given.get("mtu", 1500), f"{path}.mtu", 68, 65535),
            bridge=self.reference(given.get("bridge"), f"{path}.bridge"),
            link=self.reference(given.get("link"), f"{path}.link"),
            impairment=self.impairment(given, path),
        )

    def node(self, data: object, path: str) -> Node:
        known = ("name", "interfaces", "router", "nat", "routes", "planned_routes", "run", "files", "env")
        given = self.fields(data, path, known, ("name",))
        plugs = ("subnet", "name", "address", "mac", "mtu", "bridge", "link", *IMPAIRMENT)
        return Node(
            name=self.reference(given.get("name"), f"{path}.name"),
            interfaces=tuple(
                Interface(subnet=self.name(one, at))
                if isinstance(one, str)
                else self.interface(one, at, plugs, ("subnet",))
                for at, one in self.each(given.get("interfaces"), f"{path}.interfaces")
            ),
            router=self.flag(given.get("router", False), f"{path}.router"),
            nat=tuple(self.name(one, at) for at, one in self.one_or_more(given.get("nat"), f"{path}.nat")),
            routes=tuple(
                route
                for at, one in self.each(given.get("routes"), f"{path}.routes")
                if (route := self.route(one, at)) is not None
            ),
            planned_routes=self.flag(given.get("planned_routes", True), f"{path}.planned_routes"),
            run=tuple(self.service(one, at) for at, one in self.each(given.get("run"), f"{path}.run")),
            files=tuple(self.files(given.get("files"), f"{path}.files")),
            env=tuple(self.environment(given.get("env"), f"{path}.env")),
        )

    def route(self, data: object, path: str) -> Route | None:
        given = self.fields(data, path, ("to", "via"), ("to", "via"))
        if "to" not in given or "via" not in given:
            return None
        via = self.parsed(given["via"], f"{path}.via", ip_address, "an IP address")
        if given["to"] == "default":
            return Route(ip_network("0.0.0.0/0" if via is None or via.version == 4 else "::/0"), via) if via else None
        to = self.networks(given["to"], f"{path}.to")
        if via and to and to[0].version != via.version:
            self.wrong(f"{path}.via", f"{via} is of another family than {to[0]}")
        return Route(to[0], via) if to and via else None

    def service(self, data: object, path: str) -> Service:
        if isinstance(data, str):
            data = {"command": data}
        given = self.fields(data, path, ("command", "listens"), ("command",))
        command, words = given.get("command", []), []
        if isinstance(command, str):
            try:
                words = shlex.split(command)
            except ValueError as error:
                self.wrong(f"{path}.command", f"cannot be split into words: {error}")
        elif isinstance(command, list) and all(isinstance(word, str | int | float) for word in command):
            words = [str(word) for word in command]
        else:
            self.wrong(f"{path}.command", f"must be a text or a list of words, is {_shown(command)}")
        listens = self.number(given["listens"], f"{path}.listens", 1, 65535) if "listens" in given else 0
        return Service(tuple(words), listens)

    def files(self, data: object, path: str) -> Iterator[File]:
        if data is None:
            return
        if not isinstance(data, Mapping):
            self.wrong(path, f"must be a mapping of paths to texts, is {_shown(data)}")
            return
        for name, given in data.items():
            at = f"{path}[{name}]"
            if not isinstance(name, str) or not name.startswith("/") or ".." in name.split("/") or name.endswith("/"):
                self.wrong(at, "must be the absolute path of a file")
                continue
            if isinstance(given, str):
                yield File(name, given)
                continue
            fields = self.fields(given, at, ("content", "mode"), ("content",))
            if not isinstance(fields.get("content", ""), str):
                self.wrong(f"{at}.content", f"must be a text, is {_shown(fields['content'])}")
                continue
            yield File(name, fields.get("content", ""), self.number(fields.get("mode", 0o644), f"{at}.mode", 0, 0o7777))

    def environment(self, data: object, path: str) -> Iterator[tuple[str, str]]:
        if data is None:
            return
        if not isinstance(data, Mapping):
            self.wrong(path, f"must be a mapping of names to texts, is {_shown(data)}")
            return
        for name, value in data.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                self.wrong(f"{path}[{name}]", "must be the name of an environment variable")
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                self.wrong(f"{path}[{name}]", f"must be a text, is {_shown(value)}")
            else:
                yield name, str(value)

    def link(self, data: object, path: str) -> Link:
        given = self.fields(data, path, ("name", "ends", "subnet", "mtu", *IMPAIRMENT), ("ends",))
        ends = [self.end(one, at, given) for at, one in self.each(given.get("ends"), f"{path}.ends")]
        if "ends" in given and len(ends) != 2:
            self.wrong(f"{path}.ends", f"a link has two ends, not {len(ends)}")
        ends = [*ends, LinkEnd(""), LinkEnd("")]
        return Link(
            (ends[0], ends[1]),
            self.reference(given.get("name"), f"{path}.name"),
            self.reference(given.get("subnet"), f"{path}.subnet"),
            self.impairment(given, path),
        )

    def end(self, data: object, path: str, link: Mapping[str, Any]) -> LinkEnd:
        if isinstance(data, str):
            name, _, interface = data.partition(":")
            data = {"node": name, "name": interface}
        given = self.fields(data, path, ("node", "name", "address", "mac"), ("node",))
        made = {key: value for key, value in given.items() if key != "node"} | {
            key: link[key] for key in ("mtu",) if key in link
        }
        plug = self.interface(made, path, ("name", "address", "mac", "mtu"), ())
        return LinkEnd(self.reference(given.get("node"), f"{path}.node"), plug)


def _at(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _shown(value: object) -> str:
    text = repr(value) if isinstance(value, str | int | float | bool) or value is None else f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
