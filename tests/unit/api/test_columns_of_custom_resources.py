"""Columns and scales of custom resources whose paths or objects are not what was meant."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api

from .conftest import Asgi, HeaderAuthenticator

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
TABLE = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


@pytest.fixture
async def api(throwaway_pki: Path) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


def definition_of(**version: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": schema, **version}]
    names = {"plural": "widgets", "kind": "Widget"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
    }


def widget(spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


async def test_columns_end_before_one_whose_path_cannot_be_read(api: Api) -> None:
    http = Asgi(api)
    paths = {"Good": ".spec.a", "Bad": ".spec.a[", "After": ".spec.a"}
    columns = [{"name": name, "type": "string", "jsonPath": path} for name, path in paths.items()]
    assert (await http("POST", CRDS, definition_of(additionalPrinterColumns=columns))).status == 201
    assert (await http("POST", WIDGETS, widget({"a": "x"}))).status == 201
    answer = await http("GET", WIDGETS, headers=TABLE)
    assert answer.status == 200, answer.body
    assert [column["name"] for column in answer.json["columnDefinitions"]] == ["Name", "Good"]
    assert answer.json["rows"][0]["cells"] == ["w", "x"]


@pytest.mark.parametrize("spec", ["text", None, [1]])
async def test_a_scale_is_not_written_where_no_map_is(api: Api, spec: Any) -> None:
    http = Asgi(api)
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    assert (await http("POST", CRDS, definition_of(subresources={"scale": scale}))).status == 201
    assert (await http("POST", WIDGETS, widget(spec))).status == 201
    wanted = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "w"}, "spec": {"replicas": 3}}
    answer = await http("PUT", f"{WIDGETS}/w/scale", wanted)
    why = "value cannot be set because .spec is not a map[string]interface{}"
    assert (answer.status, answer.json["message"]) == (500, why)
