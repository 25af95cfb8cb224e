"""CEL rules of custom resources through the API: definitions that are refused, objects that are, and what is forgiven."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api

from .conftest import Asgi, HeaderAuthenticator

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
LIMITS = {"rule": "self.replicas <= self.max", "message": "more than the limit", "fieldPath": ".replicas"}


@pytest.fixture
async def http(throwaway_pki: Path) -> AsyncIterator[Asgi]:
    api: Api = await open_api(ApiConfig(pki_dir=throwaway_pki))
    api.authenticator = HeaderAuthenticator()
    yield Asgi(api)
    await api.close()


def definition(*rules: dict[str, Any], **properties: Any) -> dict[str, Any]:
    properties = {"replicas": {"type": "integer"}, "max": {"type": "integer"}, **properties}
    spec = {"type": "object", "properties": properties, "x-kubernetes-validations": list(rules)}
    if not rules:
        del spec["x-kubernetes-validations"]
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
    }
    names = {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def widget(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


async def test_an_object_is_held_against_the_rules(http: Asgi) -> None:
    assert (await http("POST", DEFINITIONS, definition(LIMITS))).status == 201
    refused = await http("POST", WIDGETS, widget(replicas=5, max=3))
    assert refused.status == 422
    why = "spec.replicas: Invalid value: more than the limit"
    assert refused.json["message"] == f'Widget.example.com "w" is invalid: {why}'
    (cause,) = refused.json["details"]["causes"]
    assert cause == {"reason": "FieldValueInvalid", "message": why.partition(": ")[2], "field": "spec.replicas"}
    assert (await http("POST", WIDGETS, widget(replicas=3, max=3))).status == 201


async def test_a_definition_with_bad_rules_is_refused_and_nothing_is_served(http: Asgi) -> None:
    bad = await http("POST", DEFINITIONS, definition({"rule": "self.replicas <= self.nope"}))
    assert bad.status == 422
    (cause,) = bad.json["details"]["causes"]
    field = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule"
    assert cause["field"] == field
    assert "compilation failed: ERROR: <input>:1:22: undefined field 'nope'" in cause["message"]
    lists = {"type": "array", "items": {"type": "string"}}
    dear = await http("POST", DEFINITIONS, definition({"rule": "self.l.all(a, self.l.all(b, a != b))"}, l=lists))
    assert (
        "estimated rule cost exceeds budget by factor of more than 100x" in dear.json["details"]["causes"][0]["message"]
    )
    assert (await http("GET", WIDGETS)).status == 404


async def test_transition_rules_see_what_was_stored(http: Asgi) -> None:
    immutable = {"rule": "self.max == oldSelf.max", "message": "max is immutable"}
    await http("POST", DEFINITIONS, definition(immutable))
    stored = (await http("POST", WIDGETS, widget(replicas=1, max=3))).json
    stored["spec"] = {"replicas": 2, "max": 4}
    refused = await http("PUT", f"{WIDGETS}/w", stored)
    assert refused.json["details"]["causes"][0]["message"] == "Invalid value: max is immutable"
    stored["spec"]["max"] = 3
    assert (await http("PUT", f"{WIDGETS}/w", stored)).status == 200


async def test_what_was_wrong_before_is_a_warning(http: Asgi) -> None:
    made = (await http("POST", DEFINITIONS, definition())).json
    stored = (await http("POST", WIDGETS, widget(replicas=1))).json
    spec = made["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["replicas"]["x-kubernetes-validations"] = [{"rule": "self > 1"}]
    assert (await http("PUT", f"{DEFINITIONS}/widgets.example.com", made)).status == 200
    stored["spec"]["max"] = 7
    answer = await http("PUT", f"{WIDGETS}/w", stored)
    assert answer.status == 200
    assert answer.headers["warning"] == '299 - "spec.replicas: Invalid value: 1: failed rule: self > 1"'
    changed = answer.json
    changed["spec"]["replicas"] = 0
    assert (await http("PUT", f"{WIDGETS}/w", changed)).status == 422


@pytest.mark.parametrize(("version", "status"), [("1.30", 422), ("1.31", 201)])
async def test_the_version_decides_which_functions_there_are(throwaway_pki: Path, version: str, status: int) -> None:
    api = await open_api(ApiConfig(pki_dir=throwaway_pki, kubernetes_version=version))
    api.authenticator = HeaderAuthenticator()
    try:
        assert (await Asgi(api)("POST", DEFINITIONS, definition({"rule": "isIP('1.2.3.4')"}))).status == status
    finally:
        await api.close()
