"""YAML, or the same as keywords, to a ``Topology``. Every field that is wrong is told by its path, all of them at once
(``fields.py``).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from sampan.lab.errors import LabError, TopologyError
from sampan.lab.fields import IMPAIRMENT, INTERFACE_NAME_MAX, MAC, VLAN_MAX, Fields, shown
from sampan.lab.topology import (
    Bridge,
    File,
    Interface,
    Link,
    LinkEnd,
    Node,
    Route,
    Service,
    Subnet,
    Topology,
)


def load(source: str | Path | Mapping[str, Any]) -> Topology:
    """Return the topology of a YAML file, or of a mapping as YAML has it. Raises ``TopologyError``, ``LabError``."""
    if isinstance(source, Mapping):
        return read(source)
    path = Path(source)
    return read(parse(path), name=path.stem, source=str(path.resolve()))


def parse(path: Path) -> Any:
    """Return the plain data of a YAML file. Raises ``LabError``."""
    import yaml  # a keeper is told plain data and need not have it

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


class Reader(Fields):
    """Reads the things of a topology."""

    def topology(self, data: object, name: str, source: str) -> Topology:
        known = ("name", "pools", "subnets", "bridges", "nodes", "links")
        given = self.fields(data, "", known)
        if isinstance(data, Mapping) and not given.get("nodes"):
            self.wrong("nodes", "a laboratory has at least one node")
        of_file = re.sub(r"[^a-zA-Z0-9]+", "-", name)[:60].strip("-") or "lab"
        return Topology(
            name=self.name(given["name"], "name") if "name" in given else of_file,
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
            self.wrong(f"{path}.mac", f"must be the hardware address of one station, is {shown(given['mac'])}")
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
            self.wrong(f"{path}.command", f"must be a text or a list of words, is {shown(command)}")
        listens = self.number(given["listens"], f"{path}.listens", 1, 65535) if "listens" in given else 0
        return Service(tuple(words), listens)

    def files(self, data: object, path: str) -> Iterator[File]:
        if data is None:
            return
        if not isinstance(data, Mapping):
            self.wrong(path, f"must be a mapping of paths to texts, is {shown(data)}")
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
                self.wrong(f"{at}.content", f"must be a text, is {shown(fields['content'])}")
                continue
            yield File(name, fields.get("content", ""), self.number(fields.get("mode", 0o644), f"{at}.mode", 0, 0o7777))

    def environment(self, data: object, path: str) -> Iterator[tuple[str, str]]:
        if data is None:
            return
        if not isinstance(data, Mapping):
            self.wrong(path, f"must be a mapping of names to texts, is {shown(data)}")
            return
        for name, value in data.items():
            if not isinstance(name, str) or not name or "=" in name or "\0" in name:
                self.wrong(f"{path}[{name}]", "must be the name of an environment variable")
            elif isinstance(value, bool) or not isinstance(value, str | int | float):
                self.wrong(f"{path}[{name}]", f"must be a text, is {shown(value)}")
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
