"""The CNI plugin's work, done by the node's agent: a veth pair and an address for each pod.

A pod has a /32 and its only routes lead to the bridge, so that every packet between pods is routed and passes connection
tracking: Services work without the br_netfilter module, and NetworkPolicy sees all. The kernel holds the state: a pod's link
is named after its container id, and its hardware address carries the pod's, so a restarted agent knows from one look at
the links who has which address, and an address is free when its link is gone.

Flow: ``handle`` takes one call as the shim (``cni_shim.py``) sends it, the verbs run in ``executor``'s threads, and the bytes
that it returns are the exit code and what to print. Source: CNI specification 1.0.0 (STATUS and GC of 1.1.0).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sampan.network import netlink
from sampan.network.addresses import AddressPool, NoFreeAddress
from sampan.network.host_ports import HostPortError, HostPorts, mappings_of
from sampan.network.netlink import Netlink, NetlinkError

logger = logging.getLogger("sampan.network")

BRIDGE = "sampan0"
VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
INVALID_ENVIRONMENT, IO_FAILURE, UNDECODABLE, INVALID_CONFIG, TRY_LATER = 4, 5, 6, 7, 11
INCOMPATIBLE_VERSION, NO_ADDRESS, NOT_AVAILABLE, NOT_AS_ADDED = 1, 100, 50, 101
ANYWHERE = IPv4Network("0.0.0.0/0")


class CniError(Exception):
    """A refusal as CNI prints it."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the plugin: its ``CNI_*`` variables by name without the prefix, and the configuration."""

    plugin: str
    variables: dict[str, str]
    config: dict[str, Any]

    def need(self, name: str) -> str:
        value = self.variables.get(name, "")
        if not value:
            raise CniError(INVALID_ENVIRONMENT, f"required environment variable CNI_{name} is not set")
        return value

    @property
    def version(self) -> str:
        return str(self.config.get("cniVersion") or "0.1.0")


