"""The behaviours of volumes that Kubernetes' conformance list names ([sig-storage]), many in a pod.

Three pods print what they see: as root, as another user, and one whose sources come, change and go.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any

from .eventually import eventually
from .space import Space, pod

MODE = 'mode() { busybox stat -Lc %a "$1"; }; kind() { busybox awk -v p="$1" \'$2==p {print $3}\' /proc/mounts; };'


def lines(space: Space, name: str, container: str = "main") -> dict[str, str]:
    text = space("logs", name, "-c", container)
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def secret(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def mounts(*names: str) -> list[dict[str, Any]]:
    return [{"name": name, "mountPath": f"/{name}"} for name in names]


def field(path: str, what: str) -> dict[str, Any]:
    return {"path": path, "fieldRef": {"fieldPath": what}}


def amount(path: str, what: str, divisor: str = "1") -> dict[str, Any]:
    return {"path": path, "resourceFieldRef": {"containerName": "main", "resource": what, "divisor": divisor}}


ITEM = {"items": [{"key": "k", "path": "path/to/k", "mode": 0o400}]}
MAPPED = {"items": [{"key": "k", "path": "path/to/k"}]}
VOLUMES: list[dict[str, Any]] = [
    {"name": "plain", "configMap": {"name": "c"}},
    {"name": "owner", "configMap": {"name": "c", "defaultMode": 0o400}},
    {"name": "mapped", "configMap": {"name": "c", **MAPPED}},
    {"name": "item", "configMap": {"name": "c", **ITEM}},
    {"name": "hidden", "secret": {"secretName": "s"}},
    {"name": "hidden-owner", "secret": {"secretName": "s", "defaultMode": 0o440}},
    {"name": "hidden-item", "secret": {"secretName": "s", **ITEM}},
    {"name": "all", "projected": {"defaultMode": 0o444, "sources": [
        {"configMap": {"name": "c", **MAPPED}},
        {"secret": {"name": "s", "items": [{"key": "k", "path": "secret", "mode": 0o400}]}},
        {"downwardAPI": {"items": [field("name", "metadata.name")]}},
    ]}},
    {"name": "facts", "downwardAPI": {"items": [
        field("name", "metadata.name"),
        {**field("own", "metadata.uid"), "mode": 0o400},
        amount("cpu-limit", "limits.cpu"), amount("cpu-request", "requests.cpu", "1m"),
        amount("memory-limit", "limits.memory"), amount("memory-request", "requests.memory", "1Mi"),
    ]}},
    {"name": "disk", "emptyDir": {}},
    {"name": "memory", "emptyDir": {"medium": "Memory"}},
]  # fmt: skip
SEEN = (
    MODE
    + r"""
for v in plain owner; do echo $v=$(cat /$v/k):$(mode /$v/k):$(ls /$v); done
for v in mapped item hidden-item; do echo $v=$(cat /$v/path/to/k):$(mode /$v/path/to/k); done
for v in hidden hidden-owner; do echo $v=$(cat /$v/k):$(mode /$v/k); done
echo all=$(cat /all/path/to/k /all/secret):$(cat /all/name):$(mode /all/name):$(mode /all/secret)
for f in name cpu-limit cpu-request memory-limit memory-request; do echo $f=$(cat /facts/$f); done
echo own=$(mode /facts/own)
for v in disk memory; do
  echo $v=$(mode /$v):$(kind /$v)
  for m in 0644 0666 0777; do
    echo content > /$v/$m-$(id -u); busybox chmod $m /$v/$m-$(id -u)
    echo $v-$m=$(busybox stat -c %a:%u /$v/$m-$(id -u)):$(cat /$v/$m-$(id -u))
  done
