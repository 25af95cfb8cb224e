"""Ranges of ClusterIPs as objects: the default, more of them, one that goes; an IPAddress for each address."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.errors import ApiError
from sampan.client.resources import SERVICES
from sampan.controllers.service_cidrs import IP_ADDRESSES, SERVICE_CIDRS, needs
from sampan.schema.objects import Object


def ready(found: Object) -> tuple[str, str]:
    conditions = (found.get("status") or {}).get("conditions") or ()
    return next(((c["status"], c.get("reason", "")) for c in conditions if c["type"] == "Ready"), ("", ""))


def service(name: str, **spec: Any) -> Object:
    body = {"ports": [{"port": 80}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": body}


def range_of(name: str, *cidrs: str, **metadata: str) -> Object:
    made = {"apiVersion": SERVICE_CIDRS.api_version, "kind": SERVICE_CIDRS.kind}
    return {**made, "metadata": {"name": name, **metadata}, "spec": {"cidrs": list(cidrs)}}


@pytest.mark.parametrize(
    ("others", "addresses", "needed"),
    [
        ([], ["10.0.0.5"], True),
        ([], ["10.1.0.5"], False),
        ([range_of("wide", "10.0.0.0/8")], ["10.0.0.5"], False),
        ([range_of("wide", "10.0.0.0/8", deletionTimestamp="now")], ["10.0.0.5"], True),
        ([range_of("other", "192.168.0.0/16", "fd00::/112")], ["10.0.0.5", "fd00::1"], True),
    ],
)
def test_when_a_range_is_needed(others: list[Object], addresses: list[str], needed: bool) -> None:
    assert needs(range_of("own", "10.0.0.0/24"), others, addresses) is needed


async def test_the_default_range_and_every_address_are_objects(cluster: Any) -> None:
    own = await cluster.until(SERVICE_CIDRS, "kubernetes", lambda r: ready(r)[0] == "True", None)
    assert own["spec"]["cidrs"] == ["10.96.0.0/18"]
    assert own["metadata"]["finalizers"] == ["networking.k8s.io/service-cidr-finalizer"]
    made = await cluster.client.create(SERVICES, service("web"))
    ip = made["spec"]["clusterIP"]
    found = await cluster.until(IP_ADDRESSES, ip, lambda _: True, None)
    parent = {"resource": "services", "namespace": "default", "name": "web"}
    assert found["spec"]["parentRef"] == parent
    labels = {"ipaddress.kubernetes.io/ip-family": "IPv4", "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}
    assert found["metadata"]["labels"] == labels
    # one that somebody deletes comes back, and it goes with its Service
    await cluster.client.delete(IP_ADDRESSES, ip)
    await cluster.until(IP_ADDRESSES, ip, lambda again: again["metadata"]["uid"] != found["metadata"]["uid"], None)
    await cluster.client.delete(SERVICES, "web", "default")
    await cluster.gone(IP_ADDRESSES, ip, None)


async def test_another_range_gives_out_addresses_until_it_goes(cluster: Any) -> None:
    with pytest.raises(ApiError, match="is not in the valid range"):
        await cluster.client.create(SERVICES, service("far", clusterIP="172.30.0.7"))
    await cluster.client.create(SERVICE_CIDRS, range_of("more", "172.30.0.0/28"))
    await cluster.until(SERVICE_CIDRS, "more", lambda r: ready(r)[0] == "True", None)
    await cluster.client.create(SERVICES, service("far", clusterIP="172.30.0.7"))
    await cluster.client.delete(SERVICE_CIDRS, "more")
    await cluster.until(SERVICE_CIDRS, "more", lambda r: ready(r) == ("False", "Terminating"), None)
    with pytest.raises(ApiError, match="is not in the valid range"):
        await cluster.client.create(SERVICES, service("late", clusterIP="172.30.0.8"))
    await cluster.client.delete(SERVICES, "far", "default")
    await cluster.gone(SERVICE_CIDRS, "more", None)
