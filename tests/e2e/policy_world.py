"""Nine pods (a, b, c in the namespaces x, y, z) that serve and probe, an API, the CNI plugin and the policy agent.

A program for a network namespace of its own, which reads commands from its standard input, a JSON object a line, and answers
each with a line. Pods are namespaces that the real plugin has given both families' addresses, and objects whose
status says so, as a kubelet would have it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from contextlib import ExitStack, suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import yaml

from sampan.client.errors import ApiError
from sampan.client.http import HttpClient
from sampan.client.informer import key_of
from sampan.client.kubeconfig import load
from sampan.client.protocol import ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, NETWORK_POLICIES, PODS, SERVICE_ACCOUNTS
from sampan.network import nft
from sampan.network.cni import Plugin
from sampan.network.policy_agent import PolicyAgent
from tests import foreign_server
from tests.conftest import start_api_server

SPACES, NAMES = "xyz", "abc"
RANGES = [IPv4Network("10.99.0.0/18"), IPv6Network("fd99::/112")]
DEBIANS = Path("/usr/lib/cni")
EXAMPLES = Path(__file__).parents[2] / "examples"
SERVICE = ("10.99.64.1", "fd99:0:0:1::1")
CLUSTER_POLICIES = ResourceType(
    "policy.networking.k8s.io", "v1beta1", "clusternetworkpolicies", "ClusterNetworkPolicy", namespaced=False
)
KINDS = {
    "NetworkPolicy": NETWORK_POLICIES,
    "Pod": PODS,
    "Namespace": NAMESPACES,
    "ClusterNetworkPolicy": CLUSTER_POLICIES,
    "CustomResourceDefinition": CUSTOM_RESOURCE_DEFINITIONS,
}

PROBER = """
import asyncio, json, socket, sys

class Echo(asyncio.DatagramProtocol):
    def connection_made(self, transport):
        self.transport = transport
    def datagram_received(self, data, peer):
        self.transport.sendto(data, peer)

class Ask(asyncio.DatagramProtocol):
    def __init__(self):
        self.answered = asyncio.get_running_loop().create_future()
    def datagram_received(self, data, peer):
        if not self.answered.done():
            self.answered.set_result(True)

async def serve(reader, writer):
    writer.write(b"hello")
    try:
        while data := await reader.read(100):
            writer.write(data)
        writer.close()
    except OSError:
        pass

async def probe(protocol, host, port, seconds):
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(seconds):
            if protocol == "tcp":
                reader, writer = await asyncio.open_connection(host, port)
                answered = await reader.read(5) == b"hello"
                writer.transport.abort()
                return answered
            transport, ask = await loop.create_datagram_endpoint(Ask, remote_addr=(host, port))
            try:
                while True:
                    transport.sendto(b"x")
                    done, _ = await asyncio.wait([ask.answered], timeout=0.15)
                    if done:
                        return True
            finally:
                transport.close()
    except (OSError, TimeoutError):
        return False

kept = {}

async def keep(name, host, port):
    kept[name] = await asyncio.open_connection(host, port)
    return await kept[name][0].read(5) == b"hello"

async def say(name, seconds):
    reader, writer = kept[name]
    writer.write(b"again")
    try:
        async with asyncio.timeout(seconds):
            return len(await reader.read(5)) > 0
    except (OSError, TimeoutError):
        return False

async def main():
    loop = asyncio.get_running_loop()
    for port in (80, 81):
        await asyncio.start_server(serve, ["0.0.0.0", "::"], port, backlog=200)
        await loop.create_datagram_endpoint(Echo, local_addr=("::", port))  # of both families
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print("ready", flush=True)
    while line := await reader.readline():
        do = json.loads(line)
        if "keep" in do:
            answer = await keep(*do["keep"])
        elif "say" in do:
            answer = await say(*do["say"])
        else:
            answer = await asyncio.gather(*(probe(*target, do["seconds"]) for target in do["targets"]))
        print(json.dumps(answer), flush=True)

asyncio.run(main())
"""


class Prober:
    """A program in a network namespace that serves and probes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.turn = asyncio.Lock()

    @classmethod
    async def start(cls, *prefix: str) -> Prober:
        pipe = asyncio.subprocess.PIPE
        command = (*prefix, sys.executable, "-S", "-c", PROBER)
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 20)
        assert process.stdout is not None and await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def __call__(self, **do: Any) -> Any:
        async with self.turn:
            assert self.process.stdin is not None and self.process.stdout is not None
            self.process.stdin.write(json.dumps(do).encode() + b"\n")
            return json.loads(await self.process.stdout.readline())


async def more(trials: list[bool], count: int) -> None:
    """Wait until so many further trials have been made."""
    enough = len(trials) + count
    while len(trials) < enough:  # noqa: ASYNC110
        await asyncio.sleep(0.02)


