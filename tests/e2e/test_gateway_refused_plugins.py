"""Envoy refuses a version of a plugin, or to call one itself: only that plugin hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.gateway.plugins.trampolines import is_served

from .eventually import eventually
from .gateway_with_plugins import Alone, alone, named, route
from .test_gateway_plugin_processes import directory
from .test_gateway_wasm import PROXY, compiled

OWN = "gateway.sampan.dev"
MARKS = """
class Marks:
    def response_headers(self, exchange):
        exchange.response.headers["x-word"] = "marks"
"""
MARKS_TOML = 'kind = "processor"\nentry-point = "plugin:Marks"\n'
HOOK = "def request(request):\n    request.response_headers['x-word'] = 'WORD'\n"


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[Alone]:
    with alone(tmp_path) as served:
        yield served


def guarded(gateway: Alone, name: str, group: str) -> None:
    """Put a route that nobody may pass, by a filter that the listener does not have yet."""
    guard = named(f"{OWN}/v1alpha1", "Middleware", name, ipAllowList={"sourceRange": [group]})
    found = route(name)
    reference = {"group": OWN, "kind": "Middleware", "name": name}
    found["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
    gateway.write(name, guard, found)
    eventually(f"/{name} is guarded", lambda: gateway.status(f"/{name}") == 403)


@pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
def test_plugins_that_envoy_will_not_call_are_asked(gateway: Alone, tmp_path: Path) -> None:
    folder = Path(gateway.children()[gateway.envoy()].split()[2]).parent
    for module in (folder / "plugins").glob("libsampan-*.so"):
        module.write_bytes(b"no object")
    for name in ("one", "two"):
        gateway.plugin(name, source=HOOK.replace("WORD", name))
    gateway.plugin("marks", path=str(directory(tmp_path / "marks", MARKS, MARKS_TOML)))
    for name in ("one", "two", "marks"):
        gateway.served(name)
        assert gateway.ask(f"/{name}").headers["x-word"] == name
    for name in ("one/question", "marks+exchange"):
        assert f"envoy refused TypedExtensionConfig plugin/default/{name}" in gateway.log.read_text()
    guarded(gateway, "guarded", "192.0.2.1")
    gateway.plugin("one", source=HOOK.replace("WORD", "three"))
    seen = set[str]()

    def swapped() -> bool:
        answer = gateway.ask("/one")
        assert answer.status == 200
        seen.add(answer.headers["x-word"])
        return "three" in seen

    eventually("another version serves", swapped)
    assert seen <= {"one", "three"} and "Programmed: Invalid" not in gateway.log.read_text()


def test_a_refused_version_leaves_the_listener_to_others(gateway: Alone, tmp_path: Path) -> None:
    folder = compiled(tmp_path / "proxy", PROXY)
    gateway.plugin("proxy", path=str(folder), settings={"a": "b"})
    gateway.served("proxy")
    compiled(folder, PROXY.replace("proxy_add_header_map_value", "proxy_of_nobody"))
    eventually("it is refused", lambda: "default/proxy: Accepted: Invalid: Envoy refused it" in gateway.log.read_text())
    assert gateway.ask("/proxy").told["headers"]["x-in"] == '{"a": "b"}', "the version before serves"
    guarded(gateway, "guarded", "192.0.2.1")
    assert gateway.ask("/proxy").told["headers"]["x-in"] == '{"a": "b"}'
    compiled(folder, PROXY.replace('"x-out"', '"x-new"'))
    eventually("a mended one serves", lambda: "x-new" in gateway.ask("/proxy").headers)