done
echo part=$(cat /part-k):$(cat /part-secret):$(cat /part-name):$(cat /part-all)
echo over=$(cat /etc/passwd)
echo end=1; sleep 1000
"""
)


def seer(name: str, **context: Any) -> dict[str, Any]:
    names = [volume["name"] for volume in VOLUMES]
    parts = [
        {"name": "plain", "mountPath": "/part-k", "subPath": "k"},
        {"name": "hidden", "mountPath": "/part-secret", "subPath": "k"},
        {"name": "facts", "mountPath": "/part-name", "subPath": "name"},
        {"name": "all", "mountPath": "/part-all", "subPath": "path/to/k"},
        {"name": "plain", "mountPath": "/etc/passwd", "subPath": "k"},
    ]
    resources = {"requests": {"cpu": "250m", "memory": "32Mi"}, "limits": {"memory": "64Mi"}}
    return pod(
        name,
        SEEN,
        {"volumes": VOLUMES, "securityContext": context},
        volumeMounts=[*mounts(*names), *parts],
        resources=resources,
    )


def test_volumes_as_root_and_as_another_user(space: Space) -> None:
    other = space.cluster.kubectl
    other("create", "namespace", f"{space.name}-b")
    other("create", "secret", "generic", "s", "-n", f"{space.name}-b", "--from-literal=k=of-another-namespace")
    space.apply(
        config_map("c", k="value", l="other"),
        secret("s", k="hidden"),
        seer("root"),
        seer("user", runAsUser=1000, fsGroup=1001),
    )
    for name in ("root", "user"):
        space.ready(name)
        eventually("it is through", lambda: "end" in lines(space, name))  # noqa: B023
        seen = lines(space, name)
        user = name == "user"
        assert seen["plain"] == "value:644:k l"
        assert seen["owner"].startswith("value:440:" if user else "value:400:")
        assert seen["mapped"] == "value:644"
        assert seen["item"] == seen["hidden-item"].replace("hidden", "value") == ("value:440" if user else "value:400")
        assert seen["hidden"] == "hidden:644" and seen["hidden-owner"] == "hidden:440"
        assert seen["all"] == f"value hidden:{name}:444:{440 if user else 400}".replace("value hidden", "valuehidden")
        cpus = json.loads(space.cluster.kubectl("get", "nodes", "-o", "json"))["items"][0]["status"]["allocatable"][
            "cpu"
        ]
        expected = {"name": name, "cpu-limit": cpus, "cpu-request": "250"}
        expected |= {"memory-limit": str(64 << 20), "memory-request": "32", "own": "440" if user else "400"}
        assert {key: seen[key] for key in expected} == expected
        wide = "2777" if user else "777"
        assert seen["disk"].startswith(f"{wide}:") and seen["memory"] == f"{wide}:tmpfs"
        for volume in ("disk", "memory"):
            for mode in ("644", "666", "777"):
                assert seen[f"{volume}-0{mode}"] == f"{mode}:{1000 if user else 0}:content"
        assert seen["part"] == f"value:hidden:{name}:value" and seen["over"] == "value"
    other("delete", "namespace", f"{space.name}-b", "--wait=false")


def test_optional_sources_come_change_and_go(space: Space) -> None:
    def optional(kind: str, name: str) -> dict[str, Any]:
        return {kind: {"secretName" if kind == "secret" else "name": name, "optional": True}}

    names = ("create", "update", "delete")
    volumes = [{"name": f"c-{name}", **optional("configMap", name)} for name in names]
    volumes += [{"name": f"s-{name}", **optional("secret", name)} for name in names]
    volumes += [
        {"name": f"p-{name}", "projected": {"sources": [
            {"configMap": {"name": name, "optional": True, "items": [{"key": "k", "path": "c"}]}},
            {"secret": {"name": name, "optional": True, "items": [{"key": "k", "path": "s"}]}},
        ]}}
        for name in names
    ]  # fmt: skip
    followed = [field("annotations", "metadata.annotations['a']"), field("labels", "metadata.labels['l']")]
    followed.append(amount("memory", "limits.memory", "1Ki"))
    facts = {"name": "facts", "downwardAPI": {"items": followed}}
    shared = {"name": "shared", "emptyDir": {}}
    helper = {
        "name": "helper",
        "image": "busybox:1",
        "command": ["sh", "-c", "echo from-helper > /shared/file; sleep 1000"],
        "volumeMounts": mounts("shared"),
    }
    made = pod("live", "sleep 1000", volumeMounts=mounts(*(volume["name"] for volume in volumes), "facts", "shared"))
    made["metadata"] |= {"annotations": {"a": "one"}, "labels": {"l": "first"}}
    made["spec"]["volumes"] = [*volumes, facts, shared]
    made["spec"]["containers"].append(helper)
    there = [config_map(name, k="v1") for name in names[1:]] + [secret(name, k="v1") for name in names[1:]]
    space.apply(*there, made)
    space.ready("live")
    look = "; ".join(f"echo {v['name']}=$(cat /{v['name']}/* 2>/dev/null)" for v in volumes)

    look += "; echo a=$(cat /facts/annotations /shared/file) l=$(cat /facts/labels); echo memory=$(cat /facts/memory)"
    whole = space.cluster.get("node", space.cluster.settings.node_name)["status"]["allocatable"]["memory"]

    def seen() -> dict[str, str]:
        found = space("exec", "live", "-c", "main", "--", "sh", "-c", look)
        lines = dict(line.split("=", 1) for line in found.splitlines() if "=" in line)
        assert f"{lines.pop('memory')}Ki" == whole, "of one that has no limit: what the node has"
        return lines

    before = {"c-create": "", "c-update": "v1", "c-delete": "v1", "s-create": "", "s-update": "v1", "s-delete": "v1"}
    before |= {"p-create": "", "p-update": "v1v1", "p-delete": "v1v1", "a": "onefrom-helper l=first"}
    eventually("what there is", lambda: seen() == before)
    for what in ("configmap", "secret"):
        space("delete", what, "delete")
    space("annotate", "pod", "live", "a=two", "--overwrite")
    space("label", "pod", "live", "l=second", "--overwrite")
    both = (config_map, secret)
    space.apply(*(make(name, k="v2") for make in both for name in ("create", "update")))
    after = {"c-create": "v2", "c-update": "v2", "c-delete": "", "s-create": "v2", "s-update": "v2", "s-delete": ""}
    after |= {"p-create": "v2v2", "p-update": "v2v2", "p-delete": "", "a": "twofrom-helper l=second"}
    eventually("all of it is seen", lambda: seen() == after)


def test_many_volumes_at_once_and_none_left_of_ended_pods(space: Space) -> None:
    maps = [config_map(f"m-{number}", k=str(number)) for number in range(50)]
    maps[0]["binaryData"] = {"raw": base64.b64encode(bytes(range(256))).decode()}
    volumes = [{"name": f"m-{number}", "configMap": {"name": f"m-{number}"}} for number in range(50)]
    volumes.append({"name": "disk", "emptyDir": {"medium": "Memory"}})
    names = [volume["name"] for volume in volumes]
    script = "echo sum=$(cat /m-*/k | busybox wc -c); echo raw=$(busybox md5sum < /m-0/raw)"
    pods = [pod(f"r-{number}", script, volumeMounts=mounts(*names)) for number in range(5)]
    for one in pods:
        one["spec"] |= {"volumes": volumes, "restartPolicy": "Never"}
    space.apply(*maps, *pods)
    for one in pods:
        space("wait", f"pod/{one['metadata']['name']}", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=60s")
    raw = hashlib.md5(bytes(range(256)), usedforsecurity=False).hexdigest()
    assert lines(space, "r-4") == {"sum": "90", "raw": f"{raw} -"}
    kubelet = space.cluster.settings.kubelet_dir / "pods"

    def left() -> bool:
        uids = [space.pod(f"r-{number}")["metadata"]["uid"] for number in (0, 4)]
        return any((kubelet / uid / "volumes").exists() for uid in uids)

    eventually("the volumes of ended pods go", lambda: not left())
