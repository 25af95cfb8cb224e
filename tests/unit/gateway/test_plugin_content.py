"""plugin.toml, settings, and the version that a plugin's content comes to."""

from __future__ import annotations

import json
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

WHOLE = "kind = 'processor'\ncontent-types = {}\n"


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
        ("content-types = ['text/*']", "plugin.toml: content-types: not of a plugin whose kind is 'hook'"),
        ("kind = 'asgi'\nmax-content = 5", "plugin.toml: max-content: not of a plugin whose kind is 'asgi'"),
        (WHOLE.format("'text/*'"), "plugin.toml: content-types: a list of media types is expected"),
        (WHOLE.format("[]"), "plugin.toml: content-types: a list of media types is expected"),
        (
            WHOLE.format("['text/*', 'json']"),
            "content-types[1]: 'json' is no media type (application/json, text/*, */*)",
        ),
        (WHOLE.format("['*/json']"), "content-types[0]: '*/json' is no media type"),
        (WHOLE.format("['text/html; charset=utf-8']"), "'text/html; charset=utf-8' is no media type"),
        (WHOLE.format("[5]"), "content-types[0]: 5 is no media type"),
        (WHOLE.format("['application/gRPC+proto']"), "content-types[0]: 'application/gRPC+proto' streams"),
        (WHOLE.format("['text/event-stream']"), "content-types[0]: 'text/event-stream' streams"),
        ("kind = 'processor'\nmax-content = '1Ki'", "plugin.toml: max-content: only beside content-types"),
        (WHOLE.format("['*/*']") + "max-content = 'much'", "plugin.toml: max-content: 'much': "),
        (WHOLE.format("['*/*']") + "max-content = 1.5", "plugin.toml: max-content: 1.5 is no quantity (128Ki)"),
        (WHOLE.format("['*/*']") + "max-content = true", "plugin.toml: max-content: True is no quantity (128Ki)"),
        (WHOLE.format("['*/*']") + "max-content = 0", "plugin.toml: max-content: 0 is not between 1 and 16Mi"),
        (
            WHOLE.format("['*/*']") + "max-content = '17Mi'",
            "plugin.toml: max-content: '17Mi' is not between 1 and 16Mi",
        ),
    ],
)
def test_a_manifest_is_refused_by_its_field(text: str, words: str) -> None:
    with pytest.raises(PluginError) as refused:
        manifest_of({"plugin.toml": text.encode()})
    assert words in str(refused.value)


def test_a_manifest_says_which_bodies_are_had_as_a_whole(folder: Path) -> None:
    (folder / "plugin.toml").write_text(
        WHOLE.format("['Application/JSON', 'text/*', 'text/*']") + "max-content = '16Mi'"
    )
    found = content_of("shop/rate", plugin(folder)).deployment
    assert (found.content_types, found.content_bytes) == (("application/json", "text/*"), 16 << 20)
    assert json.loads(found.json())["content_types"] == ["application/json", "text/*"]
    (folder / "plugin.toml").write_text(WHOLE.format("['*/*']"))
    assert content_of("shop/rate", plugin(folder)).deployment.content_bytes == 0


def test_a_directory_without_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no Python file"):
        content_of("shop/rate", plugin(tmp_path))
    with pytest.raises(PluginError, match="not a directory"):
        content_of("shop/rate", plugin(tmp_path / "gone"))
