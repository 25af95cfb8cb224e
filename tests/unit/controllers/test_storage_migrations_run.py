"""Storage version migration: objects are stored in the version that their resource is stored in now."""

from __future__ import annotations

from typing import Any

from sampan.api.app import Api
from sampan.client.protocol import ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS
from sampan.schema.objects import Object

from .test_owners_and_namespaces_run import BOATS, boat, boats_definition

MIGRATIONS = ResourceType(
    "storagemigration.k8s.io", "v1", "storageversionmigrations", "StorageVersionMigration", namespaced=False
)


def migration(name: str, group: str, resource: str) -> Object:
    return {
        "apiVersion": MIGRATIONS.api_version,
        "kind": MIGRATIONS.kind,
        "metadata": {"name": name},
        "spec": {"resource": {"group": group, "resource": resource}},
    }


def condition(type: str) -> Any:
    def true(obj: Object) -> bool:
        conditions = obj.get("status", {}).get("conditions") or ()
        return any(c["type"] == type and c["status"] == "True" for c in conditions)

    return true


def two_versions(stored: str) -> Object:
    definition = boats_definition()
    (v1,) = definition["spec"]["versions"]
    versions = [{**v1, "name": name, "storage": name == stored} for name in ("v1", "v2")]
    return {**definition, "spec": {**definition["spec"], "versions": versions}}


async def stored_versions(api: Api) -> set[bytes]:
    page = await api.store.page("/registry/example.org/boats/")
    return {record.value.partition(b",")[0] for record in page.records}


async def test_objects_are_written_in_the_new_storage_version(cluster: Any, local_api: Api) -> None:
    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, two_versions("v1"))
    await cluster.until(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.org", condition("Established"), None)
    for name in ("a", "b"):
        await cluster.client.create(BOATS, boat(name))
    assert await stored_versions(local_api) == {b'{"apiVersion":"example.org/v1"'}
    definition = await cluster.client.get(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.org")
    await cluster.client.update(CUSTOM_RESOURCE_DEFINITIONS, {**definition, "spec": two_versions("v2")["spec"]})
    await cluster.client.create(MIGRATIONS, migration("boats", "example.org", "boats"))
    done = await cluster.until(MIGRATIONS, "boats", condition("Succeeded"), None)
    assert not condition("Running")(done) and done["status"]["resourceVersion"]
    assert await stored_versions(local_api) == {b'{"apiVersion":"example.org/v2"'}


async def test_what_is_not_served_cannot_be_migrated(cluster: Any) -> None:
    await cluster.client.create(MIGRATIONS, migration("ships", "example.org", "ships"))
    failed = await cluster.until(MIGRATIONS, "ships", condition("Failed"), None)
    assert "ships.example.org is not served" in failed["status"]["conditions"][-1]["message"]
