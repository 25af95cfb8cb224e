"""``sampan net proxy`` on a node of another Kubernetes: a real API server, and packets through the node's namespace."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.client.protocol import ResourceType
from sampan.client.resources import ENDPOINT_SLICES, NODES, SERVICES
from sampan.client.waiting import wait_for

from . import netns_sandbox as sandbox
from .eventually import eventually
from .network_world import ASK, ASK_UDP, SERVER, UDP_SERVER

pytestmark = sandbox.needs_root
RIGHTS = Path(__file__).resolve().parents[2] / "examples" / "services" / "proxy-rbac.yaml"
SAMPAN = str(Path(sys.executable).parent / "sampan")
NODE_IP, CLIENT_IP, PODS = "192.168.70.1", "192.168.70.2", ("10.9.1.2", "10.9.1.3")
HEALTHZ, METRICS = 20256, 20249


def get(url: str) -> tuple[int, bytes]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=30) as answer:
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


ASK_ON = """
import select, socket, sys, time
to = (sys.argv[1], int(sys.argv[2]))
def new():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.connect(to)
    return s
steady, asked, lost, by = new(), 0, {"steady": 0, "fresh": 0}, {}
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0.002)[0]:
    fresh = new()
    for kind, s in (("steady", steady), ("fresh", fresh)):
        asked += 1
        try:
            s.send(b"x")
            answer = s.recv(64).decode() if select.select([s], [], [], 5)[0] else ""
        except ConnectionError:
            answer = ""
        lost[kind] += not answer
        if answer and by.get(kind) != answer:
            by[kind] = answer
            print(kind, answer, flush=True)
    fresh.close()
print("asked", asked, "lost", lost["steady"], lost["fresh"], flush=True)
"""
"""Datagrams to a Service, one after the other: of one client, and of one that is new each time. Tells who answers whom."""


class Node:
    """This process's namespace as a node: a client outside, two pods, an API server, and the proxy."""

    def __init__(self, spaces: Any, directory: Path, server: Any) -> None:
        self.spaces, self.server = spaces, server
        self.client = HttpClient(load(server.kubeconfig))
        self.outside, self.pods = spaces.new(), (spaces.new(), spaces.new())
        sh("ip link set lo up; echo 1 >/proc/sys/net/ipv4/ip_forward")
        self.join(self.outside, "out0", f"{NODE_IP}/24", f"{CLIENT_IP}/24")
        spaces.run(self.outside, "ip", "route", "add", "default", "via", NODE_IP)
        for number, pod in enumerate(self.pods):
            self.join(pod, f"pod{number}", "10.9.1.1/32", f"{PODS[number]}/32")
            sh(f"ip route add {PODS[number]}/32 dev pod{number}")
            spaces.run(pod, "ip", "route", "add", "10.9.1.1/32", "dev", "eth0")
            spaces.run(pod, "ip", "route", "add", "default", "via", "10.9.1.1")
            spaces.start(pod, sys.executable, "-c", SERVER, f"pod{number}")
            spaces.start(pod, sys.executable, "-c", UDP_SERVER, f"pod{number}")
        kubeconfig = server.user_kubeconfig("system:kube-proxy")
        self.command = [SAMPAN, "net", "proxy", "--kubeconfig", str(kubeconfig), "--node", "worker"]
        self.command += ["--healthz-port", str(HEALTHZ), "--metrics-port", str(METRICS)]
        self.command += ["--load-balancer-pool", "198.51.100.0/28"]
        self.proxy: Any = None

    def join(self, netns: str, name: str, here: str, there: str) -> None:
        sh(f"ip link add {name} type veth peer name eth0 netns {netns.split('/')[2]}")
        sh(f"ip address add {here} dev {name}; ip link set {name} up")
        self.spaces.run(netns, "ip", "address", "add", there, "dev", "eth0")
        self.spaces.run(netns, "ip", "link", "set", "eth0", "up")

    def begin(self) -> None:
        self.proxy = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        assert self.proxy.stdout.readline() == "ready\n"

    def ask(self, address: str, port: int = 80, netns: str = "") -> str:
        return str(self.spaces.run(netns or self.outside, sys.executable, "-c", ASK, address, str(port), "1")).strip()

    def ask_udp(self, address: str, port: int) -> str:
        return str(self.spaces.run(self.outside, sys.executable, "-c", ASK_UDP, address, str(port), "40404")).strip()


def told(*command: str) -> str:
    """Return what a program says, whether it likes what it is asked or not."""
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout + done.stderr


def sh(text: str) -> None:
    subprocess.run(["sh", "-ec", text], check=True)


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80}, {"name": "dns", "port": 53, "protocol": "UDP"}]
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports, **spec}}


