"""What is said of the versions of a CustomResourceDefinition, as kube-apiserver's structs show them."""

from __future__ import annotations

from typing import Any

from sampan.api.resources.definition_shown import shown_schema, shown_version

from .conftest import causes, declared


def told(*versions: dict[str, Any], **spec: Any) -> dict[str, str]:
    names = {"plural": "as", "kind": "A", "singular": "a", "listKind": "AList"}
    spec = {"group": "x.example", "scope": "Namespaced", "names": names, "versions": list(versions), **spec}
    made = {"metadata": {"name": "as.x.example"}, "spec": spec, "status": {"storedVersions": ["v1"]}}
    return causes(declared("CustomResourceDefinition", "apiextensions.k8s.io"), made)


def version(name: str = "v1", **parts: Any) -> dict[str, Any]:
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "string"}}}}
    return {"name": name, "served": True, "storage": name == "v1", "schema": schema, **parts}


ONE_STORAGE = "must have exactly one version marked as storage version"


def test_versions_that_there_are_not() -> None:
    assert told(version()) == {}
    assert told(versions=[])["spec.versions"] == f"Invalid value: []: {ONE_STORAGE}"
    names = {"plural": "as", "kind": "A", "singular": "a", "listKind": "AList"}
    made = {"metadata": {"name": "as.x.example"}, "spec": {"group": "x.example", "scope": "Cluster", "names": names}}
    found = causes(declared("CustomResourceDefinition", "apiextensions.k8s.io"), made)
    assert found["spec.versions"] == f"Invalid value: null: {ONE_STORAGE}"


def test_versions_are_shown_as_structs_without_what_they_have_alike() -> None:
    one = version(storage=False, subresources={"status": {}})
    shown = (
        '{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":null,"Schema":null,'
        '"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}'
    )
    assert told(one)["spec.versions"] == f"Invalid value: [{shown}]: {ONE_STORAGE}"
    second = shown.replace('"v1"', '"v2"').replace('"Subresources":null', '"Subresources":{"Status":null,"Scale":null}')
    first = shown.replace('"Subresources":null', '"Subresources":{"Status":{},"Scale":null}')
    other = version("v2", storage=False, subresources={})
    assert told(one, other)["spec.versions"] == f"Invalid value: [{first},{second}]: {ONE_STORAGE}"


def test_selectable_fields_need_a_schema() -> None:
    fields = [{"jsonPath": ".spec"}]
    assert told(version(selectableFields=fields)) == {}
    found = told(version(selectableFields=fields, schema=None))
    assert found["spec.selectableFields"] == 'Invalid value: "": may only be set when validations.schema is included'
    other = version("v2", selectableFields=fields, schema={})
    assert told(version(), other)["spec.versions[1].selectableFields"] == (
        'Invalid value: "": may only be set when `version.schema.openAPIV3Schema` is not included'
    )


def test_a_version_without_a_name_is_stored_under_none() -> None:
    made: dict[str, Any] = {"spec": {"versions": [{"storage": True}]}}
    prepare = declared("CustomResourceDefinition", "apiextensions.k8s.io").prepare
    assert prepare is not None
    prepare(made, None)
    assert made["status"]["storedVersions"] == [""]


def test_all_of_a_version() -> None:
    scale = {"specReplicasPath": ".spec.r", "statusReplicasPath": ".status.r"}
    column = {"name": "N", "type": "integer", "jsonPath": ".spec.r"}
    schema = {
        "type": "object",
        "properties": {"b": {"items": {"type": "string"}}, "a": {"additionalProperties": False}},
        "allOf": [{"not": {"required": ["x"]}}],
        "dependencies": {"a": ["b"], "c": {"minimum": 1}},
        "externalDocs": {"url": "u"},
        "x-kubernetes-validations": [{"rule": "true"}],
    }
    parts = {
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"scale": scale},
        "additionalPrinterColumns": [column],
    }
    shown = shown_version({"name": "v1", "selectableFields": [{"jsonPath": ".a"}], **parts}, ())
    assert shown["Subresources"] == {
        "Status": None,
        "Scale": {"SpecReplicasPath": ".spec.r", "StatusReplicasPath": ".status.r", "LabelSelectorPath": None},
    }
    empty = {"Name": "N", "Type": "integer", "Format": "", "Description": "", "Priority": 0, "JSONPath": ".spec.r"}
    assert shown["AdditionalPrinterColumns"] == [empty]
    assert shown["SelectableFields"] == [{"JSONPath": ".a"}]
    struct = shown["Schema"]["OpenAPIV3Schema"]
    nothing = shown_schema({})
    assert nothing is not None and len(nothing) == 44
    assert list(struct["Properties"]) == ["a", "b"]
    assert struct["Properties"]["a"] == {**nothing, "AdditionalProperties": {"Allows": False, "Schema": None}}
    assert struct["Properties"]["b"]["Items"] == {"Schema": {**nothing, "Type": "string"}, "JSONSchemas": None}
    assert struct["AllOf"] == [{**nothing, "Not": {**nothing, "Required": ["x"]}}]
    assert struct["Dependencies"]["a"] == {"Schema": None, "Property": ["b"]}
    assert struct["Dependencies"]["c"] == {"Schema": {**nothing, "Minimum": 1}, "Property": None}
    assert struct["ExternalDocs"] == {"Description": "", "URL": "u"}
    (rule,) = struct["XValidations"]
    assert rule["Rule"] == "true" and rule["OptionalOldSelf"] is None
