"""One real cluster for the tests of pods and of the gateway, with a busybox image of Debian's static busybox."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .space import Space
from .up_down_cluster import Cluster, new_cluster, unable

BUILD_SECONDS = 600
Helm = Callable[..., str]
"""Arguments of helm, and variables of its environment; the exit code is to be ``code``."""
APPLETS = "sh ls cat echo sleep true false env wget httpd nslookup id mount grep date hostname nc touch kill tail mkdir"


def busybox_archive(path: Path) -> None:
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    files |= {f"bin/{applet}": ImageFile(link="busybox") for applet in APPLETS.split()}
    files["etc/passwd"] = ImageFile(b"root:x:0:0:root:/:/bin/sh\n")
    config = ImageConfig(command=("/bin/sh",), environment={"PATH": "/bin"})
    docker_archive(path, ["docker.io/library/busybox:1"], files, config)


@pytest.fixture(scope="session")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster with the image ``busybox:1``."""
    if unable():
        pytest.skip(unable())
    if not Path("/usr/bin/busybox").exists():
        pytest.skip("busybox-static is not installed")
    directory = tmp_path_factory.mktemp("real")
    cluster = new_cluster(directory)
    try:
        cluster.up()
        archive = directory / "busybox.tar"
        busybox_archive(archive)
        cluster.sampan("image", "load", "--name", cluster.name, str(archive))
        yield cluster
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Helm of the machine, else built from its Go module."""
    found = shutil.which("helm")
    if found is None:
        if shutil.which("go") is None:
            pytest.skip("there is neither Helm nor Go")
        found = str(tmp_path_factory.mktemp("helm") / "helm")
        words = ["go", "build", "-o", found, "helm.sh/helm/v4/cmd/helm"]
        folder = Path(__file__).parents[2] / "examples/testing/helm"
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
        assert done.returncode == 0, done.stderr

    def run(*words: str, code: int = 0, **environment: str) -> str:
        done = subprocess.run(
            [found, *words], env={**os.environ, **environment}, capture_output=True, text=True, timeout=180
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def space(real_cluster: Cluster) -> Iterator[Space]:
    made = Space(real_cluster)
    yield made
    real_cluster.kubectl("delete", "namespace", made.name, "--wait=false")
