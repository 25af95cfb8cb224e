"""Routes that need a filter of a listener which Envoy refuses: never served without it, and nobody else waits."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.xds.types import LISTENER, ROUTES

from .answering import Envoy
from .situation import HTTP, Situation, gateway, obj, path_rule, route

TABLE = "shop/gw/80"
PARAMETERS = {"parametersRef": {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "p"}}
WORDS = "and {} until that is mended: no shop/gw/80"
GUARDS: dict[str, dict[str, Any]] = {
    "fault": {"fault": {"abort": {"status": 418, "percent": 100}}},
    "keys": {"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}},
    "size": {"buffering": {"maxRequestBodyBytes": 10}},
}


def guarded(name: str, *guards: str, path: str = "", host: str = "") -> dict[str, Any]:
    filters = [
        {"type": "ExtensionRef", "extensionRef": {"group": "gateway.sampan.dev", "kind": "Middleware", "name": guard}}
        for guard in guards
    ]
    rule = path_rule("PathPrefix", path or f"/{name}", filters=filters)
    return route(name, rule, **({"hostnames": [host]} if host else {}))


class Served:
    """A situation before an Envoy that refuses listeners with an access log."""

    def __init__(self, *objects: dict[str, Any], many: bool = False) -> None:
        self.parameters = {"manyHosts": True} if many else {}
        middlewares = [obj("Middleware", name, spec) for name, spec in GUARDS.items()]
        self.there = Situation(gateway(HTTP, infrastructure=PARAMETERS), *middlewares, *objects)
        self.envoy = Envoy(self.there.pipeline.ads, self.refuses)
        self.envoy.begin()
        self.spoil(False)

    @staticmethod
    def refuses(type_url: str, content: bytes) -> bool:
        return type_url == LISTENER and b"NO_SUCH" in content

    def put(self, *objects: dict[str, Any]) -> None:
        self.there.put(*objects)
        self.settle()

    def spoil(self, bad: bool) -> None:
        """Have Envoy refuse what the listener is, or take it."""
        self.put(self.spoiled(bad))

    def spoiled(self, bad: bool = True) -> dict[str, Any]:
        log = {"accessLog": {"format": "%NO_SUCH%"}} if bad else {}
        return obj("GatewayParameters", "p", {**self.parameters, **log})

    def settle(self) -> None:
        while self.envoy.answer(self.check):
            self.there.pipeline.update()
        ads = self.there.pipeline.ads
        assert ads.acknowledged == ads.sequence, "nobody waits for what is held"

    def check(self) -> None:
        check(self.envoy)

    def served(self) -> dict[str, Any]:
        """Return what becomes of the requests of each path: a status, or the path's filters."""
        return {
            entry["match"]["path_separated_prefix"]: entry["direct_response"]["status"]
            if "direct_response" in entry
            else len(entry.get("typed_per_filter_config", {}))
            for entry in self.envoy.routes(TABLE)
        }

    def accepted(self, name: str) -> str:
        found = self.there.conditions("HTTPRoute", name)["Accepted"]
        assert (found["status"] == "True") == (found["reason"] == "Accepted")
        return str(found["message"])


def test_a_new_route_is_closed_and_one_that_was_there_serves_as_before() -> None:
    served = Served(guarded("open"), guarded("old", "keys"), guarded("other"))
    served.spoil(True)
    served.put(guarded("new", "fault"), guarded("open", "fault", path="/opened"), guarded("other", path="/others"))
    assert served.served() == {"/open": 0, "/old": 1, "/others": 0, "/new": 503}
    assert WORDS.format("is answered 503") in served.accepted("new")
    assert WORDS.format("serves as before") in served.accepted("open")
    assert "refused" not in served.accepted("other") + served.accepted("old")
    served.spoil(False)
    assert served.served() == {"/opened": 1, "/old": 1, "/others": 0, "/new": 1}
    assert "refused" not in served.accepted("new") + served.accepted("open")


def test_what_is_held_changes_and_goes() -> None:
    served = Served(guarded("open"))
    served.spoil(True)
    served.put(guarded("new", "fault"))
    served.put(guarded("new", "keys", path="/moved"))
    assert served.served() == {"/open": 0, "/moved": 503}, "what it matches now is closed"
    served.put(guarded("new", path="/moved"))
    assert served.served() == {"/open": 0, "/moved": 0}
    assert "refused" not in served.accepted("new")
    served.put(guarded("new", "fault", path="/moved"), guarded("gone", "fault"))
    assert served.served() == {"/open": 0, "/moved": 0, "/gone": 503}, "it serves as it did last"
    served.there.delete(guarded("gone", "fault"))
    served.settle()
    assert served.served() == {"/open": 0, "/moved": 0}


