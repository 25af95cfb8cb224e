"""What a fork makes of the objects of another cluster: at home on its own node."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import orjson

from sampan.cluster.forks import make_folders, rehomed
from sampan.controllers.local_provisioner import Folders, volume_for
from sampan.store import Record

OLD = ((IPv4Network("10.243.64.0/18"), IPv6Network("fd53:6d70:f3:1::/112")), "a-node")
NEW = ((IPv4Network("10.244.64.0/18"), IPv6Network("fd53:6d70:f4:1::/112")), "b-node")
CLAIM: dict[str, Any] = {
    "metadata": {"name": "data", "namespace": "default", "uid": "u1", "resourceVersion": "7"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
}


def fork(objects: dict[str, dict[str, Any]], folders: Folders) -> tuple[dict[str, Any], int]:
    objects = {key: {"apiVersion": "v1", "kind": "Some", **value} for key, value in objects.items()}
    records = [Record(f"/registry/{key}", orjson.dumps(value), 1, 1) for key, value in objects.items()]
    puts = rehomed(records, OLD, NEW, folders)
    made = make_folders(puts, NEW[1], folders)
    return {put.key.removeprefix("/registry/"): orjson.loads(put.value or b"") for put in puts}, made


def volume(mode: str = "Filesystem", node: str = "a-node") -> dict[str, Any]:
    claim = {**CLAIM, "spec": {**CLAIM["spec"], "volumeMode": mode}}
    metadata = {"name": node, "labels": {"kubernetes.io/hostname": node}}
    return volume_for(claim, {"metadata": {"name": "standard"}}, {"metadata": metadata}, Path("/old/volumes/pvc-u1_x"))


def test_volumes_of_the_old_machine_are_empty_folders_of_the_new_one(tmp_path: Path) -> None:
    folders = Folders(tmp_path / "volumes")
    found, made = fork({"persistentvolumes/pvc-u1": volume()}, folders)
    spec = found["persistentvolumes/pvc-u1"]["spec"]
    assert made == 1 and spec["local"]["path"] == str(tmp_path / "volumes" / "pvc-u1_x")
    expressions = spec["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"]
    assert expressions == [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b-node"]}]
    assert (tmp_path / "volumes" / "pvc-u1_x").is_dir()


def test_a_block_volume_is_a_file_of_its_size(tmp_path: Path) -> None:
    fork({"persistentvolumes/pvc-u1": volume("Block")}, Folders(tmp_path / "volumes"))
    assert (tmp_path / "volumes" / "pvc-u1_x").stat().st_size == 1 << 20


def test_volumes_of_others_stay_what_they_are(tmp_path: Path) -> None:
    foreign = volume()
    foreign["metadata"]["annotations"] = {}
    objects = {"persistentvolumes/mine": foreign, "persistentvolumes/remote": volume(node="elsewhere")}
    assert fork(objects, Folders(tmp_path / "volumes")) == (objects, 0)


def test_a_claim_that_waits_for_its_volume_waits_on_the_new_node(tmp_path: Path) -> None:
    selected = "volume.kubernetes.io/selected-node"
    claim = {**CLAIM, "metadata": {**CLAIM["metadata"], "annotations": {selected: "a-node"}}}
    found, _ = fork({"persistentvolumeclaims/default/data": claim}, Folders(tmp_path))
    assert found["persistentvolumeclaims/default/data"]["metadata"]["annotations"] == {selected: "b-node"}


def test_services_keep_their_place_and_pods_are_new_ones(tmp_path: Path) -> None:
    pod: dict[str, Any] = {
        "metadata": {"uid": "old"},
        "spec": {"nodeName": "a-node"},
        "status": {"phase": "Running", "podIP": "1"},
    }
    ended: dict[str, Any] = {
        "metadata": {"uid": "old"},
        "spec": {"nodeName": "a-node"},
        "status": {"phase": "Succeeded"},
    }
    service: dict[str, Any] = {
        "metadata": {"name": "s"},
        "spec": {"clusterIP": "10.243.70.25", "clusterIPs": ["10.243.70.25", "fd53:6d70:f3:1::99"]},
        "status": {},
    }
    node: dict[str, Any] = {"metadata": {"name": "a-node"}}
    found, _ = fork(
        {"services/specs/d/s": service, "pods/d/p": pod, "pods/d/ended": ended, "minions/a-node": node},
        Folders(tmp_path),
    )
    assert found["services/specs/d/s"]["spec"]["clusterIPs"] == ["10.244.70.25", "fd53:6d70:f4:1::99"]
    assert found["pods/d/p"]["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert "nodeName" not in found["pods/d/p"]["spec"] and found["pods/d/p"]["metadata"]["uid"] != "old"
    assert found["pods/d/ended"].items() >= ended.items() and "minions/a-node" not in found
