"""Custom resources in several versions: conversion by name and by webhook, storage versions, changed schemas."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.server import ApiConfig, open_api
from sampan.client.protocol import ResourceType

from .conftest import ADMIN, Asgi, HeaderAuthenticator
from .webhook_server import WebhookServer, patch, webhook_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1, V2 = "/apis/example.com/v1/namespaces/default/widgets", "/apis/example.com/v2/namespaces/default/widgets"
STRING = {"type": "string"}


@pytest.fixture
async def api(throwaway_pki: Path) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)


@pytest.fixture
async def hooks(authority: Any) -> AsyncIterator[WebhookServer]:
    async with webhook_server(authority) as server:
        yield server


def version(name: str, *, storage: bool = False, served: bool = True, **properties: Any) -> dict[str, Any]:
    spec = {"type": "object", "properties": properties}
    schema = {"type": "object", "properties": {"spec": spec}}
    return {"name": name, "served": served, "storage": storage, "schema": {"openAPIV3Schema": schema}}


def definition(*versions: dict[str, Any], conversion: Any = None) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": list(versions),
    }
    if conversion is not None:
        spec["conversion"] = conversion
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": spec,
    }


def widget(api_version: str = "v1", name: str = "w", **spec: Any) -> dict[str, Any]:
    return {"apiVersion": f"example.com/{api_version}", "kind": "Widget", "metadata": {"name": name}, "spec": spec}


async def create(http: Asgi, path: str, body: Any) -> Any:
    answer = await http("POST", path, body)
    assert answer.status == 201, answer.body
    return answer.json


async def change(http: Asgi, edit: Any) -> Any:
    """Edit the stored definition."""
    current = (await http("GET", f"{CRDS}/widgets.example.com")).json
    edit(current["spec"])
    answer = await http("PUT", f"{CRDS}/widgets.example.com", current)
    assert answer.status == 200, answer.body
    return answer.json


async def test_without_a_converter_only_the_version_differs_and_each_schema_prunes(http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", storage=True, a=STRING, b=STRING), version("v2", a=STRING)))
    await create(http, V1, widget(a="x", b="y"))
    assert (await http("GET", f"{V1}/w")).json["spec"] == {"a": "x", "b": "y"}
    seen = (await http("GET", f"{V2}/w")).json
    assert seen["apiVersion"] == "example.com/v2" and seen["spec"] == {"a": "x"}
    listed = (await http("GET", V2)).json
    assert listed["apiVersion"] == "example.com/v2" and [item["spec"] for item in listed["items"]] == [{"a": "x"}]


async def test_the_storage_version_moves_object_by_object(api: Api, http: Asgi) -> None:
    made = await create(http, CRDS, definition(version("v1", storage=True, a=STRING), version("v2", a=STRING)))
    assert made["status"]["storedVersions"] == ["v1"]
    before = await create(http, V1, widget(a="x"))

    def swap(spec: Any) -> None:
        for each in spec["versions"]:
            each["storage"] = each["name"] == "v2"

    changed = await change(http, swap)
    assert changed["status"]["storedVersions"] == ["v1", "v2"]
    key = "/registry/example.com/widgets/default/w"
    record = api.store.get(key)
    assert record is not None and orjson.loads(record.value)["apiVersion"] == "example.com/v1"
    assert (await http("GET", f"{V1}/w")).json == before
    again = (await http("PUT", f"{V1}/w", before)).json
    assert again["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"], "written anew"
    record = api.store.get(key)
    assert record is not None and orjson.loads(record.value)["apiVersion"] == "example.com/v2"
    third = (await http("PUT", f"{V1}/w", again)).json
    assert third["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"], "and then no more"


async def test_a_version_that_may_still_be_stored_cannot_be_dropped(http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", storage=True, a=STRING), version("v2", a=STRING)))

    def swap(spec: Any) -> None:
        for each in spec["versions"]:
            each["storage"] = each["name"] == "v2"

    current = await change(http, swap)
    del current["spec"]["versions"][0]
    answer = await http("PUT", f"{CRDS}/widgets.example.com", current)
    (cause,) = answer.json["details"]["causes"]
    assert cause["field"] == "status.storedVersions[0]" and "v1 was previously a storage version" in cause["message"]
    current = (await http("GET", f"{CRDS}/widgets.example.com")).json
    current["status"]["storedVersions"] = ["v2"]
    assert (await http("PUT", f"{CRDS}/widgets.example.com/status", current)).status == 200
    current = (await http("GET", f"{CRDS}/widgets.example.com")).json
    del current["spec"]["versions"][0]
    assert (await http("PUT", f"{CRDS}/widgets.example.com", current)).status == 200
    assert (await http("GET", V1)).status == 404


async def test_a_changed_schema_counts_for_old_objects_too(http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", storage=True, a=STRING, b=STRING)))
    await create(http, V1, widget(a="x", b="y"))

    def tighten(spec: Any) -> None:
        properties = spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
        del properties["b"]
        properties["c"] = {"type": "string", "default": "z"}

    await change(http, tighten)
    expected = {"a": "x", "c": "z"}
    assert (await http("GET", f"{V1}/w")).json["spec"] == expected
    assert [item["spec"] for item in (await http("GET", V1)).json["items"]] == [expected]
    await create(http, V1, widget(name="new", a="1"))
    assert (await http("GET", f"{V1}/new")).json["spec"] == {"a": "1", "c": "z"}


def conversion(server: WebhookServer, **fields: Any) -> dict[str, Any]:
    webhook = {"clientConfig": server.client_config("/convert"), "conversionReviewVersions": ["v1"], **fields}
    return {"strategy": "Webhook", "webhook": webhook}


def renamed(body: dict[str, Any]) -> dict[str, Any]:
    """v1 has spec.size, v2 has spec.height."""
    request = body["request"]
    converted = []
    for obj in request["objects"]:
        made = copy.deepcopy(obj)
        made["apiVersion"] = request["desiredAPIVersion"]
        for old, new in (("size", "height"), ("height", "size")):
            if request["desiredAPIVersion"].endswith("v2") == (new == "height") and old in made["spec"]:
                made["spec"][new] = made["spec"].pop(old)
        converted.append(made)
    response = {"uid": request["uid"], "result": {"status": "Success"}, "convertedObjects": converted}
    return {"apiVersion": body["apiVersion"], "kind": "ConversionReview", "response": response}


@pytest.fixture
async def converted(http: Asgi, hooks: WebhookServer) -> WebhookServer:
    hooks.answers["/convert"] = renamed
    versions = (version("v1", size=STRING), version("v2", storage=True, height=STRING))
    await create(http, CRDS, definition(*versions, conversion=conversion(hooks)))
    return hooks


async def test_a_webhook_converts_what_is_written_and_read(api: Api, http: Asgi, converted: WebhookServer) -> None:
    made = await create(http, V1, widget(size="5"))
    assert made["spec"] == {"size": "5"}
    record = api.store.get("/registry/example.com/widgets/default/w")
    assert record is not None and orjson.loads(record.value)["spec"] == {"height": "5"}
    assert (await http("GET", f"{V2}/w")).json["spec"] == {"height": "5"}
    change = {"spec": {"size": "6"}}
    headers = {"content-type": "application/merge-patch+json"}
    assert (await http("PATCH", f"{V1}/w", change, headers=headers)).json["spec"] == {"size": "6"}
    assert (await http("GET", f"{V2}/w")).json["spec"] == {"height": "6"}
    assert (await http("DELETE", f"{V1}/w")).status == 200
    first = converted.asked[0][1]
    assert first["apiVersion"] == "apiextensions.k8s.io/v1" and first["kind"] == "ConversionReview"
    assert first["request"]["desiredAPIVersion"] == "example.com/v2"


async def test_a_list_is_converted_in_one_call_and_then_remembered(http: Asgi, converted: WebhookServer) -> None:
    for index in range(5):
        await create(http, V2, widget("v2", f"w-{index}", height=str(index)))
    converted.asked.clear()
    for _ in range(2):
        items = (await http("GET", V1)).json["items"]
        assert [item["spec"] for item in items] == [{"size": str(index)} for index in range(5)]
    assert [len(body["request"]["objects"]) for _, body in converted.asked] == [5]


async def test_a_watch_shows_its_own_version(api: Api, http: Asgi, converted: WebhookServer) -> None:
    seen: list[tuple[str, Any]] = []
    client = LocalClient(api, ADMIN)
    resource = ResourceType("example.com", "v1", "widgets", "Widget")

    async def follow() -> None:
        async for event in client.watch(resource, "default", resource_version=str(api.store.revision)):
            seen.append((event.type, event.object["spec"]))
            if event.type == "DELETED":
                return

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await asyncio.sleep(0)
        made = await create(http, V2, widget("v2", height="1"))
        made["spec"]["height"] = "2"
        await http("PUT", f"{V2}/w", made)
        await http("DELETE", f"{V2}/w")
    assert seen == [("ADDED", {"size": "1"}), ("MODIFIED", {"size": "2"}), ("DELETED", {"size": "2"})]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            lambda body: web.Response(status=500, text="no"),
            'an error on the server ("no") has prevented the request from',
        ),
        (
            lambda body: {**renamed(body), "kind": "Other"},
            "expected webhook response of apiextensions.k8s.io/v1, Kind=Conv",
        ),
        (lambda body: {**renamed(body), "response": {"uid": "x"}}, 'expected response.uid="'),
        (lambda body: failed(body, status="Failure", message="cannot"), "Kind=Widget failed: cannot"),
        (lambda body: failed(body), "response.result.status was '', not 'Success'"),
        (lambda body: edited(body, lambda o: None, count=0), "returned 0 objects, expected 1"),
        (
            lambda body: edited(body, lambda o: o.update(kind="Gadget")),
            "invalid kind (expected Widget, received Gadget)",
        ),
        (
            lambda body: edited(body, lambda o: o["metadata"].update(name="other")),
            "returned invalid object: must have the same name: w != other",
        ),
        (
            lambda body: edited(body, lambda o: o["metadata"].update(labels={"a": 1})),
            "invalid metadata: metadata.labels[a] must be a string",
        ),
    ],
)
async def test_a_conversion_that_fails_is_a_500_in_kubernetes_words(
    http: Asgi, converted: WebhookServer, answer: Any, message: str
) -> None:
    await create(http, V2, widget("v2", height="1"))
    converted.answers["/convert"] = answer
    for path in (f"{V1}/w", V1):
        told = await http("GET", path)
        assert told.status == 500 and "reason" not in told.json
        assert told.json["message"].startswith("conversion webhook for example.com/v2, Kind=Widget ")
        assert message in told.json["message"], told.json["message"]
    assert (await http("GET", f"{V2}/w")).status == 200, "its own version needs no conversion"


def failed(body: dict[str, Any], **result: Any) -> dict[str, Any]:
    return {**renamed(body), "response": {"uid": body["request"]["uid"], "result": result}}


def edited(body: dict[str, Any], edit: Any, count: int = 1) -> dict[str, Any]:
    made = renamed(body)
    objects = made["response"]["convertedObjects"][:count]
    for obj in objects:
        edit(obj)
    made["response"]["convertedObjects"] = objects
    return made


async def test_of_metadata_only_labels_and_annotations_are_taken(http: Asgi, converted: WebhookServer) -> None:
    await create(http, V2, widget("v2", height="1"))
    change = {"labels": {"by": "hook"}, "annotations": {"note": "x"}, "finalizers": ["a/b"], "generation": 77}
    converted.answers["/convert"] = lambda body: edited(body, lambda o: o["metadata"].update(change))
    metadata = (await http("GET", f"{V1}/w")).json["metadata"]
    assert metadata["labels"] == {"by": "hook"} and metadata["annotations"] == {"note": "x"}
    assert "finalizers" not in metadata and metadata["generation"] == 1


async def test_label_selectors_see_what_the_version_shows(http: Asgi, converted: WebhookServer) -> None:
    await create(http, V2, widget("v2", height="1"))
    converted.answers["/convert"] = lambda body: edited(body, lambda o: o["metadata"].update(labels={"by": "hook"}))
    assert len((await http("GET", f"{V1}?labelSelector=by%3Dhook")).json["items"]) == 1
    assert (await http("GET", f"{V2}?labelSelector=by%3Dhook")).json["items"] == []


async def test_a_deprecated_version_warns_and_one_not_served_is_not_there(http: Asgi) -> None:
    old = {**version("v1", a=STRING), "deprecated": True}
    older = {**version("v1beta1", a=STRING), "deprecated": True, "deprecationWarning": "use v2"}
    hidden = version("v3", served=False, a=STRING)
    await create(http, CRDS, definition(old, older, hidden, version("v2", storage=True, a=STRING)))
    assert (await http("GET", V1)).headers["warning"] == '299 - "example.com/v1 Widget is deprecated"'
    assert (await http("GET", V1.replace("v1", "v1beta1"))).headers["warning"] == '299 - "use v2"'
    assert "warning" not in (await http("GET", V2)).headers
    assert (await http("GET", V1.replace("v1", "v3"))).status == 404


async def test_watches_end_when_their_definition_changes(api: Api, http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", storage=True, a=STRING)))
    await create(http, V1, widget(a="x"))
    client, seen, begun = LocalClient(api, ADMIN), [], asyncio.Event()

    async def follow() -> None:
        async for event in client.watch(ResourceType("example.com", "v1", "widgets", "Widget"), "default"):
            seen.append(event.type)
            begun.set()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        await begun.wait()
        await change(http, lambda spec: spec["names"].update(shortNames=["wd"]))
    assert seen == ["ADDED"]


async def test_versions_are_served_again_after_a_restart(throwaway_pki: Path, tmp_path: Path) -> None:
    config = ApiConfig(pki_dir=throwaway_pki, store_path=tmp_path / "store.db", durability="process")
    api = await open_api(config)
    api.authenticator = HeaderAuthenticator()
    http = Asgi(api)
    await create(http, CRDS, definition(version("v1", storage=True, a=STRING, b=STRING)))
    await create(http, V1, widget(a="x", b="y"))

    def grow(spec: Any) -> None:
        spec["versions"] = [version("v1", a=STRING), version("v2", storage=True, a={"type": "string", "default": "d"})]

    await change(http, grow)
    await api.close()
    api = await open_api(config)
    api.authenticator = HeaderAuthenticator()
    http = Asgi(api)
    assert (await http("GET", f"{V2}/w")).json["spec"] == {"a": "x"}
    await create(http, V2, widget("v2", "new"))
    assert (await http("GET", f"{V1}/new")).json["spec"] == {"a": "d"}
    await api.close()


async def test_an_admission_webhook_sees_the_version_it_asks_for(http: Asgi, converted: WebhookServer) -> None:
    converted.answers["/admit"] = lambda body: patch(body, {"op": "replace", "path": "/spec/size", "value": "9"})
    rule = {"apiGroups": ["example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["widgets"]}
    configuration = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": "test"},
        "webhooks": [
            {
                "name": "hook.example.com",
                "clientConfig": converted.client_config("/admit"),
                "rules": [rule],
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }
        ],
    }
    await create(http, "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations", configuration)
    made = await create(http, V2, widget("v2", height="1"))
    assert made["apiVersion"] == "example.com/v2" and made["spec"] == {"height": "9"}
    (request,) = converted.requests("/admit")
    assert request["object"]["apiVersion"] == "example.com/v1" and request["object"]["spec"] == {"size": "1"}
    assert (request["kind"]["version"], request["requestKind"]["version"]) == ("v1", "v2")
