"""Images: built, inspected, sent to a registry on loopback and fetched again, used by a pod, removed."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .up_down_cluster import Cluster

pytestmark = pytest.mark.skipif(
    not (shutil.which("buildah") and shutil.which("docker-registry")),
    reason="buildah and docker-registry are not installed",
)
DOCKERFILE = """FROM busybox:1 AS base
ARG WHO=me
RUN echo $WHO > /who
FROM base
COPY f /f
USER 1000
CMD ["cat", "/who"]
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A registry on loopback, without TLS."""
    directory = tmp_path_factory.mktemp("registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = {
        "version": 0.1,
        "storage": {"filesystem": {"rootdirectory": str(directory)}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (directory / "config.yml").write_text(json.dumps(config))
    server = subprocess.Popen(["docker-registry", "serve", str(directory / "config.yml")], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.02)
    yield f"127.0.0.1:{port}"
    server.terminate()
    server.wait()


class Images:
    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def __call__(self, verb: str, *words: str, check: bool = True) -> str:
        done = self.cluster.sampan("image", verb, "--name", self.cluster.name, *words, check=check)
        return done.stdout if check else done.stderr

    def names(self) -> set[str]:
        return set(self("ls", "-o", "name").split())


@pytest.fixture
def images(real_cluster: Cluster) -> Images:
    return Images(real_cluster)


def test_the_life_of_an_image(images: Images, registry: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("hello")
    (tmp_path / "Dockerfile").write_text(DOCKERFILE)
    images("build", "-t", "team/web:1", "--build-arg", "WHO=you", str(tmp_path))
    told = json.loads(images("inspect", "team/web:1", "-o", "json"))
    assert told["config"]["User"] == "1000" and told["config"]["Cmd"] == ["cat", "/who"] and told["usedBy"] == []
    assert any("echo $WHO" in step["createdBy"] for step in told["layers"])
    remote = f"{registry}/team/web:2"
    assert images("push", "team/web:1", remote).strip() == remote
    images("rm", "team/web:1")
    assert "docker.io/team/web:1" not in images.names()
    images("pull", remote)
    assert json.loads(images("inspect", remote, "-o", "json"))["id"] == told["id"], "it came back as it went"
    images("tag", remote, "team/web:3")
    pod = ("run", "from-registry", f"--image={remote}", "--image-pull-policy=Never", "--restart=Never")
    images.cluster.kubectl(*pod)
    images.cluster.kubectl("wait", "pod/from-registry", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    assert images.cluster.kubectl("logs", "from-registry") == "you\n"
    assert "is used by default/from-registry/from-registry" in images("rm", told["id"][7:20], check=False)
    images("save", "-o", str(tmp_path / "web.tar"), remote)
    with tarfile.open(tmp_path / "web.tar") as archive:
        assert {"manifest.json", "index.json"} <= set(archive.getnames())
    assert images("rm", remote).strip() == f"untagged {remote}"
    images.cluster.kubectl("delete", "pod", "from-registry", "--grace-period=0", "--force")
    images.cluster.kubectl("wait", "pod/from-registry", "--for=delete", "--timeout=60s")
    deadline = time.monotonic() + 20
    while "from-registry" in images("ls", "-o", "json"):
        assert time.monotonic() < deadline, "its container is still there"
        time.sleep(0.05)
    assert "docker.io/team/web:3" in images("prune", "--all", "--dry-run")
    volume = {"name": "web", "image": {"reference": "team/web:3", "pullPolicy": "Never"}}
    reader = {"name": "main", "image": "nobody:1", "imagePullPolicy": "Never"}
    wants = {
        "spec": {
            "volumes": [volume],
            "containers": [{**reader, "volumeMounts": [{"name": "web", "mountPath": "/web"}]}],
        }
    }
    overrides = ("--image=nobody:1", f"--overrides={json.dumps(wants)}")
    images.cluster.kubectl("run", "has-a-volume", *overrides)
    assert "docker.io/team/web:3" not in images("prune", "--all", "--dry-run"), "a pod has it as a volume"
    assert "is used by default/has-a-volume/web" in images("rm", "team/web:3", check=False)
    images.cluster.kubectl("delete", "pod", "has-a-volume", "--grace-period=0", "--force")
    images.cluster.kubectl("wait", "pod/has-a-volume", "--for=delete", "--timeout=60s")
    assert "docker.io/team/web:3" in images.names()
    assert images("rm", "team/web:3").strip() == "removed docker.io/team/web:3"


def test_what_is_not_there_is_told(images: Images, registry: str) -> None:
    assert "the cluster has no image 'nobody:1'" in images("inspect", "nobody:1", check=False)
    assert "not found" in images("pull", f"{registry}/nobody:1", check=False)
    assert "is used by" in images("rm", "sampan.dev/pause:1", check=False)