def parse_call(data: bytes) -> Call:
    """Return the call of a shim's message. Raises ``CniError``."""
    head, _, body = data.partition(b"\n\n")
    pairs = dict(line.partition("=")[::2] for line in head.decode(errors="replace").split("\n"))
    plugin = pairs.pop("PLUGIN", "sampan")
    try:
        config = json.loads(body or b"{}")
    except ValueError as error:
        raise CniError(UNDECODABLE, f"the network configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(UNDECODABLE, "the network configuration is not an object")
    return Call(plugin, {name.removeprefix("CNI_"): value for name, value in pairs.items()}, config)


def link_name(container_id: str, interface: str) -> str:
    """Return the name of a pod's link in the cluster's namespace (15 characters at most)."""
    return "pod" + hashlib.sha256(f"{container_id}/{interface}".encode()).hexdigest()[:12]


def mac_of(address: IPv4Address, prefix: str) -> str:
    """Return a hardware address that carries an IP address; the prefix tells the two ends of a link apart."""
    return f"{prefix}:{address.packed.hex(':')}"


OUTER, INNER = "02:53", "0a:58"


class Plugin:
    """The pod network of this node."""

    def __init__(self, pod_cidr: IPv4Network, mtu: int = 1500) -> None:
        self.gateway = pod_cidr[1]
        self.pod_cidr = pod_cidr
        self.mtu = mtu
        self.pool = AddressPool(pod_cidr, [self.gateway])
        self.bridge = 0
        self.host_ports = HostPorts(BRIDGE)
        self._lock, self._ports_lock = threading.Lock(), threading.Lock()
        self._verbs: dict[str, Callable[[Call], dict[str, Any] | None]] = {
            "ADD": self.add,
            "DEL": self.delete,
            "CHECK": self.check,
            "VERSION": self.version,
            "STATUS": self.status,
            "GC": self.collect,
        }
        # adding and deleting side by side: the kernel takes long to delete a link
        self.executor = ThreadPoolExecutor(3, thread_name_prefix="cni")

    def prepare(self) -> None:
        """Make the bridge and read off the links which addresses are given out. Blocks."""
        with Netlink() as here:
            found = here.link(BRIDGE)
            if found is None:
                here.request(netlink.add_bridge(BRIDGE, mac_of(self.gateway, OUTER), self.mtu))
                found = here.link(BRIDGE)
                assert found is not None
            self.bridge = found.number
            here.request(
                netlink.set_up(BRIDGE), netlink.add_address(self.bridge, self.gateway, self.pod_cidr.prefixlen)
            )
            for link in here.links():
                if link.master == self.bridge and link.mac.startswith(OUTER):
                    self.pool.take(IPv4Address(bytes.fromhex(link.mac.replace(":", ""))[2:]), link.name)
        self.host_ports.prepare(self.pool.taken.values())

    async def handle(self, data: bytes) -> bytes:
        """Return the answer to a shim's message: the exit code, a newline, what to print."""
        version = "1.0.0"
        try:
            call = parse_call(data)
            version = call.version
            verb = self._verbs.get(call.need("COMMAND"))
            if verb is None:
                raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {call.variables['COMMAND']}")
            if version not in VERSIONS and verb != self.version:
                raise CniError(
                    INCOMPATIBLE_VERSION,
                    "incompatible CNI versions",
                    f"config is {version}, plugin supports {VERSIONS}",
                )
            if call.plugin == "loopback":
                verb = self.loopback
            result = await asyncio.get_running_loop().run_in_executor(self.executor, verb, call)
        except CniError as error:
            return _failure(version, error.code, str(error), error.details)
        except NoFreeAddress as error:
            return _failure(version, NO_ADDRESS, str(error))
        except OSError as error:
            logger.error("CNI call failed: %s", error)
            return _failure(version, IO_FAILURE, str(error))
        return b"0\n" + (json.dumps(result).encode() if result is not None else b"")

    # verbs, each in a thread of the executor

    def add(self, call: Call) -> dict[str, Any]:
        interface = call.need("IFNAME")
        name = link_name(call.need("CONTAINERID"), interface)
        with self._lock:
            address = self.pool.allocate(name)
        try:
            with _open(call.need("NETNS")) as netns:
                self._connect(name, interface, netns, address)
            with self._ports_lock:
                self.host_ports.add(name, address, mappings_of(call.config.get("runtimeConfig") or {}))
        except HostPortError as error:
            self._forget(name)
            raise CniError(IO_FAILURE, f"hostPort: {error}") from error
        except BaseException:
            self._forget(name)
            raise
        inner = {"name": interface, "mac": mac_of(address, INNER), "sandbox": call.need("NETNS")}
        outer = {"name": name, "mac": mac_of(address, OUTER)}
        ips: dict[str, Any] = {"address": f"{address}/32", "gateway": str(self.gateway), "interface": 2}
        if call.version.startswith("0."):
            ips["version"] = "4"
        return {
            "cniVersion": call.version,
            "interfaces": [{"name": BRIDGE, "mac": mac_of(self.gateway, OUTER)}, outer, inner],
            "ips": [ips],
            "routes": [{"dst": "0.0.0.0/0", "gw": str(self.gateway)}],
            "dns": call.config.get("dns") or {},
        }

    def _connect(self, name: str, interface: str, netns: int, address: IPv4Address) -> None:
        with Netlink() as here:
            macs = {"mac": mac_of(address, OUTER), "peer_mac": mac_of(address, INNER)}
            pair = netlink.add_veth(name, interface, netns, mtu=self.mtu, master=self.bridge, **macs)
            try:
                here.request(pair)
            except NetlinkError as error:
                if error.errno != errno.EEXIST:
                    raise
                # what a call that was cut short has left
                here.request(netlink.delete_link(name))
                here.request(pair)
            outer = here.link(name)
            if outer is None:
                raise CniError(IO_FAILURE, f"the link {name} went while it was made")
            here.request(netlink.hairpin(outer.number))
        with Netlink(netns) as pod:
            # a kernel without IPv6 refuses the first, and needs it not
            with contextlib.suppress(NetlinkError):
                pod.request(netlink.no_ipv6_address(interface))
            pod.request(netlink.set_up("lo"), netlink.set_up(interface))
            inner = pod.link(interface)
            if inner is None:
                raise CniError(IO_FAILURE, f"the interface {interface} went while it was made")
            pod.request(
                netlink.add_address(inner.number, address, 32),
                netlink.add_route(IPv4Network(self.gateway), inner.number),
                netlink.add_route(ANYWHERE, inner.number, self.gateway),
            )

    def delete(self, call: Call) -> None:
        """Nothing that is gone is an error: DEL may come twice, late, or without a namespace."""
        self._forget(link_name(call.need("CONTAINERID"), call.need("IFNAME")))

    def _forget(self, name: str) -> None:
        with self._ports_lock:
            self.host_ports.remove(name)
        with Netlink() as here:
            try:
                here.request(netlink.delete_link(name))
            except NetlinkError as error:
                if error.errno != errno.ENODEV:
                    raise
        with self._lock:
            self.pool.release(name)

    def check(self, call: Call) -> None:
        interface = call.need("IFNAME")
        name = link_name(call.need("CONTAINERID"), interface)
        with Netlink() as here, _open(call.need("NETNS")) as netns, Netlink(netns) as pod:
            outer, inner = here.link(name), pod.link(interface)
            if outer is None or inner is None or outer.master != self.bridge:
                raise CniError(NOT_AS_ADDED, f"the link of {interface} is not as it was added")
            expected = IPv4Address(bytes.fromhex(outer.mac.replace(":", ""))[2:])
            if expected not in pod.addresses(inner.number):
                raise CniError(NOT_AS_ADDED, f"{interface} has lost its address {expected}")
            if not any(route.destination == ANYWHERE for route in pod.routes()):
                raise CniError(NOT_AS_ADDED, f"{interface} has lost its default route")

    def version(self, call: Call) -> dict[str, Any]:
        return {"cniVersion": call.version, "supportedVersions": list(VERSIONS)}

    def status(self, call: Call) -> None:
        with Netlink() as here:
            bridge = here.link(BRIDGE)
        if bridge is None or not bridge.flags & netlink.IFF_UP:
            raise CniError(NOT_AVAILABLE, f"the bridge {BRIDGE} is not up")

    def collect(self, call: Call) -> None:
        """Remove the links of attachments that the runtime no longer knows."""
        valid = call.config.get("cni.dev/valid-attachments")
        if not isinstance(valid, list):
            raise CniError(INVALID_CONFIG, "cni.dev/valid-attachments is missing")
        kept = {link_name(entry.get("containerID", ""), entry.get("ifname", "")) for entry in valid}
        with Netlink() as here:
            gone = [link.name for link in here.links() if link.master == self.bridge and link.name not in kept]
        for name in gone:
            self._forget(name)

    def loopback(self, call: Call) -> dict[str, Any] | None:
        """What the plugin ``loopback`` does; containerd 1.x wants it for every pod."""
        command = call.need("COMMAND")
        if command == "VERSION":
            return self.version(call)
        if command != "ADD":
            return None
        with _open(call.need("NETNS")) as netns, Netlink(netns) as pod:
            pod.request(netlink.set_up("lo"))
        address: dict[str, Any] = {"address": "127.0.0.1/8", "interface": 0}
        if call.version.startswith("0."):
            address["version"] = "4"
        interface = {"name": "lo", "mac": "00:00:00:00:00:00", "sandbox": call.need("NETNS")}
        return {"cniVersion": call.version, "interfaces": [interface], "ips": [address], "dns": {}}


@contextlib.contextmanager
def _open(path: str) -> Iterator[int]:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise CniError(INVALID_ENVIRONMENT, f"failed to open netns {path!r}: {error.strerror}") from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _failure(version: str, code: int, message: str, details: str = "") -> bytes:
    body = {"cniVersion": version, "code": code, "msg": message, **({"details": details} if details else {})}
    return b"1\n" + json.dumps(body).encode()


async def serve_cni(plugin: Plugin, path: Path) -> None:
    """Answer the shims on a Unix socket until cancelled."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(await plugin.handle(await reader.read()))
            await writer.drain()
        except ConnectionError as error:
            logger.warning("a CNI call was given up by its caller: %s", error)
        finally:
            writer.close()

    server = await asyncio.start_unix_server(answer, sock=_listener(path), limit=1 << 20)
    async with server:
        await server.serve_forever()


def _listener(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.bind(str(path))
    path.chmod(0o600)
    return made
