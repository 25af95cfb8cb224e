"""The CNI plugin's work, done by the node's agent: a veth pair and addresses for each pod.

The kernel holds the state: a pod's link is named after its container id, its hardware address carries the pod's address
and its alias the pod's name, so a restarted agent knows from one look at the links who has which address, and an
address is free when its link is gone. With ranges of both families a pod has the address of the same number in each.
A pod of Kubernetes gets its link when what policies say of it is in the kernel (``admission``).

Flow: ``handle`` takes one call as the shim (``cni_shim.py``) sends it, the verbs run in ``executor``'s threads, and the bytes
that it returns are the exit code and what to print. Without an agent, see ``cni_standalone.py``. Source: CNI specification
1.1.0.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from sampan.network import cni_attachment, cni_bandwidth
from sampan.network.addresses import NoFreeAddress
from sampan.network.cni_attachment import Attachment, added, link_name, loopback, opened
from sampan.network.cni_call import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    NO_ADDRESS,
    NOT_AVAILABLE,
    TRY_LATER,
    Call,
    CniError,
    check_version,
    failure,
    parse_call,
    supported,
)
from sampan.network.families import Address, Network, family_of
from sampan.network.host_ports import HostPorts, mappings_of
from sampan.network.nft import NftError
from sampan.network.pod_addresses import INNER, OUTER, PodAddresses, mac_of
from sampan.network.pod_sources import PodSources
from sampan.network.policy_agent import NotAdmitted
from sampan.network.route_netlink import IFF_UP, Netlink

logger = logging.getLogger("sampan.network")

BRIDGE = "sampan0"


class Admission(Protocol):
    """Who is told of pods' addresses, and says when a pod may have its link."""

    def attach(self, pod: str, uid: str, addresses: tuple[Address, ...]) -> None: ...

    def detach(self, pod: str) -> None: ...

    async def admit(self, pod: str, uid: str, addresses: tuple[Address, ...]) -> None: ...


