"""Envoy takes a table whole or not at all: the route whose fault a refusal is, is found, and nobody else waits for it."""

from __future__ import annotations

from typing import Any

from sampan.gateway.xds.types import ROUTES

from .situation import Situation, path_rule, route

TABLE = "shop/gw/80"


def answer(there: Situation, bad: bytes = b"/bad") -> list[str]:
    """Answer as an Envoy that refuses tables with ``bad`` in them, until nothing changes; return the last table's routes."""
    before = b""
    while (content := there.pipeline.ads.resources[ROUTES][TABLE]) != before:
        before = content
        text = "no" if bad in content else ""
        there.pipeline.ads.on_answer(ROUTES, TABLE, there.pipeline.ads.sequence, text)
        there.pipeline.update()
    return sorted(entry["name"] for host in there.hosts().values() for entry in host)


def simple(name: str, path: str) -> dict[str, Any]:
    return route(name, path_rule("PathPrefix", path))


def accepted(there: Situation, name: str) -> str:
    return str(there.conditions("HTTPRoute", name)["Accepted"]["message"])


def test_one_of_several_changes_is_to_blame() -> None:
    there = Situation(simple("a", "/a"))
    assert answer(there) == ["shop/a/0"]
    for name, path in (("b", "/b"), ("c", "/bad"), ("d", "/d")):
        there.pipeline.put("HTTPRoute", f"shop/{name}", simple(name, path))
    there.pipeline.update()
    assert answer(there) == ["shop/a/0", "shop/b/0", "shop/d/0"]
    assert "Envoy refused it: no" in accepted(there, "c")
    assert "refused" not in accepted(there, "d")


def test_a_route_that_is_changed_to_something_bad_serves_as_before_until_it_is_mended() -> None:
    there = Situation(simple("a", "/a"), simple("b", "/b"))
    answer(there)
    there.put(simple("b", "/bad"))
    assert answer(there) == ["shop/a/0", "shop/b/0"]
    assert [entry["match"]["path_separated_prefix"] for entry in there.hosts()["*"]] == ["/a", "/b"]
    assert "refused" in accepted(there, "b")
    there.put(simple("a", "/other"))
    assert answer(there) == ["shop/a/0", "shop/b/0"]
    assert "refused" in accepted(there, "b") and "refused" not in accepted(there, "a")
    there.put(simple("b", "/good"))
    answer(there)
    assert sorted(entry["match"]["path_separated_prefix"] for entry in there.hosts()["*"]) == ["/good", "/other"]
    assert "refused" not in accepted(there, "b")


def test_a_refused_route_that_goes_leaves_nothing() -> None:
    there = Situation(simple("a", "/a"))
    answer(there)
    bad = simple("b", "/bad")
    there.put(bad)
    assert answer(there) == ["shop/a/0"]
    there.delete(bad)
    assert answer(there) == ["shop/a/0"]


def test_what_changes_during_a_trial_waits_for_its_turn() -> None:
    there = Situation(simple("a", "/a"))
    answer(there)
    for name, path in (("b", "/b"), ("c", "/bad")):
        there.pipeline.put("HTTPRoute", f"shop/{name}", simple(name, path))
    there.pipeline.update()
    there.pipeline.ads.on_answer(ROUTES, TABLE, there.pipeline.ads.sequence, "no")
    there.put(simple("d", "/d"), simple("b", "/b2"))
    assert answer(there) == ["shop/a/0", "shop/b/0", "shop/d/0"]
    paths = [entry["match"]["path_separated_prefix"] for entry in there.hosts()["*"]]
    assert sorted(paths) == ["/a", "/b2", "/d"]
