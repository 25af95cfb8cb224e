"""Names, labels, annotations and metadata in Kubernetes' words."""

import pytest

from sampan.schema.names import (
    dns1035_label,
    dns1123_label,
    dns1123_subdomain,
    label_value,
    path_segment,
    qualified_name,
    validate_annotations,
    validate_labels,
    validate_metadata,
)

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize("name", ["a", "a-b", "0", "a" * 63])
def test_labels(name):
    assert dns1123_label(name) == []


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a_b", "a\n", "é", "a" * 64])
def test_bad_labels(name):
    assert dns1123_label(name)


def test_messages():
    assert dns1123_subdomain("A_b") == [SUBDOMAIN]
    assert dns1123_label("a.b") == ["must not contain dots"]
    assert dns1123_label("a" * 64) == ["must be no more than 63 characters"]
    assert "a DNS-1035 label must consist of" in dns1035_label("1a")[0]
    assert "(e.g. 'my-name',  or 'abc-123', regex used" in dns1035_label("1a")[0]
    assert path_segment("a/b%") == ["may not contain '/'", "may not contain '%'"]
    assert path_segment("..") == ["may not be '..'"]
    assert path_segment("system:node") == []


@pytest.mark.parametrize("key", ["a", "a.b/c", "A-1_x", "kubernetes.io/name", "x/" + "a" * 63])
def test_qualified_names(key):
    assert qualified_name(key) == []


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "name part must be non-empty"),
        ("/a", "prefix part must be non-empty"),
        ("A/b", "prefix part a lowercase RFC 1123 subdomain"),
        ("a/b/c", "a valid label key must consist of"),
        ("-a", "name part must consist of"),
        ("a" * 64, "name part must be no more than 63 bytes"),
    ],
)
def test_bad_qualified_names(key, why):
    assert any(text.startswith(why) for text in qualified_name(key))


def test_label_values():
    assert label_value("") == label_value("a_b.c-1") == []
    assert label_value("a b")[0].startswith("a valid label must be an empty string or consist of")


def fields(causes):
    return [(cause.field, cause.reason) for cause in causes]


def test_good_metadata():
    metadata = {
        "name": "x",
        "namespace": "default",
        "labels": {"a/b": "c"},
        "annotations": {"A.b/C": "anything at all"},
    }
    assert validate_metadata({"metadata": metadata}) == []
    assert validate_metadata({"metadata": {"name": "system:x"}}, "path", namespaced=False) == []


def test_missing_and_forbidden_parts():
    assert fields(validate_metadata({"metadata": {}})) == [
        ("metadata.name", "FieldValueRequired"),
        ("metadata.namespace", "FieldValueRequired"),
    ]
    causes = validate_metadata({"metadata": {"name": "x", "namespace": "y"}}, namespaced=False)
    assert [(cause.field, cause.message) for cause in causes] == [
        ("metadata.namespace", "Forbidden: not allowed on this type")
    ]


def test_bad_name_and_namespace():
    causes = validate_metadata({"metadata": {"name": "A_b", "namespace": "a.b", "generateName": "x-"}})
    assert [(cause.field, cause.message) for cause in causes] == [
        ("metadata.name", f'Invalid value: "A_b": {SUBDOMAIN}'),
        ("metadata.namespace", 'Invalid value: "a.b": must not contain dots'),
    ]


def test_labels_and_annotations():
    assert fields(validate_labels({"a b": "c d"})) == [("metadata.labels", "FieldValueInvalid")] * 2
    assert fields(validate_annotations({"a": "x" * 300_000})) == [("metadata.annotations", "FieldValueTooLong")]


def test_owner_references():
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", "controller": True}
    metadata = {"name": "x", "namespace": "n", "ownerReferences": [owner, owner, {}]}
    causes = validate_metadata({"metadata": metadata})
    assert any("Only one reference can have Controller set to true" in cause.message for cause in causes)
    assert ("metadata.ownerReferences[2].uid", "FieldValueRequired") in fields(causes)
