"""Volumes on a node: files swapped in, groups, parts that cannot lead out, what containers are given."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.node import cri_pb2 as cri
from sampan.node import mounts
from sampan.node.container_status import mount_statuses
from sampan.node.images import ImageError
from sampan.node.volumes import Mounted, VolumeError, image
from sampan.node.volumes.container_mounts import devices_of, mounts_of
from sampan.node.volumes.empty_dir import memory_size, page_size
from sampan.node.volumes.host_path import ready_or_why_not
from sampan.node.volumes.kinds import set_up, volume_of
from sampan.node.volumes.material import File, Sources, material_of, only_user
from sampan.node.volumes.ownership import give_to_group, is_right
from sampan.node.volumes.sub_paths import open_or_make
from sampan.node.volumes.usage import families, volume_stats
from sampan.node.volumes.volume import Volume
from sampan.node.volumes.written import trusted, write_material

FACTS = {"cpu": "4", "memory": "8Gi"}


def pod(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "p", "namespace": "n", "uid": "u"}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main"}], **spec}}


def data(kind: str, name: str) -> dict[str, str] | None:
    return {"a": "one", "b": "two"} if name == "there" else None


async def token(audience: str, seconds: int) -> str:
    return f"token for {audience} of {seconds}"


async def material(volume: dict[str, Any], of: dict[str, Any] | None = None) -> dict[str, File]:
    return await material_of({"name": "v", **volume}, of or pod(), Sources(data, token, FACTS))


async def test_projected_volumes_hold_all_their_sources() -> None:
    sources = [
        {"configMap": {"name": "there", "items": [{"key": "a", "path": "x/a", "mode": 0o400}]}},
        {"secret": {"name": "there", "optional": True}},
        {"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]
    files = await material({"projected": {"defaultMode": 0o640, "sources": sources}})
    assert files == {
        "x/a": File(b"one", 0o400),
        "a": File(b"one", 0o640),
        "b": File(b"two", 0o640),
        "name": File(b"p", 0o640),
        "token": File(b"token for vault of 3600", 0o640),
    }


async def test_a_token_is_for_its_only_user() -> None:
    source = {"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}
    alone = pod(securityContext={"runAsUser": 1000})
    assert (await material(source, alone))["token"] == File(b"token for  of 3600", 0o600, 1000)
    alone["spec"]["containers"].append({"name": "other", "securityContext": {"runAsUser": 5}})
    assert only_user(alone) is None
    assert (await material(source, alone))["token"].mode == 0o644
    assert (await material(source, pod(securityContext={"fsGroup": 7})))["token"].mode == 0o600


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "gone"}}, 'configmap "gone" not found'),
        ({"secret": {"secretName": "there", "items": [{"key": "z", "path": "z"}]}}, "references non-existent secret key: z"),
        ({"configMap": {"name": "there", "items": [{"key": "z", "path": "z"}]}}, "references non-existent config key: z"),
        ({"projected": {"sources": [{"podCertificate": {}}]}}, "this node has no certificates for pods"),
        ({"projected": {"sources": [{"clusterTrustBundle": {"name": "x", "path": "p"}}]}}, 'clusterTrustBundle "x" not'),
    ],
)  # fmt: skip
async def test_what_is_missing_is_named(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(VolumeError, match=message):
        await material(volume)


async def test_what_is_optional_may_be_missing() -> None:
    assert await material({"configMap": {"name": "gone", "optional": True}}) == {}
    items = [{"key": "z", "path": "z"}, {"key": "a", "path": "y"}]
    assert await material({"secret": {"secretName": "there", "optional": True, "items": items}}) == {
        "y": File(b"one", 0o644)
    }


async def test_bundles_are_chosen_by_name_or_by_signer_and_labels() -> None:
    def bundle(name: str, signer: str, *certificates: str) -> dict[str, Any]:
        text = "".join(f"-----BEGIN CERTIFICATE-----\n{c}\n-----END CERTIFICATE-----\n" for c in certificates)
        spec = {"signerName": signer, "trustBundle": f"some words\n{text}"}
        return {"metadata": {"name": name, "labels": {"n": name}}, "spec": spec}

    all_bundles = [bundle("a", "s/x", "1", "2"), bundle("b", "s/x", "2", "3"), bundle("c", "s/y", "4")]

    class Client:
        async def get(self, resource: object, name: str) -> dict[str, Any]:
            return next(one for one in all_bundles if one["metadata"]["name"] == name)

        async def list(self, resource: object) -> Any:
            return SimpleNamespace(items=all_bundles)

    client: Any = Client()
    found = await trusted(client, {"signerName": "s/x", "labelSelector": {}})
    assert found is not None and found.count("BEGIN") == 3 and "words" not in found
    assert await trusted(client, {"signerName": "s/x"}) is None
    assert await trusted(client, {"signerName": "s/x", "labelSelector": {"matchLabels": {"n": "c"}}}) is None
    assert (await trusted(client, {"name": "c"}) or "").count("BEGIN") == 1


def test_what_a_crash_left_goes_with_the_next_write(tmp_path: Path) -> None:
    write_material(tmp_path, {"a": File(b"1", 0o644)})
    (tmp_path / "..2020_01_01_00_00_00.5").mkdir()
    (tmp_path / "..data_tmp").symlink_to("nowhere")
    write_material(tmp_path, {"a": File(b"2", 0o644)})
    assert sorted(entry.name for entry in tmp_path.iterdir())[1:] == ["..data", "a"]
    assert (tmp_path / "a").read_text() == "2"


def test_a_volume_is_given_to_a_group_with_what_is_in_it(tmp_path: Path) -> None:
    group = os.getgid()
    folder, file, link = tmp_path / "d", tmp_path / "d" / "f", tmp_path / "l"
    folder.mkdir(mode=0o700)
    file.touch(mode=0o600)
    link.symlink_to("/etc/passwd")
    before = Path("/etc/passwd").stat()
    give_to_group(tmp_path, group)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o2770 and stat.S_IMODE(file.stat().st_mode) == 0o660
    assert Path("/etc/passwd").stat() == before
    file.chmod(0o600)
    give_to_group(tmp_path, group, policy="OnRootMismatch")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600, "its root is right: nothing is touched"
    tmp_path.chmod(0o700)
    assert not is_right(tmp_path.stat(), group, read_only=False)
    give_to_group(tmp_path, group, policy="OnRootMismatch")
    assert stat.S_IMODE(file.stat().st_mode) == 0o660


def opened(root: Path, sub_path: str) -> Path:
    descriptor = os.open(root, os.O_PATH)
    try:
        found = open_or_make(descriptor, sub_path)
    finally:
        os.close(descriptor)
    try:
        return Path(f"/proc/self/fd/{found}").readlink()
    finally:
        os.close(found)


def test_parts_of_volumes_are_made_and_never_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    root.mkdir(mode=0o770)
    root.chmod(0o770)
    assert opened(root, "a/b") == root / "a" / "b"
    assert stat.S_IMODE((root / "a").stat().st_mode) == 0o770
    (root / "inside").symlink_to("a/b")
    assert opened(root, "inside") == root / "a" / "b"
    (root / "file").touch()
    assert opened(root, "file") == root / "file"
    (root / "out").symlink_to("..")
    (root / "root").symlink_to("/")
    for path in ("out", "out/volume", "root", "root/etc", "..", "a/../../x", "/etc"):
        with pytest.raises(OSError, match=r"cross-device|not below"):
            opened(root, path)
    (root / "dangling").symlink_to("nowhere")
    with pytest.raises(FileExistsError):
        opened(root, "dangling/x")


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(st.sampled_from(["a", "b", "..", ".", "up", "top", "x"]), min_size=1, max_size=5))
def test_no_path_leads_out(tmp_path: Path, parts: list[str]) -> None:
    root = tmp_path / "volume"
    if not root.exists():
        (root / "a" / "b").mkdir(parents=True)
        (root / "a" / "up").symlink_to("../..")
        (root / "top").symlink_to("/")
    try:
        found = opened(root, "/".join(parts))
    except OSError:
        return
    assert found == root or found.is_relative_to(root)


READY = {
    "disk": Mounted(Path("/d")),
    "fixed": Mounted(Path("/f"), read_only=True),
    "raw": Mounted(Path("/dev/x"), block=True),
}


def container(*mounts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "c", "volumeMounts": list(mounts), **more}


def test_mounts_of_a_container(tmp_path: Path) -> None:
    wanted = container(
        {"name": "disk", "mountPath": "x", "mountPropagation": "Bidirectional"},
        {"name": "fixed", "mountPath": "/y", "recursiveReadOnly": "IfPossible"},
        volumeDevices=[{"name": "raw", "devicePath": "/dev/raw"}],
    )
    found = mounts_of(wanted, READY, {}, tmp_path, recursive=True)
    assert [(m.container_path, m.readonly, m.propagation, m.recursive_read_only) for m in found] == [
        ("/x", False, cri.PROPAGATION_BIDIRECTIONAL, False),
        ("/y", True, cri.PROPAGATION_PRIVATE, True),
    ]
    assert [(d.container_path, d.host_path, d.permissions) for d in devices_of(wanted, READY)] == [
        ("/dev/raw", "/dev/x", "mrw")
    ]


@pytest.mark.parametrize(
    ("mount", "message"),
    [
        ({"name": "none", "mountPath": "/x"}, 'volume "none" of container c does not exist'),
        ({"name": "raw", "mountPath": "/x"}, "has volumeMode Block, but is specified in volumeMounts"),
        ({"name": "disk", "mountPath": "/x", "subPathExpr": "$(NO)"}, 'missing value for "NO"'),
        ({"name": "fixed", "mountPath": "/x", "recursiveReadOnly": "Enabled"}, "recursive read-only mounts are not"),
    ],
)
def test_mounts_that_cannot_be(mount: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(VolumeError, match=message.replace("(", r"\(")):
        mounts_of(container(mount), READY, {}, tmp_path)


def test_devices_that_are_none() -> None:
    with pytest.raises(VolumeError, match="has volumeMode Filesystem, but is specified in volumeDevices"):
        devices_of(container(volumeDevices=[{"name": "disk", "devicePath": "/dev/x"}]), READY)


@pytest.mark.parametrize(
    ("limits", "spec", "size"),
    [
        (["1Mi"], {}, 1 << 20),
        (["1Mi", "2Mi"], {"sizeLimit": "1Gi"}, 3 << 20),
        (["1Mi", None], {"sizeLimit": "4Ki"}, 4096),
        ([None], {}, 0),
    ],
)
def test_how_large_memory_may_become(limits: list[str | None], spec: dict[str, Any], size: int) -> None:
    containers = [{"resources": {"limits": {"memory": limit}}} if limit else {} for limit in limits]
    assert memory_size(spec, {"spec": {"containers": containers}}) == size


def test_which_huge_pages_are_meant() -> None:
    asked = {"spec": {"containers": [{"resources": {"limits": {"hugepages-2Mi": "4Mi"}}}]}}
    assert page_size("HugePages", asked) == "2Mi" and page_size("HugePages-1Gi", asked) == "1Gi"
    assert page_size("HugePages", {"spec": {"containers": [{}]}}) == ""


def test_host_paths_are_what_their_type_says(tmp_path: Path) -> None:
    assert ready_or_why_not(tmp_path / "made" / "deep", "DirectoryOrCreate") == ""
    assert ready_or_why_not(tmp_path / "made" / "file", "FileOrCreate") == ""
    assert ready_or_why_not(tmp_path / "made" / "file", "File") == ""
    assert ready_or_why_not(Path("/dev/null"), "CharDevice") == ""
    why = ready_or_why_not(tmp_path / "made", "Socket")
    assert why == f"hostPath type check failed: {tmp_path}/made is not a socket file"
    assert "is not a directory" in ready_or_why_not(tmp_path / "made" / "file", "DirectoryOrCreate")
    assert "is not a file" in ready_or_why_not(tmp_path / "none", "File")
    with pytest.raises(FileNotFoundError):
        ready_or_why_not(tmp_path / "no" / "file", "FileOrCreate")


async def test_kinds_that_a_node_does_not_have_are_refused(tmp_path: Path) -> None:
    context: Any = SimpleNamespace()
    entry = {"name": "v", "rbd": {"image": "i"}}
    with pytest.raises(VolumeError, match="of a kind that this node does not have: rbd"):
        await set_up(volume_of(entry, pod(), context, tmp_path, ()))


def test_what_is_mounted_is_known() -> None:
    assert mounts.is_mounted(Path("/proc")) and not mounts.is_mounted(Path("/proc/self"))
    assert any(one.point == "/proc" and one.kind == "proc" for one in mounts.listed())


async def test_how_full_volumes_are(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "file").write_bytes(b"x" * 10_000)
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "claim", "persistentVolumeClaim": {"claimName": "c"}},
        {"name": "host", "hostPath": {"path": "/"}},
        {"name": "raw", "persistentVolumeClaim": {"claimName": "r"}},
        {"name": "late", "emptyDir": {}},
    ]
    ready = {name: Mounted(tmp_path / "data") for name in ("disk", "claim", "host")}
    ready["raw"] = Mounted(tmp_path / "data", block=True)
    context: Any = SimpleNamespace()
    disk, claim = await volume_stats(context, pod(volumes=volumes), ready)
    assert (disk["name"], disk["inodesUsed"]) == ("disk", 2) and 10_000 <= disk["usedBytes"] < 100_000
    assert claim["pvcRef"] == {"name": "c", "namespace": "n"} and claim["usedBytes"] > disk["usedBytes"]
    rows = {family.name: family.samples for family in families([disk, claim])}
    (sample,) = rows["kubelet_volume_stats_used_bytes"]
    assert sample.labels == {"namespace": "n", "persistentvolumeclaim": "c"} and sample.value == claim["usedBytes"]


def test_how_volumes_are_mounted_is_told() -> None:
    wanted = container(
        {"name": "a", "mountPath": "/a"},
        {"name": "b", "mountPath": "/b", "readOnly": True},
        {"name": "c", "mountPath": "/c", "readOnly": True, "recursiveReadOnly": "IfPossible"},
    )
    current = cri.ContainerStatus(mounts=[cri.Mount(container_path="/c", readonly=True, recursive_read_only=True)])
    assert mount_statuses(wanted, current) == [
        {"name": "a", "mountPath": "/a"},
        {"name": "b", "mountPath": "/b", "readOnly": True, "recursiveReadOnly": "Disabled"},
        {"name": "c", "mountPath": "/c", "readOnly": True, "recursiveReadOnly": "Enabled"},
    ]
    assert mount_statuses(wanted, None)[2]["recursiveReadOnly"] == "Disabled"


async def test_the_image_of_a_volume_is_pulled_for_its_pod(tmp_path: Path) -> None:
    """It was pulled for nobody: all pods shared one back-off, and it outlived them."""
    asked: list[str] = []

    async def ensure(wanted: object, sandbox: cri.PodSandboxConfig, *_: object) -> cri.Image:
        asked.append(sandbox.metadata.uid)
        raise ImageError("ErrImagePull", "no")

    context: Any = SimpleNamespace(own_runtime=True, images=SimpleNamespace(ensure=ensure), pull_secrets=lambda _: [])
    volume = Volume("v", "image", {"reference": "r.test/a:1"}, pod(), context, tmp_path)
    with pytest.raises(VolumeError):
        await image.set_up(volume)
    assert asked == ["u"]
