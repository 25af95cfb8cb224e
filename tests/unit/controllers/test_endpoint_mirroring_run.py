"""Endpoints kept by hand are mirrored into EndpointSlices, and follow them."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import ENDPOINT_SLICES, ENDPOINTS, SERVICES
from sampan.controllers.endpoint_slice_mirroring import MANAGED_LABEL, MANAGER, mirrored, should_mirror
from sampan.schema.objects import Object


def endpoints(name: str = "db", **metadata: Any) -> Object:
    subset = {"addresses": [{"ip": "192.0.2.1", "hostname": "first"}], "notReadyAddresses": [{"ip": "192.0.2.2"}],
              "ports": [{"name": "sql", "port": 5432}]}  # fmt: skip
    whole = {"name": name, "namespace": "default", "uid": "u", **metadata}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": whole, "subsets": [subset]}


def service(**spec: Any) -> Object:
    body = {"ports": [{"name": "sql", "port": 5432}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "db", "namespace": "default"}, "spec": body}


@pytest.mark.parametrize(
    ("change", "spec", "mirrors"),
    [
        ({}, {}, True),
        ({}, {"selector": {"app": "db"}}, False),
        ({"labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}}, {}, False),
        ({"annotations": {"control-plane.alpha.kubernetes.io/leader": "{}"}}, {}, False),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, {}, False),
    ],
)
def test_what_is_mirrored(change: Object, spec: Object, mirrors: bool) -> None:
    assert should_mirror(endpoints(**change), service(**spec)) is mirrors
    assert not should_mirror(endpoints(**change), None)


def test_each_family_and_set_of_ports_is_a_slice() -> None:
    both = endpoints(
        labels={"team": "red"}, annotations={"note": "x", "kubectl.kubernetes.io/last-applied-configuration": "{}"}
    )
    both["subsets"][0]["addresses"].append({"ip": "2001:db8::1"})
    both["subsets"].append({"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 9}]})
    slices = mirrored(both)
    assert sorted((one["addressType"], [e["addresses"][0] for e in one["endpoints"]]) for one in slices) == [
        ("IPv4", ["192.0.2.1", "192.0.2.2"]),
        ("IPv4", ["192.0.2.9"]),
        ("IPv6", ["2001:db8::1"]),
    ]
    metadata = slices[0]["metadata"]
    assert metadata["labels"] == {"team": "red", "kubernetes.io/service-name": "db", MANAGED_LABEL: MANAGER}
    assert metadata["annotations"] == {"note": "x"}
    assert metadata["ownerReferences"][0]["kind"] == "Endpoints"


def ours(found: list[Object]) -> list[Object]:
    return [one for one in found if one["metadata"]["labels"].get(MANAGED_LABEL) == MANAGER]


async def test_slices_follow_endpoints(cluster: Any) -> None:
    await cluster.client.create(SERVICES, service())
    made = endpoints()
    del made["metadata"]["uid"]
    await cluster.client.create(ENDPOINTS, made)
    slices = ours(await cluster.until_all(ENDPOINT_SLICES, lambda found: len(ours(found)) == 1))
    assert slices[0]["ports"] == [{"name": "sql", "port": 5432, "protocol": "TCP"}]
    assert [(e["addresses"], e["conditions"]["ready"]) for e in slices[0]["endpoints"]] == [
        (["192.0.2.1"], True), (["192.0.2.2"], False),
    ]  # fmt: skip
    name = slices[0]["metadata"]["name"]
    there = await cluster.client.get(ENDPOINTS, "db", "default")
    subsets = [{"addresses": [{"ip": "192.0.2.7"}], "ports": [{"name": "sql", "port": 5432}]}]
    await cluster.client.update(ENDPOINTS, {**there, "subsets": subsets})
    await cluster.until(ENDPOINT_SLICES, name, lambda one: one["endpoints"][0]["addresses"] == ["192.0.2.7"])
    # a selector hands the Service over to the other controller
    await cluster.client.patch(SERVICES, "db", {"spec": {"selector": {"app": "db"}}}, "default")
    await cluster.until_all(ENDPOINT_SLICES, lambda found: found and not ours(found))
