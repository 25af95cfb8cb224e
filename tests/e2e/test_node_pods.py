"""Real pods on a real node: what a user of kubectl sees of them."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node.pod_config import UID
from sampan.node.runtime import Runtime

from .eventually import eventually
from .space import Space, pod, state


def test_environment_and_volumes(space: Space) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a.txt": "one", "B": "bee"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"pw": "hunter2"}}
    volumes = [
        {"name": "data", "emptyDir": {}},
        {"name": "mem", "emptyDir": {"medium": "Memory"}},
        {"name": "c", "configMap": {"name": "c"}},
        {"name": "s", "secret": {"secretName": "s", "defaultMode": 0o400}},
    ]
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("data", "mem", "c", "s")]
    mounts.append({"name": "c", "mountPath": "/sub.txt", "subPath": "a.txt"})
    env = [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "hello $(POD)"},
        {"name": "PW", "valueFrom": {"secretKeyRef": {"name": "s", "key": "pw"}}},
    ]
    init = {
        "name": "init",
        "image": "busybox:1",
        "command": ["sh", "-c", "echo prepared > /data/f"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
    }
    script = "cat /data/f /sub.txt /s/pw; echo; echo $GREETING $PW $B; grep ' /mem ' /proc/mounts; sleep 1000"
    spec = {"volumes": volumes, "initContainers": [init]}
    more = {"env": env, "envFrom": [{"configMapRef": {"name": "c"}}], "volumeMounts": mounts}
    space.apply(config, secret, pod("full", script, spec, **more))
    space.ready("full")
    eventually("all is printed", lambda: " /mem " in space("logs", "full"))
    log = space("logs", "full")
    for expected in ("prepared\n", "onehunter2", "hello full hunter2 bee", "tmpfs /mem tmpfs"):
        assert expected in log
    space("patch", "configmap", "c", "-p", '{"data": {"a.txt": "two"}}')
    eventually("the volume follows the ConfigMap", lambda: space("exec", "full", "--", "cat", "/c/a.txt") == "two")


def test_a_force_delete_overtakes_a_graceful_one(space: Space) -> None:
    spec = {"terminationGracePeriodSeconds": 600}
    script = "trap '' TERM; echo $$ here; while true; do sleep 1; done"
    space.apply(pod("stubborn", script, spec, lifecycle={"preStop": {"sleep": {"seconds": 500}}}))
    space.ready("stubborn")
    uid = space.pod("stubborn")["metadata"]["uid"]
    group = Path(f"/sys/fs/cgroup/{'' if Path('/sys/fs/cgroup/cgroup.controllers').exists() else 'pids/'}")
    (folder,) = group.glob(f"sampan/{space.cluster.name}/kubepods/**/pod{uid}")
    space("delete", "pod", "stubborn", "--wait=false")
    space("wait", "pod/stubborn", "--for=jsonpath={.metadata.deletionGracePeriodSeconds}=600", "--timeout=60s")
    space("delete", "pod", "stubborn", "--force", "--grace-period=0", "--wait=false")
    eventually("its cgroup is gone", lambda: not folder.exists())


@pytest.fixture(params=["websocket", "spdy"])
def transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What kubectl speaks in exec and port-forward: WebSocket, or SPDY as old clients do."""
    if request.param == "spdy":
        monkeypatch.setenv("KUBECTL_REMOTE_COMMAND_WEBSOCKETS", "false")
        monkeypatch.setenv("KUBECTL_PORT_FORWARD_WEBSOCKETS", "false")
    return str(request.param)


def test_exec_carries_codes_and_the_end_of_stdin(space: Space, transport: str) -> None:
    space.apply(pod("box", "sleep 1000"))
    space.ready("box")
    assert space.run("exec", "box", "--", "sh", "-c", "exit 7").returncode == 7
    assert space.run("exec", "-i", "box", "--", "cat", stdin="to the end").stdout == "to the end"
    large = "0123456789abcdef" * 16384
    assert space.run("exec", "-i", "box", "--", "cat", stdin=large).stdout == large
    both = space.run("exec", "box", "--", "sh", "-c", "echo out; echo err >&2")
    assert (both.stdout, both.stderr) == ("out\n", "err\n")
    missing = space.run("exec", "box", "-c", "nope", "--", "true")
    assert missing.returncode == 1 and "container nope is not valid for pod box" in missing.stderr


