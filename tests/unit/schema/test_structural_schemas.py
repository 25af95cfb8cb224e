"""CRD schemas: structural or not, pruning, defaults, and validation in Kubernetes' words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.apply import apply
from sampan.schema.structural import check_structural, structural_type
from sampan.schema.types import type_system


def schema_of(**properties: dict) -> dict:
    return {"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}}


def type_of(**properties: dict):
    schema = schema_of(**properties)
    assert check_structural(schema) == []
    return structural_type(schema, group="example.com", version="v1", kind="Widget")


def widget(**spec: object) -> dict:
    return {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": spec}


def messages(type, obj, old=None):
    return [f"{cause.field}: {cause.message}" for cause in type.validate(obj, old)]


STRING, INTEGER = {"type": "string"}, {"type": "integer"}


@pytest.mark.parametrize(
    ("property", "value", "message"),
    [
        (INTEGER, "x", 'spec.p: Invalid value: "string": spec.p in body must be of type integer: "string"'),
        (INTEGER, 1.5, 'spec.p: Invalid value: "number": spec.p in body must be of type integer: "number"'),
        (STRING, None, 'spec.p: Invalid value: "null": spec.p in body must be of type string: "null"'),
        ({"type": "boolean"}, [], 'spec.p: Invalid value: "array": spec.p in body must be of type boolean: "array"'),
        ({"type": "string", "enum": ["a", "b"]}, "c", 'spec.p: Unsupported value: "c": supported values: "a", "b"'),
        (
            {"type": "string", "pattern": "^a+$"},
            "b",
            "spec.p: Invalid value: \"b\": spec.p in body should match '^a+$'",
        ),
        ({"type": "string", "pattern": "^a+$"}, "a\n", 'spec.p: Invalid value: "a\\n": spec.p in body should match'),
        (
            {"type": "string", "minLength": 1},
            "",
            'spec.p: Invalid value: "": spec.p in body should be at least 1 chars long',
        ),
        ({"type": "string", "maxLength": 2}, "abc", "spec.p: Too long: may not be more than 2 bytes"),
        (
            {"type": "integer", "minimum": 1},
            0,
            "spec.p: Invalid value: 0: spec.p in body should be greater than or equal to 1",
        ),
        (
            {"type": "number", "maximum": 1, "exclusiveMaximum": True},
            1,
            "spec.p: Invalid value: 1: spec.p in body should be less than 1",
        ),
        ({"type": "integer", "multipleOf": 3}, 4, "spec.p: Invalid value: 4: spec.p in body should be a multiple of 3"),
        (
            {"type": "array", "items": STRING, "maxItems": 1},
            ["a", "b"],
            "spec.p: Too many: 2: must have at most 1 item",
        ),
        (
            {"type": "array", "items": STRING, "minItems": 1},
            [],
            "spec.p: Invalid value: 0: spec.p in body should have at least 1 items",
        ),
        (
            {"type": "array", "items": STRING},
            [1],
            'spec.p[0]: Invalid value: "integer": spec.p[0] in body must be of type',
        ),
        (
            {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
            ["a", "b", "a"],
            'spec.p[2]: Duplicate value: "a"',
        ),
        ({"type": "object", "required": ["q"], "properties": {"q": STRING}}, {}, "spec.p.q: Required value"),
        ({"type": "object", "additionalProperties": INTEGER}, {"k": "v"}, 'spec.p.k: Invalid value: "string"'),
        (
            {"type": "string", "format": "date-time"},
            "x",
            'spec.p: Invalid value: "x": spec.p in body must be of type date-time',
        ),
        (
            {"type": "string", "format": "ipv4"},
            "1.2.3",
            'spec.p: Invalid value: "1.2.3": spec.p in body must be of type ipv4',
        ),
        ({"x-kubernetes-int-or-string": True}, True, "spec.p in body must be of type integer,string"),
        (
            {
                "type": "object",
                "properties": {"a": STRING, "b": STRING},
                "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            },
            {"a": "1", "b": "2"},
            '<nil>: Invalid value: "": "spec.p" must validate one and only one schema (oneOf). Found 2 valid alternatives',
        ),
        (
            {"type": "integer", "anyOf": [{"minimum": 5}, {"maximum": 2}]},
            3,
            '"spec.p" must validate at least one schema (anyOf)',
        ),
        ({"type": "integer", "not": {"enum": [3]}}, 3, '"spec.p" must not validate the schema (not)'),
        (
            {"type": "integer", "allOf": [{"minimum": 5}]},
            3,
            '"spec.p" must validate all the schemas (allOf). None validated',
        ),
    ],
)
def test_messages(property, value, message):
    found = messages(type_of(p=property), widget(p=value))
    assert any(message in text for text in found), found


@pytest.mark.parametrize(
    ("property", "value"),
    [
        (INTEGER, 1.0), ({"type": "number"}, 1), ({"type": "string", "nullable": True}, None),
        ({"x-kubernetes-int-or-string": True}, "50%"), ({"x-kubernetes-int-or-string": True}, 5),
        ({"type": "string", "format": "unheard-of"}, "x"), ({"type": "string", "format": "duration"}, "1h30m"),
        ({"type": "string", "format": "cidr"}, "10.0.0.0/8"), ({"type": "string", "format": "uuid"}, "0" * 32),
        ({"type": "string", "pattern": "^[[:alpha:]]+$"}, "abc"), ({"type": "object", "additionalProperties": STRING}, {}),
        ({"type": "string", "enum": ["1", "2"]}, "2"),
    ],
)  # fmt: skip
def test_good_values(property, value):
    assert messages(type_of(p=property), widget(p=value)) == []


def test_list_map_keys():
    items = {"type": "object", "required": ["name"], "properties": {"name": STRING}}
    type = type_of(
        p={"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    )
    assert messages(type, widget(p=[{"name": "a"}, {"name": "a"}])) == ['spec.p[1]: Duplicate value: {"name":"a"}']


def test_what_was_wrong_before_is_forgiven():
    type = type_of(a={"type": "integer", "minimum": 5}, b=STRING)
    old = widget(a=1, b="x")
    assert messages(type, widget(a=1, b="y"), old) == []
    assert messages(type, widget(a=2, b="y"), old) != []
    assert messages(type, widget(a=1, b=2), old) == [
        'spec.b: Invalid value: "integer": spec.b in body must be of type string: "integer"'
    ]


def test_pruning():
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"k": {"type": "object"}}}
    type = type_of(
        a=STRING, free=free, list={"type": "array", "items": {"type": "object", "properties": {"x": STRING}}}
    )
    obj = widget(a="1", b=2, free={"any": {"x": None}, "k": {"gone": 1}}, list=[{"x": "1", "y": [1]}])
    checked = type.check(obj)
    assert checked.unknown == [
        'unknown field "spec.b"', 'unknown field "spec.free.k.gone"', 'unknown field "spec.list[0].y"'
    ]  # fmt: skip
    assert checked.object["spec"] == {"a": "1", "free": {"any": {"x": None}, "k": {}}, "list": [{"x": "1"}]}


def test_unknown_fields_beside_spec():
    checked = type_of(a=STRING).check({**widget(), "status": {"x": 1}, "metadata": {"name": "w", "foo": 1}})
    assert checked.unknown == ['unknown field "status"', 'unknown field "metadata.foo"']
    assert checked.object == widget()


def test_metadata_is_decoded_strictly():
    obj = {**widget(), "metadata": {"name": "w", "labels": {"a": 1}}}
    assert type_of(a=STRING).check(obj).error == (
        "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string"
    )


def test_nulls():
    type = type_of(a=STRING, b={"type": "string", "nullable": True}, c={"type": "string", "default": "d"})
    obj = type.check(widget(a=None, b=None, c=None)).object
    type.default(obj)
    assert obj["spec"] == {"b": None, "c": "d"}


def test_defaults():
    item = {"type": "object", "properties": {"port": {"type": "integer", "default": 80}}}
    type = type_of(
        a={"type": "object", "default": {}, "properties": {"b": {"type": "string", "default": "x"}}},
        ports={"type": "array", "items": item},
        map={"type": "object", "additionalProperties": item},
    )
    obj = widget(ports=[{}, {"port": 1}], map={"k": {}})
    type.default(obj)
    assert obj["spec"] == {"a": {"b": "x"}, "ports": [{"port": 80}, {"port": 1}], "map": {"k": {"port": 80}}}
    again = widget()
    type.default(again)
    assert again["spec"]["a"] is not obj["spec"]["a"]


def test_embedded_resources():
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    type = type_of(template=embedded)
    good = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": {"any": 1}}
    obj = type.check(widget(template=good))
    assert obj.unknown == []
    assert messages(type, obj.object) == []
    assert messages(type, widget(template={"kind": ""})) == [
        "spec.template.apiVersion: Required value", 'spec.template.kind: Invalid value: "": must not be empty'
    ]  # fmt: skip


def test_rules_are_kept_for_their_evaluator():
    schema = schema_of(a={"type": "string", "x-kubernetes-validations": [{"rule": "self != ''"}]})
    assert check_structural(schema) == []
    type = structural_type(schema, group="example.com", version="v1", kind="Widget")
    assert type.fields["spec"].fields["a"].validations == [{"rule": "self != ''"}]


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({}, "s.type: Required value: must not be empty at the root"),
        ({"type": "array", "items": STRING}, 's.type: Invalid value: "array": must be object at the root'),
        (
            schema_of(a={}),
            "s.properties[spec].properties[a].type: Required value: must not be empty for specified object",
        ),
        (schema_of(a={"type": "array"}), "s.properties[spec].properties[a].items: Required value: must be specified"),
        (
            schema_of(a={"type": "array", "items": {}}),
            ".items.type: Required value: must not be empty for specified array",
        ),
        (schema_of(a={"type": "text"}), '.type: Unsupported value: "text": supported values: "array"'),
        (
            schema_of(a={"type": "string", "anyOf": [{"type": "string"}]}),
            ".anyOf[0].type: Forbidden: must be empty to be structural",
        ),
        (
            {"type": "object", "anyOf": [{"properties": {"b": {"pattern": "x"}}}]},
            "s.properties[b]: Required value: because it is defined in s.anyOf[0].properties[b]",
        ),
        (schema_of(a={"type": "string", "pattern": "("}), "must be a valid regular expression, but isn't"),
        (
            schema_of(a={"type": "integer", "default": "x"}),
            's.properties[spec].properties[a].default: Invalid value: "string"',
        ),
        (schema_of(a={"$ref": "#/x"}), ".$ref: Forbidden"),
        (schema_of(a={"type": "array", "items": STRING, "uniqueItems": True}), "uniqueItems cannot be set to true"),
        (
            schema_of(a={"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            "x-kubernetes-list-map-keys: Required value",
        ),
        (
            {
                "type": "object",
                "properties": {"metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}},
            },
            "must not specify anything other than name and generateName",
        ),
    ],
)
def test_not_structural(schema, message):
    found = [f"{cause.field}: {cause.message}" for cause in check_structural(schema, "s")]
    assert any(message in text for text in found), found


def test_int_or_string_patterns_are_structural():
    either = [{"type": "integer"}, {"type": "string"}]
    for extra in ({"anyOf": either}, {"allOf": [{"anyOf": either}, {"maximum": 5}]}):
        assert check_structural(schema_of(a={"x-kubernetes-int-or-string": True, **extra})) == []


def test_apply_merges_custom_list_maps():
    items = {"type": "object", "required": ["name"], "properties": {"name": STRING, "v": INTEGER, "w": INTEGER}}
    type = type_of(
        p={"type": "array", "items": items, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
    )
    options = {"type": type, "api_version": "example.com/v1", "now": "2026-01-01T00:00:00Z"}
    live = apply(None, widget(p=[{"name": "a", "v": 1}]), manager="one", **options)
    both = apply(live, widget(p=[{"name": "a", "w": 2}, {"name": "b"}]), manager="two", **options)
    assert both["spec"]["p"] == [{"name": "a", "v": 1, "w": 2}, {"name": "b"}]


schemas = st.recursive(
    st.sampled_from([STRING, INTEGER, {"type": "boolean", "default": True}, {"x-kubernetes-int-or-string": True},
                     {"type": "string", "nullable": True, "enum": ["a"]}, {"type": "string", "default": "q"}]),
    lambda inner: st.fixed_dictionaries({"type": st.just("array"), "items": inner})
    | st.fixed_dictionaries({"type": st.just("object"), "additionalProperties": inner})
    | st.fixed_dictionaries(
        {"type": st.just("object"), "properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=3)},
        optional={"x-kubernetes-preserve-unknown-fields": st.just(True)},
    ),
    max_leaves=6,
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["a", "b", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3),
    max_leaves=10,
)


@given(schemas, values)
def test_checking_and_defaulting_are_idempotent(schema, value):
    type = structural_type(schema_of(a=schema), group="example.com", version="v1", kind="Widget")
    obj = type.check(widget(a=value)).object
    type.default(obj)
    type.validate(obj)
    again = type.check(structural_copy(obj))
    assert again.unknown == []
    type.default(again.object)
    assert again.object == obj


def structural_copy(value):
    if isinstance(value, dict):
        return {key: structural_copy(item) for key, item in value.items()}
    return [structural_copy(item) for item in value] if isinstance(value, list) else value


keywords = st.sampled_from(
    ["type", "properties", "items", "additionalProperties", "anyOf", "oneOf", "allOf", "not", "required", "pattern",
     "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-int-or-string", "nullable", "enum", "metadata",
     "x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource", "minimum", "spec"]
)  # fmt: skip
odd_schemas = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.sampled_from(["object", "array", "string", "map", "(", "spec"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(keywords, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(keywords, odd_schemas, max_size=5))
def test_any_schema_is_judged_after_decoding(schema):
    """What the CRD's own type lets through is judged, and what is judged structural can be compiled and used."""
    crd = type_system("1.37").type_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    body = {"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}}
    checked = crd.check(body)
    if checked.error:
        return
    schema = checked.object["spec"]["versions"][0]["schema"].get("openAPIV3Schema", {})
    if check_structural(schema) == []:
        type = structural_type(schema, group="example.com", version="v1", kind="Widget")
        obj = type.check(widget(spec={"a": [1]})).object
        type.default(obj)
        type.validate(obj)
