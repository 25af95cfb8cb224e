"""plugin.toml, settings, and the version that a plugin's content comes to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.content import content_of
from sampan.gateway.plugins.manifest import PluginError, manifest_of

MANIFEST = """
name = "rate"
factory = "plugin:make"

[settings]
type = "object"
required = ["rate"]
properties.rate = {type = "integer", minimum = 1}
properties.words = {type = "array", items = {type = "string"}, default = ["a"]}
properties.deep = {type = "object", default = {}, properties = {mark = {type = "string", default = "x"}}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text("def make(settings): return lambda request: None\n")
    (tmp_path / "plugin.toml").write_text(MANIFEST)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "table.csv").write_text("a,b\n")
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    return tmp_path


def plugin(folder: Path, **spec: Any) -> dict[str, Any]:
    return {"spec": {"path": str(folder), **spec}}


def test_settings_get_their_defaults_and_data_files_come_along(folder: Path) -> None:
    found = content_of("shop/rate", plugin(folder, settings={"rate": 5}, failure="Open", timeout="1s500ms"))
    assert found.deployment.settings == {"rate": 5, "words": ["a"], "deep": {"mark": "x"}}
    assert (found.deployment.entry_point, found.deployment.factory) == ("plugin:make", True)
    assert (found.deployment.fails_open, found.deployment.timeout_seconds) == (True, 1.5)
    assert sorted(found.files) == ["data/table.csv", "plugin.py", "plugin.toml"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (None, "spec.settings.rate: Required value"),
        ({"rate": 0}, "spec.settings.rate: Invalid value: 0: spec.settings.rate in body should be greater"),
        ({"rate": "5"}, 'spec.settings.rate: Invalid value: "string"'),
        ({"rate": 5, "rat": 1}, "spec.settings.rat: the plugin has no such setting (known: deep, rate, words)"),
        ({"rate": 5, "deep": {"no": 1}}, "spec.settings.deep.no: "),
        ({"rate": 5, "words": ["a", 1]}, "spec.settings.words[1]: "),
        ([], "spec.settings: "),
    ],
)
def test_settings_are_refused_by_their_path(folder: Path, settings: Any, words: str) -> None:
    with pytest.raises(PluginError) as refused:
        content_of("shop/rate", plugin(folder, settings=settings))
    assert words in str(refused.value)


def test_a_version_is_content_settings_and_plugin(folder: Path) -> None:
    first = content_of("shop/rate", plugin(folder, settings={"rate": 5})).version
    assert content_of("shop/rate", plugin(folder, settings={"rate": 5})).version == first
    assert content_of("shop/rate", plugin(folder, settings={"rate": 6})).version != first
    assert content_of("shop/other", plugin(folder, settings={"rate": 5})).version != first
    (folder / "data" / "table.csv").write_text("a,c\n")
    assert content_of("shop/rate", plugin(folder, settings={"rate": 5})).version != first


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name =", "plugin.toml: "),
        ("nam = 'x'", "plugin.toml: nam: unknown field"),
        ("name = 1", "plugin.toml: name: a string"),
        ("kind = 'magic'", "plugin.toml: kind: 'magic' is not one of"),
        ("entry-point = 'plugin'", "plugin.toml: entry-point: 'plugin' is not of the form"),
        ("entry-point = 'a:b'\nfactory = 'a:c'", "plugin.toml: factory: only one"),
        ("settings = 5", "plugin.toml: settings: a schema"),
        ("[settings]\ntype = 'object'\nproperties.a = {type = 'strin'}", "plugin.toml: settings.properties[a].type"),
        (
            "[settings]\ntype = 'object'\nproperties.a = {type = 'string', default = 5}",
            "settings.properties[a].default",
        ),
        ("[settings]\ntype = 'object'\nproperties.a = 5", "plugin.toml: settings"),
    ],
)
def test_a_manifest_is_refused_by_its_field(text: str, words: str) -> None:
    with pytest.raises(PluginError) as refused:
        manifest_of({"plugin.toml": text.encode()})
    assert words in str(refused.value)


def test_a_directory_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no Python file"):
        content_of("shop/rate", plugin(tmp_path))
    with pytest.raises(PluginError, match="not a directory"):
        content_of("shop/rate", plugin(tmp_path / "gone"))
