"""What Envoy refuses, or would: it stays with the one it belongs to, and nothing stops for it."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.gateway import ads, refusals
from sampan.gateway.attachment import Attachments, Verdict
from sampan.gateway.resources import Translation
from sampan.gateway.routes import Problems
from sampan.gateway.status import plugin_status, route_status
from sampan.gateway.world import World


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"type": "RequestHeaderModifier"}, "needs"),
        ({"type": "ExtensionRef"}, "needs"),
        ({"type": "CORS", "cors": {}}, "not served"),  # a kind that only the upstream definitions know
        ({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "a b", "value": ""}]}}, "name"),
        ({"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["Host"]}}, "Host"),
        ({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "a", "value": "\n"}]}}, "line"),
        ({"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "a", "value": "b"}]}}, ""),
    ],
)
def test_filters_that_cannot_be_served(item: dict[str, Any], word: str) -> None:
    text = refusals.of_rule({"filters": [item]})
    assert bool(text) == bool(word) and word in text
    assert refusals.of_rule({"backendRefs": [{"name": "web", "filters": [item]}]}) == text


@pytest.mark.parametrize("text", ["(", "[a", "a(?=b)", "(?<!a)b", r"(a)\1", "a*+", "(?P<n>a)(?P=n)", "*a"])
def test_expressions_that_re2_refuses(text: str) -> None:
    assert refusals.of_regex(text)


@pytest.mark.parametrize(
    "text", [r"/v\d+/.*", r"a\++", "[*+]", "[]+*]+", r"\pL+", "(?i)ab", r"\\1", "(?:a|b)", "[[:alpha:]]+"]
)
def test_expressions_that_re2_takes(text: str) -> None:
    assert refusals.of_regex(text) == ""


@pytest.mark.parametrize("path", ["shop", "/a?b", "/a#b", ""])
def test_paths_that_no_request_has(path: str) -> None:
    assert refusals.of_match({"path": {"type": "PathPrefix", "value": path}})


def status_of(dropped: list[str], refused: dict[str, str]) -> dict[str, dict[str, Any]]:
    metadata = {"name": "r", "namespace": "shop", "generation": 3}
    route = {"metadata": metadata, "spec": {"rules": [{}, {}]}}
    verdict = Verdict({"name": "gw"}, 1, "Accepted", "the route is attached")
    translation = Translation({}, Attachments({}, {"shop/r": [verdict]}), {"shop/r": Problems(dropped=dropped)})
    found = route_status(WORLD, translation, "shop/r", route, "2026-01-01T00:00:00Z", refused)
    assert found is not None
    return {entry["type"]: entry for entry in found["parents"][0]["conditions"]}


WORLD = World({}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}, "", "")


def test_a_dropped_rule_is_told() -> None:
    some = status_of(["rule 1: no"], {})
    assert some["Accepted"]["status"] == "True"
    assert some["PartiallyInvalid"]["status"] == "True" and "rule 1: no" in some["PartiallyInvalid"]["message"]
    every = status_of(["rule 0: no", "rule 1: no"], {})
    assert every["Accepted"]["reason"] == "UnsupportedValue" and "PartiallyInvalid" not in every
    assert "PartiallyInvalid" not in status_of([], {})


def test_a_refusal_of_another_gateway_is_not_this_routes() -> None:
    assert status_of([], {"shop/other": "no"})["Accepted"]["status"] == "True"
    assert "no such" in status_of([], {"shop/gw": "no such"})["Accepted"]["message"]


def test_a_plugin_that_envoy_refuses_is_not_called_live() -> None:
    plugin = {"metadata": {"generation": 2}, "spec": {}, "status": {"liveVersion": "old", "liveSince": "then"}}
    found = plugin_status(WORLD, "shop/mark", plugin, "now", "cannot import")
    assert (found["liveVersion"], found["liveSince"]) == ("old", "then")
    assert found["conditions"][0]["status"] == "False" and "cannot import" in found["conditions"][0]["message"]


class Envoy:
    """An Envoy that refuses resources of some content."""

    def __init__(self, server: ads.Ads) -> None:
        self.server, self.connection = server, ads.Connection()
        self.connection.subscribed[ads.ROUTES] = {"a", "b", "c"}
        server._connections.add(self.connection)

    def answer(self) -> None:
        while waiting := self.connection.waiting.get(ads.ROUTES):
            nonce, names = waiting
            request: dict[str, Any] = {"type_url": ads.ROUTES, "response_nonce": nonce}
            if any(self.server.snapshot[ads.ROUTES].get(name) == b"bad" for name in names):
                request["error_detail"] = {"message": "no"}
            self.server._on_request(self.connection, request)


async def test_a_refusal_belongs_to_its_resource_until_that_is_mended() -> None:
    server = ads.Ads()
    envoy = Envoy(server)

    def publish(**routes: bytes) -> dict[str, str]:
        server.publish({ads.ROUTES: routes})
        envoy.answer()
        return server.refusals(ads.ROUTES)

    assert publish(a=b"1", b=b"bad", c=b"3") == {"b": "no"}
    assert publish(a=b"2", b=b"bad", c=b"3") == {"b": "no"}, "another resource's acknowledgement clears nothing"
    await server.settled()
    assert publish(a=b"2", b=b"4", c=b"3") == {}
    assert publish(a=b"2", b=b"bad", c=b"3") == {"b": "no"}
    assert publish(a=b"2", c=b"3") == {}, "what is gone is no problem"
