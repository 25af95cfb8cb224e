"""`sampan up` and `down` as a user sees them: no-op when up, crashes survived, nothing left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from .eventually import eventually
from .up_down_cluster import SAMPAN, Cluster, new_cluster, unable

REAL = pytest.mark.skipif(bool(unable()), reason=unable() or "-")


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = new_cluster(tmp_path)
    yield made
    made.sampan("down", "--name", made.name, check=False)


def traces(cluster: Cluster) -> list[str]:
    """Return whatever a cluster could have left on this machine."""
    found = [str(path) for root in ("/var/lib/sampan", "/run/sampan") for path in Path(root).glob(f"{cluster.name}*")]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/sampan/{cluster.name}")]
    found += [line for line in Path("/proc/mounts").read_text().splitlines() if f"/{cluster.name}/" in line]
    if not unable():
        rules = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout
        found += [line for line in rules.splitlines() if f"sampan-{cluster.name}" in line]
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if f"/{cluster.name}/".encode() in command:
            found.append(f"process {folder.name}: {command!r}")
    return found


def test_a_cluster_without_pods_comes_and_goes(cluster: Cluster) -> None:
    said = cluster.up("--pods=none")
    assert "API ready  https://127.0.0.1:" in said
    assert yaml.safe_load(cluster.kubeconfig.read_text())["current-context"] == f"sampan-{cluster.name}"
    assert "is up already" in cluster.up("--pods=none")
    assert cluster.name in cluster.sampan("ls").stdout
    assert "api " in cluster.sampan("status", "--name", cluster.name).stdout
    assert cluster.get("namespace", "default")["status"]["phase"] == "Active"
    cluster.down()
    assert not cluster.kubeconfig.exists()
    assert traces(cluster) == []


def test_a_cluster_whose_settings_are_spoilt_can_be_taken_down(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    (cluster.settings.state_dir / "cluster.json").write_text("{")
    assert "spoilt" in cluster.sampan("ls").stdout
    cluster.down()
    assert traces(cluster) == []


def test_two_commands_at_once_make_one_cluster(cluster: Cluster) -> None:
    command = [str(SAMPAN), "up", "--name", cluster.name, "--pods=none", "--kubeconfig", str(cluster.kubeconfig)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted(process.communicate(timeout=120)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert "API ready" in said[0] and "is up already" in said[1]


def test_a_deployment_on_a_simulated_node_of_an_old_kubernetes(cluster: Cluster) -> None:
    cluster.up("--pods=simulated", "--kubernetes-version", "1.27")
    cluster.kubectl("create", "deployment", "web", "--image=web", "--replicas=3")
    cluster.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=60s")
    done = cluster.sampan("up", "--name", cluster.name, "--pods=none", check=False)
    assert done.returncode == 1 and "exists with --pods=simulated" in done.stderr


def test_what_was_answered_for_is_there_after_kill_9_of_everything(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    cluster.kubectl("create", "configmap", "kept", "--from-literal=a=b")
    cluster.kill()
    eventually("the cluster is seen to be stopped", cluster.is_stopped)
    assert "is stopped" in cluster.sampan("status", "--name", cluster.name, check=False).stdout
    cluster.up("--pods=none")
    assert cluster.get("configmap", "kept")["data"] == {"a": "b"}


def test_a_part_that_dies_comes_back_and_status_says_so(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    cluster.kill("api")

    def back() -> bool:
        api = cluster.parts()["api"]  # both facts of one moment
        return api["state"] == "ready" and api["restarts"] == 1

    eventually("the API is back", back)
    assert "SIGKILL" in cluster.sampan("status", "--name", cluster.name).stdout
    assert cluster.get("namespace", "default")


def test_a_port_in_use_is_said_with_the_way_out(cluster: Cluster) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = cluster.sampan("up", "--name", cluster.name, "--pods=none", "--api-port", port, check=False)
    assert done.returncode == 1
    assert f"port {port} of 127.0.0.1 cannot be used" in done.stderr and "--api-port" in done.stderr
    assert cluster.name not in cluster.sampan("ls").stdout


def test_a_stopped_cluster_can_be_moved_to_another_port(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    os.kill(cluster.parts()["supervisor"]["pid"], signal.SIGTERM)
    eventually("the cluster is stopped", cluster.is_stopped)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    assert f"127.0.0.1:{port}" in cluster.up("--pods=none", "--api-port", port)
    assert cluster.get("namespace", "default")


def test_a_corrupt_database_is_said_and_not_touched(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    store = cluster.settings.store_path
    cluster.kill()
    for extra in store.parent.glob("store.db-*"):
        extra.unlink()
    store.write_bytes(b"this is no database" * 1000)
    done = cluster.sampan("up", "--name", cluster.name, "--pods=none", check=False)
    assert done.returncode == 1
    assert "not a database" in done.stderr and "hint:" in done.stderr
    assert store.read_bytes().startswith(b"this is no database")


@REAL
def test_real_pods_are_adopted_after_a_crash_and_nothing_is_left_after_down(cluster: Cluster, tmp_path: Path) -> None:
    from sampan.node.images import pause_archive

    said = cluster.up()
    assert "Ready" in said
    archive = tmp_path / "pause.tar"
    pause_archive(archive)
    assert "sampan.dev/pause:1" in cluster.sampan("image", "load", "--name", cluster.name, str(archive)).stdout
    cluster.kubectl("create", "deployment", "still", "--image=sampan.dev/pause:1", "--replicas=2")
    cluster.kubectl("wait", "deployment/still", "--for=condition=Available", "--timeout=60s")

    def containers() -> dict[str, str]:
        pods = cluster.get("pods")["items"]
        return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"] for pod in pods}

    before = containers()
    cluster.kill()
    cluster.up()
    cluster.kubectl("rollout", "status", "deployment/still", "--timeout=60s")
    assert containers() == before
    cluster.down()
    eventually("nothing of the cluster is left", lambda: traces(cluster) == [])
