"""Volumes in real pods: claims, modes and groups, live updates, parts, devices, images, CSI; and nothing left behind.

Many checks share a pod: what a container sees is printed by one script and read here.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster

SIZED = Path(__file__).resolve().parents[2] / "examples" / "storage" / "sized.yaml"
DRIVER = Path(__file__).resolve().parents[1] / "csi_driver.py"
CSI = "folders.example"


def claim(name: str, **spec: Any) -> dict[str, Any]:
    body = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "8Mi"}}, **spec}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": body}


def of_claim(name: str) -> dict[str, Any]:
    return {"name": name, "persistentVolumeClaim": {"claimName": name}}


def said(space: Space, name: str) -> dict[str, str]:
    """Return the lines ``key=value`` that a pod printed."""
    lines = space("logs", name).splitlines()
    return dict(line.split("=", 1) for line in lines if "=" in line)


def mount_lines(cluster: Cluster) -> list[str]:
    inside = ["nsenter", f"--mount={cluster.settings.mntns_path}", "cat", "/proc/self/mountinfo"]
    listed = subprocess.run(inside, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in listed if str(cluster.settings.kubelet_dir) in line]


def uid(space: Space, name: str) -> str:
    return str(space.pod(name)["metadata"]["uid"])


def test_a_stateful_set_keeps_its_data(space: Space) -> None:
    labels = {"app": "db"}
    script = 'echo "$(hostname) $(date +%N)" >> /data/log; sleep 1000'
    template = pod("db", script, volumeMounts=[{"name": "data", "mountPath": "/data"}])
    spec = {
        "serviceName": "db",
        "replicas": 2,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
        "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim("x")["spec"]}],
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete"},
    }
    space.apply({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "db"}, "spec": spec})
    space("rollout", "status", "statefulset/db", "--timeout=60s")

    def log(name: str) -> list[str]:
        return space("exec", name, "--", "cat", "/data/log").splitlines()

    for name in ("db-0", "db-1"):
        eventually("it has written", lambda name=name: len(log(name)) == 1)  # type: ignore[misc]
    first, before = log("db-0"), uid(space, "db-0")
    space("delete", "pod", "db-0", "--now")
    path = ("-o", "jsonpath={.metadata.uid}")
    again = lambda: space("get", "pod", "db-0", "--ignore-not-found", *path)  # noqa: E731
    eventually("db-0 is another pod", lambda: again() not in ("", before))
    space.ready("db-0")
    eventually("it has written again", lambda: len(log("db-0")) == 2)
    assert log("db-0")[:1] == first, "what was written before is there"
    assert log("db-1")[0].startswith("db-1 "), "each pod has a volume of its own"
    folders = space.cluster.settings.volumes_dir
    assert len(list(folders.glob(f"*_{space.name}_data-db-*"))) == 2
    space("patch", "pvc", "data-db-0", "-p", '{"spec":{"resources":{"requests":{"storage":"16Mi"}}}}')
    space("wait", "pvc/data-db-0", "--for=jsonpath={.status.capacity.storage}=16Mi", "--timeout=60s")
    space("delete", "statefulset", "db", "--wait")
    eventually("the folders go with their claims", lambda: not list(folders.glob(f"*_{space.name}_*")))


SEEN = r"""
mode() { busybox stat -c %a:%g "$1"; }
mounted() { busybox awk -v p="$1" '$2==p {split($4,o,","); print $3" "o[1]}' /proc/mounts; }
echo disk=$(mode /disk); echo memory=$(mode /memory) $(mounted /memory)
echo size=$(busybox df -k /memory | busybox tail -1 | busybox awk '{print $2}')
echo claim=$(mode /claim) $(mounted /claim); echo kept=$(cat /claim/from-init); echo part=$(cat /part/file)
echo config=$(cat /config/a) $(busybox stat -Lc %a /config/a) $(mounted /config | busybox cut -d' ' -f2); echo one=$(cat /one)
echo secret=$(cat /secret/dir/key) $(busybox stat -Lc %a /secret/dir/key) $(mounted /secret)
echo projected=$(cat /projected/name):$(cat /projected/b):$(cat /projected/cpu):$(cat /projected/labels)
echo token=$(busybox wc -c < /projected/token | busybox tr -d ' ') $(busybox stat -Lc %a:%u:%g /projected/token)
echo optional=$(ls /optional | busybox wc -l); echo binary=$(busybox od -An -tx1 /config/raw | busybox tr -d ' ')
echo host=$(cat /host/file) $(mounted /host | busybox cut -d' ' -f2); touch /host/x 2>/dev/null && echo wrote=host
echo expr=$(mode /expr); touch /fixed/x 2>/dev/null && echo wrote=config
echo image=$(cat /image/etc/passwd | busybox head -1); touch /image/x 2>/dev/null && echo wrote=image
echo block=$(busybox stat -c %F /dev/block)
echo kubelet=$(busybox awk '$2 ~ "plugins_registry" {print "there"}' /proc/mounts)
echo ephemeral=$(mode /ephemeral); echo user=$(id -u):$(id -g):$(id -G)
sleep 1000
"""


@pytest.fixture
def seen(space: Space, tmp_path: Path) -> dict[str, Any]:
    """A pod with a volume of every kind, ready; and what it saw."""
    (tmp_path / "file").write_text("of-the-host")
    tmp_path.chmod(0o755)
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "config"},
        "data": {"a": "one", "b": "two"},
        "binaryData": {"raw": "//4A"},
    }
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "secret"}, "stringData": {"key": "hidden"}}
    projected = [
        {"downwardAPI": {"items": [
            {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
            {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
            {"path": "cpu", "resourceFieldRef": {"containerName": "main", "resource": "limits.cpu", "divisor": "1m"}},
        ]}},
        {"configMap": {"name": "config", "items": [{"key": "b", "path": "b"}]}},
        {"serviceAccountToken": {"path": "token", "audience": "vault"}},
    ]  # fmt: skip
    template = {"spec": claim("x")["spec"]}
    volumes = [
        {"name": "disk", "emptyDir": {}},
        {"name": "memory", "emptyDir": {"medium": "Memory", "sizeLimit": "2Mi"}},
        of_claim("claim"),
        of_claim("block"),
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {
            "secretName": "secret", "defaultMode": 0o400, "items": [{"key": "key", "path": "dir/key", "mode": 0o440}],
        }},
        {"name": "projected", "projected": {"sources": projected}},
        {"name": "optional", "configMap": {"name": "not-there", "optional": True}},
        {"name": "host", "hostPath": {"path": str(tmp_path), "type": "Directory"}},
        {"name": "image", "image": {"reference": "busybox:1"}},
        {"name": "kubelet", "hostPath": {"path": "/var/lib/kubelet/plugins_registry", "type": "Directory"}},
        {"name": "ephemeral", "ephemeral": {"volumeClaimTemplate": template}},
    ]  # fmt: skip
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("disk", "memory", "claim", "config", "secret")]
    mounts += [{"name": name, "mountPath": f"/{name}"} for name in ("projected", "optional", "image", "ephemeral")]
    mounts += [
        {"name": "host", "mountPath": "/host", "readOnly": True},
        {"name": "claim", "mountPath": "/part", "subPath": "deep/er"},
        {"name": "config", "mountPath": "/one", "subPath": "a"},
        {"name": "disk", "mountPath": "/expr", "subPathExpr": "$(POD)/x"},
        {"name": "config", "mountPath": "/fixed"},
        {"name": "kubelet", "mountPath": "/var/lib/kubelet/plugins_registry", "readOnly": True},
    ]
    name_of_pod = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    script = "echo kept > /claim/from-init; mkdir -p /claim/deep/er; echo part > /claim/deep/er/file"
    init = {"name": "init", "image": "busybox:1", "command": ["sh", "-c", script], "volumeMounts": mounts[2:3]}
    made = pod(
        "all",
        SEEN,
        {
            "volumes": volumes,
            "initContainers": [init],
            "securityContext": {"fsGroup": 777, "runAsUser": 1000, "runAsGroup": 100},
        },
        volumeMounts=mounts,
        volumeDevices=[{"name": "block", "devicePath": "/dev/block"}],
        env=[name_of_pod],
        resources={"limits": {"cpu": "250m"}},
    )
    space.apply(config, secret, claim("claim"), claim("block", volumeMode="Block"), made)
    space.ready("all")
    eventually("the script is through", lambda: "user" in said(space, "all"))
    return said(space, "all")


def test_volumes_of_every_kind(space: Space, seen: dict[str, Any], tmp_path: Path) -> None:
    assert seen["disk"] == "2777:777"
    assert seen["memory"] == "2777:777 tmpfs rw" and seen["size"] == "2048"
    assert seen["claim"].startswith("2777:777 ") and (seen["kept"], seen["part"]) == ("kept", "part")
    assert seen["config"] == "one 644 ro" and seen["one"] == "one" and seen["binary"] == "fffe00"
    assert seen["secret"] == "hidden 440 tmpfs ro"
    assert seen["projected"].startswith("all:two:250:app=")
    assert seen["token"].endswith(" 640:1000:777")
    assert seen["optional"] == "0" and seen["host"] == "of-the-host ro"
    assert "wrote" not in seen, "what is read-only is"
    assert seen["expr"].split(":")[1] == "777" and seen["ephemeral"] == "2777:777"
    assert seen["kubelet"] == "there", "drivers find the kubelet's folder where they expect it"
    assert seen["block"] == "block special file"
    assert seen["image"] == "root:x:0:0:root:/:/bin/sh"
    assert seen["user"] == "1000:100:100 777"

    # what changes is seen, at once and whole; what is mounted as a part stays
    space("patch", "configmap", "config", "-p", '{"data":{"a":"new","c":"three"}}')
    space("label", "pod", "all", "app=other", "--overwrite")

    def now(command: str) -> str:
        return space("exec", "all", "--", "sh", "-c", command).strip()

    eventually("files follow their object", lambda: now("echo $(cat /config/a) $(ls /config)") == "new a b c raw")
    assert now("cat /one") == "one"
    eventually("labels follow the pod", lambda: 'app="other"' in now("cat /projected/labels"))

    made = uid(space, "all")
    assert any(made in line for line in mount_lines(space.cluster))
    space("delete", "pod", "all", "--now")
    assert not any(made in line for line in mount_lines(space.cluster))
    assert not (space.cluster.settings.kubelet_dir / "pods" / made).exists()
    assert (tmp_path / "file").read_text() == "of-the-host"
    devices = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert f"_{space.name}_" not in devices, "no device is left to a file that nobody uses"
    space("delete", "pvc", "--all", "--wait")


def test_block_devices(space: Space) -> None:
    script = (
        "busybox stat -c 'kind=%F' /dev/block; echo size=$(busybox blockdev --getsize64 /dev/block);"
        "echo hello | busybox dd of=/dev/block bs=1 conv=notrunc 2>/dev/null;"
        "echo read=$(busybox head -c 5 /dev/block); sleep 1000"
    )
    devices = [{"name": "block", "devicePath": "/dev/block"}]
    for name in ("first", "second"):
        made = pod(name, script, {"volumes": [of_claim("block")]}, volumeDevices=devices)
        space.apply(claim("block", volumeMode="Block"), made)
        space.ready(name)
        eventually("it has read", lambda: "read" in said(space, name))  # noqa: B023
        assert said(space, name) == {"kind": "block special file", "size": str(8 << 20), "read": "hello"}
    wrong = pod("wrong", "true", {"volumes": [of_claim("block")]}, volumeMounts=[{"name": "block", "mountPath": "/x"}])
    space.apply(wrong)
    eventually(
        "the wrong way is told", lambda: "has volumeMode Block, but is specified in volumeMounts" in events(space)
    )


def test_a_size_that_holds_and_grows(space: Space) -> None:
    """The class of examples/storage/sized.yaml: a file with a filesystem of its own."""
    space("apply", "-f", str(SIZED))
    write = "busybox dd if=/dev/zero of=/data/$(hostname) bs=1M count=20 2>/dev/null"
    script = f"{write} && echo fits=yes || echo fits=no; sleep 1000"

    def writer(name: str) -> str:
        made = pod(
            name, script, {"volumes": [of_claim("sized")]}, volumeMounts=[{"name": "sized", "mountPath": "/data"}]
        )
        space.apply(made)
        space.ready(name)
        eventually("it has tried", lambda: "fits" in said(space, name))
        return said(space, name)["fits"]

    space.apply(claim("sized", storageClassName="sized", resources={"requests": {"storage": "16Mi"}}))
    assert writer("first") == "no", "the disk of the volume is full, not the machine's"
    more = {"spec": {"resources": {"requests": {"storage": "64Mi"}}}}
    space("patch", "pvc", "sized", "-p", json.dumps(more))

    def claimed() -> dict[str, Any]:
        return dict(json.loads(space("get", "pvc", "sized", "-o", "json"))["status"])

    eventually("the rest is the node's", lambda: "FileSystemResizePending" in json.dumps(claimed()))
    assert claimed()["capacity"]["storage"] == "16Mi"
    space("delete", "pod", "first", "--grace-period=0", "--force")
    assert writer("second") == "yes"
    eventually("the claim says so", lambda: claimed()["capacity"]["storage"] == "64Mi")
    eventually("neither a condition nor a state of it is left", lambda: "Resiz" not in json.dumps(claimed()))
    space("delete", "pod", "second", "--grace-period=0", "--force")
    space("delete", "pvc", "sized", "--wait")


def events(space: Space) -> str:
    return space("get", "events", "-o", 'jsonpath={range .items[*]}{.involvedObject.name} {.message}{"\\n"}{end}')


def test_what_cannot_be_mounted_is_told_and_mended(space: Space, tmp_path: Path) -> None:
    at = [{"name": "v", "mountPath": "/v"}]

    def with_volume(name: str, script: str, **volume: Any) -> dict[str, Any]:
        return pod(name, script, {"volumes": [{"name": "v", **volume}]}, volumeMounts=at)

    def of(claim_name: str) -> dict[str, Any]:
        return {"persistentVolumeClaim": {"claimName": claim_name}}

    links = "ln -s / /v/root; ln -s ../.. /v/up; mkdir /v/in; ln -s in /v/link; touch /v/done; sleep 1000"
    linker = with_volume("linker", links, **of("plain"))
    probe = {"exec": {"command": ["busybox", "test", "-e", "/v/done"]}, "periodSeconds": 1}
    linker["spec"]["containers"][0]["readinessProbe"] = probe
    space.apply(
        claim("single", accessModes=["ReadWriteOncePod"]),
        claim("plain"),
        with_volume("holder", "sleep 1000", **of("single")),
        linker,
        with_volume("late", "echo $(cat /v/key); sleep 1000", configMap={"name": "late"}),
        with_volume("socket", "true", hostPath={"path": str(tmp_path), "type": "Socket"}),
        with_volume("nfs", "true", nfs={"server": "127.0.0.1", "path": "/x"}),
    )
    space("wait", "pod/holder", "pod/linker", "--for=condition=Ready", "--timeout=60s")
    parts = {"root/etc": "out-1", "up": "out-2", "link": "inside"}
    made = [with_volume(name, "sleep 1000", **of("plain")) for name in parts.values()]
    for one, part in zip(made, parts, strict=True):
        one["spec"]["containers"][0]["volumeMounts"] = [{**at[0], "subPath": part}]
    late = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "late"}, "data": {"key": "came"}}
    told = (
        'late MountVolume.SetUp failed for volume "v" : configmap "late" not found',
        f"hostPath type check failed: {tmp_path} is not a socket file",
        "ReadWriteOncePod access mode",
        'subPath "root/etc" not within volume path',
        'subPath "up" not within volume path',
        *(() if "nfs" in Path("/proc/filesystems").read_text() else ("the kernel of this node has no NFS client",)),
    )
    space.apply(with_volume("waits", "true", **of("single")), *made)
    eventually("each says why", lambda: all(text in events(space) for text in told))
    space.apply({**late, "immutable": True})
    space("wait", "pod/inside", "pod/late", "--for=condition=Ready", "--timeout=60s")
    eventually("it has what it waited for", lambda: space("logs", "late") == "came\n")


def test_mounts_are_propagated_as_asked(space: Space, tmp_path: Path) -> None:
    def mounting(name: str, how: str, script: str) -> dict[str, Any]:
        mounts = [{"name": "v", "mountPath": "/v", "mountPropagation": how}]
        volumes = {"volumes": [{"name": "v", "hostPath": {"path": str(tmp_path)}}]}
        privileged = {"securityContext": {"privileged": True}}
        return pod(name, script, volumes, volumeMounts=mounts, **privileged)

    tmp_path.chmod(0o755)
    wait = "sleep 1000"
    space.apply(
        mounting("gets", "HostToContainer", wait),
        mounting("private", "None", wait),
        mounting("gives", "Bidirectional", wait),
    )
    for name in ("gets", "private", "gives"):
        space.ready(name)
    make = "mkdir -p /v/m && busybox mount -t tmpfs none /v/m && echo here > /v/m/file"
    space("exec", "gives", "--", "sh", "-c", make)
    assert space("exec", "gets", "--", "cat", "/v/m/file").strip() == "here"
    assert space("exec", "private", "--", "ls", "/v/m").strip() == ""
    space("exec", "gives", "--", "busybox", "umount", "/v/m")
    assert not (tmp_path / "m" / "file").exists(), "nothing came out of the cluster"


# CSI


@pytest.fixture
def driver(real_cluster: Cluster, tmp_path: Path) -> Iterator[Path]:
    """The driver of folders, running on the node; its data."""
    settings = real_cluster.settings
    data = tmp_path / "data"
    words = [f"--mount={settings.mntns_path}", sys.executable, str(DRIVER), str(settings.kubelet_dir), str(data), CSI]
    process = subprocess.Popen(["nsenter", *words], stdout=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    yield data
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def csi_calls(data: Path) -> list[str]:
    return [json.loads(line)[0] for line in (data / "calls.jsonl").read_text().splitlines()]


def test_a_csi_driver_and_a_node_that_dies(space: Space, driver: Path) -> None:
    cluster = space.cluster
    node = cluster.settings.node_name
    eventually("the driver is known", lambda: CSI in cluster.kubectl("get", "csinode", node, "-o", "yaml"))
    source = {"driver": CSI, "volumeHandle": f"h-{space.name}", "volumeAttributes": {"a": "b"}, "fsType": "ext4"}
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": space.name},
        "spec": {
            "capacity": {"storage": "8Mi"},
            "accessModes": ["ReadWriteOnce"],
            "csi": source,
            "storageClassName": "",
            "claimRef": {"namespace": space.name, "name": "disk"},
        },
    }
    kind = {"apiVersion": "storage.k8s.io/v1", "kind": "CSIDriver", "metadata": {"name": CSI}}
    kind["spec"] = {"attachRequired": True, "podInfoOnMount": True, "volumeLifecycleModes": ["Persistent", "Ephemeral"]}
    made = pod(
        "csi",
        "echo from-pod > /v/file; busybox stat -c 'group=%g' /v; sleep 1000",
        {
            "volumes": [of_claim("disk"), {"name": "own", "csi": {"driver": CSI}}],
            "securityContext": {"fsGroup": 4321},
        },
        volumeMounts=[{"name": "disk", "mountPath": "/v"}, {"name": "own", "mountPath": "/own"}],
    )
    space.apply(kind, volume, claim("disk", storageClassName=""), made)
    attachment = ""

    def asked() -> bool:
        nonlocal attachment
        attachment = cluster.kubectl("get", "volumeattachments", "-o", "name").strip()
        return bool(attachment)

    eventually("the volume is to be attached", asked)
    attached = '{"status":{"attached":true}}'
    cluster.kubectl("patch", attachment, "--subresource=status", "--type=merge", "-p", attached)
    space.ready("csi")
    eventually("its group", lambda: said(space, "csi") == {"group": "4321"})
    stored = driver / f"h-{space.name}"
    assert (stored / "file").read_text() == "from-pod\n"
    assert json.loads((stored / "context.json").read_text())["csi.storage.k8s.io/pod.name"] == "csi"
    assert sorted(csi_calls(driver))[-3:] == ["NodePublishVolume", "NodePublishVolume", "NodeStageVolume"]

    # the node dies, and its pod is deleted meanwhile: what it had mounted is taken back
    made_uid = uid(space, "csi")
    assert sum(made_uid in line for line in mount_lines(cluster)) >= 2
    cluster.kill("node")
    space("delete", "pod", "csi", "--force", "--grace-period=0")
    gone = lambda: not any(made_uid in line or "globalmount" in line for line in mount_lines(cluster))  # noqa: E731
    eventually("nothing of it is mounted", gone)
    back = {"NodeUnpublishVolume", "NodeUnstageVolume"}
    eventually("the driver was asked for that", lambda: back <= set(csi_calls(driver)))
    assert (stored / "file").read_text() == "from-pod\n", "the data is the driver's"
    eventually("it is detached", lambda: not cluster.kubectl("get", "volumeattachments", "-o", "name").strip())
    space("delete", "pvc", "disk")
    cluster.kubectl("delete", "pv", space.name)
    cluster.kubectl("delete", "csidriver", CSI)


def test_a_node_that_is_killed_again_and_again_leaks_nothing(space: Space) -> None:
    cluster = space.cluster
    space.apply(claim("c"), claim("b", volumeMode="Block"))
    before = mount_lines(cluster)
    volumes = [of_claim("c"), of_claim("b"), {"name": "m", "emptyDir": {"medium": "Memory"}}]
    volumes.append({"name": "image", "image": {"reference": "busybox:1"}})
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("m", "image")]
    mounts.append({"name": "c", "mountPath": "/c", "subPath": "a"})
    devices = [{"name": "b", "devicePath": "/dev/b"}]
    names = [f"p-{number}" for number in range(4)]
    made = [pod(name, "sleep 1000", {"volumes": volumes}, volumeMounts=mounts, volumeDevices=devices) for name in names]
    for pause in (0.02, 0.15, 0.35):
        space.apply(*made)
        time.sleep(pause)  # the moment is what is tried, nothing is waited for
        cluster.kill("node")
        space("delete", "pods", *names, "--force", "--grace-period=0")
    eventually("nothing is mounted that was not", lambda: len(mount_lines(cluster)) <= len(before))
    views = ["ctr", "-a", str(cluster.settings.containerd_socket), "-n", "k8s.io", "snapshots", "ls"]
    for what, command in (("kubernetes.io~image", views), (f"_{space.name}_", ["losetup", "-a"])):
        listed = lambda command=command: subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: E731
        eventually(f"{what} is gone", lambda what=what, listed=listed: what not in listed())  # type: ignore[misc]
