"""One real cluster for the tests of pods and of the gateway, with a busybox image of Debian's static busybox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .space import Space
from .up_down_cluster import Cluster, new_cluster, unable

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


@pytest.fixture
def space(real_cluster: Cluster) -> Iterator[Space]:
    made = Space(real_cluster)
    yield made
    real_cluster.kubectl("delete", "namespace", made.name, "--wait=false")
