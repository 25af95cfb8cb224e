"""A processor is called by Envoy itself, or its process is asked: real ones, and the way from one to the other under load."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.cli.gateway.plugins import counters_of
from sampan.gateway.plugins.trampolines import is_served

from .eventually import eventually
from .gateway_with_plugins import SLOW, Alone, alone, filters_of, under_load
from .test_gateway_plugin_processes import directory

pytestmark = pytest.mark.skipif(not is_served(), reason="the jumps are written for Linux on x86-64")
MARKS = """
class Marks:
    def __init__(self, *, mark):
        self.mark = mark

    def request_headers(self, exchange):
        if exchange.request.path.endswith("?deny"):
            return exchange.respond(403, "not you\\n")
        exchange.request.headers["x-in"] = self.mark

    def response_headers(self, exchange):
        exchange.response.headers["x-mark"] = self.mark
"""
TOML = """
kind = "processor"
entry-point = "plugin:Marks"
settings = {type = "object", required = ["mark"], properties = {mark = {type = "string"}}}
"""
NOT_HERE = """
import sys

if "sampan.gateway.plugins.outside" not in sys.orig_argv:
    raise RuntimeError("only in a process of its own")
"""


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("exchanges")
    with alone(folder) as one:
        directory(folder / "marks", MARKS, TOML)
        directory(folder / "elsewhere", NOT_HERE + MARKS, TOML)
        for name in ("marks", "elsewhere"):
            one.plugin(name, path=str(folder / name), settings={"mark": "m0"})
            one.served(name)
        yield one


def is_called(gateway: Alone, name: str) -> bool | None:
    """Whether Envoy has been told to call a processor, and has taken it; None where it has no such filter."""
    found = filters_of(gateway).get(f"plugin/default/{name}+exchange")
    return None if found is None else found.endswith("DynamicModuleFilter")


def flipped(gateway: Alone, *, called: bool) -> None:
    """Put a plugin into Envoy's Python that is not shown to be quick, or take it away."""
    if called:
        (gateway.directory / "slow.yaml").unlink(missing_ok=True)
    else:
        gateway.plugin("slow", source=SLOW)
    eventually(f"called: {called}", lambda: is_called(gateway, "marks") is called)


def counted(gateway: Alone) -> tuple[str, int, int]:
    """Return what ``sampan gateway plugins`` has: the version that answered first, requests, own answers."""
    folder = Path(gateway.children()[gateway.envoy()].split()[2]).parent
    version = gateway.counters("marks")["version"]
    found = asyncio.run(counters_of(folder, "default/marks", version))
    assert found is not None and found["version"] == version
    return version, found["requests"], found["answered"]


def test_no_request_fails_when_the_way_or_the_version_changes(gateway: Alone) -> None:
    path = str(gateway.directory.parent / "marks")
    flipped(gateway, called=True)

    def ask() -> tuple[int, str]:
        answer = gateway.ask("/marks")
        same = answer.told["headers"].get("x-in") == answer.headers.get("x-mark")
        return answer.status, answer.headers.get("x-mark", "none") if same else "two versions"

    with under_load(ask) as found:
        for number, called in enumerate((True, False, False, True), 1):
            flipped(gateway, called=called)
            gateway.plugin("marks", path=path, settings={"mark": f"m{number}"})
            eventually(f"version {number} serves", lambda number=number: (200, f"m{number}") in found[-1:])  # type: ignore[misc]
            assert is_called(gateway, "marks") is called
    assert {status for status, _ in found} == {200}
    assert {mark for _, mark in found} <= {f"m{number}" for number in range(5)}


def test_both_hosts_count_for_one_plugin(gateway: Alone) -> None:
    flipped(gateway, called=True)
    version, requests, answered = counted(gateway)
    assert [gateway.status(f"/marks{more}") for more in ("", "?deny", "?deny")] == [200, 403, 403]
    assert counted(gateway) == (version, requests + 3, answered + 2)
    assert gateway.counters("marks")["requests"] == 0, "its process was not asked"
    flipped(gateway, called=False)
    assert counted(gateway) == (version, requests + 3, answered + 2), "what Envoy has counted is not lost"
    assert gateway.status("/marks?deny") == 403
    flipped(gateway, called=True)
    assert gateway.status("/marks?deny") == 403
    assert counted(gateway) == (version, requests + 5, answered + 4)


def test_one_that_cannot_be_had_in_envoy_is_asked(gateway: Alone) -> None:
    """Envoy refuses the call: of a first version, and of one after a version that it calls."""
    folder = gateway.directory.parent
    for number, (name, called) in enumerate((("elsewhere", False), ("marks", True), ("elsewhere", False))):
        gateway.plugin("elsewhere", path=str(folder / name), settings={"mark": f"m{number}"})
        eventually("it serves", lambda number=number: gateway.ask("/elsewhere").headers.get("x-mark") == f"m{number}")  # type: ignore[misc]
        eventually(f"called: {called}", lambda called=called: is_called(gateway, "elsewhere") is called)  # type: ignore[misc]
        answer = gateway.ask("/elsewhere")
        assert (answer.status, answer.told["headers"]["x-in"]) == (200, f"m{number}")
