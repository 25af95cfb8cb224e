"""`sampan store`, `sampan snapshot` and `sampan up --store` as a user types them; most on clusters with simulated pods."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.etcd_server import Etcd

from .conftest import busybox_archive
from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster, new_cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = new_cluster(tmp_path)
    yield made
    made.sampan("down", "--name", made.name, check=False)


@pytest.fixture
def snapshot(cluster: Cluster) -> Iterator[str]:
    name = f"s-{uuid.uuid4().hex[:8]}"
    yield name
    cluster.sampan("snapshot", "rm", name, check=False)


def store(cluster: Cluster, *words: str, check: bool = True) -> str:
    done = cluster.sampan("store", *words, "--name", cluster.name, check=check)
    return done.stdout if check else done.stderr


def test_who_changed_what_when(cluster: Cluster) -> None:
    cluster.up("--pods=none")
    cluster.kubectl("create", "configmap", "c", "--from-literal=a=1")
    before = re.search(r"(\d+)  /registry/configmaps/default/c", store(cluster, "ls", "configmaps"))
    assert before is not None
    cluster.kubectl("patch", "configmap", "c", "-p", '{"data":{"a":"2"}}')
    history = store(cluster, "history", "configmaps/c")
    assert "created  by kubectl-create (Update)" in history and "changed  by kubectl-patch (Update)" in history
    assert '    ~ data.a: "1" -> "2"' in history
    assert json.loads(store(cluster, "get", "configmaps/c", "-o", "json"))["data"] == {"a": "2"}
    assert "a: '1'" in store(cluster, "get", "configmaps/c", "--at", before[1])
    assert "nothing is stored under /registry/pods/default/x" in store(cluster, "get", "pods/x", check=False)


def test_a_snapshot_is_restored_while_the_cluster_runs_and_forked(
    cluster: Cluster, snapshot: str, tmp_path: Path
) -> None:
    cluster.up("--pods=simulated")
    cluster.kubectl("create", "deployment", "web", "--image=x", "--replicas=2")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert (
        f"snapshot {snapshot}: revision " in cluster.sampan("snapshot", "save", snapshot, "--name", cluster.name).stdout
    )
    assert snapshot in cluster.sampan("snapshot", "ls").stdout
    cluster.kubectl("delete", "deployment", "web")
    cluster.kubectl("create", "configmap", "later")
    cluster.sampan("snapshot", "restore", snapshot, "--name", cluster.name)
    assert cluster.get("deployment", "web")["spec"]["replicas"] == 2
    assert "later" not in cluster.kubectl("get", "configmaps", "-o", "name")
    copy = new_cluster(tmp_path)
    try:
        cluster.sampan("snapshot", "fork", snapshot, copy.name, "--kubeconfig", str(copy.kubeconfig))
        copy.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
        # it would have the node and the addresses of another cluster
        refused = copy.sampan("snapshot", "restore", snapshot, "--name", copy.name, check=False)
        assert refused.returncode == 1 and f"is of cluster {cluster.name}" in refused.stderr
        copy.kubectl("wait", "pod", "-l", "app=web", "--for=condition=Ready", "--timeout=60s")
        nodes = {pod["spec"]["nodeName"] for pod in copy.get("pods", "-l", "app=web")["items"]}
        assert nodes == {copy.settings.node_name}
        assert copy.get("service", "kubernetes")["spec"]["clusterIP"] == str(copy.settings.kubernetes_service_ip)
    finally:
        copy.sampan("down", "--name", copy.name, check=False)


def test_a_fork_has_real_pods_and_volumes_of_its_own(space: Space, snapshot: str, tmp_path: Path) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "d"}, "spec": claim}
    volumes = [{"name": "d", "persistentVolumeClaim": {"claimName": "d"}}]
    mounts = [{"name": "d", "mountPath": "/d"}]
    keeps = pod("keeps", "echo line >> /d/log; exec sleep 1000", {"volumes": volumes}, volumeMounts=mounts)
    space.apply(claim, keeps)
    space.ready("keeps")
    eventually("it has written", lambda: space("exec", "keeps", "--", "cat", "/d/log") == "line\n")
    space("exec", "keeps", "--", "sh", "-c", "echo more >> /d/log")
    space.cluster.sampan("snapshot", "save", snapshot, "--name", space.cluster.name)
    copy = new_cluster(tmp_path)
    try:
        forked = copy.sampan("snapshot", "fork", snapshot, copy.name, "--kubeconfig", str(copy.kubeconfig))
        assert "its volumes on this machine begin empty (1)" in forked.stdout
        busybox_archive(tmp_path / "busybox.tar")
        copy.sampan("image", "load", "--name", copy.name, str(tmp_path / "busybox.tar"))
        copy.kubectl("wait", "pod/keeps", "-n", space.name, "--for=condition=Ready", "--timeout=60s")
        ours = ("exec", "keeps", "-n", space.name, "--", "cat", "/d/log")
        eventually("it has written", lambda: copy.kubectl(*ours) == "line\n")
        assert space("exec", "keeps", "--", "cat", "/d/log") == "line\nmore\n"
    finally:
        copy.sampan("down", "--name", copy.name, check=False)


def test_a_cluster_on_etcd(cluster: Cluster, etcd: Etcd) -> None:
    url = f"{etcd.url}/{uuid.uuid4()}"
    cluster.up("--pods=simulated", "--store", url)
    assert url in cluster.sampan("status", "--name", cluster.name).stdout
    cluster.kubectl("create", "deployment", "web", "--image=x")
    cluster.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
    assert "/registry/deployments/default/web" in store(cluster, "ls", "deployments")
    refused = cluster.sampan("up", "--name", cluster.name, "--pods=simulated", "--store", "sqlite", check=False)
    assert refused.returncode != 0 and f"keeps its state in {url}" in refused.stderr
    refused = cluster.sampan("up", "--name", "other", "--pods=none", "--store", "mysql://x", check=False)
    assert refused.returncode != 0 and "is no store" in refused.stderr


def test_secrets_are_encrypted_on_the_disk(cluster: Cluster, tmp_path: Path) -> None:
    key = base64.b64encode(b"k" * 32).decode()
    providers = [{"secretbox": {"keys": [{"name": "k1", "secret": key}]}}]
    configuration = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{"resources": ["secrets"], "providers": providers}],
    }
    (tmp_path / "encryption.yaml").write_text(json.dumps(configuration))
    (tmp_path / "api.yaml").write_text("encryption-provider-config: encryption.yaml\n")
    cluster.up("--pods=none", "--api-config", str(tmp_path / "api.yaml"))
    cluster.kubectl("create", "secret", "generic", "s", "--from-literal=password=hunter2")
    assert cluster.get("secret", "s")["data"]["password"] == base64.b64encode(b"hunter2").decode()
    files = b"".join(path.read_bytes() for path in cluster.settings.state_dir.glob("store.db*"))
    assert b"k8s:enc:secretbox:v1:k1:" in files and base64.b64encode(b"hunter2") not in files
