"""What a node and its pods use: counters read, rates made of two looks, the Summary and the pages for Prometheus."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.node import stats_rates, stats_reading
from sampan.node.stats import NANO, Container, Filesystem, Interface, Pod, Rate, Snapshot, Usage, summary
from sampan.node.stats_metrics import cadvisor_page, kubelet_page, resource_page
from sampan.node.stats_rates import Sampler

START = 1_700_000_000 * NANO


def snapshot(at: float, cpu: float, *, container: str = "one", started: float = 0.0) -> Snapshot:
    """Everything at ``at`` seconds after START, when the one container has used ``cpu`` seconds."""
    now = START + int(at * NANO)

    def usage() -> Usage:
        return Usage(now, int(cpu * NANO), 3000, 2000, 1000, 5, 1, 7000)

    inner = Container("c", container, "image:1", START + int(started * NANO), usage(), layer_bytes=10, log_bytes=20)
    link = Interface("eth0", 1, 2, 3, 4)
    pod = Pod("default", "p", "uid", "2023-11-14T22:13:20Z", usage(), [inner], link, processes=2)
    return Snapshot("n", START, usage(), [pod], [link], Filesystem(100, 40, 10, 6), 32768, 99)


class World:
    """A clock and what is read at its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.cpu = 0.0
        self.reads = 0
        self.container, self.started = "one", 0.0
        self.sampler = Sampler(self.read, lambda: self.now)

    async def read(self) -> Snapshot:
        self.reads += 1
        if self.reads == 2:  # the second look of who asks for the first time
            self.pass_time(1.0, 0.25)
        return snapshot(self.now, self.cpu, container=self.container, started=self.started)

    def pass_time(self, seconds: float, cores: float) -> None:
        self.now += seconds
        self.cpu += seconds * cores

    async def cores(self, key: tuple[str, ...] = ("uid", "one")) -> tuple[float, float]:
        rate = (await self.sampler.measure()).rates[key]
        return rate.nano_cores / NANO, rate.window_nanoseconds / NANO


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(stats_rates, "FIRST_SECONDS", 0.0)
    return World()


async def test_who_asks_first_gets_two_looks_and_the_next_second_shares_them(world: World) -> None:
    assert await world.cores() == (0.25, 1.0)
    world.now += 0.5
    assert await world.cores() == (0.25, 1.0)
    assert world.reads == 2


async def test_a_look_is_compared_with_the_youngest_that_is_old_enough(world: World) -> None:
    await world.cores()
    world.pass_time(11, 1.0)
    assert await world.cores() == (1.0, 11.0)
    world.pass_time(4, 0.0)  # one of 4 s is too young: the first is taken
    cores, window = await world.cores()
    assert window == 15.0
    assert cores == pytest.approx(11 / 15, abs=1e-9)
    world.pass_time(4.5, 2.0)
    assert await world.cores() == (pytest.approx(9 / 8.5, abs=1e-8), 8.5)


