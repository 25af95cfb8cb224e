"""What patches are refused for, in kube-apiserver's words (a generic API server of 1.37 was asked the same)."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resource import Resource
from sampan.schema.structural import structural_type
from sampan.schema.typed import misfits

WIDGETS = "/apis/ex.io/v1/namespaces/default/widgets"
SCHEMA = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "color": {"type": "string"},
                "size": {"type": "integer"},
                "tags": {"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"},
                "items": {
                    "type": "array",
                    "items": {"type": "object", "properties": {"name": {"type": "string"}}},
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    },
}
TYPE = structural_type(SCHEMA, group="ex.io", version="v1", kind="Widget")
BASE = {"apiVersion": "ex.io/v1", "kind": "Widget"}
REJECTED = "the server rejected our request due to an error in our request"
MERGE = {"content-type": "application/merge-patch+json"}
JSON_PATCH = {"content-type": "application/json-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}


@pytest.fixture
async def widget(api: Any, http: Any) -> Any:
    api.catalog.add(Resource("ex.io", "v1", "Widget", "widgets", custom=True, schema=TYPE))
    body = {**BASE, "metadata": {"name": "w"}, "spec": {"color": "red", "tags": ["a", "b"]}}
    assert (await http("POST", WIDGETS, body)).status == 201
    return http


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ([{"op": "test", "path": "/spec/color", "value": "blue"}], 422, REJECTED),
        ([{"op": "remove", "path": "/spec/nope"}], 422, REJECTED),
        ({}, 400, "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp"),
        ([1], 400, "error decoding patch: json: cannot unmarshal number into Go value of type handlers.jsonPatchOp"),
        (b"{", 400, "invalid JSON patch"),
        (
            [{"op": "replace", "path": "/kind", "value": "x"}],
            422,
            'x.ex.io "w" is invalid: kind: Invalid value: "x": must be Widget',
        ),
        (
            [{"op": "remove", "path": "/metadata/resourceVersion"}],
            422,
            'widgets.ex.io "w" is invalid: metadata.resourceVersion: Invalid value: 0: must be specified for an update',
        ),
        (
            [{"op": "remove", "path": "/metadata"}],
            400,
            "the name of the object (w based on URL) was undeterminable: name must be provided",
        ),
        (
            [{"op": "replace", "path": "/metadata/namespace", "value": "x"}],
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            [{"op": "replace", "path": "/metadata/uid", "value": "x"}],
            422,
            'Widget.ex.io "w" is invalid: metadata.uid: Invalid value: "x": field is immutable',
        ),
        (
            [{"op": "test", "path": "/spec/color", "value": "red"}] * 10_001,
            413,
            "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001",
        ),
    ],
)
async def test_json_patches(widget: Any, patch: Any, code: int, message: str) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/w", patch, headers=JSON_PATCH)
    assert (answer.status, answer.json["message"]) == (code, message)


async def test_an_operation_that_does_not_apply_says_why_in_its_cause(widget: Any) -> None:
    patch = [{"op": "test", "path": "/spec/color", "value": "blue"}]
    answer = await widget("PATCH", f"{WIDGETS}/w", patch, headers=JSON_PATCH)
    assert answer.json["details"] == {"causes": [{"message": "testing path /spec/color failed: test failed"}]}


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ([], 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (b"null", 400, "Invalid JSON Patch"),
        ({"apiVersion": "x/v1"}, 422, 'Widget.x "w" is invalid: apiVersion: Invalid value: "x/v1": must be ex.io/v1'),
        ({"metadata": {"name": "x"}}, 400, "the name of the object (x) does not match the name on the URL (w)"),
    ],
)
async def test_merge_patches(widget: Any, patch: Any, code: int, message: str) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/w", patch, headers=MERGE)
    assert (answer.status, answer.json["message"]) == (code, message)


@pytest.mark.parametrize(
    ("patch", "why"),
    [
        ({"spec": {"unknown": 1}}, 'strict decoding error: unknown field "spec.unknown"'),
        (b'{"spec":{"color":"a","color":"b"}}', 'strict decoding error: duplicate field "spec.color"'),
    ],
)
async def test_what_a_patch_makes_must_decode(widget: Any, patch: Any, why: str) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/w?fieldValidation=Strict", patch, headers=MERGE)
    assert answer.status == 422 and answer.json["message"].startswith(' "" is invalid: patch: Invalid value: "{')
    assert answer.json["message"].endswith(f": {why}")
    warned = await widget("PATCH", f"{WIDGETS}/w", patch, headers=MERGE)
    assert warned.status == 200 and why.partition(": ")[2].replace('"', '\\"') in warned.headers["warning"]


@pytest.mark.parametrize(
    ("config", "code", "message"),
    [
        ({"kind": "Widget"}, 400, "invalid object type: /, Kind=Widget"),
        ({**BASE, "apiVersion": "ex.io/v2"}, 400, "invalid object type: ex.io/v2, Kind=Widget"),
        (
            {**BASE, "spec": {"unknown": 1}},
            400,
            "failed to create typed patch object (/; ex.io/v1, Kind=Widget): .spec.unknown: field not declared in schema",
        ),
        ({**BASE, "metadata": {"managedFields": [{}]}}, 400, "metadata.managedFields must be nil"),
        (
            [],
            400,
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value "
            "of type map[string]interface {}",
        ),
    ],
)
async def test_configurations(widget: Any, config: Any, code: int, message: str) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/w?fieldManager=m", config, headers=APPLY)
    assert (answer.status, answer.json["message"]) == (code, message)


async def test_only_a_named_configuration_creates(widget: Any) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/new?fieldManager=m", BASE, headers=APPLY)
    assert (answer.status, answer.json["reason"]) == (400, "BadRequest")
    config = {**BASE, "metadata": {"name": "new", "uid": "x"}}
    answer = await widget("PATCH", f"{WIDGETS}/new?fieldManager=m", config, headers=APPLY)
    assert (
        answer.status == 409 and "the provided object specified uid x, and no existing object" in answer.json["message"]
    )


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("dryRun=x", 'Unsupported value: ["x"]: supported values: "All"'),
        ("fieldValidation=x", 'Unsupported value: "x": supported values: "", "Ignore", "Strict", "Warn"'),
        ("fieldManager=a%0Ab", 'Invalid value: "a\\nb": invalid character U+000A (at position 1)'),
    ],
)
async def test_options(widget: Any, query: str, message: str) -> None:
    answer = await widget("PATCH", f"{WIDGETS}/w?{query}", {}, headers=MERGE)
    assert (answer.status, answer.json["details"]["causes"][0]["message"]) == (422, message)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"color": 1}, ".spec.color: expected string, got &value.valueUnstructured{Value:1}"),
        ({"size": "x"}, ".spec.size: expected numeric (int or float), got string"),
        ({"items": {}}, ".spec.items: expected list, got &{map[]}"),
        ({"items": [{"name": "a"}, {"name": "a"}]}, '.spec.items: duplicate entries for key [name="a"]'),
        ([], ".spec: expected map, got &{[]}"),
        (
            {"items": 1, "tags": "x"},
            "errors:\n  .spec.items: expected list, got &{1}\n  .spec.tags: expected list, got &{x}",
        ),
        ({"free": {"anything": [{"goes": 1}]}, "color": None}, ""),
    ],
)
def test_what_does_not_fit_its_type(spec: Any, why: str) -> None:
    assert misfits(TYPE, {**BASE, "metadata": {"name": "w"}, "spec": spec}) == why


async def test_a_body_that_is_no_object(widget: Any) -> None:
    answer = await widget("POST", WIDGETS, b"{")
    assert answer.json["message"] == (
        "the object provided is unrecognized (must be of type Widget): couldn't get version/kind; json parse error: "
        "unexpected end of JSON input ({)"
    )
    answer = await widget("POST", WIDGETS, {"spec": {}})
    body = '{"spec":{}}'
    assert answer.json["message"] == (
        f"the object provided is unrecognized (must be of type Widget): Object 'Kind' is missing in '{body}' ({body})"
    )


@pytest.mark.parametrize("path", [f"{WIDGETS}/w", f"{WIDGETS}/nope"])
async def test_an_update_without_resource_version_is_first_asked_whether_there_is_such_an_object(
    widget: Any, path: str
) -> None:
    """What does not exist was answered with 422 ``must be specified for an update`` too: kube-apiserver says 404."""
    name = path.rpartition("/")[2]
    answer = await widget("PUT", path, {**BASE, "metadata": {"name": name}, "spec": {}})
    assert answer.status == (422 if name == "w" else 404)
