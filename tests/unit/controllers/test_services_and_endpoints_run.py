"""EndpointSlices and Endpoints follow the pods of a Service."""

from __future__ import annotations

from typing import Any

from sampan.client.resources import DEPLOYMENTS, ENDPOINT_SLICES, ENDPOINTS, PODS, SERVICES
from sampan.controllers.trigger_times import TRIGGER_TIME
from sampan.schema.objects import Object


def service(name: str, **spec: Any) -> Object:
    ports = [{"name": "http", "port": 80, "targetPort": "web"}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"app": name}, "ports": ports, **spec},
    }


def slices_of(name: str, slices: list[Object]) -> list[Object]:
    return [s for s in slices if (s["metadata"].get("labels") or {}).get("kubernetes.io/service-name") == name]


def ready(name: str, slices: list[Object]) -> list[str]:
    return sorted(
        endpoint["addresses"][0]
        for found in slices_of(name, slices)
        for endpoint in found.get("endpoints") or ()
        if endpoint["conditions"]["ready"]
    )


def template(name: str) -> Object:
    port = {"name": "web", "containerPort": 8080}
    return {
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "c", "image": "i", "ports": [port]}]},
    }


async def test_endpoints_come_and_go_with_pods(cluster: Any) -> None:
    await cluster.client.create(SERVICES, service("web"))
    await cluster.deploy("web", 3, template=template("web"))
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda slices: len(ready("web", slices)) == 3)
    (found,) = slices_of("web", slices)
    assert found["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    assert found["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == "endpointslice-controller.k8s.io"
    endpoint = found["endpoints"][0]
    assert endpoint["nodeName"] == "sim"
    assert endpoint["targetRef"]["kind"] == "Pod"
    legacy = await cluster.until(
        ENDPOINTS, "web", lambda e: e.get("subsets") and len(e["subsets"][0]["addresses"]) == 3
    )
    assert legacy["subsets"][0]["ports"] == [{"name": "http", "port": 8080, "protocol": "TCP"}]
    for told in (found, legacy):  # when the pods became ready: what proxies measure their delay by
        assert told["metadata"]["annotations"][TRIGGER_TIME] >= legacy["metadata"]["creationTimestamp"]
    await cluster.client.patch(DEPLOYMENTS, "web", {"spec": {"replicas": 1}}, "default")
    await cluster.until_all(ENDPOINT_SLICES, lambda slices: len(ready("web", slices)) == 1)
    await cluster.client.delete(SERVICES, "web", "default")
    await cluster.until_all(ENDPOINT_SLICES, lambda slices: not slices_of("web", slices))
    await cluster.gone(ENDPOINTS, "web")


async def test_many_endpoints_take_several_slices_and_none_twice(cluster: Any) -> None:
    await cluster.deploy("web", 120, template=template("web"))
    await cluster.client.create(SERVICES, service("web"))
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda slices: len(ready("web", slices)) == 120)
    assert len(set(ready("web", slices))) == 120
    assert sorted(len(s["endpoints"]) for s in slices_of("web", slices)) == [20, 100]


async def test_a_service_without_pods_has_one_empty_slice(cluster: Any) -> None:
    await cluster.client.create(SERVICES, service("lonely"))
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda slices: slices_of("lonely", slices))
    (found,) = slices_of("lonely", slices)
    assert not found.get("endpoints")


async def test_headless_with_a_hostname(cluster: Any) -> None:
    await cluster.client.create(SERVICES, service("peers", clusterIP="None", ports=[]))
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one", "namespace": "default", "labels": {"app": "peers"}},
        "spec": {"hostname": "first", "subdomain": "peers", "containers": [{"name": "c", "image": "i"}]},
    }
    await cluster.client.create(PODS, pod)
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda slices: ready("peers", slices))
    (found,) = slices_of("peers", slices)
    assert found["endpoints"][0]["hostname"] == "first"
    assert "service.kubernetes.io/headless" in found["metadata"]["labels"]


async def test_slices_of_others_are_left_alone(cluster: Any) -> None:
    await cluster.client.create(SERVICES, service("own", selector=None))
    mine = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "mine", "namespace": "default", "labels": {"kubernetes.io/service-name": "own"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
        "ports": [],
    }
    await cluster.client.create(ENDPOINT_SLICES, mine)
    await cluster.client.patch(SERVICES, "own", {"spec": {"selector": {"app": "own"}}}, "default")
    slices = await cluster.until_all(ENDPOINT_SLICES, lambda slices: len(slices_of("own", slices)) == 2)
    kept = next(s for s in slices if s["metadata"]["name"] == "mine")
    assert kept["endpoints"][0]["addresses"] == ["192.0.2.1"]