def test_routes_and_a_listener_that_is_refused_come_at_once() -> None:
    served = Served(guarded("open"))
    served.there.pipeline.put("HTTPRoute", "shop/new", guarded("new", "fault"))
    served.there.pipeline.put("HTTPRoute", "shop/plain", guarded("plain"))
    served.spoil(True)
    assert served.served() == {"/open": 0, "/plain": 0, "/new": 503}


def test_a_bad_route_is_still_found_while_others_are_held() -> None:
    served = Served(guarded("open"))
    served.spoil(True)
    served.envoy.refuses = lambda kind, content: (
        Served.refuses(kind, content) or (kind == ROUTES and b"/bad" in content)
    )
    pipeline = served.there.pipeline
    for one in (guarded("new", "fault"), guarded("bad"), guarded("well"), guarded("open", "fault")):
        pipeline.put("HTTPRoute", f"shop/{one['metadata']['name']}", one)
    pipeline.update()
    served.settle()
    assert served.served() == {"/open": 0, "/well": 0, "/new": 503}
    assert "Envoy refused it: no" in served.accepted("bad")
    served.spoil(False)
    assert served.served() == {"/open": 1, "/well": 0, "/new": 1}


def test_a_bad_route_that_is_mended_while_it_is_held_is_not_the_one_that_was_refused() -> None:
    served = Served(guarded("a"))
    served.envoy.refuses = lambda kind, content: (
        Served.refuses(kind, content) or (kind == ROUTES and b"/bad" in content)
    )
    served.spoil(True)
    served.there.put(guarded("a", path="/bad"))
    served.there.put(guarded("a", "fault"))
    served.there.put(obj("GatewayParameters", "p", {}))
    served.settle()
    assert served.served() == {"/a": 1} and "refused" not in served.accepted("a")


def test_a_filter_that_is_configured_anew_leaves_its_routes_as_they_are() -> None:
    served = Served(obj("Middleware", "limit", {"inFlightReq": {"amount": 5}}), guarded("a", "limit"), guarded("b"))
    before = served.served()
    served.spoil(True)
    served.put(obj("Middleware", "limit", {"inFlightReq": {"amount": 7}}))
    served.put(guarded("b", path="/c"))
    assert served.served() == {"/a": before["/a"], "/c": 0}


def test_what_stands_behind_a_middleware_offers_what_stands_before_it() -> None:
    """The listener inside changes only with filters after the middleware: those before it are none of its own."""
    wrapped = guarded("wrapped")
    reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": "wrap"}
    wrapped["spec"]["rules"][0]["filters"] = [{"type": "ExtensionRef", "extensionRef": reference}]
    served = Served(obj("Plugin", "wrap", {"path": "/x"}), wrapped)
    served.there.pipeline.put_plugin("shop/wrap", Loaded("a", "sampan_plugin_a_app", "asgi"), "")
    served.put(guarded("a", "keys"))
    assert "inner/shop/wrap/shop/gw/80" in served.envoy.has[LISTENER]
    assert served.served() == {"/wrapped": 2, "/a": 1}


@pytest.mark.parametrize("routes_first", [False, True])
def test_an_envoy_that_comes_back_is_told_nothing_that_its_listener_lacks(routes_first: bool) -> None:
    served = Served(guarded("open"), guarded("old", "keys"))
    served.spoil(True)
    served.envoy.come_back(routes_first=routes_first)
    served.settle()
    served.there.put(guarded("new", "fault"))
    served.envoy.come_back(routes_first=routes_first)
    served.settle()
    assert served.served() == {"/open": 0, "/old": 1, "/new": 503}
    # the gateway begins anew before the same Envoy: that the listener has the filter of "old" is told by its version
    again = Served.__new__(Served)
    again.there, again.envoy = Situation(), served.envoy
    served.envoy.leave()
    again.there.put(*(obj("Middleware", name, spec) for name, spec in GUARDS.items()))
    again.there.put(gateway(HTTP, infrastructure=PARAMETERS))
    again.there.put(obj("GatewayParameters", "p", {"accessLog": {"format": "%NO_SUCH%"}}))
    again.there.put(guarded("open"), guarded("old", "keys"), guarded("new", "fault"))
    again.envoy.server = again.there.pipeline.ads
    again.envoy.come_back(routes_first=routes_first)
    again.settle()
    assert again.served() == {"/open": 0, "/old": 1, "/new": 503}


