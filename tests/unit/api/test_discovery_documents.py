"""Discovery and OpenAPI v2: which form is answered, what it holds, and that it is made once."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sampan.api import discovery, openapi, wire
from sampan.api.app import Api
from sampan.api.openapi_v2 import PROTOBUF, sayable, swagger_schema
from sampan.api.resource import Resource
from sampan.schema.structural import structural_type

from .conftest import Asgi, HeaderAuthenticator

V2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
V2BETA1 = V2.replace("v=v2", "v=v2beta1")
ASKED = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
SCHEMA = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}


@pytest.fixture
def served(api: Any, http: Any) -> Any:
    discovery.add(api)
    openapi.add(api)
    schema = structural_type(SCHEMA, group="ex.io", version="v1", kind="Widget")
    api.catalog.add(Resource("ex.io", "v1", "Widget", "widgets", custom=True, status=True, schema=schema))
    return http


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (f"{V2},{V2BETA1},application/json", V2),
        (f"{V2BETA1},application/json", V2BETA1),
        (f"application/json,{V2}", "application/json"),
        (f"{V2.replace('v=v2', 'v=v9')},application/json", "application/json"),
        ("application/yaml", "application/yaml"),
        ("application/vnd.kubernetes.protobuf", "application/vnd.kubernetes.protobuf"),
        ("", "application/json"),
    ],
)
async def test_the_form_of_the_list_of_groups(served: Any, accept: str, content_type: str) -> None:
    answer = await served("GET", "/apis", headers={"accept": accept})
    assert (answer.status, answer.headers["content-type"]) == (200, content_type)


async def test_heads_are_not_answered_of_resources(local_api: Api) -> None:
    """As by kube-apiserver: a HEAD of a watch ends at once, too."""
    local_api.authenticator = HeaderAuthenticator()
    http = Asgi(local_api)
    for path in (
        "/api/v1/pods?watch=1",
        "/api/v1/namespaces/default",
        "/apis/apps/v1",
        "/api/v1/namespaces/default/status",
    ):
        answer = await http("HEAD", path)
        assert answer.status == 405 and not answer.body, path
    for path in ("/healthz", "/version", "/metrics"):
        assert (await http("HEAD", path)).status == 200, path


async def test_what_no_client_can_read_is_refused(served: Any) -> None:
    assert (await served("GET", "/apis", headers={"accept": "text/html"})).status == 406
    assert (await served("GET", "/apis/apps/v1", headers={"accept": V2})).status == 406


async def test_a_resource_list_in_protobuf(served: Any) -> None:
    answer = await served("GET", "/apis/apps/v1", headers={"accept": "application/vnd.kubernetes.protobuf"})
    found = orjson.loads(wire.to_json(answer.body))
    assert found["groupVersion"] == "apps/v1" and found["resources"][0]["name"] == "deployments"


async def test_the_aggregated_list_is_not_sent_twice(served: Any) -> None:
    first = await served("GET", "/apis", headers={"accept": V2})
    tag = first.headers["etag"]
    again = await served("GET", "/apis", headers={"accept": V2, "if-none-match": tag})
    assert (again.status, again.body) == (304, b"")


async def test_swagger_is_whole_in_both_forms(served: Any, api: Any) -> None:
    swagger = (await served("GET", "/openapi/v2", headers={"accept": "application/json"})).json
    pod = swagger["definitions"]["io.k8s.api.core.v1.PodSpec"]["properties"]
    assert pod["containers"]["x-kubernetes-patch-merge-key"] == "name"
    assert pod["securityContext"]["$ref"] == "#/definitions/io.k8s.api.core.v1.PodSecurityContext"
    widget = swagger["definitions"]["io.ex.v1.Widget"]
    assert widget["x-kubernetes-group-version-kind"] == [{"group": "ex.io", "version": "v1", "kind": "Widget"}]
    assert "/apis/ex.io/v1/namespaces/{namespace}/widgets/{name}" in swagger["paths"]
    answer = await served("GET", "/openapi/v2", headers={"accept": ASKED})
    assert answer.headers["content-type"] == PROTOBUF
    paths, definitions = names_of(answer.body)
    assert paths == set(swagger["paths"]) and definitions == set(swagger["definitions"])


def names_of(document: bytes) -> tuple[set[str], set[str]]:
    """Return the paths and definitions that a ``Document`` names."""
    paths, definitions = set(), set()
    for number, value in wire.fields_of(document):
        assert isinstance(value, bytes)
        if number not in (8, 9):
            continue
        for _, entry in wire.fields_of(value):
            assert isinstance(entry, bytes)
            name = dict(wire.fields_of(entry))[1]
            assert isinstance(name, bytes)
            (paths if number == 8 else definitions).add(name.decode())
    return paths, definitions


async def test_swagger_follows_the_catalog(served: Any, api: Any) -> None:
    first = await served("GET", "/openapi/v2", headers={"accept": ASKED})
    unchanged = await served("GET", "/openapi/v2", headers={"accept": ASKED, "if-none-match": first.headers["etag"]})
    assert unchanged.status == 304
    api.catalog.remove("ex.io", "v1", "widgets")
    second = await served("GET", "/openapi/v2", headers={"accept": ASKED})
    assert second.headers["etag"] != first.headers["etag"] and b"io.ex.v1.Widget" not in second.body
    assert (await served("GET", "/openapi/v2", headers={"accept": "text/html"})).status == 406


async def test_a_wrong_hash_is_sent_on(served: Any) -> None:
    index = (await served("GET", "/openapi/v3")).json
    url = index["paths"]["apis/ex.io/v1"]["serverRelativeURL"]
    right = await served("GET", url)
    assert right.headers["cache-control"] == "public, immutable" and "expires" in right.headers
    wrong = await served("GET", "/openapi/v3/apis/ex.io/v1?hash=0")
    assert (wrong.status, wrong.headers["location"]) == (301, url)


def test_what_v2_cannot_say_is_left_out() -> None:
    schema = {
        "type": "object",
        "required": ["a", "b"],
        "properties": {
            "a": {"type": "string", "nullable": True},
            "b": {
                "type": "array",
                "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {}},
            },
            "c": {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]},
        },
    }
    assert sayable(schema) == {
        "type": "object",
        "required": ["b"],
        "properties": {
            "a": {},
            "b": {"type": "array", "items": {"x-kubernetes-preserve-unknown-fields": True}},
            "c": {"x-kubernetes-int-or-string": True},
        },
    }


def test_references_stand_beside_their_siblings() -> None:
    schema = {"allOf": [{"$ref": "#/components/schemas/io.x.A"}], "description": "d", "type": ["object", "null"]}
    assert swagger_schema(schema) == {"$ref": "#/definitions/io.x.A", "description": "d", "type": "object"}