class World:
    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory, self.stack = directory, stack
        self.probers: dict[str, Prober] = {}
        self.addresses: dict[str, list[str]] = {}
        self.netns: dict[str, str] = {}

    policies: PolicyAgent | None = None
    spaces, names = SPACES, NAMES

    def prepare(self) -> None:
        for name in ("ipv4/ip_forward", "ipv6/conf/all/forwarding"):
            Path("/proc/sys/net", name).write_text("1")
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)

    async def build(self, group: asyncio.TaskGroup) -> None:
        self.server = start_api_server(self.directory / "api")
        self.stack.callback(self.server.process.kill)
        self.client = HttpClient(load(self.server.kubeconfig))
        self.group = group
        await self.start_agent()
        for space in self.spaces:
            await self.client.create(NAMESPACES, {"metadata": {"name": space, "labels": {"ns": space}}})
            with suppress(ApiError):  # another's API has controllers that make it
                await self.client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, space)
        pods = [(space, name) for space in self.spaces for name in self.names]
        await asyncio.gather(*(self.add_pod(space, name, {"pod": name}) for space, name in pods))
        self.probers["node"] = await Prober.start()
        self.make_service()

    async def start_agent(self) -> None:
        # a user of ours; another's API knows it not
        own = self.server.user_kubeconfig("system:sampan-network")
        agents = HttpClient(load(self.server.kubeconfig if foreign_server.wanted() else own))
        self.policies = PolicyAgent(agents, admission_seconds=2)
        self.plugin = Plugin(RANGES, admission=self.policies)
        self.plugin.prepare()
        self.agent = self.group.create_task(self.policies.run())

    def make_service(self) -> None:
        """Lead an address to x/a, as a Service's address is."""
        first = self.addresses["x/a"]
        rules = "".join(
            f"add rule inet services {chain} {word} daddr {at} tcp dport 80 dnat {word} to {to}\n"
            f"add rule inet services postrouting {word} saddr {to} {word} daddr {to} ct status dnat masquerade\n"
            for (word, at), to in zip((("ip", SERVICE[0]), ("ip6", SERVICE[1])), first, strict=True)
            for chain in ("prerouting", "output")
        )
        nft.run(
            "table inet services {\n chain prerouting { type nat hook prerouting priority dstnat; }\n"
            " chain output { type nat hook output priority -100; }\n"
            f" chain postrouting {{ type nat hook postrouting priority srcnat; }}\n}}\n{rules}"
        )

    async def add_pod(self, space: str, name: str, labels: dict[str, str]) -> None:
        """Do what a kubelet does: the sandbox, the network, the status."""
        key = f"{space}/{name}"
        made = await self.client.create(PODS, _pod(space, name, labels), space)
        if key not in self.netns:
            holder = await asyncio.create_subprocess_exec(
                "unshare", "--net", "sh", "-c", "echo; exec sleep 900", stdout=asyncio.subprocess.PIPE
            )
            assert holder.stdout is not None
            await holder.stdout.readline()
            self.stack.callback(holder.kill)
            self.netns[key] = f"/proc/{holder.pid}/ns/net"
        code, result = await self.cni("ADD", key, f"{made['metadata']['uid']}")
        assert code == 0, result
        self.addresses[key] = [entry["address"].partition("/")[0] for entry in result["ips"]]
        status = {"phase": "Running", "podIPs": [{"ip": text} for text in self.addresses[key]]}
        status["podIP"] = self.addresses[key][0]
        await self.client.patch(PODS, name, {"status": status}, space, subresource="status")
        if key not in self.probers:
            prober = self.probers[key] = await Prober.start("nsenter", f"--net={self.netns[key]}")
            self.stack.callback(prober.process.kill)

    async def cni(self, command: str, key: str, uid: str = "") -> tuple[int, dict[str, Any]]:
        space, _, name = key.partition("/")
        lines = [
            f"CNI_COMMAND={command}", f"CNI_CONTAINERID={space}-{name}", "CNI_IFNAME=eth0", f"CNI_NETNS={self.netns[key]}",
            f"CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE={space};K8S_POD_NAME={name};K8S_POD_UID={uid}",
        ]  # fmt: skip
        answer = await self.plugin.handle("\n".join(lines).encode() + b'\n\n{"cniVersion": "1.1.0", "name": "sampan"}')
        code, _, text = answer.partition(b"\n")
        return int(code), json.loads(text or b"{}")

    async def answer(self, do: dict[str, Any]) -> Any:
        kind = do.pop("do")
        return await getattr(self, f"do_{kind}")(**do)

    async def do_apply(self, objects: list[dict[str, Any]]) -> None:
        for found in objects:
            resource, metadata = KINDS[found["kind"]], found["metadata"]
            name, namespace = metadata["name"], metadata.get("namespace")
            if found["kind"] in ("Pod", "Namespace"):
                made = await self.client.patch(resource, name, {"metadata": metadata}, namespace)
            else:
                try:
                    made = await self.client.create(resource, found, namespace)
                except ApiError as error:
                    if error.code != 409:
                        raise
                    there = await self.client.get(resource, name, namespace)
                    metadata["resourceVersion"] = there["metadata"]["resourceVersion"]
                    made = await self.client.update(resource, found)
            await self.heard(found["kind"], made)

    async def heard(self, kind: str, made: dict[str, Any]) -> None:
        """Wait until the agent knows an object and the kernel what follows from it."""
        agent = self.policies
        if agent is None:  # it is a process of its own
            return
        informers = {"NetworkPolicy": agent.policies, "Pod": agent.pods, "Namespace": agent.namespaces}
        if kind not in informers or (kind != "NetworkPolicy" and not agent.state.policies):
            return
        revision = made["metadata"]["resourceVersion"]
        async with asyncio.timeout(60):
            known = informers[kind]
            while (known.get(key_of(made)) or {}).get("metadata", {}).get("resourceVersion") != revision:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await agent.applied()

    async def do_delete(self, kind: str, name: str, namespace: str | None = None) -> None:
        await self.client.delete(KINDS[kind], name, namespace, grace_period_seconds=0)

    async def do_clean(self) -> None:
        """Leave no policy, and every label as it was."""
        for found in (await self.client.list(NETWORK_POLICIES)).items:
            await self.client.delete(NETWORK_POLICIES, found["metadata"]["name"], found["metadata"]["namespace"])
        try:
            for found in (await self.client.list(CLUSTER_POLICIES)).items:
                await self.client.delete(CLUSTER_POLICIES, found["metadata"]["name"])
        except ApiError as error:
            if error.code != 404:
                raise
        for space in self.spaces:
            await self.client.patch(NAMESPACES, space, {"metadata": {"labels": {"ns": space, "extra": None}}})
            for name in self.names:
                await self.client.patch(PODS, name, {"metadata": {"labels": {"pod": name, "extra": None}}}, space)

    async def do_addresses(self) -> dict[str, list[str]]:
        return self.addresses

    async def do_matrix(self, protocol: str, port: int, seconds: float = 0.45) -> dict[str, dict[str, list[bool]]]:
        """Return who reaches whom, by both families."""

        async def row(key: str) -> list[bool]:
            targets = [(protocol, address, port) for listed in self.addresses.values() for address in listed]
            return list(await self.probers[key](targets=targets, seconds=seconds))

        rows = await asyncio.gather(*(row(key) for key in self.addresses))
        return {
            key: {to: found[number * 2 : number * 2 + 2] for number, to in enumerate(self.addresses)}
            for key, found in zip(self.addresses, rows, strict=True)
        }

    async def do_probe(self, source: str, protocol: str, host: str, port: int, seconds: float = 0.45) -> bool:
        return bool((await self.probers[source](targets=[(protocol, host, port)], seconds=seconds))[0])

    async def do_keep(self, source: str, name: str, host: str, port: int) -> bool:
        return bool(await self.probers[source](keep=[name, host, port]))

    async def do_say(self, source: str, name: str, seconds: float = 1.0) -> bool:
        return bool(await self.probers[source](say=[name, seconds]))

    async def do_status(self, key: str, **status: Any) -> None:
        space, _, name = key.partition("/")
        await self.client.patch(PODS, name, {"status": status}, space, subresource="status")

    async def do_add(self, key: str, labels: dict[str, str], probe: list[Any]) -> list[bool]:
        """Add a pod, and let another one try to reach it from the first moment: return what came of each trial."""
        space, _, name = key.partition("/")
        source, address, port = probe
        trials: list[bool] = []
        done = asyncio.Event()

        async def trying() -> None:
            while not done.is_set():
                trials.append(await self.do_probe(source, "tcp", address, port, 0.1))

        async with asyncio.TaskGroup() as group:
            group.create_task(trying())
            await self.add_pod(space, name, labels)
            await more(trials, 4)  # when the pod serves
            done.set()
        return trials

    async def do_remove(self, key: str) -> int:
        """Take a pod's link and then its object away; return CNI's exit code."""
        space, _, name = key.partition("/")
        code, _ = await self.cni("DEL", key)
        await self.client.delete(PODS, name, space, grace_period_seconds=0)
        self.addresses.pop(key)
        return code

    async def do_restart(self, source: str, host: str, port: int) -> list[bool]:
        """End the agent and start another one, while a pod tries to reach what it may not: return what came of the trials."""
        trials: list[bool] = []
        again = asyncio.Event()

        async def trying() -> None:
            while not again.is_set():
                trials.append(await self.do_probe(source, "tcp", host, port, 0.1))

        async with asyncio.TaskGroup() as group:
            group.create_task(trying())
            self.agent.cancel()
            await asyncio.wait({self.agent})
            await more(trials, 2)  # on a node without an agent, as after a crash
            await self.start_agent()
            assert self.policies is not None
            await self.policies.listed()
            await more(trials, 2)
            again.set()
        return trials

    async def do_unknown(self) -> tuple[int, dict[str, Any]]:
        """Return what ADD says of a pod that is not in the API."""
        self.netns["x/ghost"] = self.netns["x/a"]
        return await self.cni("ADD", "x/ghost", "none")

    async def do_established(self) -> bool:
        found = await self.client.get(
            CUSTOM_RESOURCE_DEFINITIONS, f"{CLUSTER_POLICIES.plural}.{CLUSTER_POLICIES.group}"
        )
        conditions = (found.get("status") or {}).get("conditions") or ()
        return any(each["type"] == "Established" and each["status"] == "True" for each in conditions)

    async def do_table(self) -> str:
        return await asyncio.to_thread(nft.listed, "table", "inet", "sampan-policies")


