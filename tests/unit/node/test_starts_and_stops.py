"""How containers start and stop: variables from files, names, signals, turns, back-off, what is told of those that are
gone."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import cri_pb2 as cri
from sampan.node.container_status import container_status
from sampan.node.env_files import EnvFileFault, parse
from sampan.node.environment import ConfigError, environment_of
from sampan.node.local_pod import LocalPod
from sampan.node.pod_config import NameTooLong, namespace_options, sandbox_hostname
from sampan.node.pod_dns import DnsSettings, dns_config
from sampan.node.pod_setup import PodSetup
from sampan.node.pod_view import ContainerView
from sampan.node.probes import HttpFault, Target, ask, get
from sampan.node.restart_backoff import RestartBackoff
from sampan.node.signals import for_cri, for_kernel
from sampan.node.stopping import Ending
from sampan.node.volumes import VolumeError


def test_files_of_variables() -> None:
    text = "# first\n\n A='one' \nB = 'two\nlines # kept'\nC=plain # comment\nA='again'\n"
    assert parse(text) == {"A": "one", "B": "two\nlines # kept", "C": "plain"}


@pytest.mark.parametrize("text", ["no equals", "='x'", "A='open\nstill", "A='x' y"])
def test_files_of_variables_that_are_none(text: str) -> None:
    with pytest.raises(EnvFileFault, match="line"):
        parse(text)


names = st.text("ABCxyz_", min_size=1, max_size=5)


@given(st.dictionaries(names, st.text('ab =#\n"\\$', max_size=10)))
def test_what_is_quoted_is_kept(variables: dict[str, str]) -> None:
    assert parse("".join(f"{name}='{value}'\n" for name, value in variables.items())) == variables


def test_variables_from_a_file_of_a_volume() -> None:
    pod: dict[str, Any] = {"metadata": {"namespace": "n", "name": "p", "uid": "u"}, "spec": {"containers": []}}

    def variable(**more: Any) -> dict[str, Any]:
        reference = {"volumeName": "v", "path": "env", "key": "A", **more}
        return {"env": [{"name": "X", "valueFrom": {"fileKeyRef": reference}}]}

    def found(container: dict[str, Any]) -> dict[str, str]:
        files = {("v", "env"): "A='1'\n"}
        return environment_of(pod, container, lambda *_: None, {}, {}, lambda *key: files.get(key))

    assert found(variable()) == {"X": "1"}
    assert found(variable(key="B", optional=True)) == {} == found(variable(path="none", optional=True))
    with pytest.raises(ConfigError, match='key "B" not found in file "env"'):
        found(variable(key="B"))
    with pytest.raises(ConfigError, match='file "none" not found in volume "v"'):
        found(variable(path="none"))


def named(**spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": "web", "namespace": "shop"}, "spec": spec}


def test_names_of_hosts() -> None:
    assert sandbox_hostname(named(), "cluster.local") == "web"
    assert sandbox_hostname(named(setHostnameAsFQDN=True), "cluster.local") == "web"
    full = named(setHostnameAsFQDN=True, subdomain="sub", hostname="h")
    assert sandbox_hostname(full, "cluster.local") == "h.sub.shop.svc.cluster.local"
    assert sandbox_hostname(named(hostnameOverride="db.example.com", hostname="h"), "cluster.local") == "db.example.com"
    with pytest.raises(NameTooLong, match="64 characters is the max, 87 characters requested"):
        sandbox_hostname(named(setHostnameAsFQDN=True, subdomain="s" * 60), "cluster.local")


def test_a_resolver_takes_so_much() -> None:
    many = {"nameservers": [f"10.0.0.{n}" for n in range(5)], "searches": [f"{'x' * 60}{n}.example" for n in range(40)]}
    made = dns_config(named(dnsPolicy="None", dnsConfig=many), DnsSettings("10.96.0.10", "cluster.local"))
    assert list(made.servers) == ["10.0.0.0", "10.0.0.1", "10.0.0.2"]
    assert 20 < len(made.searches) <= 32 and len(" ".join(made.searches)) <= 2048


def test_whose_processes_an_ephemeral_container_sees() -> None:
    assert namespace_options({}, target="c1").pid == cri.TARGET and namespace_options({}, target="c1").target_id == "c1"
    shared = namespace_options({"shareProcessNamespace": True}, target="c1")
    assert (shared.pid, shared.target_id) == (cri.POD, "")
    assert namespace_options({"hostPID": True}).pid == cri.NODE


def test_signals_in_the_numbers_of_cri_and_of_the_kernel() -> None:
    assert for_cri("") == cri.SIGNAL_RUNTIME_DEFAULT and for_cri("SIGUSR1") == cri.SIGNAL_SIGUSR1
    assert for_cri("SIGRTMIN+3") == cri.SIGNAL_SIGRTMINPLUS3 and for_cri("SIGRTMAX-2") == cri.SIGNAL_SIGRTMAXMINUS2
    assert for_kernel("SIGUSR1") == signal.SIGUSR1
    assert for_kernel("SIGRTMIN+3") == signal.SIGRTMIN + 3 and for_kernel("SIGRTMAX-2") == signal.SIGRTMAX - 2


def ended(attempt: int, ran_seconds: int, at: float) -> cri.ContainerStatus:
    nano = 1_000_000_000
    return cri.ContainerStatus(
        metadata=cri.ContainerMetadata(attempt=attempt),
        started_at=int((at - ran_seconds) * nano),
        finished_at=int(at * nano),
    )


def test_the_longest_pause_is_the_nodes_to_say() -> None:
    for longest, pauses in ((300.0, [0, 10, 20, 40, 80]), (15.0, [0, 10, 15, 15, 15]), (4.0, [0, 4, 4, 4, 4])):
        backoff = RestartBackoff(longest, lambda: 1000.0, lambda: 5.0)
        for attempt, pause in enumerate(pauses):
            assert backoff.left("c", ended(attempt, 1, 1000.0)) == pause
        assert backoff.left("c", ended(9, 601, 1000.0)) == 0, "ten minutes of running are forgiven"


CONTAINER = {"name": "main", "image": "x:1"}
TOLD = {
    "name": "main",
    "image": "x:1",
    "imageID": "i",
    "containerID": "containerd://c",
    "restartCount": 2,
    "ready": True,
}


def told(state: dict[str, Any], *, over: bool) -> dict[str, Any]:
    return container_status(CONTAINER, ContainerView(), "", "containerd", {**TOLD, "state": state}, over=over)


def test_what_is_told_of_containers_that_are_gone() -> None:
    end = {"exitCode": 3, "reason": "Error"}
    assert told({"terminated": end}, over=True)["state"] == {"terminated": end}
    lost = told({"running": {"startedAt": None}}, over=True)
    assert lost["state"]["terminated"]["reason"] == "ContainerStatusUnknown" and not lost["ready"]
    again = told({"running": {"startedAt": None}}, over=False)
    assert (
        again["lastState"]["terminated"]["exitCode"] == 137
        and "waiting" in again["state"]
        and again["restartCount"] == 2
    )


async def serve(answers: dict[str, str]) -> tuple[asyncio.Server, int]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        writer.write(answers[path].encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_redirects_on_the_same_host_are_followed() -> None:
    away = "HTTP/1.1 302 Found\r\nLocation: "
    server, port = await serve(
        {
            "/": f"{away}/gone\r\n\r\n",
            "/gone": "HTTP/1.1 404 Not Found\r\n\r\n",
            "/other": f"{away}http://example.com/x\r\n\r\n",
            "/circle": f"{away}/circle\r\n\r\n",
        }
    )
    target = Target(CONTAINER, "c", "127.0.0.1")

    async def verdict(path: str) -> tuple[bool, str]:
        answer = await ask(None, {"httpGet": {"port": port, "path": path}, "timeoutSeconds": 5}, target)  # type: ignore[arg-type]
        return answer.well, answer.message

    async with server:
        assert await verdict("/") == (False, "HTTP probe failed with statuscode: 404")
        assert (await verdict("/other"))[0], "another host is not asked"
        assert await verdict("/circle") == (False, "stopped after 10 redirects")
    with pytest.raises(HttpFault):
        await get({"port": port}, target)


async def test_a_turn_is_waited_for_only_while_there_is_time() -> None:
    ending = Ending(1000)
    waiting = asyncio.create_task(ending.within(asyncio.ensure_future(asyncio.Event().wait())))
    await asyncio.sleep(0)
    ending.shorten(0)
    assert await asyncio.wait_for(waiting, 60) is None and ending.cut


async def test_a_volume_that_fails_does_not_leave_its_sandbox_on_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next look asked for the sandbox again, and the runtime said ``name is reserved``; a pod that went meanwhile left
    its sandbox behind."""
    setup, made = PodSetup(cast("LocalPod", None)), asyncio.Event()
    ended = []

    async def volumes() -> None:
        raise VolumeError("no")

    async def sandbox() -> None:
        await made.wait()
        ended.append("sandbox")

    monkeypatch.setattr(setup, "_prepare_volumes", volumes)
    monkeypatch.setattr(setup, "_prepare_sandbox", sandbox)
    looking = asyncio.create_task(setup.prepare())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not looking.done()
    made.set()
    with pytest.raises(VolumeError):
        await looking
    assert ended == ["sandbox"]
