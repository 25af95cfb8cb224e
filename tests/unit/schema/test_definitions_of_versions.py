"""Definitions read one by one are what the whole file says, in every version, and in whatever way it is written."""

from __future__ import annotations

from pathlib import Path

import kubernetes_validate
import orjson
import pytest

from sampan.schema.definitions import Definitions
from sampan.schema.types import VERSIONS

FOLDER = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"


@pytest.mark.parametrize("version", VERSIONS)
def test_each_is_what_the_file_says(version: str) -> None:
    file = FOLDER / f"v{version}.0-local" / "_definitions.json"
    whole, found = orjson.loads(file.read_bytes())["$defs"], Definitions(file)
    assert list(found) == list(whole) and len(found) == len(whole) and "nothing" not in found
    assert dict(found) == whole
    assert found.kinds == {
        (gvk["group"], gvk["version"], gvk["kind"]): name
        for name, schema in whole.items()
        for gvk in schema.get("x-kubernetes-group-version-kind", ())
    }


def test_a_file_that_is_written_otherwise(tmp_path: Path) -> None:
    kind = {"group": "", "version": "v1", "kind": "B"}
    whole = {"a": {}, "b": {"x-kubernetes-group-version-kind": [kind], "properties": {"c": {"type": "string"}}}}
    file = tmp_path / "definitions.json"
    file.write_bytes(orjson.dumps({"$defs": whole, "$id": "x"}))
    found = Definitions(file)
    assert dict(found) == whole and found.kinds == {("", "v1", "B"): "b"}


def test_what_was_opened_is_read_whatever_takes_its_place(tmp_path: Path) -> None:
    file = tmp_path / "definitions.json"
    file.write_bytes(orjson.dumps({"$defs": {"a": {"type": "string"}}}, option=orjson.OPT_INDENT_2))
    found = Definitions(file)
    file.unlink()
    file.write_bytes(b"{}")
    assert found["a"] == {"type": "string"}
