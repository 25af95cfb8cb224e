"""A test's cluster with real containers."""

from __future__ import annotations

from pathlib import Path

import pytest

import sampan
from sampan.testing.spec import ClusterError

from .conftest import busybox_archive
from .up_down_cluster import unable

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "busybox:1", "command": ["echo", "really"]}],
    },
}


@pytest.mark.skipif(bool(unable()), reason=unable() or "")
@pytest.mark.skipif(not Path("/usr/bin/busybox").exists(), reason="busybox-static is not installed")
def test_containers_really_run(tmp_path: Path) -> None:
    busybox_archive(tmp_path / "busybox.tar")
    with sampan.Cluster(pods="real") as cluster:
        cluster.load_image(tmp_path / "busybox.tar")
        cluster.apply(POD)
        cluster.wait_for("pod/p", "{.status.phase}=Succeeded", timeout=60)
        assert cluster.logs("p") == "really\n"
        with pytest.raises(ClusterError, match="cannot be forked"):
            cluster.fork().__enter__()
        home = cluster.kubeconfig.parent
    assert not home.exists()
