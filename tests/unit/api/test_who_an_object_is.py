"""Who an object is, read from its bytes without parsing all of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sampan.api.local import metadata_of

ENTRY = {"manager": "m", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:a": {}}}
WHO = {"resourceVersion": "7", "name": "a", "namespace": "ns", "uid": "u"}
OWNERS = [{"apiVersion": "v1", "kind": "K", "name": "o", "uid": "v"}]
COUNTS = ("resourceVersion", "name", "namespace", "uid", "ownerReferences", "finalizers", "deletionTimestamp")


def counted(metadata: dict[str, Any]) -> dict[str, Any]:
    return {name: metadata[name] for name in COUNTS if name in metadata}


@pytest.mark.parametrize(
    ("metadata", "rest"),
    [
        ({**WHO, "managedFields": [ENTRY]}, {"spec": {"a": 1}}),
        ({**WHO, "ownerReferences": OWNERS, "managedFields": [ENTRY]}, {}),
        ({**WHO, "managedFields": [ENTRY], "deletionTimestamp": "2026-01-01T00:00:00Z"}, {}),
        ({**WHO, "managedFields": [ENTRY], "ownerReferences": OWNERS}, {}),
        ({**WHO, "managedFields": [ENTRY], "finalizers": ["a/b"]}, {}),
        ({"managedFields": [ENTRY], **WHO}, {}),  # as kube-apiserver writes it: in alphabetical order
        ({"resourceVersion": "7", "labels": {}, "managedFields": [ENTRY], **WHO}, {}),
        (WHO, {"spec": {"template": {"metadata": {"x": 1, "managedFields": [ENTRY]}}}}),
        (WHO, {"spec": {"x": 1, "managedFields": [ENTRY]}}),
        ({**WHO, "annotations": {"a": '{"metadata":{"x":1,"managedFields":[{}]}}'}, "finalizers": ["a/b"]}, {}),
        (WHO, {}),
    ],
)
def test_all_that_counts_is_found(metadata: dict[str, Any], rest: dict[str, Any]) -> None:
    value = orjson.dumps({"apiVersion": "v1", "kind": "K", "metadata": metadata, **rest})
    assert counted(metadata_of(value)["metadata"]) == counted(metadata)