class Plugin:
    """The pod network of this node; ``pod_cidrs``: one range, or one of each family, the first the main one."""

    def __init__(self, pod_cidrs: Sequence[Network], mtu: int = 1500, admission: Admission | None = None) -> None:
        self.addresses = PodAddresses(pod_cidrs)
        self.mtu = mtu
        self.admission = admission
        self.bridge = 0
        self.sources = PodSources(BRIDGE, "")
        self.host_ports = HostPorts(BRIDGE, [family_of(network) for network in self.addresses.networks])
        self._pods: dict[str, str] = {}
        """The pod of each link."""
        self._lock, self._ports_lock = threading.Lock(), threading.Lock()
        self._verbs: dict[str, Callable[[Call], dict[str, Any] | None]] = {
            "DEL": self.delete,
            "CHECK": self.check,
            "STATUS": self.status,
            "GC": self.collect,
        }
        # adding and deleting side by side: the kernel takes long to delete a link
        self.executor = ThreadPoolExecutor(3, thread_name_prefix="cni")

    def prepare(self) -> None:
        """Make the bridge and read off the links which addresses are given out, and whose. Blocks."""
        lengths = [network.prefixlen for network in self.addresses.networks]
        bridge = cni_attachment.make_bridge(BRIDGE, list(zip(self.addresses.gateways, lengths, strict=True)), self.mtu)
        self.bridge, self.sources = bridge.number, PodSources(BRIDGE, bridge.mac)
        links = {}
        with Netlink() as here:
            for link in here.links():
                if link.master == self.bridge and link.mac.startswith(OUTER):
                    self.addresses.take(link.mac, link.name)
                    held = self.addresses.of(link.mac)
                    links[link.name] = (mac_of(held[0], INNER), cni_attachment.senders(held))
                    namespace, _, rest = link.alias.partition("/")
                    name, _, uid = rest.partition("/")
                    if name:
                        self._pods[link.name] = f"{namespace}/{name}"
                        if self.admission is not None:
                            self.admission.attach(f"{namespace}/{name}", uid, self.addresses.of(link.mac))
        self.sources.keep(links)
        self.host_ports.prepare(self.addresses.held())

    async def handle(self, data: bytes) -> bytes:
        """Return the answer to a shim's message: the exit code, a newline, what to print."""
        version = "1.0.0"
        try:
            call = parse_call(data)
            version = call.version
            answer = await self._answer(call)
        except CniError as error:
            return _printed(1, failure(version, error.code, str(error), error.details))
        except NoFreeAddress as error:
            return _printed(1, failure(version, NO_ADDRESS, str(error)))
        except NotAdmitted as error:
            return _printed(1, failure(version, TRY_LATER, str(error)))
        except OSError as error:
            logger.error("CNI call failed: %s", error)
            return _printed(1, failure(version, IO_FAILURE, str(error)))
        except NftError as error:
            logger.error("CNI call failed: nftables: %s", error)
            return _printed(1, failure(version, IO_FAILURE, f"hostPort: {error}"))
        except Exception as error:
            # whatever it is, the runtime is waiting for an answer
            logger.exception("CNI call failed")
            return _printed(1, failure(version, IO_FAILURE, f"{type(error).__name__}: {error}"))
        return _printed(0, answer)

    async def _answer(self, call: Call) -> dict[str, Any] | None:
        command = call.need("COMMAND")
        if command == "VERSION":
            return supported(call)
        check_version(call)
        if call.plugin == "loopback":
            return await self._threaded(loopback, call)
        if command == "ADD":
            return await self.admit(call)
        if command not in self._verbs:
            raise CniError(INVALID_ENVIRONMENT, f"unknown CNI_COMMAND: {command}")
        answer = await self._threaded(self._verbs[command], call)
        self._tell_of_gone()
        return answer

    async def _threaded(self, work: Callable[[Call], dict[str, Any] | None], call: Call) -> dict[str, Any] | None:
        return await asyncio.get_running_loop().run_in_executor(self.executor, work, call)

    # verbs, each in a thread of the executor but for ADD's wait

    async def admit(self, call: Call) -> dict[str, Any] | None:
        """ADD, once policies have been heard about the pod. Raises ``NotAdmitted``."""
        name, addresses = self.reserve(call)
        pod = call.pod
        if pod and self.admission is not None:
            try:
                await self.admission.admit(pod.key, pod.uid, addresses)
            except BaseException:
                with self._lock:
                    self.addresses.release(name)
                raise
            self._pods[name] = pod.key
        try:
            return await self._threaded(self.add, call)
        except BaseException:
            self._tell_of_gone()
            raise

    def reserve(self, call: Call) -> tuple[str, tuple[Address, ...]]:
        """Return the link's name and its addresses, which are its own from now on."""
        interface = call.interface
        name = link_name(call.need("CONTAINERID"), interface)
        with opened(call.need("NETNS")), self._lock:
            # refused before anything is made
            cni_bandwidth.bandwidth_of(call.runtime)
            mappings_of(call.runtime)
            # who asks again gets the same
            held = tuple(self.addresses.held(name))
            wanted = call.wanted_addresses
            if wanted and not held:
                return name, self._take(name, wanted)
            return name, held or self.addresses.allocate(name)

    def _take(self, name: str, wanted: Sequence[Address]) -> tuple[Address, ...]:
        """Give out the addresses that are asked for."""
        networks = self.addresses.networks
        numbers = set()
        for address in wanted:
            home = next((network for network in networks if address in network), None)
            if home is None:
                raise CniError(INVALID_CONFIG, f"ips: {address} is no address of {' or '.join(map(str, networks))}")
            numbers.add(int(address) - int(home.network_address))
        if len(numbers) > 1:
            raise CniError(INVALID_CONFIG, "ips: the addresses must have the same number in their ranges")
        number = numbers.pop()
        if number >= networks[0].num_addresses or not self.addresses.pool.take(networks[0][number], name):
            raise CniError(NO_ADDRESS, f"ips: {wanted[0]} is not free")
        return tuple(self.addresses.held(name))

    def add(self, call: Call) -> dict[str, Any]:
        name, addresses = self.reserve(call)
        gateways, netns_path = self.addresses.gateways, call.need("NETNS")
        attachment = Attachment(
            name=name,
            interface=call.interface,
            addresses=addresses,
            gateways=gateways,
            outer_mac=mac_of(addresses[0], OUTER),
            inner_mac=call.wanted_mac or mac_of(addresses[0], INNER),
            mtu=self.mtu,
            alias=str(call.pod),
        )
        try:
            with opened(netns_path) as netns:
                self.sources.hold(name, attachment.inner_mac, cni_attachment.senders(addresses))
                cni_attachment.connect(attachment, self.bridge, netns)
                cni_bandwidth.shape(name, call.interface, netns, cni_bandwidth.bandwidth_of(call.runtime))
            with self._ports_lock:
                self.host_ports.add(addresses, mappings_of(call.runtime))
        except NftError as error:
            self._forget(name)
            raise CniError(IO_FAILURE, f"hostPort: {error}") from error
        except BaseException:
            self._forget(name)
            raise
        return added(call, attachment, BRIDGE)

    def delete(self, call: Call) -> None:
        """Nothing that is gone is an error: DEL may come twice, late, or without a namespace."""
        self._forget(link_name(call.need("CONTAINERID"), call.need("IFNAME")))

    def _forget(self, name: str) -> None:
        with self._ports_lock:
            self.host_ports.remove(self.addresses.held(name))
        cni_attachment.disconnect(name)
        self.sources.release(name)
        with self._lock:
            self.addresses.release(name)

    def _tell_of_gone(self) -> None:
        """Tell the admission of pods whose links are gone."""
        held = set(self.addresses.pool.taken.values())
        for name in [name for name in self._pods if name not in held]:
            pod = self._pods.pop(name)
            # a pod whose sandbox was made anew has a link by now
            if self.admission is not None and pod not in self._pods.values():
                self.admission.detach(pod)

    def check(self, call: Call) -> None:
        name = link_name(call.need("CONTAINERID"), call.interface)
        with opened(call.need("NETNS")) as netns:
            cni_attachment.inspect(name, call.interface, self.bridge, netns, self.addresses.held(name))

    def status(self, call: Call) -> None:
        with Netlink() as here:
            bridge = here.link(BRIDGE)
        if bridge is None or not bridge.flags & IFF_UP:
            raise CniError(NOT_AVAILABLE, f"the bridge {BRIDGE} is not up")

    def collect(self, call: Call) -> None:
        """Remove the links of attachments that the runtime no longer knows."""
        kept = valid_links(call)
        with Netlink() as here:
            gone = [link.name for link in here.links() if link.master == self.bridge and link.name not in kept]
        for name in gone:
            self._forget(name)


def valid_links(call: Call) -> set[str]:
    """Return the names of the links that GC is to keep. Raises ``CniError``."""
    valid = call.config.get("cni.dev/valid-attachments")
    if not isinstance(valid, list):
        raise CniError(INVALID_CONFIG, "cni.dev/valid-attachments is missing")
    return {link_name(entry.get("containerID", ""), entry.get("ifname", "")) for entry in valid}


def _printed(code: int, document: dict[str, Any] | None) -> bytes:
    return f"{code}\n".encode() + (json.dumps(document).encode() if document is not None else b"")


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
