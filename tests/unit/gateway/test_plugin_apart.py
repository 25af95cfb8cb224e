"""Which processors Envoy may call itself, by what is said of them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.apart import apart_of
from sampan.gateway.plugins.content import Content, content_of
from sampan.gateway.plugins.loader import Plugins
from sampan.gateway.plugins.sources.seam import Fetched

WHOLE = "class P:\n    def response_content(self, exchange, content):\n        return content\n"
TOML = 'kind = "processor"\nentry-point = "plugin:P"\n'
TYPES = 'content-types = ["application/json"]\n'


def content(spec: dict[str, Any], toml: str = TOML + TYPES, package: str = "") -> Content:
    folder = f"{package}/" if package else ""
    files = {f"{folder}plugin.py": WHOLE.encode(), f"{folder}plugin.toml": toml.encode()}
    return content_of("shop/p", {"spec": spec}, None, Fetched(files, "1", package))


@pytest.mark.parametrize(
    ("spec", "toml", "phases", "why"),
    [
        ({}, "", ("request_headers", "response_headers", "request_content", "response_content"), ""),
        ({}, 'max-content = "256Ki"\n', ("response_content",), ""),
        ({}, 'max-content = "257Ki"\n', ("response_content",), "its max-content is more than 256Ki"),
        ({}, "", ("request_headers", "response_body"), "it has response_body, which Envoy cannot call"),
        ({}, "", ("response_trailers",), "it has response_trailers, which Envoy cannot call"),
        ({"isolation": "Process"}, "", ("request_headers",), "its Plugin says isolation: Process"),
        (
            {"memory": "100Mi"},
            "",
            ("request_headers",),
            "its Plugin says memory, which only a process of its own can be held to",
        ),
    ],
)
def test_what_keeps_a_processor_in_its_process(spec: Any, toml: str, phases: tuple[str, ...], why: str) -> None:
    assert apart_of(content(spec, TOML + TYPES + toml), phases) == why


def test_an_installed_package_is_left_where_it_is() -> None:
    assert apart_of(content({}, package="geo"), ("request_headers",)) == "it is an installed package"


def test_who_asks_for_a_process_asks_for_another_version() -> None:
    assert content({}).version != content({"isolation": "Process"}).version


async def test_what_is_loaded_says_how_envoy_may_call_it(tmp_path: Path) -> None:
    (tmp_path / "p").mkdir()
    (tmp_path / "p/plugin.py").write_text(WHOLE)
    (tmp_path / "p/plugin.toml").write_text(TOML + TYPES)
    spec: dict[str, Any] = {"path": str(tmp_path / "p")}
    metadata = {"name": "p", "namespace": "shop", "uid": "u"}
    changed = asyncio.Event()
    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        plugins = Plugins(tmp_path, changed.set, group, tmp_path, tmp_path / "log")
        plugins.on_plugin("ADDED", None, {"metadata": metadata, "spec": spec})
        await plugins.loaded()
        first = plugins.live["shop/p"]
        assert (first.kind, first.phases, first.apart) == ("processor", ("response_content",), "")
        assert first.slow == "" and not first.is_slow
        assert (tmp_path / first.package / "plugin.py").read_text() == WHOLE
        assert first.package == f"sampan_plugin_{first.version}"
        said = json.loads(first.deployment)
        assert (said["key"], said["entry_point"]) == ("shop/p", "plugin:P")
        assert said["content_types"] == ["application/json"]
        changed.clear()
        plugin = {"metadata": {**metadata, "generation": 2}, "spec": {**spec, "isolation": "Process"}}
        plugins.on_plugin("MODIFIED", None, plugin)
        await changed.wait()
        assert plugins.live["shop/p"].apart == "its Plugin says isolation: Process"
        (tmp_path / "p/plugin.py").write_text(WHOLE.replace("return", "return open(content.decode()) or"))
        while not (second := plugins.live["shop/p"]).slow:
            changed.clear()
            await changed.wait()
        assert second.slow.startswith("response_content, line 3: ") and not second.is_slow, "it holds nobody in Envoy"
        plugins.sweep({"shop/p": first.version})  # Envoy may still call it
        assert (tmp_path / first.package / "plugin.py").exists() and (tmp_path / Path(first.socket).name).exists()
        plugins.sweep({})
        assert not (tmp_path / first.package).exists()
        plugins.on_plugin("DELETED", plugin, plugin)
        plugins.sweep({})
