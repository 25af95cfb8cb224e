"""Two API servers on one etcd: what one has answered the other sees at once, and they do not give out the same twice."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.store import Put, StoreError, TooLarge
from sampan.store.etcd import EtcdStore

ADMIN = User("admin", ("system:masters", "system:authenticated"))
CONFIG_MAPS = ResourceType("", "v1", "configmaps", "ConfigMap", True)
SERVICES = ResourceType("", "v1", "services", "Service", True)
DEFINITIONS = ResourceType("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False)
ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", False)
BINDINGS = ResourceType("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", False)
WIDGETS = ResourceType("example.com", "v1", "widgets", "Widget", True)
ENDPOINTS = ResourceType("", "v1", "endpoints", "Endpoints", True)


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}, "data": data}


@pytest.fixture
async def servers(etcd_url: str, throwaway_pki: Path) -> AsyncIterator[tuple[LocalClient, LocalClient]]:
    """Clients of two servers that have started at the same moment on an empty etcd."""
    configs = [
        ApiConfig(pki_dir=throwaway_pki, store_url=etcd_url, advertise=(f"10.0.0.{number}", 6443)) for number in (1, 2)
    ]
    one, two = await asyncio.gather(*[open_api(config) for config in configs])
    yield LocalClient(one, ADMIN), LocalClient(two, ADMIN)
    await one.close()
    await two.close()


async def test_what_one_answered_the_other_sees(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    for index in range(20):
        made = await one.create(CONFIG_MAPS, config_map(f"c{index}", number=str(index)))
        del made["metadata"]["managedFields"]  # which are not read in the process
        assert await two.get(CONFIG_MAPS, f"c{index}", "default") == made
        listed = await two.list(CONFIG_MAPS, "default")
        assert f"c{index}" in {item["metadata"]["name"] for item in listed.items}
        await two.delete(CONFIG_MAPS, f"c{index}", "default")
        with pytest.raises(ApiError) as missing:
            await one.get(CONFIG_MAPS, f"c{index}", "default")
        assert missing.value.code == 404


async def test_an_old_version_conflicts_on_any_server(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    made = await one.create(CONFIG_MAPS, config_map("c"))
    await two.update(CONFIG_MAPS, {**made, "data": {"by": "two"}})
    with pytest.raises(ApiError) as conflict:
        await one.update(CONFIG_MAPS, {**made, "data": {"by": "one"}})
    assert conflict.value.code == 409
    with pytest.raises(ApiError) as exists:
        await one.create(CONFIG_MAPS, config_map("c"))
    assert exists.value.code == 409


async def test_patches_on_both_are_all_there(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    await one.create(CONFIG_MAPS, config_map("c"))
    patches = [
        client.patch(CONFIG_MAPS, "c", {"data": {f"{name}{index}": "x"}}, "default")
        for index in range(10)
        for name, client in (("one", one), ("two", two))
    ]
    await asyncio.gather(*patches)
    assert len((await one.get(CONFIG_MAPS, "c", "default"))["data"]) == 20


async def test_a_watch_sees_the_writes_of_both_in_one_order(servers: tuple[LocalClient, LocalClient]) -> None:
    one, _ = servers
    made = await one.create(CONFIG_MAPS, config_map("c"))
    since = made["metadata"]["resourceVersion"]
    for index in range(10):
        for client in servers:
            await client.patch(CONFIG_MAPS, "c", {"data": {"last": f"{index}-{client is one}"}}, "default")
    seen = []
    for client in servers:
        texts: list[str] = []
        async with asyncio.timeout(60):
            async for event in client.watch(CONFIG_MAPS, "default", resource_version=since):
                texts.append(event.object["data"]["last"])
                if len(texts) == 20:
                    break
        seen.append(texts)
    assert seen[0] == seen[1] == [f"{index}-{one}" for index in range(10) for one in (True, False)]


async def test_a_list_goes_on_at_the_other_server(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    for name in "abcde":
        await one.create(CONFIG_MAPS, config_map(name))
    path = "/api/v1/namespaces/default/configmaps"
    first = orjson.loads((await one.raw("GET", path, query={"limit": "3"}))[1])
    await one.delete(CONFIG_MAPS, "e", "default")
    await one.create(CONFIG_MAPS, config_map("f"))
    query = {"limit": "3", "continue": first["metadata"]["continue"]}
    second = orjson.loads((await two.raw("GET", path, query=query))[1])
    names = [item["metadata"]["name"] for page in (first, second) for item in page["items"]]
    assert names == ["a", "b", "c", "d", "e", "kube-root-ca.crt"]


async def test_a_definition_is_served_by_both(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object"}}}},
    }
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    await one.create(DEFINITIONS, definition)
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}}
    await two.create(WIDGETS, widget)
    assert (await one.get(WIDGETS, "w", "default"))["kind"] == "Widget"
    await two.delete(DEFINITIONS, "widgets.example.com")
    with pytest.raises(ApiError) as gone:
        await one.list(WIDGETS, "default")
    assert gone.value.code == 404


async def test_a_role_is_in_force_on_both(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    reader = LocalClient(two.api, User("jane", ("system:authenticated",)))
    with pytest.raises(ApiError) as refused:
        await reader.list(CONFIG_MAPS, "default")
    assert refused.value.code == 403
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    role = {"apiVersion": f"{rbac}/v1", "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [rule]}
    await one.create(ROLES, role)
    binding = {
        "apiVersion": f"{rbac}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": rbac}],
    }
    await one.create(BINDINGS, binding)
    await reader.list(CONFIG_MAPS, "default")
    await one.delete(BINDINGS, "reader")
    with pytest.raises(ApiError):
        await reader.list(CONFIG_MAPS, "default")


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"port": 80, **({"nodePort": spec.pop("nodePort")} if "nodePort" in spec else {})}]
    spec = {"type": "NodePort", "ports": ports, "selector": {"app": name}, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def test_no_address_is_given_twice(servers: tuple[LocalClient, LocalClient]) -> None:
    one, _ = servers
    made = await asyncio.gather(
        *[
            client.create(SERVICES, service(f"s{index}-{int(client is one)}"))
            for index in range(15)
            for client in servers
        ]
    )
    assert len({item["spec"]["clusterIP"] for item in made}) == 30
    assert len({item["spec"]["ports"][0]["nodePort"] for item in made}) == 30


async def test_one_of_two_gets_a_chosen_address_and_it_is_free_again(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers
    wanted = {"clusterIP": "10.96.0.77", "nodePort": 30123}
    results = await asyncio.gather(
        one.create(SERVICES, service("a", **wanted)),
        two.create(SERVICES, service("b", **wanted)),
        return_exceptions=True,
    )
    refused = [result for result in results if isinstance(result, ApiError)]
    assert len(refused) == 1 and "already allocated" in str(refused[0])
    await one.delete(SERVICES, "a" if isinstance(results[0], dict) else "b", "default")
    again = await two.create(SERVICES, service("c", **wanted))
    assert again["spec"]["clusterIP"] == "10.96.0.77"


async def test_the_api_is_reached_at_every_living_server(servers: tuple[LocalClient, LocalClient]) -> None:
    one, two = servers

    async def addresses(client: LocalClient) -> list[str]:
        endpoints = await client.get(ENDPOINTS, "kubernetes", "default")
        return [address["ip"] for address in endpoints["subsets"][0]["addresses"]]

    async def until(client: LocalClient, wanted: list[str]) -> None:
        async with asyncio.timeout(60):
            async for _ in client.watch(ENDPOINTS, "default"):
                if await addresses(client) == wanted:
                    return

    await until(one, ["10.0.0.1", "10.0.0.2"])
    await two.api.close()
    await until(one, ["10.0.0.1"])


async def test_events_go_by_a_lease(servers: tuple[LocalClient, LocalClient]) -> None:
    one, _ = servers
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "x"},
        "reason": "Tested",
    }
    await one.create(ResourceType("", "v1", "events", "Event", True), event)
    store = one.api.store
    assert isinstance(store, EtcdStore)
    from sampan.store import etcd_pb2 as pb

    found = await store._client.range(pb.RangeRequest(key=f"{store.address.root}events/default/e".encode()))
    assert found.kvs[0].lease != 0
    assert orjson.loads(found.kvs[0].value)["metadata"].get("resourceVersion") is None


async def test_a_quota_holds_for_both_together(servers: tuple[LocalClient, LocalClient]) -> None:
    quotas = ResourceType("", "v1", "resourcequotas", "ResourceQuota")
    metadata = {"name": "q", "namespace": "default"}
    hard = {"count/configmaps": "12"}
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}}
    await servers[0].create(quotas, quota)
    status = {"status": {"hard": hard, "used": {"count/configmaps": "0"}}}
    await servers[1].patch(quotas, "q", status, "default", subresource="status")
    await servers[0].get(quotas, "q", "default")

    async def create(number: int) -> bool:
        try:
            await servers[number % 2].create(CONFIG_MAPS, config_map(f"m{number}"))
        except ApiError as error:
            assert "exceeded quota: q" in str(error)
            return False
        return True

    assert sum(await asyncio.gather(*(create(number) for number in range(30)))) == 12
    found = await servers[0].get(quotas, "q", "default")
    assert found["status"]["used"] == {"count/configmaps": "12"}


async def test_a_server_with_other_keys_is_refused(etcd_url: str, throwaway_pki: Path, tmp_path: Path) -> None:
    one = await open_api(ApiConfig(pki_dir=throwaway_pki, store_url=etcd_url, advertise=("10.0.0.1", 6443)))
    shutil.copytree(throwaway_pki, tmp_path / "pki")
    other = ApiConfig(pki_dir=tmp_path / "pki", store_url=etcd_url, advertise=("10.0.0.2", 6443))
    await (await open_api(other)).close()  # a copy
    (tmp_path / "pki" / "sa.pub").write_text("another key")
    with pytest.raises(StoreError, match=r"10\.0\.0\.1:6443, has other keys"):
        await open_api(other)
    await one.close()
    await (await open_api(other)).close()  # nobody else is there


async def test_what_is_too_large_for_etcd_is_too_large(etcd_url: str) -> None:
    store = await EtcdStore.open(etcd_url)
    with pytest.raises(TooLarge, match="request is too large"):
        await store.commit([Put("/registry/configmaps/default/big", b"x" * 1_600_000)])
    with pytest.raises(TooLarge, match="larger than max"):
        await store.commit([Put("/registry/configmaps/default/big", b"x" * 2_600_000)])
    assert not (await store.page("/registry/configmaps/")).records
    await store.close()