def test_of_two_envoys_one_refuses() -> None:
    served = Served(guarded("open"))
    strict, served.envoy = served.envoy, Envoy(served.there.pipeline.ads)
    served.envoy.begin()
    served.there.put(obj("GatewayParameters", "p", {"accessLog": {"format": "%NO_SUCH%"}}), guarded("new", "fault"))
    for _ in range(4):
        for envoy in (strict, served.envoy):
            envoy.answer(lambda envoy=envoy: check(envoy))  # type: ignore[misc]
            served.there.pipeline.update()
    assert served.served() == {"/open": 0, "/new": 503}
    assert "Envoy refused it" in served.there.listener("gw", "http")["Programmed"]["message"]
    assert WORDS.format("is answered 503") in served.accepted("new")
    strict.leave()
    served.there.pipeline.update()
    served.settle()
    assert served.served() == {"/open": 0, "/new": 1}


def test_what_waits_behind_a_change_that_comes_to_nothing_goes_on() -> None:
    """A route that Envoy refuses is mended before its answer is heard: what is there then is what Envoy has, and no answer
    will come. Another route, held until its listener is taken, waited behind it for ever."""
    served = Served(guarded("open"))
    served.envoy.refuses = lambda kind, content: (
        Served.refuses(kind, content) or (kind == ROUTES and b"/bad" in content)
    )
    served.there.put(guarded("c", "keys"))
    served.there.put(guarded("b", "fault"))
    served.spoil(True)
    for one in (guarded("b", "fault"), guarded("a", path="/bad"), guarded("a"), served.spoiled(False)):
        served.there.put(one)
    served.settle()
    assert served.served() == {"/open": 0, "/a": 0, "/b": 1, "/c": 1}


def test_what_envoy_says_to_have_when_it_comes_back_is_taken() -> None:
    """Its answer was lost with the connection; it is sent nothing that it has."""
    served = Served(guarded("open"))
    served.there.put(guarded("new"))
    served.envoy.lose()
    served.settle()
    assert served.there.pipeline.tables.open() == [] and served.served() == {"/open": 0, "/new": 0}


def test_a_bad_host_among_many_takes_no_other_with_it() -> None:
    """Of a table in parts the routes of the refused part are to blame, and of no other."""
    served = Served(guarded("open", host="open.example"), many=True)
    served.envoy.refuses = lambda kind, content: kind == ROUTES and b"/bad" in content
    for one in (guarded("a", path="/bad", host="a.example"), guarded("b", host="b.example")):
        served.there.put(one)
    served.settle()
    assert served.served() == {"/open": 0, "/b": 0}
    assert "Envoy refused it" in served.accepted("a") and "refused" not in served.accepted("b")


def check(envoy: Envoy) -> None:
    assert envoy.unguarded() == []


STEPS = st.one_of(
    st.tuples(
        st.sampled_from(["put", "bad"]), st.sampled_from("abc"), st.sets(st.sampled_from(sorted(GUARDS)), max_size=2)
    ),
    st.tuples(st.just("delete"), st.sampled_from("abc"), st.just(set[str]())),
    st.tuples(st.sampled_from(["spoil", "mend", "return", "lose", "drain"]), st.just(""), st.just(set[str]())),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(STEPS, st.booleans()), max_size=14), st.booleans())
def test_whatever_changes_nothing_is_unguarded_and_all_is_there_at_the_end(
    steps: list[tuple[tuple[str, str, set[str]], bool]], many: bool
) -> None:
    served = Served(guarded("open", host="open.example"), many=many)
    served.envoy.refuses = lambda kind, content: (
        Served.refuses(kind, content) or (kind == ROUTES and b"/bad" in content)
    )
    wanted: dict[str, int | None] = {"/open": 0}
    for number, ((what, name, guards), settles) in enumerate(steps):
        if what in ("put", "bad"):
            path = "/bad" if what == "bad" else ""
            served.there.put(guarded(name, *sorted(guards), path=path, host=f"{name}.example"))
            wanted[f"/{name}"] = len(guards) if what == "put" else None
        elif what == "delete":
            served.there.delete(guarded(name))
            wanted.pop(f"/{name}", None)
        elif what == "return":
            served.envoy.come_back(routes_first=bool(number % 2))
        elif what == "lose":
            served.envoy.lose(routes_first=bool(number % 2))
        elif what == "drain":
            served.envoy.drained()
        else:
            served.there.put(served.spoiled(what == "spoil"))
        if settles:
            served.settle()
    served.settle()
    served.spoil(False)
    assert many or not served.envoy.began_with_none
    found = served.served()
    for path, filters in wanted.items():
        if filters is not None:  # what Envoy refuses of a route leaves it as it was, or is not there
            assert found[path] == filters
    assert not served.there.pipeline.tables.open(), "nothing is waited for"
