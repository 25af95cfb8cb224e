"""The chain of a container: each layer's own words, and cells that stay in their columns."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.node.oci_chain import Link, Row, pieces, rows, table
from sampan.node.process import Mounted
from sampan.security.capabilities import RUNTIME_DEFAULT
from sampan.security.table import Process

NAMESPACES = {"net": 1, "pid": 2, "user": 3}
PROCESS = Process(
    pid=9,
    uid=1000,
    gid=0,
    groups=frozenset((0, 5)),
    effective=frozenset(),
    bounding=RUNTIME_DEFAULT,
    no_new_privileges=True,
    seccomp=True,
    namespaces={"net": 1, "pid": 20, "user": 3},
    node_namespaces={"net": 100, "pid": 2, "user": 3},
    sandbox_namespaces=NAMESPACES,
    read_only_root=True,
    mounted_over=frozenset(),
)


def link(**changed: Any) -> Link:
    spec = {"securityContext": {"runAsUser": 1000}, "hostIPC": True}
    security = {"run_as_user": {"value": 1000}, "seccomp": {"profile_type": 2, "localhost_ref": "/s/x.json"}}
    process = {"user": {"uid": 1000, "gid": 0}, "args": ["sh"], "capabilities": {"bounding": ["CAP_CHOWN"]}}
    made = Link(
        spec=spec,
        container={"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/data"}]},
        cri={
            "image": {"image": "sha256:x"},
            "mounts": [{"container_path": "/data"}],
            "linux": {"security_context": security},
        },
        oci={
            "process": process,
            "root": {"path": "rootfs", "readonly": True},
            "mounts": [{"destination": path, "type": "bind"} for path in ("/data", "/var/run/x", "/gone")],
            "linux": {
                "cgroupsPath": "/pods/c",
                "namespaces": [{"type": "pid"}, {"type": "network", "path": "/proc/1/ns/net"}],
            },
        },
        process=PROCESS,
        cgroups={"cpu": "/pods/c", "memory": "/pods/c"},
        limits={"memory.limit_in_bytes": "9223372036854771712", "cpu.shares": "2"},
        mounts=[
            Mounted("/", "/", True, "overlay", "overlay", "rw,lowerdir=/a:/b"),
            Mounted("/", "/data", False, "ext4", "/dev/sda", "rw"),
            Mounted("/", "/run/x", True, "tmpfs", "tmpfs", "rw"),
        ],
        command="sh",
    )
    return made._replace(**changed)


def found(**changed: Any) -> dict[str, Row]:
    return {row.topic: row for row in rows(link(**changed))}


def test_each_layer_says_it_in_its_own_words() -> None:
    user = found()["user"]
    assert user[1:] == (["runAsUser=1000"], ["run_as_user=1000"], ["uid=1000 gid=0"], ["Uid=1000 Gid=0", "Groups=0,5"])
    profiles = found()["profiles"]
    assert profiles.cri == ["seccomp=Localhost /s/x.json"] and profiles.oci == ["no seccomp"]
    assert found()["capabilities"].kernel == ["CapBnd: default", "CapEff: none", "NoNewPrivs=1"]


def test_whose_namespaces() -> None:
    names = found()["namespaces"]
    assert names.oci == ["pid: new", "network: of /proc/1/ns/net"]
    assert names.kernel == ["net:[1] the sandbox's", "pid:[20] its own", "user:[3] the node's"]


def test_files_and_limits() -> None:
    assert found()["mounts"].kernel == ["/data ext4", "/run/x tmpfs ro", "no /gone"]
    assert found()["root"].kernel == ["/ is overlay, read-only", "2 layers below"]
    assert found()["resources"].kernel == ["memory.limit_in_bytes=max", "cpu.shares=2"]
    assert found()["cgroup"].kernel == ["that path in cpu, memory"]


def test_a_user_whose_number_is_zero_is_told() -> None:
    security = {"linux": {"security_context": {"run_as_user": {}}}}
    assert found(cri={**link().cri, **security})["user"].cri == ["run_as_user=0"]


def test_the_table_keeps_to_its_columns() -> None:
    lines = list(table(list(rows(link())), 140))
    assert lines[0].split() == ["PodSpec", "CRI", "OCI", "config.json", "kernel"]
    column = lines[0].index("CRI")
    assert all(len(line) < column or line[column - 1] == " " for line in lines)


@given(st.text(max_size=200), st.integers(4, 60))
def test_pieces_are_the_whole(text: str, width: int) -> None:
    cut = pieces(text, width)
    assert all(len(piece) <= width for piece in cut)
    assert cut[0] + "".join(piece[2:] for piece in cut[1:]) == text
