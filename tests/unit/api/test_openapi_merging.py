"""The OpenAPI v2 of extension servers in ours: what is added, once, and under which name."""

from __future__ import annotations

from typing import Any

from sampan.api.openapi_merging import merged

META = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"


def reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/definitions/{name}"}


def document(size: str, *versions: str) -> dict[str, Any]:
    paths = {
        f"/apis/ext.io/{version}/widgets": {"get": {"responses": {"200": {"schema": reference("io.ext.Widget")}}}}
        for version in versions
    }
    widget = {"type": "object", "properties": {"metadata": reference(META), "size": reference("io.ext.Size")}}
    definitions = {"io.ext.Widget": widget, "io.ext.Size": {"type": size}, META: {"x": 1}, "io.ext.Unused": {}}
    return {"paths": paths | {"/version/": {}}, "definitions": definitions}


def test_what_the_paths_reach_is_added_once() -> None:
    taken: dict[str, Any] = {META: {"ours": True}}
    paths, definitions = merged(document("string", "v1", "v2"), "/apis/ext.io/v1/", taken)
    assert list(paths) == ["/apis/ext.io/v1/widgets"]
    assert sorted(definitions) == ["io.ext.Size", "io.ext.Widget"] and taken[META] == {"ours": True}
    paths, definitions = merged(document("string", "v1", "v2"), "/apis/ext.io/v2/", taken)
    assert list(paths) == ["/apis/ext.io/v2/widgets"] and not definitions


def test_another_definition_of_the_same_name_gets_its_own() -> None:
    taken: dict[str, Any] = {}
    merged(document("string", "v1"), "/apis/ext.io/v1/", taken)
    paths, definitions = merged(document("integer", "v2"), "/apis/ext.io/v2/", taken)
    assert definitions["io.ext.Size_v2"] == {"type": "integer"}
    (item,) = paths.values()
    (name,) = [
        name
        for name in ("io.ext.Widget", "io.ext.Widget_v2")
        if reference(name) == item["get"]["responses"]["200"]["schema"]
    ]
    assert taken[name]["properties"]["size"] == reference("io.ext.Size_v2")
