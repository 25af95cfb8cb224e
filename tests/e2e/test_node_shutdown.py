"""A node that shuts down gives its pods their time, the critical ones last; a critical pod is given room by others."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import busybox_archive
from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster, new_cluster, unable

SETTINGS = """
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
maxPods: 2
shutdownGracePeriod: 16s
shutdownGracePeriodCriticalPods: 8s
"""


@pytest.fixture
def patient_cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster whose pods have 16 s to end when it goes down; its node has room for two pods."""
    if unable() or not Path("/usr/bin/busybox").exists():
        pytest.skip(unable() or "busybox-static is not installed")
    cluster = new_cluster(tmp_path)
    (tmp_path / "kubelet.yaml").write_text(SETTINGS)
    try:
        cluster.up("--kubelet-config", str(tmp_path / "kubelet.yaml"))
        busybox_archive(tmp_path / "busybox.tar")
        cluster.sampan("image", "load", "--name", cluster.name, str(tmp_path / "busybox.tar"))
        yield cluster
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


def polite(name: str, folder: Path, **spec: Any) -> dict[str, Any]:
    """A pod that needs a second to end, and writes down when it has."""
    script = f"trap 'sleep 1; echo {name} >> /ended/in-order; exit 0' TERM; while true; do sleep 0.1; done"
    volumes = [{"name": "ended", "hostPath": {"path": str(folder)}}]
    mounts = [{"name": "ended", "mountPath": "/ended"}]
    return pod(name, script, {"volumes": volumes, "terminationGracePeriodSeconds": 30, **spec}, volumeMounts=mounts)


def test_pods_end_before_their_node(patient_cluster: Cluster, tmp_path: Path) -> None:
    space, node = Space(patient_cluster), patient_cluster.settings.node_name
    ended = tmp_path / "ended"
    ended.mkdir()
    space.apply(polite("one", ended), polite("other", ended))
    space.ready("one")
    space.ready("other")
    critical = {"priorityClassName": "system-node-critical", "nodeName": node}
    space.apply(polite("vital", ended, **critical))
    space.ready("vital")
    gone = [name for name in ("one", "other") if space.pod(name)["status"].get("reason") == "Preempting"]
    assert len(gone) == 1, "one makes room"
    told = space.pod(gone[0])["status"]
    assert (told["phase"], told["message"]) == ("Failed", "Preempted in order to admit critical pod")
    (left,) = {"one", "other"} - set(gone)

    os.kill(patient_cluster.parts()["supervisor"]["pid"], signal.SIGTERM)
    eventually("it has stopped", patient_cluster.is_stopped, 40)
    assert (ended / "in-order").read_text().split() == [gone[0], left, "vital"]
    patient_cluster.up()
    for name in (left, "vital"):
        status = space.pod(name)["status"]
        message = "Pod was terminated in response to imminent node shutdown."
        assert (status["phase"], status["reason"], status["message"]) == ("Failed", "Terminated", message)
        conditions = {condition["type"]: condition for condition in status["conditions"]}
        assert conditions["DisruptionTarget"]["reason"] == "TerminationByKubelet"
    assert "Shutdown manager detected shutdown event" in patient_cluster.kubectl("get", "events")

    space.apply(polite("last", ended))
    space.ready("last")
    done = patient_cluster.sampan("down", "--name", patient_cluster.name)
    assert f"the pods of {patient_cluster.name} have up to 16 s to end" in done.stdout
    assert (ended / "in-order").read_text().split()[-1] == "last"
