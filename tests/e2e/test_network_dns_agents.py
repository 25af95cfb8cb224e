"""The network and the DNS part against a real API server, all in one network namespace of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "ip", "nft"))),
    reason="needs root, and unshare, ip and nft",
)

PARTS = """
import asyncio, sys
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from sampan.client.kubeconfig import load
from sampan.dns import server as dns
from sampan.network import agent as network

async def main():
    directory, network_user, dns_user = (Path(argument) for argument in sys.argv[1:4])
    resolv = directory / "resolv.conf"
    resolv.write_text("")
    network_config = network.NetworkConfig(
        "node", network_user, directory / "cni.sock", directory / "cni", directory, (IPv4Network("10.250.0.0/18"),),
        (IPv4Address("10.250.255.2"),), (IPv4Network("10.250.0.0/16"),), (IPv4Network("10.250.128.0/20"),),
    )
    dns_config = dns.DnsConfig(
        load(dns_user), ("10.250.255.2",), (sys.argv[4],), resolv_conf=resolv, config_map="kube-system/coredns",
        makes_service=True,
    )
    waiting = ["network", "dns"]
    def ready():
        waiting.pop()
        if not waiting:
            print("ready", flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(network.serve(network_config, ready))
        group.create_task(dns.serve(dns_config, lambda port: ready()))

import uvloop
uvloop.run(main())
"""


def eventually(what: str, look: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def ask(name: str, server: str, port: int = 53) -> str:
    """Return the first address of a name, or its response code."""
    wire = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(3)
        client.sendto(struct.pack("!HHHHHH", 1, 256, 1, 0, 0, 0) + wire + struct.pack("!HH", 1, 1), (server, port))
        answer = client.recv(1500)
    return socket.inet_ntoa(answer[-4:]) if answer[6:8] != b"\0\0" else str(answer[3] & 0xF)


def child(directory: Path, start_server: Callable[..., Any]) -> None:
    """The test's body, in a process that has a network namespace to itself."""
    for command in (
        "ip link set lo up",
        "ip link add uplink type veth peer name far",
        "ip link set far up",
        "ip address add 10.250.255.2/30 dev uplink",
        "ip link set uplink up",
        "ip route add default via 10.250.255.1",
    ):
        subprocess.run(command.split(), check=True)
    server = start_server(directory / "api")
    kubectl = [str(Path(sys.executable).with_name("kubectl")), f"--kubeconfig={server.kubeconfig}"]

    def run(*arguments: str, text: str = "") -> str:
        done = subprocess.run([*kubectl, *arguments], input=text, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    kubernetes_ip = run("get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    service_ip = kubernetes_ip.rpartition(".")[0] + ".10"
    users = [str(server.user_kubeconfig(f"system:sampan-{part}")) for part in ("network", "dns")]
    command = [sys.executable, "-c", PARTS, str(directory), *users, service_ip]
    parts = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert parts.stdout is not None and parts.stdout.readline() == "ready\n"
        assert run("get", "service", "-n", "kube-system", "kube-dns", "-o", "jsonpath={.spec.clusterIP}") == service_ip
        run("apply", "--validate=false", "-f", "-", text=json.dumps(WEB))
        cluster_ip = run("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")

        def given() -> str:
            return run("get", "service", "web", "-o", "jsonpath={.status.loadBalancer.ingress[0].ip}")

        balancer_ip = eventually("a LoadBalancer address", given)
        assert balancer_ip.startswith("10.250.128.")
        eventually("the event", lambda: "EnsuredLoadBalancer" in run("get", "events"))

        def rules() -> str:
            return subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True).stdout

        eventually("the rules", lambda: f"{balancer_ip} . tcp . 80 : goto" in rules())
        assert f"{cluster_ip} . tcp . 80 : goto" in rules()
        # by the Service's own address, through nftables
        eventually("its name", lambda: ask("web.default.svc.cluster.local", service_ip) == cluster_ip)
        eventually("another's", lambda: ask("kubernetes.default.svc.cluster.local", service_ip) == kubernetes_ip)
        assert ask("www.example.org", "10.250.255.2") == "2"
        run("delete", "service", "web")
        eventually("the rules' end", lambda: balancer_ip not in rules())
        eventually("the name's end", lambda: ask("web.default.svc.cluster.local", service_ip) == "3")
        shim = directory / "cni" / "bin" / "sampan"
        environment = {"CNI_COMMAND": "STATUS"}
        status = subprocess.run(
            [shim], input='{"cniVersion": "1.1.0"}', text=True, env=environment, capture_output=True
        )
        assert status.returncode == 0, status.stdout
    finally:
        parts.terminate()
        parts.wait(60)
        server.process.kill()
        server.process.wait(60)


WEB = {
    "apiVersion": "v1",
    "kind": "List",
    "items": [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "web", "namespace": "default"},
            "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 8080}]},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": "web-1",
                "namespace": "default",
                "labels": {"kubernetes.io/service-name": "web"},
            },
            "addressType": "IPv4",
            "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
            "endpoints": [{"addresses": ["10.250.0.9"], "conditions": {"ready": True}}],
        },
    ],
}


def test_services_get_addresses_rules_and_names(tmp_path: Path) -> None:
    conftest = Path(__file__).parents[1] / "conftest.py"
    code = (
        "import importlib.util, sys, pathlib\n"
        "def load(name, path):\n"
        "    spec = importlib.util.spec_from_file_location(name, path)\n"
        "    module = importlib.util.module_from_spec(spec)\n"
        "    sys.modules[name] = module\n"
        "    spec.loader.exec_module(module)\n"
        "    return module\n"
        f"start = load('api_conftest', {str(conftest)!r}).start_api_server\n"
        f"load('agents', {str(Path(__file__))!r}).child(pathlib.Path({str(tmp_path)!r}), start)\n"
    )
    done = subprocess.run(["unshare", "--net", sys.executable, "-c", code], capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
