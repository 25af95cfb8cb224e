"""The node runs short: which thresholds count, which pods go first and in which words; logs and images that grow."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, cast

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node.eviction import size_of_tree
from sampan.node.eviction_plan import (
    Level,
    PodUse,
    Pressure,
    Threshold,
    ranked,
    refused_under,
    storage_problem,
    thresholds_of,
    why,
)
from sampan.node.image_collection import Disk, ImageCollection, Seen, due, to_free
from sampan.node.image_credentials import PullRecords
from sampan.node.kubelet_config import KubeletConfig, read
from sampan.node.log_rotation import Log, LogRotation, pack, plan
from sampan.node.node_status import conditions
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.static_pods import ManifestFault, is_mirror, is_static, mirror_of, pod_of, read_folder
from sampan.node.volumes.image import references

MI = 1 << 20


def pod(name: str, memory: str = "", priority: int = 0, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"memory": memory}} if memory else {}
    containers = [{"name": "main", "image": "x", "resources": resources}]
    return {"metadata": {"uid": name, "name": name}, "spec": {"priority": priority, "containers": containers, **spec}}


def test_thresholds_count_when_they_are_crossed_for_long_enough() -> None:
    config = read(
        {
            "evictionHard": {"nodefs.available": "10%"},
            "evictionSoft": {"memory.available": "200Mi"},
            "evictionSoftGracePeriod": {"memory.available": "1m"},
            "evictionMinimumReclaim": {"memory.available": "100Mi"},
        }
    )
    thresholds, pressure = thresholds_of(config), Pressure()

    def look(at: float, memory: int, disk: int) -> list[str]:
        levels = {"memory.available": Level(1000 * MI, memory * MI), "nodefs.available": Level(100, disk)}
        return [t.signal for t in pressure.look(thresholds, levels, at, 300)]

    assert look(0, 500, 50) == [] and pressure.conditions == set()
    assert look(10, 150, 50) == [] and pressure.conditions == {"MemoryPressure"}, "told at once, acted on later"
    assert look(70, 150, 5) == ["memory.available", "nodefs.available"]
    assert pressure.conditions == {"MemoryPressure", "DiskPressure"}
    assert look(80, 250, 50) == ["memory.available"], "more is to be free than the threshold"
    assert look(90, 350, 50) == []
    assert look(379, 350, 50) == [] and pressure.conditions == {"MemoryPressure"}
    assert look(381, 350, 50) == [] and pressure.conditions == set()


def test_who_goes_first() -> None:
    uses = [
        PodUse(pod("modest", "100Mi"), memory=50 * MI),
        PodUse(pod("greedy", "10Mi"), memory=60 * MI),
        PodUse(pod("important", "10Mi", 1000), memory=500 * MI),
        PodUse(pod("greediest"), memory=80 * MI),
        PodUse(pod("critical", priority=2_000_000_000), memory=900 * MI),
        PodUse({**pod("static"), "metadata": {"uid": "s", "annotations": {"kubernetes.io/config.source": "file"}}}),
    ]
    assert [use.uid for use in ranked(uses, "memory")] == ["greediest", "greedy", "important", "modest"]


def test_the_words_of_an_eviction() -> None:
    use = PodUse(pod("p", "10Mi"), memory=60 * MI, containers={"main": 60 * MI})
    threshold = Threshold("memory.available", "100Mi")
    expected = (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 40Mi. Container main was using 60Mi, "
        "request is 10Mi, has larger consumption of memory. "
    )
    assert why(threshold, Level(1000 * MI, 40 * MI), use) == expected


def test_limits_of_local_storage() -> None:
    limited = pod("p")
    limited["spec"]["volumes"] = [{"name": "v", "emptyDir": {"sizeLimit": "1Mi"}}]
    assert storage_problem(PodUse(limited, volumes={"v": MI})) == ""
    assert (
        storage_problem(PodUse(limited, volumes={"v": MI + 1}))
        == 'Usage of EmptyDir volume "v" exceeds the limit "1Mi". '
    )
    own = pod("p")
    own["spec"]["containers"][0]["resources"] = {"limits": {"ephemeral-storage": "2Mi"}}
    over = PodUse(own, storage=3 * MI, container_storage={"main": 1 * MI})
    assert storage_problem(over) == "Pod ephemeral local storage usage exceeds the total limit of containers 2Mi. "
    own["spec"]["containers"].append({"name": "free", "image": "x"})
    alone = PodUse(own, storage=3 * MI, container_storage={"main": 3 * MI})
    assert storage_problem(alone) == 'Container main exceeded its local ephemeral storage limit "2Mi". '


def test_who_is_not_taken_in() -> None:
    tolerant = pod("t", tolerations=[{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}])
    assert refused_under(pod("p"), []) == ""
    assert refused_under(pod("p"), ["MemoryPressure"]) == "The node had condition: [MemoryPressure]. "
    assert refused_under(pod("p", "1Mi"), ["MemoryPressure"]) == "" == refused_under(tolerant, ["MemoryPressure"])
    assert refused_under(pod("p", "1Mi"), ["DiskPressure"]) != ""
    assert refused_under(pod("p", priority=2_000_000_000), ["DiskPressure"]) == ""


def test_pressures_are_conditions() -> None:
    told = {c["type"]: (c["status"], c["reason"]) for c in conditions("", [], {"DiskPressure"})}
    assert told["DiskPressure"] == ("True", "KubeletHasDiskPressure")
    assert told["MemoryPressure"] == ("False", "KubeletHasSufficientMemory")


def test_trees_are_measured_with_links_once(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "f"
    file.write_bytes(b"x" * 8192)
    (tmp_path / "soft").symlink_to(file)
    whole = size_of_tree(tmp_path)
    (tmp_path / "link").hardlink_to(file)
    assert size_of_tree(tmp_path) == whole >= 8192
    assert size_of_tree(tmp_path / "none") == 0


# logs


def test_which_log_files_go_and_which_are_packed() -> None:
    aside = ["0.log.1.gz", "0.log.2.gz", "0.log.3", "0.log.4.gz", "0.log.4", "0.log.5.tmp"]
    todo = plan(aside, 5)
    assert todo.remove == ["0.log.5.tmp", "0.log.4", "0.log.1.gz"] and todo.pack == ["0.log.3"]
    assert plan(["0.log.1.gz", "0.log.2"], 2).remove == ["0.log.1.gz", "0.log.2"]


class Opens:
    def __init__(self, path: Path, *, fails: bool = False) -> None:
        self.path, self.fails = path, fails

    async def reopen_container_log(self, container_id: str) -> None:
        if self.fails:
            raise RuntimeFailure("not running")
        self.path.write_bytes(b"")


async def test_a_log_that_is_too_large_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"x" * 100)
    (tmp_path / "0.log.20260101-000000").write_bytes(b"older")
    log = Log("c", path)
    await LogRotation(cast("Runtime", Opens(path)), lambda: [log], 100, 5).look()
    assert path.stat().st_size == 100, "not larger than its limit"
    await LogRotation(cast("Runtime", Opens(path, fails=True)), lambda: [log], 99, 5).look()
    assert path.stat().st_size == 100, "the runtime goes on writing into it"
    await LogRotation(cast("Runtime", Opens(path)), lambda: [log], 99, 5).look()
    assert path.read_bytes() == b""
    assert gzip.decompress((tmp_path / "0.log.20260101-000000.gz").read_bytes()) == b"older"
    assert names(tmp_path) == 3


def names(folder: Path) -> int:
    return len(list(folder.iterdir()))


def test_packing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"text")
    pack(tmp_path / "f")
    assert [file.name for file in tmp_path.iterdir()] == ["f.gz"]


# images

IMAGES = {"old": Seen(10, 0, 100), "new": Seen(10, 950, 960), "used": Seen(10, 0, 1000), "older": Seen(10, 0, 50)}


def test_which_images_go() -> None:
    config = KubeletConfig(image_gc_high_threshold_percent=80, image_gc_low_threshold_percent=70)
    assert due(IMAGES, ["used"], Disk(100, 30), config, 1000) == ([], [])
    assert due(IMAGES, ["used"], Disk(100, 15), config, 1000) == ([], ["older", "old"]), "the new one is too young"
    assert to_free(Disk(100, 15), 70) == 15
    aged = KubeletConfig(image_maximum_gc_age=920)
    assert due(IMAGES, ["used"], Disk(100, 90), aged, 1000) == (["older"], [])
    assert due(IMAGES, [], Disk(0, 0), config, 1000) == ([], []), "nothing is known of the disk"


class Images:
    def __init__(self) -> None:
        self.there = {f"sha256:{n}": cri.Image(id=f"sha256:{n}", repo_tags=[f"r.test/{n}:1"], size=5) for n in range(3)}

    async def list_images(self) -> list[cri.Image]:
        return list(self.there.values())

    async def list_containers(self) -> list[cri.Container]:
        return [cri.Container(image_ref="sha256:1", image=cri.ImageSpec(image="r.test/1:1"))]

    async def remove_image(self, image: str) -> None:
        del self.there[image]

    async def image_filesystem(self) -> str:
        return "/"


async def test_only_images_that_nobody_uses_are_removed(tmp_path: Path) -> None:
    runtime, told = Images(), []  # type: ignore[var-annotated]
    records = PullRecords(tmp_path / "pulls")
    records.add("sha256:0", None)
    collection = ImageCollection(
        cast("Runtime", runtime), records, KubeletConfig(), tuple, lambda *words: told.append(words)
    )
    await collection.look()
    assert len(runtime.there) == 3
    assert await collection.remove_unused() == 10 and list(runtime.there) == ["sha256:1"]
    assert not records.was_pulled("sha256:0")


async def test_the_image_of_a_volume_is_in_use(tmp_path: Path) -> None:
    """Only those of containers were: the layers that a volume is a view of went when the disk ran full."""
    runtime = Images()
    pod = {"spec": {"volumes": [{"image": {"reference": "r.test/2:1"}}, {"image": {"reference": "No Name"}}, {}]}}
    collection = ImageCollection(
        cast("Runtime", runtime),
        PullRecords(tmp_path / "pulls"),
        KubeletConfig(),
        lambda: references(pod),
        lambda *_: None,
    )
    await collection.remove_unused()
    assert list(runtime.there) == ["sha256:1", "sha256:2"]


# static pods

MANIFEST = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [{"name": "c"}]}}


def test_a_file_is_a_pod_and_its_mirror_carries_what_it_says() -> None:
    made = pod_of(MANIFEST, "node", dict)
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("web-node", "default")
    assert is_static(made) and not is_mirror(made) and made["spec"]["nodeName"] == "node"
    changed = pod_of({**MANIFEST, "spec": {"containers": [{"name": "d"}]}}, "node", dict)
    assert changed["metadata"]["uid"] != made["metadata"]["uid"] == pod_of(MANIFEST, "node", dict)["metadata"]["uid"]
    mirror = mirror_of(made, {"metadata": {"name": "node", "uid": "n"}})
    assert is_mirror(mirror) and not is_static(mirror) and "uid" not in mirror["metadata"]
    assert mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] == made["metadata"]["uid"]


@pytest.mark.parametrize(
    "document",
    [
        None,
        {"kind": "Service"},
        {**MANIFEST, "metadata": {}},
        {**MANIFEST, "spec": {**MANIFEST["spec"], "volumes": [{"name": "v", "secret": {}}]}},  # type: ignore[dict-item]
        {**MANIFEST, "spec": {**MANIFEST["spec"], "serviceAccountName": "x"}},  # type: ignore[dict-item]
    ],
)
def test_files_that_are_no_static_pods(document: Any) -> None:
    with pytest.raises(ManifestFault):
        pod_of(document, "node", dict)


def test_a_folder_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: c}]}\n"
    )
    (tmp_path / "b.yaml").write_text((tmp_path / "a.yaml").read_text())
    (tmp_path / "c.yaml").write_text("{")
    (tmp_path / ".hidden").write_text("{")
    (found,) = read_folder(tmp_path, "node", dict).values()
    assert found["metadata"]["name"] == "a-node"
