"""What is told of a pod: status, logs, streams, probes."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.reading.container_log import LogLine, last_lines
from sampan.node import cri_pb2 as cri
from sampan.node.log_stream import LogOptions
from sampan.node.pod_status import phase_of, status_of
from sampan.node.pod_view import PodView
from sampan.node.probes import Target, ask
from sampan.node.restart_backoff import RestartBackoff, spoken
from sampan.node.restart_policy import restart_wanted
from sampan.node.spdy import Session, Stream

NOW = "2026-01-01T00:00:00Z"


def pod(policy: str = "Always", *, init: bool = False) -> dict[str, Any]:
    spec: dict[str, Any] = {"restartPolicy": policy, "containers": [{"name": "main", "image": "x:1"}]}
    if init:
        spec["initContainers"] = [{"name": "init", "image": "x:1"}]
    return {"metadata": {"name": "p", "namespace": "n", "uid": "u", "generation": 3}, "spec": spec}


def status(state: int, code: int = 0, attempt: int = 0) -> cri.ContainerStatus:
    return cri.ContainerStatus(
        id=f"c{attempt}",
        state=state,  # type: ignore[arg-type]
        exit_code=code,
        metadata=cri.ContainerMetadata(name="main", attempt=attempt),
        started_at=1_700_000_000_000_000_000,
        finished_at=1_700_000_001_000_000_000,
    )


RUNNING, EXITED = cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED


@pytest.mark.parametrize(
    ("policy", "current", "phase"),
    [
        ("Always", None, "Pending"),
        ("Always", status(RUNNING), "Running"),
        ("Always", status(EXITED, 1), "Running"),
        ("OnFailure", status(EXITED, 1), "Running"),
        ("OnFailure", status(EXITED, 0), "Succeeded"),
        ("Never", status(EXITED, 0), "Succeeded"),
        ("Never", status(EXITED, 2), "Failed"),
    ],
)
def test_phases(policy: str, current: cri.ContainerStatus | None, phase: str) -> None:
    view = PodView()
    view.of("main").current = current
    assert phase_of(pod(policy), view) == phase


def test_a_pod_waits_for_its_init_containers() -> None:
    view = PodView()
    view.of("main").current = None
    view.of("init").current = status(RUNNING)
    assert phase_of(pod(init=True), view) == "Pending"
    found = status_of(pod(init=True), view, ("10.0.0.1",), NOW)
    waiting = found["containerStatuses"][0]["state"]["waiting"]
    assert waiting["reason"] == "PodInitializing"
    conditions = {c["type"]: c for c in found["conditions"]}
    assert conditions["Initialized"]["message"] == "containers with incomplete status: [init]"
    view.of("init").current = status(EXITED, 1)
    assert phase_of(pod("Never", init=True), view) == "Failed"


def test_a_crash_loop_shows_both_states() -> None:
    view = PodView(sandbox_ready=True, ips=("10.1.0.9", "fd00::9"))
    seen = view.of("main")
    seen.current, seen.message = status(EXITED, 7, attempt=2), "dying\n"
    seen.waiting_reason = "CrashLoopBackOff"
    found = status_of(pod(), view, ("10.0.0.1",), NOW)
    container = found["containerStatuses"][0]
    assert container["state"] == {"waiting": {"reason": "CrashLoopBackOff"}}
    assert container["lastState"]["terminated"]["exitCode"] == 7
    assert container["lastState"]["terminated"]["message"] == "dying\n"
    assert container["restartCount"] == 2 and found["podIP"] == "10.1.0.9"
    assert found["podIPs"] == [{"ip": "10.1.0.9"}, {"ip": "fd00::9"}] and found["hostIPs"] == [{"ip": "10.0.0.1"}]


def test_readiness_gates() -> None:
    gated = pod()
    gated["spec"]["readinessGates"] = [{"conditionType": "example/open"}]
    view = PodView(sandbox_ready=True)
    seen = view.of("main")
    seen.current, seen.ready, seen.started = status(RUNNING), True, True
    conditions = {c["type"]: c["status"] for c in status_of(gated, view, ("h",), NOW)["conditions"]}
    assert (conditions["ContainersReady"], conditions["Ready"]) == ("True", "False")
    gated["status"] = {"conditions": [{"type": "example/open", "status": "True", "lastTransitionTime": NOW}]}
    again = status_of(gated, view, ("h",), NOW)["conditions"]
    assert {c["type"]: c["status"] for c in again}["Ready"] == "True"
    assert any(c["type"] == "example/open" for c in again), "conditions of others stay"


def test_restarts_by_policy() -> None:
    view = PodView().of("main")
    view.current = status(EXITED, 0)
    container = {"name": "main"}
    assert [restart_wanted(pod(policy), container, view) for policy in ("Always", "OnFailure", "Never")] == [
        True,
        False,
        False,
    ]


def test_the_last_lines_are_whole_ones() -> None:
    texts = [b"one\n", b"tw", b"o\n", b"three\n"]
    entries = [LogLine(b"t", b"stdout", text) for text in texts]
    assert b"".join(entry.text for entry in last_lines(entries, 2)) == b"two\nthree\n"
    assert last_lines(entries, 0) == []
    unfinished = [*entries, LogLine(b"t", b"stdout", b"fou")]
    assert b"".join(entry.text for entry in last_lines(unfinished, 2)) == b"three\nfou"


def test_log_options() -> None:
    options = LogOptions.parse({"follow": "true", "tailLines": "5", "sinceTime": "2026-01-01T00:00:00Z"})
    assert options.follow and options.tail_lines == 5
    assert options.wants(LogLine(b"2026-01-01T00:00:01.5Z", b"stdout", b"x"))
    assert not options.wants(LogLine(b"2025-12-31T23:59:59.5Z", b"stdout", b"x"))
    assert LogOptions.parse({"sinceTime": "2026-01-01T02:00:00+02:00"}).since == 1_767_225_600 * 10**9


@given(st.lists(st.binary(min_size=1, max_size=70_000), max_size=4))
def test_spdy_carries_streams_both_ways(messages: list[bytes]) -> None:
    async def carry() -> None:
        opened: list[Stream] = []
        wires: list[list[bytes]] = [[], []]
        client = Session(wires[0].append, client=True)
        server = Session(wires[1].append, client=False, on_stream=opened.append)

        def exchange() -> None:
            while wires[0] or wires[1]:
                if wires[0]:
                    server.feed(wires[0].pop(0))
                if wires[1]:
                    client.feed(wires[1].pop(0))

        stream = client.open({"streamtype": "data", "port": "80"})
        exchange()
        await stream.replied
        assert opened[0].headers == {"streamtype": "data", "port": "80"}
        for message in messages:
            await stream.send(message)
            exchange()
            await opened[0].send(message)
            exchange()
        stream.close()
        exchange()
        got = b""
        while piece := await opened[0].receive():
            got += piece
        assert got == b"".join(messages)

    asyncio.run(carry())


async def test_http_probes() -> None:
    codes = {"/ok": 204, "/moved": 302, "/bad": 500}

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        path = (await reader.readline()).split()[1].decode()
        if path == "/slow":
            await asyncio.sleep(1000)
        writer.write(f"HTTP/1.1 {codes.get(path, 404)} X\r\n\r\n".encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target({"ports": [{"name": "web", "containerPort": port}]}, "c", "127.0.0.1")

    async def answer(path: str, seconds: int = 60) -> tuple[bool, str]:
        probe = {"httpGet": {"path": path, "port": "web"}, "timeoutSeconds": seconds}
        found = await ask(None, probe, target)  # type: ignore[arg-type]
        return found.well, found.message

    assert (await answer("/ok"))[0] and (await answer("/moved"))[0]
    assert await answer("/bad") == (False, "HTTP probe failed with statuscode: 500")
    assert await answer("/slow", 1) == (False, "probe did not answer within 1 s")
    server.close()
    well = await ask(None, {"tcpSocket": {"port": port}}, target)  # type: ignore[arg-type]
    assert not well.well and "dial tcp" in well.message


def test_restarts_wait_longer_each_time_and_are_forgiven() -> None:
    backoff = RestartBackoff(300)
    now = time.time_ns()

    def ended(attempt: int, lasted_seconds: int = 1) -> float:
        instance = status(EXITED, 1, attempt)
        instance.started_at, instance.finished_at = now - lasted_seconds * 10**9, now
        return backoff.left("main", instance)

    assert ended(0) <= 0
    assert [round(ended(attempt)) for attempt in (1, 2, 3)] == [10, 20, 40]
    assert [round(ended(attempt)) for attempt in range(4, 9)] == [80, 160, 300, 300, 300]
    assert ended(9, lasted_seconds=700) <= 0
    assert (spoken(40), spoken(80)) == ("40s", "1m20s")
