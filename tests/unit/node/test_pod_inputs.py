"""What a container is given: environment, volumes, resources, CRI requests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import cri_pb2 as cri
from sampan.node.environment import ConfigError, environment_of, expand, service_links
from sampan.node.images import ImageError, full_name
from sampan.node.pod_config import sandbox_config
from sampan.node.pod_dns import DnsSettings, dns_config, read_resolv_conf
from sampan.node.resources import cgroup_parent, linux_resources, qos_class
from sampan.node.volumes import VolumeError
from sampan.node.volumes.material import File, Sources, material_of
from sampan.node.volumes.written import safe_path, write_material

DNS = DnsSettings("10.96.0.10", "cluster.local", ("9.9.9.9",), ("host.example",))
FACTS = {"hostIP": "10.0.0.1", "podIP": "10.1.0.5", "cpu": "4", "memory": "8Gi"}


def pod(**spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}}
    container = {"name": "main", "image": "busybox:1"}
    return {"metadata": metadata, "spec": {"containers": [container], **spec}}


def nothing(kind: str, name: str) -> None:
    return None


@pytest.mark.parametrize(
    ("text", "expanded"),
    [("$(A)", "1"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("x$(A)y$(A)", "x1y1"), ("$A", "$A"), ("$$", "$")],
)
def test_expansion(text: str, expanded: str) -> None:
    assert expand(text, {"A": "1"}) == expanded


def test_environment_in_order_and_from_everywhere() -> None:
    container = {
        "name": "main",
        "resources": {"limits": {"cpu": "1500m"}},
        "envFrom": [{"prefix": "P_", "configMapRef": {"name": "c"}}],
        "env": [
            {"name": "A", "value": "a"},
            {"name": "B", "value": "$(A)b $(P_K)"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
            {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Gi"}}},
        ],
    }
    found = environment_of(pod(), container, lambda kind, name: {"K": "v", "no=name": "x"}, {"LINK": "1"}, FACTS)
    assert found["B"] == "ab v" and found["POD"] == "web" and found["LINK"] == "1"
    assert found["CPU"] == "2" and found["MEM"] == "8"
    assert "P_no=name" not in found


def test_missing_references_are_told_unless_optional() -> None:
    reference = {"name": "c", "key": "k"}
    variable = {"name": "A", "valueFrom": {"configMapKeyRef": reference}}
    with pytest.raises(ConfigError, match='configmap "c" not found'):
        environment_of(pod(), {"name": "main", "env": [variable]}, nothing, {}, FACTS)
    variable["valueFrom"] = {"configMapKeyRef": {**reference, "optional": True}}  # type: ignore[dict-item]
    assert environment_of(pod(), {"name": "main", "env": [variable]}, nothing, {}, FACTS) == {}


def test_service_links() -> None:
    service = {
        "metadata": {"name": "my-db", "namespace": "shop"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "sql", "port": 5432}]},
    }
    links = service_links([service], "shop", own=True)
    assert links["MY_DB_SERVICE_HOST"] == "10.96.0.7" and links["MY_DB_SERVICE_PORT_SQL"] == "5432"
    assert links["MY_DB_PORT"] == "tcp://10.96.0.7:5432"
    assert service_links([service], "shop", own=False) == {}


async def test_written_volumes_are_swapped_whole(tmp_path: Path) -> None:
    volume = {"name": "v", "configMap": {"name": "c", "items": [{"key": "k", "path": "dir/file", "mode": 0o600}]}}

    async def token(audience: str, seconds: int) -> str:
        return "t"

    files = await material_of(volume, pod(), Sources(lambda kind, name: {"k": "one", "other": "x"}, token, FACTS))
    assert files == {"dir/file": File(b"one", 0o600)}
    assert write_material(tmp_path, files)
    assert (tmp_path / "dir" / "file").read_text() == "one"
    assert not write_material(tmp_path, files), "nothing changed"
    before = (tmp_path / "..data").readlink()
    assert write_material(tmp_path, {"new": File(b"two", 0o644)})
    assert (tmp_path / "new").read_text() == "two" and not (tmp_path / "dir").exists()
    assert (tmp_path / "..data").readlink() != before and not (tmp_path / before).exists()
    with pytest.raises(VolumeError, match='configmap "gone" not found'):
        await material_of({"name": "v", "configMap": {"name": "gone"}}, pod(), Sources(nothing, token, FACTS))


@given(st.text(max_size=30))
def test_paths_stay_inside(name: str) -> None:
    try:
        path = safe_path(name)
    except VolumeError:
        return
    assert not Path(path).is_absolute() and ".." not in Path(path).parts


@pytest.mark.parametrize(
    ("requests", "limits", "expected"),
    [
        ({}, {}, "BestEffort"),
        ({"cpu": "1"}, {}, "Burstable"),
        ({}, {"cpu": "1", "memory": "1Gi"}, "Guaranteed"),
        ({"cpu": "500m", "memory": "1Gi"}, {"cpu": "1", "memory": "1Gi"}, "Burstable"),
    ],
)
def test_qos_and_its_cgroup(requests: dict[str, str], limits: dict[str, str], expected: str) -> None:
    made = pod()
    made["spec"]["containers"][0]["resources"] = {"requests": requests, "limits": limits}
    assert qos_class(made) == expected
    level = "" if expected == "Guaranteed" else f"/{expected.lower()}"
    assert cgroup_parent("/sampan/x", made) == f"/sampan/x/kubepods{level}/podu-1"


def test_resources_for_the_kernel() -> None:
    resources = linux_resources(
        {"resources": {"requests": {"cpu": "250m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}}
    )
    assert (resources.cpu_shares, resources.cpu_quota, resources.cpu_period) == (256, 50_000, 100_000)
    assert resources.memory_limit_in_bytes == 64 << 20


def test_dns_policies() -> None:
    cluster_first = dns_config(pod(), DNS)
    assert cluster_first.servers == ["10.96.0.10"] and cluster_first.options == ["ndots:5"]
    assert cluster_first.searches[0] == "shop.svc.cluster.local" and cluster_first.searches[-1] == "host.example"
    assert dns_config(pod(dnsPolicy="Default"), DNS).servers == ["9.9.9.9"]
    own = {"nameservers": ["1.1.1.1"], "options": [{"name": "ndots", "value": "2"}]}
    none = dns_config(pod(dnsPolicy="None", dnsConfig=own), DNS)
    assert none.servers == ["1.1.1.1"] and none.options == ["ndots:2"] and not none.searches
    assert read_resolv_conf("# x\nnameserver 1.1.1.1\nsearch a b\noptions ndots:1 rotate\n") == (
        ("1.1.1.1",),
        ("a", "b"),
        ("ndots:1", "rotate"),
    )


def test_the_sandbox_is_found_again_by_its_labels() -> None:
    config = sandbox_config(pod(hostNetwork=True), 2, Path("/logs"), "/sampan/x", DNS)
    assert config.labels["io.kubernetes.pod.uid"] == "u-1" and config.metadata.attempt == 2
    assert config.linux.security_context.namespace_options.network == cri.NODE
    assert config.hostname == ""


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("me/web:1", "docker.io/me/web:1"),
        ("localhost:5000/web", "localhost:5000/web:latest"),
        ("registry.example/a/b@sha256:" + "0" * 64, "registry.example/a/b@sha256:" + "0" * 64),
    ],
)
def test_image_names(image: str, full: str) -> None:
    assert full_name(image) == full


def test_what_is_no_image_name() -> None:
    with pytest.raises(ImageError) as refused:
        full_name("Not A Name")
    assert refused.value.reason == "InvalidImageName"
