"""The graph of owners keeps of most objects only whose they are, and finds them all the same."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.protocol import ResourceType
from sampan.client.resources import API_SERVICES, CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, PODS
from sampan.controllers.builtin import Informers
from sampan.controllers.graph import Graph
from sampan.schema.objects import Object

ROLES = ResourceType("rbac.authorization.k8s.io", "v1", "roles", "Role")
ADMIN = User("admin", ("system:masters",))


@asynccontextmanager
async def graph_of(api: Api):  # type: ignore[no-untyped-def]
    client = LocalClient(api, ADMIN)
    async with asyncio.TaskGroup() as group:
        informers = Informers(client, group)
        informers.of(CONFIG_MAPS)
        graph = Graph(
            client,
            informers.whole,
            informers.drop,
            informers.spawn,
            definitions=informers.of(CUSTOM_RESOURCE_DEFINITIONS),
            services=informers.of(API_SERVICES),
        )
        running = group.create_task(graph.run())
        await asyncio.wait_for(graph.synced(), 60)
        yield client, graph
        running.cancel()
        for followed in graph.resources:
            graph._unfollow(followed)
        for resource in (CONFIG_MAPS, CUSTOM_RESOURCE_DEFINITIONS, API_SERVICES):
            informers.drop(resource)


def owned(kind: str, api_version: str, owner: Object, **more: object) -> Object:
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    metadata = {"name": "mine", "namespace": "default", "labels": {"a": "b"}, "ownerReferences": [reference]}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **more}


async def test_ownership_is_kept_and_shared_informers_are_used(local_api: Api) -> None:
    async with graph_of(local_api) as (client, graph):
        seen: asyncio.Queue[tuple[str, str, str]] = asyncio.Queue()

        def note(resource: ResourceType, change: str, old: Object | None, new: Object) -> None:
            if new["metadata"]["name"] in ("owner", "mine"):
                seen.put_nowait((resource.kind, change, new["metadata"]["name"]))

        graph.add_listener(note)
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner", "namespace": "default"}}
        owner = await client.create(CONFIG_MAPS, {**body, "data": {"k": "v"}})
        rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
        role = await client.create(ROLES, owned("Role", "rbac.authorization.k8s.io/v1", owner, rules=rules))
        for _ in range(2):
            await asyncio.wait_for(seen.get(), 60)

        resource, found = graph.object_with(role["metadata"]["uid"])
        assert (resource, found) == (ROLES, {"metadata": found["metadata"]})
        assert sorted(found["metadata"]) == ["name", "namespace", "ownerReferences", "resourceVersion", "uid"]
        assert graph.object_with(owner["metadata"]["uid"])[1]["data"] == {"k": "v"}  # another's informer
        assert [obj["metadata"]["name"] for _, obj in graph.dependents(owner["metadata"]["uid"])] == ["mine"]
        assert "mine" in {obj["metadata"]["name"] for _, obj in graph.in_namespace("default")}

        await client.delete(ROLES, "mine", "default")
        assert await asyncio.wait_for(seen.get(), 60) == ("Role", "DELETED", "mine")
        assert graph.object_with(role["metadata"]["uid"]) is None
        assert list(graph.dependents(owner["metadata"]["uid"])) == []


async def test_of_what_quotas_measure_the_whole_is_kept(local_api: Api) -> None:
    async with graph_of(local_api) as (client, graph):
        came: asyncio.Future[Object] = asyncio.get_running_loop().create_future()

        def note(resource: ResourceType, change: str, old: Object | None, new: Object) -> None:
            if resource == PODS and not came.done():
                came.set_result(new)

        graph.add_listener(note)
        metadata = {"name": "p", "namespace": "default"}
        containers = [{"name": "c", "image": "i"}]
        await client.raw("POST", "/api/v1/namespaces/default/serviceaccounts", body={"metadata": {"name": "default"}})
        await client.create(
            PODS, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}
        )
        pod = await asyncio.wait_for(came, 60)
        assert pod["spec"]["containers"][0]["image"] == "i"
