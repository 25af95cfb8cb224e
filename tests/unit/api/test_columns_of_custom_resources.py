"""Printer columns of custom resources: a path that cannot be read does not keep the resource from being printed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

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


async def test_columns_end_before_one_whose_path_cannot_be_read(api: Api) -> None:
    http = Asgi(api)
    paths = {"Good": ".spec.a", "Bad": ".spec.a[", "After": ".spec.a"}
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
        "additionalPrinterColumns": [{"name": n, "type": "string", "jsonPath": path} for n, path in paths.items()],
    }
    names = {"plural": "widgets", "kind": "Widget"}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }
    assert (await http("POST", CRDS, definition)).status == 201
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"a": "x"}}
    assert (await http("POST", WIDGETS, widget)).status == 201
    answer = await http("GET", WIDGETS, headers=TABLE)
    assert answer.status == 200, answer.body
    assert [column["name"] for column in answer.json["columnDefinitions"]] == ["Name", "Good"]
    assert answer.json["rows"][0]["cells"] == ["w", "x"]
