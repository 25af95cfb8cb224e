"""What runtimes other than our own containerd want: CRI-O names images as the pod does, and ends sandboxes with grace."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import container_config
from sampan.node.oci_chain import Link, rows
from sampan.node.process import Mounted as MountLine
from sampan.node.runtime import Runtime, Unimplemented
from sampan.node.runtime_network import dial, server_of
from sampan.node.spdy import SpdyError
from sampan.node.streaming import connect
from sampan.node.volumes.container_mounts import mounts_of
from sampan.node.volumes.volume import Mounted
from sampan.security.host import ANY
from sampan.security.table import Process


class Told(Runtime):
    """Answers from a table, and keeps what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        super().__init__(Path("/none"))
        self.answers, self.asked = answers, []  # type: ignore[var-annotated]

    async def call(self, path: str, request: Any, answer: Any, timeout: Any = 120, metadata: Any = None) -> Any:
        name = path.rpartition("/")[2]
        self.asked.append((name, getattr(request, "container_id", ""), getattr(request, "timeout", None)))
        found = self.answers.get(name, answer())
        if isinstance(found, Exception):
            raise found
        return found


async def test_what_runs_is_killed_before_its_sandbox_is_stopped() -> None:
    """CRI-O asked it to end, and waited for two minutes."""
    containers = [cri.Container(id="a", state=cri.CONTAINER_RUNNING), cri.Container(id="b", state=cri.CONTAINER_EXITED)]
    runtime = Told({"ListContainers": cri.ListContainersResponse(containers=containers)})
    await runtime.kill_pod_sandbox("s")
    assert [(name, which) for name, which, _ in runtime.asked[1:]] == [("StopContainer", "a"), ("StopPodSandbox", "")]
    assert runtime.asked[1][2] == 0


async def test_how_cgroups_are_named_is_asked() -> None:
    systemd = cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=cri.SYSTEMD))
    files = cri.RuntimeConfigResponse(linux=cri.LinuxRuntimeConfiguration(cgroup_driver=cri.CGROUPFS))
    assert await Told({"RuntimeConfig": systemd}).cgroup_driver() == "systemd"
    assert await Told({"RuntimeConfig": files}).cgroup_driver() == "cgroupfs"
    assert await Told({"RuntimeConfig": Unimplemented("unknown method RuntimeConfig")}).cgroup_driver() == ""


def test_a_container_says_which_image_its_pod_names() -> None:
    """CRI-O verifies signatures by that name and makes no container without it."""
    container = {"name": "main", "image": "web:1"}
    pod = {"metadata": {"name": "p", "namespace": "d", "uid": "u"}, "spec": {"containers": [container]}}
    made = container_config(pod, container, 0, cri.Image(id="sha256:1"), {}, [], ANY)
    assert (made.image.image, made.image.user_specified_image) == ("sha256:1", "web:1")


async def test_a_streaming_server_is_reached_where_its_runtime_is(short_path: Path) -> None:
    path = short_path / "cri.sock"
    with socket.socket(socket.AF_UNIX) as served, socket.create_server(("127.0.0.1", 0)) as streaming:
        served.bind(str(path))
        served.listen()
        assert server_of(path) == os.getpid()
        _, writer = await dial("127.0.0.1", streaming.getsockname()[1], path)
        writer.close()
        with pytest.raises(SpdyError, match="only http"):
            await connect("https://127.0.0.1:1/exec/x", path)
    with pytest.raises(OSError, match="refused"):
        await connect("http://127.0.0.1:1/exec/x", path)
    await asyncio.sleep(0)


def test_a_chain_without_the_request_is_shown_all_the_same() -> None:
    oci = {
        "process": {"args": ["sh"], "user": {"uid": 0, "gid": 0}},
        "root": {"path": "/merged"},
        "linux": {"namespaces": [{"type": "network", "path": "/run/ns/1"}, {"type": "pid"}]},
    }
    process = Process(
        pid=1, uid=0, gid=0, groups=frozenset(), effective=frozenset(), bounding=frozenset(), no_new_privileges=False,
        seccomp=False, namespaces={"net": 7, "pid": 8}, node_namespaces={"net": 1, "pid": 2}, sandbox_namespaces={},
        read_only_root=False, mounted_over=frozenset(), app_armor="",
    )  # fmt: skip
    root = MountLine("/", "/", False, "overlay", "overlay", "")
    link = Link({}, {"name": "main"}, {}, oci, process, {}, {}, [root], "sh")
    found = {row.topic: row for row in rows(link)}
    assert {row.cri[0] for row in found.values()} == {"not kept by the runtime"}
    assert found["namespaces"].kernel == ["net:[7] the sandbox's", "pid:[8] its own"]


def test_images_are_mounted_by_a_runtime_that_sees_no_mount_of_ours() -> None:
    ready = {
        "v": Mounted(Path("/pods/u/v"), cri.ImageSpec(image="sha256:1", user_specified_image="web:1"), read_only=True)
    }
    container = {"name": "main", "volumeMounts": [{"name": "v", "mountPath": "/v", "subPath": "bin"}]}
    (made,) = mounts_of(container, ready, {}, Path("/pods/u"), parts=False)
    assert (made.image.image, made.image_sub_path, made.host_path, made.readonly) == ("sha256:1", "bin", "", True)