async def test_looks_of_long_ago_are_not_compared_with(world: World) -> None:
    await world.cores()
    world.pass_time(3600, 2.0)
    world.reads = 0
    measured = await world.sampler.measure()
    assert world.reads == 2
    assert measured.rates[("uid",)] == Rate(NANO // 4, NANO)
    assert len(world.sampler._points) == 2


async def test_what_was_started_since_counts_from_its_start_and_counters_may_begin_anew(world: World) -> None:
    await world.cores()
    world.pass_time(20, 0.0)
    world.container, world.started, world.cpu = "two", 16.0, 2.5
    assert await world.cores(("uid", "two")) == (0.5, 5.0)
    assert (await world.sampler.measure()).rates[("uid", "two")] == Rate(NANO // 2, 5 * NANO)


def test_pods_on_cgroup_v1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "cpuacct/sampan/pod/cpuacct.usage": "1500000000\n",
        "memory/sampan/pod/memory.usage_in_bytes": "5000\n",
        "memory/sampan/pod/memory.stat": "total_inactive_file 1000\ntotal_rss 700\ntotal_pgfault 9\ntotal_pgmajfault 1\n",
        "pids/sampan/pod/pids.current": "4\n",
    }
    lay(tmp_path, files, monkeypatch, v2=False)
    used = stats_reading.cgroup_usage("/sampan/pod")
    assert (used.cpu_nanoseconds, used.memory_bytes, used.working_set_bytes) == (1_500_000_000, 5000, 4000)
    assert (used.rss_bytes, used.page_faults, used.major_page_faults) == (700, 9, 1)
    assert stats_reading.cgroup_number("/sampan/pod", "pids", "pids.current") == 4


def test_pods_on_cgroup_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {
        "sampan/pod/cpu.stat": "usage_usec 1500000\nuser_usec 1\n",
        "sampan/pod/memory.current": "5000\n",
        "sampan/pod/memory.stat": "anon 700\ninactive_file 6000\npgfault 9\npgmajfault 1\n",
    }
    lay(tmp_path, files, monkeypatch, v2=True)
    used = stats_reading.cgroup_usage("/sampan/pod")
    assert (used.cpu_nanoseconds, used.working_set_bytes, used.rss_bytes) == (1_500_000_000, 0, 700)
    assert stats_reading.cgroup_usage("/sampan/none").cpu_nanoseconds is None


def lay(root: Path, files: dict[str, str], monkeypatch: pytest.MonkeyPatch, *, v2: bool) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    monkeypatch.setattr(stats_reading, "ROOT", root)
    monkeypatch.setattr(stats_reading, "is_v2", lambda: v2)


def test_the_machine() -> None:
    stat = "cpu  100 10 50 9000 500 5 5 30 7 7\ncpu0 1 1 1 1\nbtime 1700000000\n"
    memory = "MemTotal: 1000 kB\nMemFree: 400 kB\nInactive(file): 100 kB\nAnonPages: 200 kB\n"
    used = stats_reading.machine_usage(stat, memory)
    assert used.cpu_nanoseconds == 200 * stats_reading.TICK_NANOSECONDS
    assert (used.memory_bytes, used.working_set_bytes) == (600 * 1024, 500 * 1024)
    assert (used.rss_bytes, used.available_bytes) == (200 * 1024, 500 * 1024)
    assert stats_reading.boot_time(stat) == START


def test_interfaces_and_the_pods_end_of_a_link() -> None:
    dev = "head\nhead\n  eth0: 100 1 2 0 0 0 0 0 300 3 4 0 0 0 0 0\n"
    link = stats_reading.interfaces(dev)["eth0"]
    assert link == Interface("eth0", 100, 2, 300, 4)
    assert stats_reading.turned(link) == Interface("eth0", 300, 4, 100, 2)


def test_the_summary_has_the_kubelets_shape() -> None:
    found = summary(snapshot(10, 5), {("uid", "one"): Rate(500, 10 * NANO), (): Rate(700, 10 * NANO)})
    node, (pod,) = found["node"], found["pods"]
    assert node["cpu"]["usageNanoCores"] == 700
    assert node["fs"]["usedBytes"] == 60
    assert node["rlimit"] == {"time": "2023-11-14T22:13:30Z", "maxpid": 32768, "curproc": 99}
    assert pod["podRef"] == {"name": "p", "namespace": "default", "uid": "uid"}
    assert "usageNanoCores" not in pod["cpu"]
    assert pod["ephemeral-storage"]["usedBytes"] == 30
    assert pod["network"]["rxBytes"] == 1
    (container,) = pod["containers"]
    assert container["cpu"] == {
        "time": "2023-11-14T22:13:30Z",
        "usageNanoCores": 500,
        "window": "10.000s",
        "usageCoreNanoSeconds": 5 * NANO,
    }
    assert container["memory"]["workingSetBytes"] == 2000
    assert (container["rootfs"]["usedBytes"], container["logs"]["usedBytes"]) == (10, 20)
    brief = summary(snapshot(10, 5), {}, only_cpu_and_memory=True)
    assert brief["node"].keys() == {"nodeName", "startTime", "cpu", "memory"}
    assert brief["pods"][0]["containers"][0].keys() == {"name", "startTime", "cpu", "memory"}


def test_pages_for_prometheus() -> None:
    lines = resource_page(snapshot(10, 5)).splitlines()
    assert 'container_cpu_usage_seconds_total{container="c",namespace="default",pod="p"} 5' in lines
    assert 'pod_memory_working_set_bytes{namespace="default",pod="p"} 2000' in lines
    assert "node_cpu_usage_seconds_total 5" in lines
    assert "resource_scrape_error 0" in lines
    lines = cadvisor_page(snapshot(10, 5), 2, 1024).splitlines()
    inner = 'container="c",id="/poduid/one",image="image:1",name="one",namespace="default",pod="p"'
    assert f"container_memory_rss{{{inner}}} 1000" in lines
    whole = 'container="",id="/poduid",image="",name="",namespace="default",pod="p"'
    assert f'container_network_receive_bytes_total{{{whole},interface="eth0"}} 1' in lines
    assert "machine_cpu_cores 2" in lines
    lines = kubelet_page("n", "1.37", 3, {"running": 4}).splitlines()
    assert "kubelet_running_pods 3" in lines
    assert 'kubelet_running_containers{container_state="running"} 4' in lines
