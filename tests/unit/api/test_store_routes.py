"""The administrators' paths: records, history, watch, snapshots; who may use them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.store_routes import StoreStream
from tests.unit.api.conftest import Caller, HeaderAuthenticator

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
KEY = "/registry/configmaps/default/c"


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data}


@pytest.fixture
async def admin(open_whole: Callable[..., Awaitable[Caller]], tmp_path: Path) -> Caller:
    return await open_whole(snapshots_dir=tmp_path / "snapshots")


async def test_records_now_and_at_a_revision(admin: Caller) -> None:
    _, made = await admin("POST", CONFIG_MAPS, config_map(a="1"))
    await admin("PUT", f"{CONFIG_MAPS}/c", config_map(a="2"))
    code, now = await admin("GET", f"/sampan/store/records?prefix={KEY}")
    assert code == 200 and [record["value"]["data"] for record in now["records"]] == [{"a": "2"}]
    revision = made["metadata"]["resourceVersion"]
    _, then = await admin("GET", f"/sampan/store/records?prefix={KEY}&revision={revision}")
    assert then["revision"] == int(revision) and then["records"][0]["value"] == made
    _, keys = await admin("GET", "/sampan/store/records?prefix=/registry/configmaps/&keys=true")
    assert all("value" not in record for record in keys["records"]) and KEY in {r["key"] for r in keys["records"]}
    assert (await admin("GET", "/sampan/store/records?revision=99999"))[0] == 400
    assert (await admin("GET", "/sampan/store/records?revision=x"))[0] == 400
    await admin.api.store.compact(admin.api.store.revision)
    code, gone = await admin("GET", f"/sampan/store/records?revision={revision}")
    assert (code, gone["reason"]) == (410, "Expired")


async def test_history_has_every_change_and_its_time(admin: Caller) -> None:
    await admin("POST", CONFIG_MAPS, config_map(a="1"))
    await admin("PUT", f"{CONFIG_MAPS}/c", config_map(a="2"))
    await admin("DELETE", f"{CONFIG_MAPS}/c")
    _, answer = await admin("GET", f"/sampan/store/history?key={KEY}")
    events = answer["events"]
    assert [(event["deleted"], event["previous"] is None) for event in events] == [
        (False, True),
        (False, False),
        (True, False),
    ]
    assert all(isinstance(event["time"], float) for event in events)
    assert events[1]["previous"]["value"] == events[0]["record"]["value"]


async def test_a_watch_of_the_store(admin: Caller) -> None:
    stream = StoreStream(admin.api, "/registry/configmaps/default/", 0)
    frames = stream.frames()
    assert orjson.loads((await anext(frames))[0]) == {"revision": admin.api.store.revision}
    await admin("POST", CONFIG_MAPS, config_map(a="1"))
    async with asyncio.timeout(60):
        (line,) = await anext(frames)
    assert orjson.loads(line)["record"]["key"] == KEY and line.endswith(b"\n")
    await frames.aclose()  # type: ignore[attr-defined]


async def test_a_watch_of_the_store_over_http_outlives_the_deadline_of_requests(admin: Caller) -> None:
    """It is a GET of a path that is no resource: only its answer says that it goes on."""
    api = admin.api
    api.authenticator, api.request_seconds = HeaderAuthenticator(), 0.001
    sent: asyncio.Queue[Any] = asyncio.Queue()
    gone = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await gone.wait()
        return {"type": "http.disconnect"}

    query = b"prefix=/registry/configmaps/default/"
    scope = {"type": "http", "method": "GET", "path": "/sampan/store/watch", "query_string": query, "headers": []}
    serving = asyncio.create_task(api(scope, receive, sent.put))
    async with asyncio.timeout(60):
        assert (await sent.get())["status"] == 200 and (await sent.get())["more_body"]
        assert b"revision" in (await sent.get())["body"]
        assert not api.deadlines._open
        await admin("POST", CONFIG_MAPS, config_map(a="1"))
        assert orjson.loads((await sent.get())["body"])["record"]["key"] == KEY
        gone.set()
        await serving


async def test_a_snapshot_is_saved_and_restored_while_all_goes_on(admin: Caller) -> None:
    await admin("POST", CONFIG_MAPS, config_map(a="1"))
    code, saved = await admin("PUT", "/sampan/snapshots/one", {"cluster": "x"})
    assert code == 200 and saved["cluster"] == "x" and saved["kubernetesVersion"] == "1.37"
    await admin("PUT", f"{CONFIG_MAPS}/c", config_map(a="2"))
    code, restored = await admin("POST", "/sampan/snapshots/one/restore")
    assert (code, restored["changed"]) == (200, 1)
    _, now = await admin("GET", f"{CONFIG_MAPS}/c")
    assert now["data"] == {"a": "1"} and int(now["metadata"]["resourceVersion"]) == restored["revision"]
    code, refused = await admin("POST", "/sampan/snapshots/other/restore")
    assert code == 500 and "there is no snapshot" in refused["message"]
    for bad in ("../x", "A", "x/other"):
        assert (await admin("PUT", f"/sampan/snapshots/{bad}", {}))[0] in (400, 405)


@pytest.mark.parametrize("about", [[], "x", 3])
async def test_what_is_noted_of_a_snapshot_is_an_object(admin: Caller, about: Any) -> None:
    code, refused = await admin("PUT", "/sampan/snapshots/one", about)
    assert code == 400 and "must be an object" in refused["message"]


async def test_what_a_restore_brings_back_is_in_force(admin: Caller) -> None:
    """Roles, definitions and addresses that the API keeps in memory follow a restore."""
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    api_version = "rbac.authorization.k8s.io/v1"
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}
    role = {"apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": "reader"}, "rules": [rule]}
    binding = {
        "apiVersion": api_version,
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "reader"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Cluster", "names": names, "versions": [version]},
    }
    await admin("POST", f"{rbac}/clusterroles", role)
    await admin("POST", f"{rbac}/clusterrolebindings", binding)
    await admin("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    await admin("PUT", "/sampan/snapshots/one")
    await admin("DELETE", f"{rbac}/clusterrolebindings/reader")
    await admin("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/widgets.example.com")
    jane = admin.as_user("jane")
    assert (await jane("GET", CONFIG_MAPS))[0] == 403
    assert (await admin("GET", "/apis/example.com/v1/widgets"))[0] == 404
    await admin("POST", "/sampan/snapshots/one/restore")
    assert (await jane("GET", CONFIG_MAPS))[0] == 200
    assert (await admin("GET", "/apis/example.com/v1/widgets"))[0] == 200


async def test_only_administrators_may(admin: Caller) -> None:
    jane = admin.as_user("jane")
    for method, path in [
        ("GET", "/sampan/store/records"),
        ("GET", "/sampan/store/history"),
        ("PUT", "/sampan/snapshots/x"),
    ]:
        assert (await jane(method, path))[0] == 403
