"""Faults of a real node: its runtime, a shim or the node itself killed, a full disk, images and probes that are no good.

What runs goes on, the status tells the truth, and nothing is doubled or left.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from . import leftovers
from .eventually import eventually
from .space import Space, pod, state
from .test_node_pods import running_containers


@pytest.fixture
def faulty(space: Space) -> Iterator[Space]:
    """A namespace in which things go wrong; when its pods are gone the node has what it had before."""
    eventually("earlier pods are gone", lambda: others(space) == 0, 120)
    before = leftovers.of_node(space.cluster)
    yield space
    space.run("delete", "pods", "--all", "--grace-period=1", "--timeout=170s", timeout=180)
    after: dict[str, int] = {}

    def no_more() -> bool:
        nonlocal after
        after = leftovers.of_node(space.cluster)
        return all(after[what] <= count for what, count in before.items())  # what others left may have gone meanwhile

    try:
        eventually("the node has no more than it had", no_more)
    except AssertionError:
        assert after == before
        raise


def others(space: Space) -> int:
    """Return how many pods and namespaces there are that end, of tests before this one."""
    found = json.loads(space.cluster.kubectl("get", "pods,namespaces", "-A", "-o", "json"))["items"]
    return sum(1 for one in found if "deletionTimestamp" in one["metadata"])


def container_ids(space: Space, name: str) -> list[str]:
    return [status["containerID"] for status in space.pod(name)["status"]["containerStatuses"]]


def shim_of(sandbox: str) -> int:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"shim" in words[0] and sandbox.encode() in words:
            return int(folder.name)
    raise AssertionError(f"no shim of sandbox {sandbox}")


def sandboxes_of(space: Space, name: str) -> list[str]:
    uid = space.pod(name)["metadata"]["uid"]
    ctr = ["ctr", "--address", str(space.cluster.settings.containerd_socket), "-n", "k8s.io"]
    words = [
        *ctr,
        "containers",
        "ls",
        "-q",
        f'labels."io.kubernetes.pod.uid"=={uid},labels."io.cri-containerd.kind"==sandbox',
    ]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def test_pods_outlive_their_runtime_and_a_shim_that_dies_is_replaced(faulty: Space) -> None:
    faulty.apply(*(pod(f"p{number}", "sleep 1000") for number in range(4)))
    names = [f"p{number}" for number in range(4)]
    for name in names:
        faulty.ready(name)
    before = {name: container_ids(faulty, name) for name in names}
    faulty.cluster.kill("containerd")
    faulty.apply(pod("later", "sleep 1000"), pod("short", "sleep 1", {"restartPolicy": "Never"}))
    faulty.ready("later")
    faulty("wait", "pod/short", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert {name: container_ids(faulty, name) for name in names} == before
    assert all(state(faulty, name)["ready"] and not state(faulty, name)["restartCount"] for name in names)
    node = faulty.cluster.get("nodes")["items"][0]
    assert next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready") == "True"

    old = sandboxes_of(faulty, "p0")
    os.kill(shim_of(old[0]), signal.SIGKILL)
    eventually("it is seen to have ended", lambda: state(faulty, "p0")["restartCount"] == 1)
    faulty.ready("p0")
    last = state(faulty, "p0")["lastState"]["terminated"]
    assert last["exitCode"] != 0 and f"containerd://{before['p0'][0].rpartition('/')[2]}" == last["containerID"]
    assert set(sandboxes_of(faulty, "p0")) - set(old), "the sandbox was the shim's: there is a new one"
    assert running_containers(faulty, "p0") == 1
    assert faulty("exec", "p0", "--", "echo", "well") == "well\n"


def test_the_node_dies_at_any_moment_of_many_starts(faulty: Space) -> None:
    chance = random.Random(5)
    names = [f"p{number}" for number in range(12)]
    init = {"name": "init", "image": "busybox:1", "command": ["true"]}
    volumes = {"volumes": [{"name": "data", "emptyDir": {"medium": "Memory"}}], "initContainers": [init]}
    for name in names:
        mounts = [{"name": "data", "mountPath": "/data"}]
        faulty.apply(pod(name, "sleep 1000", volumes, volumeMounts=mounts))
        if chance.random() < 0.3:
            time.sleep(chance.random() / 4)  # not for something to happen: the moment is to be any
            faulty.cluster.kill("node")
    for name in names:
        faulty.ready(name)
    for name in names:
        assert running_containers(faulty, name) == 1
        assert len(sandboxes_of(faulty, name)) == 1 or state(faulty, name)["restartCount"], "one sandbox of use"
    faulty("delete", "pods", "--all", "--grace-period=1", "--wait=false")
    faulty.cluster.kill("node")  # while they end


def waiting(space: Space, name: str) -> tuple[str, str]:
    found = state(space, name)["state"].get("waiting", {})
    return found.get("reason", ""), found.get("message", "")


def last_end(space: Space, name: str) -> dict[str, Any]:
    return dict(state(space, name).get("lastState", {}).get("terminated") or {})


def load_broken_images(space: Space, folder: Path) -> None:
    """Load an image that says nothing of what to run, and one whose user it does not know."""
    files = {
        "bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755),
        "bin/sh": ImageFile(link="busybox"),
    }
    files["etc/passwd"] = ImageFile(b"root:x:0:0:root:/:/bin/sh\n")
    for name, config in (("nothing", ImageConfig()), ("nobody", ImageConfig(user="nosuchuser"))):
        docker_archive(folder / f"{name}.tar", [f"faults.test/{name}:1"], files, config)
        space.cluster.sampan("image", "load", "--name", space.cluster.name, str(folder / f"{name}.tar"))


def test_images_and_probes_that_are_no_good(faulty: Space, tmp_path: Path) -> None:
    load_broken_images(faulty, tmp_path)
    begun = time.monotonic()
    hangs = {"exec": {"command": ["sleep", "1000"]}, "timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": 2}
    mute = {"httpGet": {"port": 8080}, "timeoutSeconds": 1, "periodSeconds": 1, "failureThreshold": 2}
    alive = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    deaf = "trap '' TERM; while true; do sleep 1; done"
    faulty.apply(
        pod("missing", "", command=["/nope"]),
        pod("workdir", "true", workingDir="/etc/passwd"),
        pod("nothing", "", command=None, image="faults.test/nothing:1"),
        pod("nobody", "true", image="faults.test/nobody:1"),
        pod("user", "true", securityContext={"runAsNonRoot": True}),
        pod("hangs", "sleep 1000", livenessProbe=hangs),
        pod("mute", "nc -lk -p 8080 -e sleep 1000", readinessProbe=mute),
        pod("deaf", deaf),
        pod("well", "sleep 1000", readinessProbe=alive),
        *(pod(f"crash{number}", "exit 7") for number in range(10)),
    )
    faulty.ready("well")
    faulty.ready("deaf")
    for name in ("missing", "workdir"):
        eventually("it waits", lambda name=name: waiting(faulty, name)[0] == "CrashLoopBackOff")  # type: ignore[misc]
        assert (last_end(faulty, name)["exitCode"], last_end(faulty, name)["reason"]) == (128, "StartError")
        assert backed_off(state(faulty, name)["restartCount"], begun), "what cannot be started is backed off, too"
    assert "/nope" in last_end(faulty, "missing")["message"]
    assert "/etc/passwd" in last_end(faulty, "workdir")["message"]
    eventually("a reason", lambda: waiting(faulty, "user")[0] == "CreateContainerConfigError")
    assert "runAsNonRoot" in waiting(faulty, "user")[1]
    for name, why in (("nothing", "no command specified"), ("nobody", "no users found")):
        eventually("a reason", lambda name=name: waiting(faulty, name)[0] == "CreateContainerError")  # type: ignore[misc]
        assert why in waiting(faulty, name)[1]
    for number in range(10):
        eventually("back-off", lambda n=number: waiting(faulty, f"crash{n}")[0] == "CrashLoopBackOff")  # type: ignore[misc]
    most = max(state(faulty, f"crash{number}")["restartCount"] for number in range(10))
    assert backed_off(most, begun), "once at once, then after 10 s"

    eventually("the timeouts count", lambda: state(faulty, "hangs")["restartCount"] >= 1)
    assert not state(faulty, "mute")["ready"] and state(faulty, "well")["ready"]
    form = "jsonpath={range .items[*]}{.involvedObject.name} {.message}{'\\n'}{end}"
    why = "hangs Container main failed liveness probe, will be restarted"
    eventually("why is told", lambda: why in faulty("get", "events", "-o", form))
    faulty("delete", "pod", "deaf", "--timeout=20s")  # its grace is 1 s


def backed_off(restarts: int, begun: float) -> bool:
    """Whether so many restarts are no more than there may be since then: at once, after 10 s, 20 s, 40 s, …"""
    return 10 * (2 ** (restarts - 1) - 1) <= time.monotonic() - begun


def test_many_crash_loops_hold_nobody_up(faulty: Space) -> None:
    """Sixty here, so that it costs little; SAMPAN_CRASHING_PODS=200 for as many as a node has room for."""
    count = int(os.environ.get("SAMPAN_CRASHING_PODS", "60"))
    begun = time.monotonic()
    faulty.apply(*(pod(f"crash{number}", "exit 7") for number in range(count)))
    faulty.apply(pod("well", "sleep 1000", readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1}))

    def found() -> dict[str, dict[str, Any]]:
        items = json.loads(faulty("get", "pods", "-o", "json"))["items"]
        statuses = {one["metadata"]["name"]: one["status"].get("containerStatuses") or [{}] for one in items}
        return {name: told[0] for name, told in statuses.items()}

    def loops() -> int:
        return sum(
            told.get("state", {}).get("waiting", {}).get("reason") == "CrashLoopBackOff" for told in found().values()
        )

    eventually("the first of them loop", lambda: loops() > 0, 120)
    eventually("one that is well is ready", lambda: bool(found()["well"].get("ready")), 240)
    eventually("all of them loop", lambda: loops() > count * 0.9, 240)  # some run this moment
    told = found()
    assert not told["well"]["restartCount"] and told["well"]["ready"]
    assert backed_off(max(one["restartCount"] for one in told.values()), begun), "each by itself"
    node = faulty.cluster.get("nodes")["items"][0]
    assert next(c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready") == "True"


def test_a_disk_that_is_full_is_told_and_recovered_from(faulty: Space) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "x" * 200_000}}
    spec = {"schedulingGates": [{"name": "test/disk"}], "volumes": [{"name": "c", "configMap": {"name": "c"}}]}
    faulty.apply(config, pod("full", "sleep 1000", spec, volumeMounts=[{"name": "c", "mountPath": "/c"}]))
    folder = faulty.cluster.settings.kubelet_dir / "pods" / faulty.pod("full")["metadata"]["uid"] / "volumes"
    folder.mkdir(parents=True)
    inside = ["nsenter", "-t", str(faulty.cluster.parts()["node"]["pid"]), "-m"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "size=64k", "disk", str(folder)], check=True)
    try:
        faulty("patch", "pod", "full", "--type=json", "-p", '[{"op": "remove", "path": "/spec/schedulingGates"}]')
        reason = "jsonpath={.items[?(@.reason=='FailedMount')].message}"
        eventually("it is told", lambda: "No space left on device" in faulty("get", "events", "-o", reason))
        assert faulty.pod("full")["status"]["phase"] == "Pending"
        subprocess.run([*inside, "mount", "-o", "remount,size=10m", str(folder)], check=True)
        faulty.ready("full")
        assert faulty("exec", "full", "--", "sh", "-c", "cat /c/a | busybox wc -c").strip() == "200000"
        faulty("delete", "pod", "full", "--grace-period=1", "--timeout=60s")
    finally:
        subprocess.run([*inside, "umount", "-l", str(folder)], capture_output=True)
