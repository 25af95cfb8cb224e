"""A table in parts, where it is asked for and can be."""

from __future__ import annotations

from typing import Any

from sampan.gateway.xds.scopes import PARTS, part_of
from sampan.gateway.xds.types import LISTENER, ROUTES, SCOPES

from .situation import Situation, gateway, obj, path_rule, route

REFERENCE = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "many"}
TABLE = "shop/gw/80"


def situation(*routes: dict[str, Any]) -> Situation:
    parameters = obj("GatewayParameters", "many", {"manyHosts": True})
    return Situation(parameters, gateway(infrastructure={"parametersRef": REFERENCE}), *routes)


def on(name: str, *hostnames: str) -> dict[str, Any]:
    return route(name, path_rule("PathPrefix", "/"), hostnames=list(hostnames))


def part(host: str) -> str:
    return f"{TABLE}|{part_of(host)}"


def neighbour_of(host: str) -> str:
    """Return another host of the same part."""
    return next(
        name for name in (f"h{number}.example" for number in range(100 * PARTS)) if part_of(name) == part_of(host)
    )


def test_a_change_is_of_one_part() -> None:
    there = situation(on("a", "a.example"), on("b", "b.example"))
    assert there.names(ROUTES) == sorted((part("a.example"), part("b.example")))
    assert there.names(SCOPES) == [f"{TABLE}|a.example", f"{TABLE}|b.example"]
    before = dict(there.pipeline.ads.resources[ROUTES])
    changed = on("a", "a.example")
    changed["spec"]["rules"][0]["matches"][0]["path"]["value"] = "/x"
    there.put(changed)
    after = there.pipeline.ads.resources[ROUTES]
    assert [name for name in after if after[name] != before[name]] == [part("a.example")]
    there.delete(changed)
    assert there.names(ROUTES) == [part("b.example")] and there.names(SCOPES) == [f"{TABLE}|b.example"]


def test_hosts_of_a_part_share_a_table_and_come_and_go_alone() -> None:
    other = neighbour_of("a.example")
    there = situation(on("a", "a.example"), on("b", other))
    assert there.names(ROUTES) == [part("a.example")]
    assert there.names(SCOPES) == sorted((f"{TABLE}|a.example", f"{TABLE}|{other}"))
    alone = situation(on("a", "a.example")).pipeline.ads.resources[ROUTES]
    there.delete(on("b", other))
    assert there.pipeline.ads.resources[ROUTES] == alone
    assert there.names(SCOPES) == [f"{TABLE}|a.example"]


def test_of_a_part_that_envoy_refuses_the_route_that_changed_is_to_blame() -> None:
    other = neighbour_of("a.example")
    there = situation(on("a", "a.example"))
    ads = there.pipeline.ads
    ads.on_answer(ROUTES, part("a.example"), ads.sequence, "")
    there.put(on("b", other))
    ads.on_answer(ROUTES, part(other), ads.sequence, "no")
    there.pipeline.update()
    assert "Envoy refused it: no" in there.conditions("HTTPRoute", "b")["Accepted"]["message"]
    assert there.conditions("HTTPRoute", "a")["Accepted"]["status"] == "True"
    assert there.names(SCOPES) == [f"{TABLE}|a.example"]


def test_a_wildcard_makes_it_one_table_again() -> None:
    there = situation(on("a", "a.example"))
    scoped = there.pipeline.ads.resources[LISTENER][TABLE]
    wide = on("wide", "*.example")
    there.put(wide)
    assert there.names(ROUTES) == [TABLE] and there.names(SCOPES) == []
    assert sorted(there.hosts()) == ["*", "*.example", "a.example"]
    assert there.pipeline.ads.resources[LISTENER][TABLE] != scoped
    there.delete(wide)
    assert there.names(ROUTES) == [part("a.example")]
    assert there.pipeline.ads.resources[LISTENER][TABLE] == scoped


def test_a_host_that_envoy_refuses_is_the_fault_of_its_route() -> None:
    there = situation(on("a", "a.example"))
    ads = there.pipeline.ads
    ads.on_answer(ROUTES, part("a.example"), ads.sequence, "")
    there.put(on("b", "b.example"))
    ads.on_answer(ROUTES, part("b.example"), ads.sequence, "no")
    there.pipeline.update()
    assert "Envoy refused it: no" in there.conditions("HTTPRoute", "b")["Accepted"]["message"]
    assert there.conditions("HTTPRoute", "a")["Accepted"]["status"] == "True"
    assert there.names(ROUTES) == [part("a.example")]


def test_nothing_stays_of_a_gateway_that_does_not_ask_for_it_any_more() -> None:
    there = situation(on("a", "a.example"))
    there.put(gateway())
    assert there.names(ROUTES) == [TABLE] and there.names(SCOPES) == []