def endpoints(name: str, *entries: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "namespace": "default", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "ports": [{"name": "http", "port": 8080, "protocol": "TCP"}, {"name": "dns", "port": 5353, "protocol": "UDP"}],
        "endpoints": list(entries),
    }


def entry(number: int, *, ready: bool = True, zone: str = "", node: str = "worker") -> dict[str, Any]:
    made: dict[str, Any] = {"addresses": [PODS[number]], "conditions": {"ready": ready}, "nodeName": node}
    return {**made, "hints": {"forZones": [{"name": zone}]}} if zone else made


async def story(node: Node) -> None:
    client = node.client
    for rights in yaml.safe_load_all(RIGHTS.read_text()):
        plural = rights["kind"].lower() + "s"
        namespace = rights["metadata"].get("namespace", "")
        resource = ResourceType("rbac.authorization.k8s.io", "v1", plural, rights["kind"], namespaced=bool(namespace))
        await client.create(resource, rights, *([namespace] if namespace else []))
    labels = {"topology.kubernetes.io/zone": "a"}
    made = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "worker", "labels": labels}}
    await client.create(NODES, {**made, "spec": {"podCIDRs": ["10.9.1.0/24"], "podCIDR": "10.9.1.0/24"}})
    addresses = [{"type": "InternalIP", "address": NODE_IP}]
    await client.patch(NODES, "worker", {"status": {"addresses": addresses}}, subresource="status")
    ported = await client.create(SERVICES, service("ported", type="NodePort"), "default")
    balanced = service(
        "balanced", type="LoadBalancer", externalTrafficPolicy="Local", allocateLoadBalancerNodePorts=False
    )
    balanced = await client.create(SERVICES, balanced, "default")
    other = service("other", type="LoadBalancer", loadBalancerClass="example.org/other")
    await client.create(SERVICES, other, "default")
    for name in ("ported", "balanced"):
        await client.create(ENDPOINT_SLICES, endpoints(name, entry(0)), "default")
    await asyncio.to_thread(node.begin)

    port, address = ported["spec"]["ports"][0]["nodePort"], ported["spec"]["clusterIP"]
    udp = ported["spec"]["ports"][1]["nodePort"]
    assert "nodePort" not in balanced["spec"]["ports"][0]

    # outer clients of a node port come as the node, which might else not see the answer; pods come as themselves
    assert node.ask(NODE_IP, port) == "pod0 10.9.1.1"
    assert node.ask(address, netns=node.pods[1]) == f"pod0 {PODS[1]}"

    async def status(name: str) -> list[dict[str, Any]]:
        found = await client.get(SERVICES, name, "default")
        return (found["status"].get("loadBalancer") or {}).get("ingress") or []

    def lacks(service: Any) -> str:
        return "" if (service["status"].get("loadBalancer") or {}).get("ingress") else "no address"

    await wait_for(client, SERVICES, "balanced", lacks, namespace="default")
    assert await status("balanced") == [{"ip": "198.51.100.1", "ipMode": "VIP"}] and await status("other") == []
    until("the balanced address", lambda: node.ask("198.51.100.1") == f"pod0 {CLIENT_IP}")

    # health: of the proxy, and of a Service on this node
    health = f"http://{NODE_IP}:{balanced['spec']['healthCheckNodePort']}/"
    until("an endpoint here", lambda: get(health)[0] == 200)
    assert json.loads(get(health)[1])["localEndpoints"] == 1
    assert get(f"http://{NODE_IP}:{HEALTHZ}/healthz")[0] == get(f"http://{NODE_IP}:{HEALTHZ}/livez")[0] == 200
    taint = {"key": "ToBeDeletedByClusterAutoscaler", "effect": "NoSchedule"}
    await client.patch(NODES, "worker", {"spec": {"taints": [taint]}})
    until("the node to be no place for load balancers", lambda: get(f"http://{NODE_IP}:{HEALTHZ}/healthz")[0] == 503)
    assert get(f"http://{NODE_IP}:{HEALTHZ}/livez")[0] == 200
    await client.patch(NODES, "worker", {"spec": {"taints": None}})
    metrics = get(f"http://127.0.0.1:{METRICS}/metrics")[1].decode()
    assert "kubeproxy_sync_proxy_rules_last_timestamp_seconds" in metrics
    assert 'kubeproxy_proxy_healthz_total{code="503"}' in metrics
    assert get(f"http://127.0.0.1:{METRICS}/proxyMode")[1] == b"nftables"

    # an endpoint goes: datagrams of those who go on sending reach the next one, and the load balancer is told
    assert node.ask_udp(NODE_IP, udp) == "pod0"
    for name in ("ported", "balanced"):
        piece = endpoints(name, entry(1, node="elsewhere"))
        await client.patch(ENDPOINT_SLICES, name, {"endpoints": piece["endpoints"]}, "default")
    until("the datagrams to go elsewhere", lambda: node.ask_udp(NODE_IP, udp) == "pod1")
    until("no endpoint here", lambda: get(health)[0] == 503)
    assert not node.ask("198.51.100.1").startswith("pod"), "outer clients are bound by the policy"
    assert (
        "kubeproxy_sync_proxy_rules_no_local_endpoints_total" in get(f"http://127.0.0.1:{METRICS}/metrics")[1].decode()
    )

    # hints by zone, and a node that moves to another
    both = endpoints("ported", entry(0, zone="a"), entry(1, zone="b"))
    await client.patch(ENDPOINT_SLICES, "ported", {"endpoints": both["endpoints"]}, "default")
    until("what is near", lambda: {node.ask(NODE_IP, port).split()[0] for _ in range(6)} == {"pod0"})
    await client.patch(NODES, "worker", {"metadata": {"labels": {"topology.kubernetes.io/zone": "b"}}})
    until("what is near now", lambda: {node.ask(NODE_IP, port).split()[0] for _ in range(6)} == {"pod1"})

    # an endpoint ends while it serves, and goes: nobody who asks meanwhile goes without an answer
    def ends(**conditions: bool) -> dict[str, Any]:
        return {"addresses": [PODS[0]], "conditions": conditions, "nodeName": "worker"}

    async def has(*entries: dict[str, Any]) -> None:
        await client.patch(ENDPOINT_SLICES, "ported", {"endpoints": entries}, "default")

    await has(entry(0))
    until("the first", lambda: {node.ask(NODE_IP, port).split()[0] for _ in range(6)} == {"pod0"})
    asking = node.spaces.start(node.outside, sys.executable, "-c", ASK_ON, NODE_IP, str(udp))
    said = asking.stdout.readline
    assert {said(), said()} == {"steady pod0\n", "fresh pod0\n"}
    await has(ends(ready=False, serving=True, terminating=True), entry(1))
    assert said() == "fresh pod1\n", "a ready one is asked rather than one that ends"
    await has(ends(ready=False, serving=False, terminating=True), entry(1))
    assert said() == "steady pod1\n", "who serves no more is no longer asked by those who were used to"
    asking.stdin.close()
    asked, lost = (words := said().split())[1], words[3:]
    # the answer that was on its way while its connection was forgotten
    assert int(asked) > 4 and int(lost[0]) <= 1 and lost[1] == "0", words

    # killed and begun again: nothing of the table is made anew; what changed meanwhile is
    node.proxy.kill()
    node.proxy.wait()
    assert node.ask(NODE_IP, port).startswith("pod1")
    handles = told("nft", "-a", "list", "tables")
    await client.delete(SERVICES, "balanced", "default")
    await asyncio.to_thread(node.begin)
    assert told("nft", "-a", "list", "tables") == handles
    assert node.ask("198.51.100.1") != f"pod0 {CLIENT_IP}" and node.ask(NODE_IP, port).startswith("pod1")
    node.proxy.send_signal(signal.SIGTERM)
    assert node.proxy.wait(60) == 0 and node.ask(NODE_IP, port).startswith("pod1"), "the rules stay"
    assert told(*node.command, "--cleanup") == "" and "sampan-services" not in told("nft", "list", "tables")
    assert "not a range or an address: '10.0.0.0/33'" in told(*node.command, "--cluster-cidr", "10.0.0.0/33")


def until(what: str, look: Callable[[], Any]) -> None:
    eventually(what, look)


async def whole(directory: Path, server: Any) -> None:
    with sandbox.namespaces() as spaces:
        node = Node(spaces, directory, server)
        try:
            await story(node)
        finally:
            if node.proxy is not None and node.proxy.poll() is None:
                node.proxy.kill()
                node.proxy.wait()
            await node.client.close()
            server.process.kill()
            server.process.wait(60)


def test_services_of_another_kubernetes(tmp_path: Path) -> None:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            if sandbox._libc.unshare(sandbox.CLONE_NEWNET):
                raise OSError("unshare")
            sh("ip link set lo up")
            spec = importlib.util.spec_from_file_location("api_conftest", Path(__file__).parents[1] / "conftest.py")
            assert spec is not None and spec.loader is not None
            conftest = importlib.util.module_from_spec(spec)
            sys.modules["api_conftest"] = conftest
            spec.loader.exec_module(conftest)
            asyncio.run(whole(tmp_path, conftest.start_api_server(tmp_path / "api")))
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0, "the node's story failed (see the output above)"
