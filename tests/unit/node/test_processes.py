"""What is read of a process in /proc."""

from __future__ import annotations

from pathlib import Path

from sampan.node.process import (
    PROC,
    Mounted,
    inside,
    read_cgroups,
    read_id_map,
    read_mounts,
    read_namespaces,
    read_process,
    read_status,
)

MOUNTS = r"""100 99 0:50 / / ro,relatime master:1 - overlay overlay rw,lowerdir=/a,upperdir=/b
101 100 0:51 / /proc rw - proc proc rw
102 101 0:51 /sys /proc/sys ro - proc proc rw
103 100 8:1 /v/a\040b /data/a\040b rw shared:5 - ext4 /dev/sda rw
"""


def folder(tmp_path: Path) -> Path:
    (tmp_path / "mountinfo").write_text(MOUNTS)
    (tmp_path / "cgroup").write_text("12:cpu,cpuacct:/kubepods/x\n0::/kubepods/y\n")
    return tmp_path


def test_mounts_and_cgroups(tmp_path: Path) -> None:
    mounts = read_mounts(folder(tmp_path))
    assert mounts[0] == Mounted("/", "/", True, "overlay", "overlay", "rw,lowerdir=/a,upperdir=/b")
    assert mounts[3][:3] == ("/v/a b", "/data/a b", False)
    assert read_cgroups(tmp_path) == {"cpu": "/kubepods/x", "cpuacct": "/kubepods/x", "": "/kubepods/y"}


def test_this_very_process() -> None:
    own = PROC / "self"
    assert read_status(own)["Pid"] == str(own.resolve().name)
    assert read_namespaces(own)["net"] == (own / "ns/net").stat().st_ino
    pid = int(own.resolve().name)
    process = read_process(pid, own, pid)
    assert process.pid == pid and process.namespaces == process.node_namespaces


def test_ids_as_the_user_namespace_has_them(tmp_path: Path) -> None:
    (tmp_path / "uid_map").write_text("         0     131072      65536\n")
    mapping = read_id_map(tmp_path, "uid")
    assert [inside(one, mapping) for one in (131072, 132072, 0)] == [0, 1000, 0]
    assert inside(5, read_id_map(PROC / "self", "gid")) == 5
