"""Clusters forked from the warm process: whole, apart from each other, and gone when they end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import sampan
from sampan.client.resources import CONFIG_MAPS, NAMESPACES, NODES, PODS
from sampan.client.waiting import WaitTimeout
from sampan.testing.pool import Pool
from sampan.testing.running import Running
from sampan.testing.spec import ClusterError
from tests.e2e.eventually import eventually

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mark"}, "data": {"a": "1"}}


def deployment(name: str, replicas: int = 2, **pod: Any) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "shop:1"}], **pod}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    }


BOATS = """
apiVersion: sea.example.com/v1
kind: Boat
metadata: {name: tanka}
spec: {sails: 2}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: boats.sea.example.com}
spec:
  group: sea.example.com
  scope: Namespaced
  names: {plural: boats, singular: boat, kind: Boat, shortNames: [bt]}
  versions:
    - name: v1
      served: true
      storage: true
      subresources: {status: {}}
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
"""


def accepts(url: str) -> bool:
    at = urlsplit(url)
    with socket.socket() as probe:
        return probe.connect_ex((at.hostname, at.port)) == 0


def test_controllers_scheduler_and_pods_work_in_it() -> None:
    with sampan.Cluster() as cluster:
        cluster.apply(deployment("web", 3))
        assert cluster.wait_for("deployment/web")["status"]["availableReplicas"] == 3
        assert {pod["spec"]["nodeName"] for pod in cluster.list("pods", namespace="default")} == {"node-1"}
        assert cluster.not_ready() == ""


def test_nothing_of_one_is_seen_in_another() -> None:
    with sampan.Cluster() as one, sampan.Cluster() as two:
        one.apply(CONFIG_MAP)
        assert one.get("cm/mark") and two.get("cm/mark") is None
    with sampan.Cluster() as three:
        assert three.get("cm/mark") is None
        names = {obj["metadata"]["name"] for obj in three.client.list(NAMESPACES).items}
        assert names == {"default", "kube-node-lease", "kube-public", "kube-system"}


def test_its_process_port_and_folder_end_with_it() -> None:
    with sampan.Cluster() as cluster:
        assert accepts(cluster.url) and cluster.kubeconfig.exists()
        home = cluster.kubeconfig.parent
    assert not accepts(cluster.url) and not home.exists()


def test_it_ends_where_its_connections_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"), sampan.Cluster(pods="none") as cluster:
        home, close = cluster.kubeconfig.parent, cluster.close
        monkeypatch.setattr(cluster, "close", fail)
    close()
    assert not accepts(cluster.url) and not home.exists()


async def test_it_ends_where_nobody_waits_for_its_start_any_more() -> None:
    cluster = sampan.Cluster(pods="none")
    begin, begun, may_go_on = cluster._begin, threading.Event(), threading.Event()
    started: list[Running] = []

    def slowly() -> Running:
        begun.set()
        may_go_on.wait()
        started.append(begin())
        return started[0]

    cluster._begin = slowly
    entering = asyncio.create_task(cluster.__aenter__())
    await asyncio.to_thread(begun.wait)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    may_go_on.set()
    await asyncio.to_thread(
        eventually, "its folder is gone", lambda: bool(started) and not started[0].kubeconfig.parent.exists()
    )
    assert not accepts(started[0].url)


async def test_the_same_words_in_coroutines() -> None:
    async with sampan.Cluster(pods="none") as cluster:
        made = await cluster.client.create(CONFIG_MAPS, {**CONFIG_MAP, "metadata": {"generateName": "m-"}}, "default")
        assert await cluster.wait_for(made, lambda obj: obj["data"]["a"] == "1")
        waiting = asyncio.create_task(cluster.wait_for(made, "deleted"))
        await cluster.delete(made)
        await waiting
        assert (await cluster.kubectl("get", "ns", "-o", "name")).out.split()[0] == "namespace/default"
        assert (await cluster.client.list(NODES)).items == []


def test_manifests_are_there_from_the_beginning_in_any_order() -> None:
    with sampan.Cluster(crds=BOATS, manifests=[deployment("web", 1)]) as cluster:
        assert (cluster.get("boat/tanka") or {})["spec"] == {"sails": 2}
        [pod] = cluster.list("pods", namespace="default")
        assert pod["status"]["phase"] == "Running"  # what the controllers made of it is in the snapshot
        cluster.delete(BOATS)
    with sampan.Cluster(crds=BOATS, manifests=[deployment("web", 1)]) as again:
        assert again.get("bt/tanka")
        assert again.list("pods", namespace="default")[0]["metadata"]["uid"] == pod["metadata"]["uid"]


def test_a_fork_begins_with_the_state_of_another() -> None:
    with sampan.Cluster() as one:
        one.apply(deployment("web", 1))
        web = one.wait_for("deployment/web")
        with one.fork() as two, one.fork() as three:
            assert two.wait_for("deployment/web")["metadata"] == web["metadata"]
            two.kubectl("scale", "deployment/web", "--replicas=3")
            assert two.wait_for("deployment/web")["status"]["readyReplicas"] == 3
            three.kubectl("delete", "deployment/web")
            assert one.get(web) == web
        with pytest.raises(ClusterError, match="has ended"):
            one.running.stop()
            one.fork().__enter__()


async def test_a_fork_in_coroutines() -> None:
    async with sampan.Cluster(pods="none", controllers=False) as one:
        await one.apply(CONFIG_MAP)
        async with one.fork() as two:
            assert (await two.get("cm/mark")) == (await one.get("cm/mark"))


@pytest.mark.parametrize("version", ["1.25", "1.31", "1.37"])
def test_versions(version: str) -> None:
    with sampan.Cluster(version, pods="none", controllers=False) as cluster:
        served = cluster.kubectl("version", "-o", "json").json()["serverVersion"]
        assert f"{served['major']}.{served['minor']}" == version
        groups = cluster.kubectl("api-versions").out.split()
        assert ("flowcontrol.apiserver.k8s.io/v1" in groups) == (version != "1.25")


def test_what_cannot_be_made_says_why() -> None:
    with pytest.raises(ClusterError, match=r"1\.19"), sampan.Cluster("1.19"):
        pass
    with pytest.raises(ClusterError, match="no resource of kind Boat"), sampan.Cluster(manifests=BOATS.split("---")[0]):
        pass
    with pytest.raises(ValueError, match="pods is"):
        sampan.Cluster(pods="pretended")  # type: ignore[arg-type]
    with sampan.Cluster(controllers=False):
        pass  # and the next one is made as if nothing had been


def test_waiting_says_what_was_missing() -> None:
    with sampan.Cluster() as cluster:
        cluster.apply(deployment("web", 1, nodeSelector={"disk": "ssd"}))
        with pytest.raises(WaitTimeout, match="0 of 1 replicas are available"):
            cluster.wait_for("deployment/web", timeout=0.3)
        eventually("there is a pod", lambda: len(cluster.list("pods", namespace="default")) == 1)
        [pod] = cluster.list("pods", namespace="default")
        with pytest.raises(TimeoutError, match=r"\{\.status\.phase\} is Pending"):
            cluster.wait_for(pod, "{.status.phase}=Running", timeout=0.1)
        for why in ("0 of 1 replicas are available", "PodScheduled=False (Unschedulable)", "Warning FailedScheduling"):
            eventually(f"it is reported: {why}", lambda why=why: why in cluster.not_ready())  # type: ignore[misc]
        assert "Deployment default/web: 0 of 1 replicas are available" in cluster.not_ready()


def test_kubectl_failures_are_told_or_returned() -> None:
    with sampan.Cluster(pods="none", controllers=False) as cluster:
        with pytest.raises(ClusterError, match='configmaps "nope" not found'):
            cluster.kubectl("get", "cm", "nope")
        assert cluster.kubectl("get", "cm", "nope", check=False).code == 1
        cluster.kubectl("apply", "-f", "-", stdin=CONFIG_MAP)
        assert cluster.kubectl("get", "cm", "mark", "-o", "json").json()["data"] == {"a": "1"}


def test_a_blocking_watch() -> None:
    with sampan.Cluster(pods="none", controllers=False) as cluster:
        cluster.apply({**CONFIG_MAP, "metadata": {"name": "seen", "namespace": "kube-public"}})
        events = cluster.client.watch(CONFIG_MAPS, "kube-public")
        assert "seen" in {next(events).object["metadata"]["name"] for _ in range(2)}
        events.close()  # type: ignore[attr-defined]
        assert cluster.client.list(PODS).items == []


def test_clusters_of_a_killed_test_process_end_with_it(tmp_path: Path) -> None:
    program = (
        "import sampan, sys; c = sampan.Cluster().__enter__(); print(c.url, c.kubeconfig, flush=True); sys.stdin.read()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path), "PYTEST_XDIST_TESTRUNUID": ""},
    )
    assert child.stdout is not None
    url, kubeconfig = child.stdout.readline().split()
    assert accepts(url)
    [directory] = tmp_path.glob("sampan-testing-*/")
    warm = running_with(str(directory))
    assert warm and Path(kubeconfig).is_relative_to(directory)
    child.send_signal(signal.SIGKILL)
    child.wait()
    for pid in warm:
        ended(pid)
    assert not accepts(url) and list(tmp_path.iterdir()) == []


def running_with(word: str) -> list[int]:
    """Return the processes whose command line holds a word."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word in path.read_text():
                found.append(int(path.parent.name))
        except OSError:
            continue  # it ended
    return found


def ended(pid: int) -> None:
    """Return when a process that is not our child has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    import select

    assert select.select([descriptor], [], [], 60)[0], f"{pid} still runs"
    os.close(descriptor)


@pytest.fixture
def own_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pool]:
    """A warm process of this test's own: that of the run is shared by all workers of pytest-xdist."""
    made = Pool(Path(tempfile.mkdtemp(prefix="sampan-testing-")))
    monkeypatch.setattr("sampan.testing.pool._pool", made)
    monkeypatch.setattr("sampan.testing.pool._owner", os.getpid())
    yield made
    made.close()


def test_a_dead_warm_process_is_followed_by_another(own_pool: Pool) -> None:
    with sampan.Cluster(pods="none", controllers=False) as first:
        process = own_pool._process
    assert process is not None
    process.kill()
    process.wait()
    with pytest.raises(ClusterError, match="warm process is gone"), sampan.Cluster(controllers=False):
        pass
    with sampan.Cluster(pods="none", controllers=False) as second:
        assert accepts(second.url) and not accepts(first.url)
