"""ASGI middlewares: what Envoy is told, and what they may send."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.gateway.plugins.asgi import check, url_of
from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.xds.types import CLUSTER, EXTENSION, LISTENER

from .situation import Situation, obj, opened, path_rule, route


def reference(name: str) -> dict[str, Any]:
    return {
        "type": "ExtensionRef",
        "extensionRef": {"group": "gateway.sampan.dev", "kind": "Plugin", "name": name},
    }


def chain(there: Situation, listener: str) -> list[str]:
    manager = opened(there.get(LISTENER, listener)["filter_chains"][0]["filters"][0]["typed_config"])
    return [entry["name"] for entry in manager["http_filters"]]


def test_a_middleware_has_an_inner_listener_with_the_rest_of_the_chain() -> None:
    rules = [path_rule("PathPrefix", "/", filters=[reference("a"), reference("b"), reference("h")])]
    there = Situation(*(obj("Plugin", name, {"path": "/x"}) for name in "abh"))
    for name, kind in (("a", "asgi"), ("b", "asgi"), ("h", "hook")):
        there.pipeline.put_plugin(f"shop/{name}", Loaded("v", f"sampan_plugin_{name}_app", kind), "")
    there.put(route("r", *rules))
    outer = chain(there, "shop/gw/80")
    names = ["plugin/shop/h/question", "table", "plugin/shop/a", "plugin/shop/b", "safe-retry", "session"]
    assert [name for name in outer if name in names] == names
    assert chain(there, "inner/shop/a/shop/gw/80") == ["table", *names[3:], "envoy.filters.http.router"]
    assert chain(there, "inner/shop/b/shop/gw/80") == ["safe-retry", "session", "envoy.filters.http.router"]
    module = opened(there.get(EXTENSION, "plugin/shop/a")["typed_config"])
    assert not module.get("terminal_filter")
    assert there.hosts()["*"][0]["request_headers_to_remove"] == ["x-sampan-table"]
    there.put(route("r", path_rule("PathPrefix", "/", filters=[reference("h")])))
    assert not [name for name in (*there.names(LISTENER), *there.names(CLUSTER)) if name.startswith("inner/")]


@pytest.mark.parametrize(
    ("message", "started"),
    [
        ("text", False),
        ({"type": "websocket.accept"}, False),
        ({"type": "http.response.body", "body": b""}, False),
        ({"type": "http.response.start", "status": 200}, True),
        ({"type": "http.response.start", "status": 99}, False),
        ({"type": "http.response.start", "status": 200, "headers": [("a", "b")]}, False),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a", b"b\r\nc: d")]}, False),
        ({"type": "http.response.start", "status": 200, "headers": [(b"a b", b"c")]}, False),
        ({"type": "http.response.body", "body": "text"}, True),
    ],
)
def test_what_a_middleware_may_not_send(message: Any, started: bool) -> None:
    with pytest.raises(ValueError):
        check(message, started)


@pytest.mark.parametrize(
    ("path", "raw_path", "query", "url"),
    [
        ("/a b", b"/a%20b", b"", "http://h/a%20b"),
        ("/a/b", b"/a%2Fb", b"x=%2F", "http://h/a%2Fb?x=%2F"),
        ("/changed", b"/a%20b", b"x", "http://h/changed?x"),
        ("/ä", None, b"", "http://h/%C3%A4"),
    ],
)
def test_a_path_goes_on_as_it_came_unless_it_was_changed(path: str, raw_path: Any, query: bytes, url: str) -> None:
    headers = [(b"host", b"h")]
    scope = {"path": path, "raw_path": raw_path, "query_string": query, "scheme": "http", "headers": headers}
    assert url_of(scope) == url
