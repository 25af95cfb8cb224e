"""The CNI plugin without any cluster: run as libcni runs it, in chains with Debian's plugins, and by a plain containerd."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from sampan.network.cni_install import NetworkChoice, conflist, install

spec = importlib.util.spec_from_file_location("netns_sandbox", Path(__file__).with_name("netns_sandbox.py"))
assert spec is not None and spec.loader is not None
sandbox = sys.modules.setdefault("netns_sandbox", importlib.util.module_from_spec(spec))
spec.loader.exec_module(sandbox)

pytestmark = sandbox.needs_root
DEBIANS = Path("/usr/lib/cni")
EXAMPLE = Path(__file__).parents[2] / "examples" / "cni"
Object = dict[str, Any]
RANGES = [ip_network("10.77.0.0/24"), ip_network("fd77::/64")]
SERVER = """
import socket
s = socket.create_server(("::", 7000), family=socket.AF_INET6, dualstack_ipv6=True)
print("ready", flush=True)
while True:
    c, peer = s.accept()
    c.sendall(peer[0].removeprefix("::ffff:").encode())
    c.close()
"""
ASK = "import socket,sys; s=socket.create_connection((sys.argv[1], int(sys.argv[2])), 3); print(s.recv(64).decode())"


class Host:
    """A network namespace that is a machine with plugins, and what libcni does with them."""

    def __init__(self, spaces: Any, directory: Path, **choice: Any) -> None:
        self.spaces, self.directory = spaces, directory
        self.netns = spaces.new()
        spaces.run(self.netns, "ip", "link", "set", "lo", "up")
        self.leases = directory / "leases"
        picked = NetworkChoice("net1", RANGES, **choice)
        install(directory / "bin", directory / "net.d", picked)
        self.list = conflist(picked)
        self.list["plugins"][0]["ipam"]["dataDir"] = str(self.leases)
        self.results: dict[str, Object] = {}

    def call(
        self, command: str, container: str, netns: str, config: Object, kill_after: float | None = None
    ) -> tuple[int, Object]:
        """Run one plugin; with ``kill_after`` its process is killed after so many seconds."""
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": container,
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": netns,
            "CNI_PATH": f"{self.directory / 'bin'}:{DEBIANS}",
        }
        program = shutil.which(config["type"], path=environment["CNI_PATH"])
        assert program is not None, config["type"]
        process = subprocess.Popen(
            ["nsenter", f"--net={self.netns}", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
        assert process.stdin is not None and process.stdout is not None
        if kill_after is not None:
            process.stdin.write(json.dumps(config).encode())
            process.stdin.close()
            time.sleep(kill_after)  # what is killed when is the point
            os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait(60)
            return -9, {}
        printed, _ = process.communicate(json.dumps(config).encode(), timeout=120)
        return process.returncode, json.loads(printed or b"{}")

    def configs(self, runtime: Object | None) -> list[Object]:
        found = []
        for plugin in self.list["plugins"]:
            config = {**plugin, "cniVersion": self.list["cniVersion"], "name": self.list["name"]}
            wanted = {
                name: (runtime or {})[name] for name in plugin.get("capabilities") or {} if name in (runtime or {})
            }
            if wanted:
                config["runtimeConfig"] = wanted
            config.pop("capabilities", None)
            found.append(config)
        return found

    def add(self, container: str, netns: str, runtime: Object | None = None) -> Object:
        result: Object = {}
        for config in self.configs(runtime):
            if result:
                config["prevResult"] = result
            code, result = self.call("ADD", container, netns, config)
            assert code == 0, result
        self.results[container] = result
        return result

    def every(
        self, command: str, container: str, netns: str, runtime: Object | None = None
    ) -> list[tuple[int, Object]]:
        """CHECK goes through the chain forwards, DEL backwards."""
        configs = self.configs(runtime)
        for config in configs:
            config["prevResult"] = self.results[container]
        return [
            self.call(command, container, netns, config)
            for config in (configs if command == "CHECK" else configs[::-1])
        ]

    def links(self) -> list[str]:
        shown = self.spaces.run(self.netns, "ip", "-json", "link", "show", "master", "sampan0", check=False)
        return [each["ifname"] for each in json.loads(shown or "[]") if each]

    def lent(self) -> list[str]:
        folder = self.leases / "net1"
        return sorted(path.name for path in folder.iterdir() if path.name[0] != ".") if folder.exists() else []


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    with sandbox.namespaces() as spaces:
        yield Host(spaces, tmp_path)


def addresses(result: Object) -> list[str]:
    return [entry["address"].partition("/")[0] for entry in result["ips"]]


def test_pods_of_both_families_reach_each_other_and_nothing_remains(host: Host) -> None:
    pods = [host.spaces.new(), host.spaces.new()]
    first, second = (host.add(f"c{number}", netns) for number, netns in enumerate(pods))
    assert addresses(first) == ["10.77.0.2", "fd77::2"] and addresses(second) == ["10.77.0.3", "fd77::3"]
    host.spaces.start(pods[1], sys.executable, "-c", SERVER)
    for own, other in zip(addresses(first), addresses(second), strict=True):
        assert host.spaces.run(pods[0], sys.executable, "-c", ASK, other, "7000").strip() == own
    assert [code for code, _ in host.every("CHECK", "c0", pods[0])] == [0]
    host.spaces.run(pods[0], "ip", "-6", "route", "del", "default")
    [(code, said)] = host.every("CHECK", "c0", pods[0])
    assert code == 1 and "default route of IPv6" in said["msg"]
    for number, netns in enumerate(pods):
        assert host.every("DEL", f"c{number}", netns) == [(0, {})]
        assert host.every("DEL", f"c{number}", "") == [(0, {})], "a second time, and without a namespace"
    assert host.links() == [] and host.lent() == []
    third = host.add("c2", pods[0])
    assert addresses(third)[0] == "10.77.0.4", "an address that was given back is not at once somebody else's"


@pytest.mark.skipif(not (DEBIANS / "portmap").exists(), reason="needs containernetworking-plugins")
def test_a_chain_with_portmap_bandwidth_and_tuning(tmp_path: Path) -> None:
    with sandbox.namespaces() as spaces:
        host = Host(spaces, tmp_path, after=["portmap", "bandwidth", "tuning"])
        host.list["plugins"][0]["capabilities"] = {"mac": True, "ips": True}
        host.list["plugins"][3]["sysctl"] = {"net.core.somaxconn": "500"}
        netns = spaces.new()
        runtime = {
            "portMappings": [{"hostPort": 8070, "containerPort": 7000, "protocol": "tcp"}],
            "bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 8000000, "egressBurst": 800000},
            "mac": "02:11:22:33:44:55",
            "ips": ["10.77.0.9/24", "fd77::99/64"],
        }
        result = host.add("c", netns, runtime)
        assert addresses(result) == ["10.77.0.9", "fd77::99"]
        assert [each["mac"] for each in result["interfaces"] if each["name"] == "eth0"] == ["02:11:22:33:44:55"]
        assert "02:11:22:33:44:55" in spaces.run(netns, "ip", "link", "show", "eth0")
        assert spaces.run(netns, "sysctl", "-n", "net.core.somaxconn").strip() == "500"
        spaces.start(netns, sys.executable, "-c", SERVER)
        spaces.run(host.netns, "sysctl", "-qw", "net.ipv4.conf.all.route_localnet=1")
        client = spaces.new()
        host.add("other", client)
        assert spaces.run(client, sys.executable, "-c", ASK, "10.77.0.1", "8070").strip() == "10.77.0.2"
        checked = host.every("CHECK", "c", netns, runtime)
        # portmap 1.1.1 looks for its IPv4 rule in ip6tables, too, where a pod has both families
        assert [checked[number] for number in (0, 2, 3)] == [(0, {})] * 3
        assert [code for code, _ in host.every("DEL", "c", netns, runtime)] == [0, 0, 0, 0]
        assert [code for code, _ in host.every("DEL", "other", client)] == [0, 0, 0, 0]
        assert host.links() == [] and host.lent() == []


@pytest.mark.skipif(not (DEBIANS / "host-local").exists(), reason="needs containernetworking-plugins")
def test_addresses_of_another_ipam_plugin(host: Host, tmp_path: Path) -> None:
    ranges = [[{"subnet": "10.88.0.0/24"}], [{"subnet": "fd88::/64"}]]
    host.list["plugins"][0]["ipam"] = {"type": "host-local", "ranges": ranges, "dataDir": str(tmp_path / "host-local")}
    netns = host.spaces.new()
    assert addresses(host.add("c", netns)) == ["10.88.0.2", "fd88::2"]
    assert [code for code, _ in host.every("CHECK", "c", netns)] == [0]
    assert [code for code, _ in host.every("DEL", "c", netns)] == [0]
    assert not list((tmp_path / "host-local" / "net1").glob("*.*.*.*"))
    host.list["plugins"][0]["ipam"]["type"] = "nowhere"
    code, said = host.call("ADD", "c", netns, host.configs(None)[0])
    assert code == 1 and said["code"] == 4 and "nowhere" in said["msg"]


def test_kill_9_at_any_moment_lends_no_address_twice_and_loses_none(host: Host) -> None:
    """ADD is killed at 16 moments, then asked again or given up; at the end GC leaves what is valid."""
    dice = random.Random(6)
    config = host.configs(None)[0]
    netns = [host.spaces.new() for _ in range(4)]
    kept: dict[str, list[str]] = {}
    for turn in range(16):
        container = f"c{turn}"
        host.call("ADD", container, netns[turn % 4], config, kill_after=dice.uniform(0.02, 0.25))
        if turn % 4 == 0:
            code, result = host.call("ADD", container, netns[turn % 4], config)
            assert code == 0, result
            kept[container] = addresses(result)
            assert host.call("DEL", container, netns[turn % 4], {**config, "prevResult": result})[0] == 0
        elif turn % 4 == 1:
            assert host.call("DEL", container, netns[turn % 4], config) == (0, {})
    final = host.spaces.new()
    code, result = host.call("ADD", "last", final, config)
    assert code == 0, result
    lent = host.lent()
    assert len(lent) == len(set(lent))
    valid = [{"containerID": "last", "ifname": "eth0"}]
    asked = {**config, "cniVersion": "1.1.0", "cni.dev/valid-attachments": valid}
    assert host.call("GC", "", "", asked) == (0, {})
    assert [text.replace("_", ":") for text in host.lent()] == sorted(addresses(result))
    assert len(host.links()) == 1


def test_adds_side_by_side_get_addresses_of_their_own(host: Host) -> None:
    config = host.configs(None)[0]
    netns = [host.spaces.new() for _ in range(6)]

    async def all_at_once() -> list[tuple[int, Object]]:
        return await asyncio.gather(
            *(asyncio.to_thread(host.call, "ADD", f"c{n}", space, config) for n, space in enumerate(netns))
        )

    answers = asyncio.run(all_at_once())
    assert [code for code, _ in answers] == [0] * 6, answers
    given = [address for _, result in answers for address in addresses(result)]
    assert len(set(given)) == 12


def test_versions_and_full_ranges(host: Host) -> None:
    config = host.configs(None)[0]
    netns = host.spaces.new()

    def said(command: str = "ADD", space: str = netns, **changed: Any) -> Object:
        code, answer = host.call(command, "c", space, {**config, **changed})
        assert code == 1, answer
        return answer

    for version in ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"):
        code, result = host.call("ADD", "c", netns, {**config, "cniVersion": version})
        assert code == 0 and result["cniVersion"] == version
        assert [entry.get("version") for entry in result["ips"]] == (["4", "6"] if version[0] == "0" else [None, None])
        assert host.call("DEL", "c", netns, {**config, "cniVersion": version}) == (0, {})
    assert said(cniVersion="0.2.0")["code"] == 1
    assert (
        host.call("VERSION", "c", "", {"cniVersion": "9.0.0", "type": "sampan"})[1]["supportedVersions"][-1] == "1.1.0"
    )
    small = {"ranges": [[{"subnet": "10.5.0.0/30"}]], "dataDir": str(host.leases / "small")}
    assert host.call("ADD", "c", netns, {**config, "ipam": small})[0] == 0
    assert host.call("STATUS", "", "", {**config, "cniVersion": "1.1.0", "ipam": small})[1]["code"] == 50
    other = host.spaces.new()
    code, answer = host.call("ADD", "d", other, {**config, "ipam": small})
    assert (code, answer["code"]) == (1, 100)
    assert host.call("STATUS", "", "", {**config, "cniVersion": "1.1.0"}) == (0, {})


def test_a_plain_containerd_gives_its_pods_addresses(tmp_path: Path) -> None:
    """No cluster: the executable and ``examples/cni/10-plain.conflist``, as any machine with containerd may have them."""
    from sampan.node import cri_pb2 as cri
    from sampan.node.containerd import ContainerdConfig, prepare
    from sampan.node.images import ensure_pause
    from sampan.node.runtime import Runtime

    if not shutil.which("containerd") or not shutil.which("catatonit"):
        pytest.skip("needs containerd and catatonit")
    alone = f"cni-{uuid.uuid4().hex[:8]}"
    run_dir = Path("/run") / alone  # a socket's path is short
    socket = run_dir / "c.sock"
    command = prepare(ContainerdConfig(tmp_path / "root", run_dir, socket, tmp_path / "cni", "/sampan/none"))
    install(tmp_path / "cni" / "bin", tmp_path / "cni" / "net.d", None)
    for name in ("portmap", "tuning"):
        if not (DEBIANS / name).exists():
            pytest.skip("needs containernetworking-plugins")
        (tmp_path / "cni" / "bin" / name).symlink_to(DEBIANS / name)
    configured = json.loads((EXAMPLE / "10-plain.conflist").read_text())
    configured["plugins"][0]["ipam"]["dataDir"] = str(tmp_path / "leases")
    (tmp_path / "cni" / "net.d" / "10-plain.conflist").write_text(json.dumps(configured))

    async def two_pods() -> list[list[str]]:
        runtime = Runtime(socket)
        found = []
        try:
            await asyncio.to_thread(ensure_pause, socket)
            made = []
            for name in ("a", "b"):
                config = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(name=name, uid=name, namespace="plain"))
                config.linux.cgroup_parent = f"/{alone}"
                made.append(await runtime.run_pod_sandbox(config))
                status = await runtime.pod_sandbox_status(made[-1])
                found.append([status.network.ip, *(each.ip for each in status.network.additional_ips)])
            for sandbox_id in made:
                await runtime.stop_pod_sandbox(sandbox_id)
                await runtime.remove_pod_sandbox(sandbox_id)
        finally:
            runtime.close()
        return found

    with sandbox.namespaces() as spaces:
        netns = spaces.new()
        served = subprocess.Popen(["nsenter", f"--net={netns}", *command], stdout=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + 60
            while not socket.exists():
                assert time.monotonic() < deadline and served.poll() is None, "containerd does not begin"
                time.sleep(0.05)
            assert asyncio.run(two_pods()) == [["10.77.0.2", "fd77::2"], ["10.77.0.3", "fd77::3"]]
            assert [path.name for path in (tmp_path / "leases" / "plain").iterdir() if path.name[0] != "."] == []
        finally:
            served.terminate()
            served.wait(60)
            shutil.rmtree(run_dir, ignore_errors=True)