def test_attach_carries_what_is_typed_and_said(space: Space, transport: str) -> None:
    space.apply(pod("echo", "while read line; do echo got $line; done", stdin=True))
    space.ready("echo")
    with subprocess.Popen(
        space.command("attach", "-i", "echo"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as attached:
        assert attached.stdin is not None and attached.stdout is not None
        for word in ("a", "b"):
            attached.stdin.write(f"{word}\n")
            attached.stdin.flush()
            assert attached.stdout.readline() == f"got {word}\n"
        attached.stdin.close()
        assert attached.wait(60) == 0


def test_port_forward(space: Space, transport: str) -> None:
    listens = {"readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1}}
    space.apply(pod("web", "mkdir /www; echo here > /www/index.html; exec httpd -f -p 8080 -h /www", **listens))
    space.ready("web")
    with subprocess.Popen(
        space.command("port-forward", "pod/web", ":8080"), stdout=subprocess.PIPE, text=True
    ) as forward:
        assert forward.stdout is not None
        port = int(forward.stdout.readline().split("127.0.0.1:")[1].split()[0])
        for _ in range(3):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"here\n"
            connection.close()
        forward.terminate()


def test_logs_follow_and_end_with_the_container(space: Space) -> None:
    spec = {"restartPolicy": "Never"}
    space.apply(pod("talker", "for i in 1 2 3; do echo line $i; sleep 0.2; done", spec))
    eventually("it runs", lambda: space.pod("talker").get("status", {}).get("phase") in ("Running", "Succeeded"))
    assert space("logs", "-f", "talker") == "line 1\nline 2\nline 3\n"
    assert space("logs", "talker", "--tail=1") == "line 3\n"
    assert space("logs", "talker", "--timestamps").startswith("20")


def test_logs_of_an_earlier_instance_of_several_containers_and_of_a_part(space: Space) -> None:
    script = (
        "test -e /s/again || { touch /s/again; echo first; exit 1; }; echo second; echo 0123456789; exec sleep 1000"
    )
    volume = {"volumes": [{"name": "s", "emptyDir": {}}]}
    both = pod("twice", script, volume, volumeMounts=[{"name": "s", "mountPath": "/s"}])
    other = pod("other", "echo beside; exec sleep 1000")["spec"]["containers"][0]
    both["spec"]["containers"].append({**other, "name": "other"})
    space.apply(both)
    for container, last in (("main", "0123456789"), ("other", "beside")):
        said = lambda container=container: space.run("logs", "twice", "-c", container).stdout  # noqa: E731
        eventually("it runs again", lambda last=last, said=said: f"{last}\n" in said())  # type: ignore[misc]
    assert space("logs", "twice", "-c", "main", "--previous") == "first\n"
    assert space("logs", "twice", "-c", "main", "--limit-bytes=11") == "second\n0123"
    assert space("logs", "twice", "-c", "main", "--since=1h", "--tail=1") == "0123456789\n"
    assert space("logs", "twice", "-c", "main", "--since-time=2099-01-01T00:00:00Z") == ""
    stamped = space("logs", "twice", "-c", "main", "--tail=1", "--timestamps").split(" ")
    assert len(stamped[0]) == len("2026-11-30T10:00:00.123456789Z")
    assert space("logs", "twice", "-c", "main", f"--since-time={stamped[0]}").endswith("0123456789\n")
    every = space("logs", "twice", "--all-containers", "--prefix").split("\n")
    assert sorted(every[:-1]) == ["[pod/twice/main] 0123456789", "[pod/twice/main] second", "[pod/twice/other] beside"]
    refused = space.run("logs", "twice", "-c", "other", "--previous")
    assert 'previous terminated container "other" in pod "twice" not found' in refused.stderr


def test_a_crash_is_told_and_backed_off(space: Space) -> None:
    space.apply(pod("crash", "echo dying > /dev/termination-log; exit 7"))
    eventually(
        "back-off", lambda: state(space, "crash")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
    )
    last = state(space, "crash")["lastState"]["terminated"]
    assert (last["exitCode"], last["reason"], last["message"]) == (7, "Error", "dying\n")
    told = "Back-off restarting failed container"
    eventually("it is told", lambda: told in space("describe", "pod", "crash"))


def test_how_pods_end(space: Space) -> None:
    spec = {"restartPolicy": "Never"}
    limit = {"resources": {"limits": {"memory": "16Mi"}}}
    space.apply(pod("good", "true", spec), pod("bad", "exit 3", spec), pod("oom", "tail /dev/zero", spec, **limit))

    def phase(name: str) -> str:
        return str(space.pod(name).get("status", {}).get("phase"))

    eventually("they end", lambda: [phase(n) for n in ("good", "bad", "oom")] == ["Succeeded", "Failed", "Failed"])
    assert state(space, "good")["state"]["terminated"]["reason"] == "Completed"
    assert state(space, "bad")["state"]["terminated"]["exitCode"] == 3
    assert state(space, "oom")["state"]["terminated"]["reason"] == "OOMKilled"


@pytest.mark.parametrize(
    ("image", "policy", "reasons"),
    [
        ("nothere:1", "Never", {"ErrImageNeverPull"}),
        ("localhost:1/nothere:1", "IfNotPresent", {"ErrImagePull", "ImagePullBackOff"}),
        ("Not/A Name", "IfNotPresent", {"InvalidImageName"}),
    ],
)
def test_images_that_are_not_there(space: Space, image: str, policy: str, reasons: set[str]) -> None:
    space.apply(pod("absent", "true", image=image, imagePullPolicy=policy))
    eventually("a reason", lambda: state(space, "absent")["state"].get("waiting", {}).get("reason") in reasons)


def test_probes_make_ready_and_restart(space: Space) -> None:
    liveness = {"exec": {"command": ["cat", "/alive"]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20}
    script = "touch /alive; trap 'exit 0' TERM; sleep 1; while [ ! -e /gone ]; do sleep 0.1; done"
    space.apply(pod("lively", script, livenessProbe=liveness | {"initialDelaySeconds": 1}))
    space.ready("lively")
    space("exec", "lively", "--", "sh", "-c", "busybox rm /alive")
    eventually("a restart", lambda: state(space, "lively").get("restartCount") == 1)
    why = "failed liveness probe, will be restarted"
    eventually("why is told", lambda: why in space("describe", "pod", "lively"))


def test_a_pod_ends_gracefully_and_leaves_nothing(space: Space) -> None:
    space.apply(pod("polite", "trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done"))
    space.ready("polite")
    uid = space.pod("polite")["metadata"]["uid"]
    space("delete", "pod", "polite", "--timeout=60s")
    settings = space.cluster.settings
    assert not (settings.kubelet_dir / "pods" / uid).exists()
    assert not list(Path("/sys/fs/cgroup").glob(f"*/sampan/{space.cluster.name}/kubepods/*/pod{uid}"))


def test_one_that_ends_says_so_by_its_readiness_while_it_still_serves(space: Space) -> None:
    """Datagrams of clients that are there stay with an endpoint that serves: it is left in time when this is told in time."""
    script = "touch /ready; trap 'busybox rm /ready' TERM; while [ ! -e /end ]; do sleep 0.1; done"
    readiness = {
        "exec": {"command": ["cat", "/ready"]},
        "periodSeconds": 1,
        "failureThreshold": 1,
        "timeoutSeconds": 20,
    }
    liveness = {"exec": {"command": ["cat", "/ready"]}, "periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20}
    more = {"terminationGracePeriodSeconds": 300}
    space.apply(pod("leaving", script, more, readinessProbe=readiness, livenessProbe=liveness))
    ports = {"selector": {"app": "leaving"}, "ports": [{"port": 80}]}
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "leaving"}, "spec": ports})
    space.ready("leaving")

    def conditions() -> list[dict[str, bool]]:
        listed = json.loads(space("get", "endpointslices", "-l", "kubernetes.io/service-name=leaving", "-o", "json"))
        return [each["conditions"] for piece in listed["items"] for each in piece.get("endpoints") or ()]

    eventually("it serves", lambda: conditions() == [{"ready": True, "serving": True, "terminating": False}])
    space("delete", "pod", "leaving", "--wait=false")
    eventually("it says it goes", lambda: conditions() == [{"ready": False, "serving": False, "terminating": True}])
    assert "running" in state(space, "leaving")["state"]
    space("exec", "leaving", "--", "touch", "/end")
    space("wait", "pod/leaving", "--for=delete", "--timeout=60s")


def test_a_pod_speaks_with_the_api_and_the_dns(space: Space) -> None:
    token = "/var/run/secrets/kubernetes.io/serviceaccount"
    script = f"nslookup kubernetes.default.svc.cluster.local; cat {token}/namespace; echo; sleep 1000"
    space.apply(pod("inside", script))
    space.ready("inside")
    kubernetes = json.loads(space.cluster.kubectl("get", "service", "kubernetes", "-o", "json"))
    address = kubernetes["spec"]["clusterIP"]
    eventually("an answer", lambda: address in space("logs", "inside"))
    eventually("its namespace", lambda: space.name in space("logs", "inside"))


def test_the_node_part_dies_and_nothing_is_doubled(space: Space) -> None:
    killed_after = (1, 4)
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    space.apply(pod("steady", "sleep 1000", readinessProbe=probe))
    space.ready("steady")
    ready = condition(space, "steady", "Ready")
    for number in range(6):
        space.apply(pod(f"p{number}", "sleep 1000"))
        if number in killed_after:
            space.cluster.kill("node")
    for number in range(6):
        space.ready(f"p{number}")
    for number in range(6):
        assert running_containers(space, f"p{number}") == 1
        # a start that a kill cut off in the middle is an instance, as it is for a kubelet; nothing else is started twice
        told = state(space, f"p{number}")
        assert told["restartCount"] <= sum(number <= kill for kill in killed_after)
        assert not told["restartCount"] or told["lastState"]["terminated"]["reason"] == "StartError"
    assert condition(space, "steady", "Ready") == ready, "it was ready all the time"


def condition(space: Space, name: str, type: str) -> dict[str, Any]:
    return next(dict(one) for one in space.pod(name)["status"]["conditions"] if one["type"] == type)


def running_containers(space: Space, name: str) -> int:
    """Return how many containers of a pod the runtime says are running."""

    async def ask() -> int:
        runtime = Runtime(space.cluster.settings.containerd_socket)
        try:
            found = await runtime.list_containers({UID: space.pod(name)["metadata"]["uid"]})
        finally:
            runtime.close()
        return sum(1 for container in found if container.state == cri.CONTAINER_RUNNING)

    return asyncio.run(ask())
