"""A clock on the wall that jumps by hours, forward and back: of our own processes by libfaketime, told by the kernel itself.

The machine's clock is set to what it is, which is a jump of microseconds; the kernel tells of it as of any other, and what
our processes then read has jumped by hours. Needs libfaketime and CAP_SYS_TIME.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .up_down_cluster import Cluster, new_cluster

LIBRARY = next(map(str, Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), "")
WEB: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "web:1"}]},
        },
    },
}
HOURLY: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "CronJob",
    "metadata": {"name": "hourly"},
    "spec": {
        "schedule": "0 * * * *",
        "jobTemplate": {
            "spec": {
                "template": {
                    "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "web:1"}]},
                }
            }
        },
    },
}


def touch_clock() -> None:
    time.clock_settime(time.CLOCK_REALTIME, time.time())


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says by how much the clock of what is started from now on differs."""
    try:
        touch_clock()
    except OSError:
        pytest.skip("the clock cannot be set here (CAP_SYS_TIME)")
    if not LIBRARY:
        pytest.skip("libfaketime is not installed")
    file = tmp_path / "offset"
    file.write_text("+0\n")
    monkeypatch.setenv("LD_PRELOAD", LIBRARY)
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(file))
    monkeypatch.setenv("FAKETIME_CACHE_DURATION", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return file


@pytest.fixture
def cluster(clock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    made = new_cluster(tmp_path)
    try:
        made.up("--pods", "simulated")
        yield made
    finally:
        monkeypatch.delenv("LD_PRELOAD")  # once its clock was set back, libfaketime has sleeps fail with EINVAL
        made.sampan("down", "--name", made.name)


def jump(clock: Path, offset: str) -> None:
    clock.write_text(f"{offset}\n")


def test_what_goes_by_the_time_of_day_is_reckoned_anew(cluster: Cluster, clock: Path, tmp_path: Path) -> None:
    for number, manifest in enumerate((WEB, HOURLY)):
        (tmp_path / f"{number}.json").write_text(json.dumps(manifest))
        cluster.kubectl("apply", "-f", str(tmp_path / f"{number}.json"))

    def ready() -> int:
        return int(cluster.get("deployment", "web")["status"].get("readyReplicas") or 0)

    def pods() -> set[str]:
        return {pod["metadata"]["uid"] for pod in cluster.get("pods", "-l", "app=web")["items"]}

    def node_is_ready() -> bool:
        conditions = cluster.get("nodes")["items"][0]["status"]["conditions"]
        return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)

    def jobs() -> int:
        touch_clock()  # our processes read their new time within a second
        return len(cluster.get("jobs")["items"])

    eventually("both run", lambda: ready() == 2, 60)
    before, had = pods(), jobs()
    jump(clock, "+2h")
    eventually("the hour that was jumped over is made up for", lambda: jobs() > had, 60)
    assert pods() == before and ready() == 2 and node_is_ready()
    jump(clock, "-20h")  # to before the cluster, and its certificates, were made
    eventually("it is early", lambda: "-" in str(cluster_age(cluster)), 60)
    cluster.kubectl("scale", "deployment", "web", "--replicas=3")
    eventually("pods are made and run all the same", lambda: ready() == 3, 60)
    assert before < pods() and node_is_ready()


def cluster_age(cluster: Cluster) -> str:
    """Return by how much a ConfigMap that is made now is younger than the cluster: ``-20.0`` hours of one from before."""
    cluster.kubectl("delete", "configmap", "now", "--ignore-not-found")
    cluster.kubectl("create", "configmap", "now")
    stamps = [cluster.get(*what)["metadata"]["creationTimestamp"] for what in (("configmap", "now"), ("ns", "default"))]
    now, then = (time.mktime(time.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ")) for stamp in stamps)
    return f"{(now - then) / 3600:.1f}"