def _pod(space: str, name: str, labels: dict[str, str]) -> dict[str, Any]:
    ports = [
        {"name": f"serve-{number}-{protocol.lower()}", "containerPort": number, "protocol": protocol}
        for number in (80, 81)
        for protocol in ("TCP", "UDP")
    ]
    container = {"name": "main", "image": "none", "ports": ports}
    return {
        "metadata": {"name": name, "namespace": space, "labels": labels},
        "spec": {"nodeName": "node", "containers": [container], "automountServiceAccountToken": False},
    }


class Foreign(World):
    """Pods that Debian's plugin ``ptp`` has made, and ``sampan net agent`` beside it, which knows the API alone."""

    spaces, names = "xy", "ab"

    async def start_agent(self) -> None:
        for rights in yaml.safe_load_all((EXAMPLES / "policies" / "agent-rbac.yaml").read_text()):
            group, _, version = rights["apiVersion"].partition("/")
            resource = ResourceType(group, version, rights["kind"].lower() + "s", rights["kind"], namespaced=False)
            await self.client.create(resource, rights)
        kubeconfig = str(self.server.user_kubeconfig("sampan-net-agent"))
        program = str(Path(sys.executable).parent / "sampan")
        command = [program, "net", "agent", "--kubeconfig", kubeconfig, "--node", "node"]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        self.stack.callback(process.kill)
        assert process.stdout is not None and await process.stdout.readline() == b"ready\n"

    def make_service(self) -> None: ...

    async def cni(self, command: str, key: str, uid: str = "") -> tuple[int, dict[str, Any]]:
        ipam = {
            "type": "host-local",
            "ranges": [[{"subnet": "10.99.0.0/24"}], [{"subnet": "fd99::/112"}]],
            "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}],
            "dataDir": str(self.directory / "leases"),
        }
        config = {"cniVersion": "1.0.0", "name": "foreign", "type": "ptp", "ipam": ipam}
        environment = {
            **os.environ, "CNI_COMMAND": command, "CNI_CONTAINERID": key.replace("/", "-"), "CNI_IFNAME": "eth0",
            "CNI_NETNS": self.netns[key], "CNI_PATH": str(DEBIANS),
        }  # fmt: skip
        pipe = asyncio.subprocess.PIPE
        lo = ("nsenter", f"--net={self.netns[key]}", "ip", "link", "set", "lo", "up")  # what the plugin loopback does
        assert await (await asyncio.create_subprocess_exec(*lo)).wait() == 0
        made = await asyncio.create_subprocess_exec(str(DEBIANS / "ptp"), stdin=pipe, stdout=pipe, env=environment)
        said, _ = await made.communicate(json.dumps(config).encode())
        return made.returncode or 0, json.loads(said or b"{}")


async def main(directory: Path, kind: type[World]) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    with ExitStack() as stack:
        world = kind(directory, stack)
        world.prepare()
        async with asyncio.TaskGroup() as group:
            await world.build(group)
            print("ready", flush=True)
            while line := await reader.readline():
                try:
                    answer: dict[str, Any] = {"answer": await world.answer(json.loads(line))}
                except (ApiError, AssertionError) as error:
                    answer = {"error": repr(error)}
                print(json.dumps(answer), flush=True)
            raise SystemExit  # the task group ends with its agents


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Foreign if "foreign" in sys.argv else World))
