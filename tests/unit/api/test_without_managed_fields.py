"""What the process keeps of objects is without managedFields; what the server writes by itself leaves them as they are."""

from __future__ import annotations

from typing import Any

from sampan.api.local import LocalClient
from sampan.client.resources import CONFIG_MAPS

from .conftest import ADMIN, Caller

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
CONFIG = "/api/v1/namespaces/default/configmaps"
ROLES = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SCHEMAS = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas"
MERGE = {"content-type": "application/merge-patch+json"}


async def made(call: Caller, path: str, body: Any) -> list[Any]:
    """Create an object and return its managedFields."""
    code, created = await call("POST", path, body)
    assert code == 201, created
    return list(created["metadata"]["managedFields"])


async def read(call: Caller, path: str) -> Any:
    code, found = await call("GET", path)
    assert code == 200, found
    return found


def definition(plural: str, kind: str, **metadata: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "metadata": {"name": f"{plural}.example.com", **metadata},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


async def test_clients_of_the_process_see_none_and_their_updates_keep_them(whole: Caller) -> None:
    owners = await made(whole, CONFIG, {"metadata": {"name": "one"}, "data": {"a": "b"}})
    client = LocalClient(whole.api, ADMIN)
    found = await client.get(CONFIG_MAPS, "one", "default")
    (listed,) = [one for one in (await client.list(CONFIG_MAPS, "default")).items if one["metadata"]["name"] == "one"]
    assert "managedFields" not in found["metadata"] and "managedFields" not in listed["metadata"]
    await client.update(CONFIG_MAPS, {**found, "metadata": {**found["metadata"], "labels": {"c": "d"}}})
    kept = (await read(whole, f"{CONFIG}/one"))["metadata"]
    assert kept["labels"] == {"c": "d"} and owners[0] in kept["managedFields"]


async def test_what_is_counted_in_a_quota_stays_somebody_s(whole: Caller) -> None:
    hard = {"configmaps": "5"}
    await made(whole, QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": hard}})
    status = {"status": {"hard": hard, "used": {"configmaps": "1"}}}
    code, before = await whole("PATCH", f"{QUOTAS}/q/status", status, MERGE)
    assert code == 200
    await made(whole, CONFIG, {"metadata": {"name": "one"}, "data": {"a": "b"}})
    after = await read(whole, f"{QUOTAS}/q")
    assert after["status"]["used"] == {"configmaps": "2"}
    assert after["metadata"]["managedFields"] == before["metadata"]["managedFields"]


async def test_a_role_that_gathers_stays_somebody_s(whole: Caller) -> None:
    rule = {"clusterRoleSelectors": [{"matchLabels": {"gather": "yes"}}]}
    owners = await made(whole, ROLES, {"metadata": {"name": "all"}, "aggregationRule": rule, "rules": []})
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    await made(whole, ROLES, {"metadata": {"name": "some", "labels": {"gather": "yes"}}, "rules": rules})
    after = await read(whole, f"{ROLES}/all")
    assert after["rules"] == rules and after["metadata"]["managedFields"] == owners


async def test_roles_that_select_each_other_are_gathered_in_order(whole: Caller) -> None:
    def role(name: str, gathers: str, is_gathered: str, *verbs: str) -> dict[str, Any]:
        made: dict[str, Any] = {"metadata": {"name": name, "labels": {is_gathered: "yes"}}}
        if gathers:
            made["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": {gathers: "yes"}}]}
        else:
            made["rules"] = [{"apiGroups": [""], "resources": ["pods"], "verbs": list(verbs)}]
        return made

    # b and d are of a's; of b's are a (which has it already), c and d
    for body in (role("c", "", "of-b", "get"), role("d", "", "of-a", "list"), role("b", "of-b", "of-a")):
        await made(whole, ROLES, body)
    await made(whole, ROLES, role("a", "of-a", "of-b"))
    verbs = [rule["verbs"] for rule in (await read(whole, f"{ROLES}/a"))["rules"]]
    assert verbs == [["get"], ["list"]]


async def test_definitions_stay_somebody_s(whole: Caller) -> None:
    await made(whole, DEFINITIONS, definition("things", "Thing"))
    await made(whole, DEFINITIONS, definition("others", "Thing", finalizers=["example.com/wait"]))
    path = f"{DEFINITIONS}/others.example.com"

    def accepted(found: Any) -> str:
        return next(str(c["status"]) for c in found["status"]["conditions"] if c["type"] == "NamesAccepted")

    before = await read(whole, path)
    assert accepted(before) == "False"
    assert (await whole("DELETE", f"{DEFINITIONS}/things.example.com"))[0] == 200
    after = await read(whole, path)
    assert accepted(after) == "True"
    assert after["metadata"]["managedFields"] == before["metadata"]["managedFields"]
    assert (await whole("DELETE", path))[0] == 200
    left = (await read(whole, path))["metadata"]
    assert left["finalizers"] == ["example.com/wait"] and left["deletionTimestamp"]
    assert left["managedFields"] == before["metadata"]["managedFields"]


async def test_a_schema_without_its_level_stays_somebody_s(whole: Caller) -> None:
    spec = {"priorityLevelConfiguration": {"name": "nowhere"}, "matchingPrecedence": 500}
    owners = await made(whole, SCHEMAS, {"metadata": {"name": "lost"}, "spec": spec})
    after = await read(whole, f"{SCHEMAS}/lost")
    assert [c["status"] for c in after["status"]["conditions"] if c["type"] == "Dangling"] == ["True"]
    assert after["metadata"]["managedFields"] == owners
