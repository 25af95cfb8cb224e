"""A table for each host name, where it is asked for and can be."""

from __future__ import annotations

from typing import Any

from sampan.gateway.xds.types import LISTENER, ROUTES, SCOPES

from .situation import Situation, gateway, obj, path_rule, route

REFERENCE = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "many"}
TABLE = "shop/gw/80"


def situation(*routes: dict[str, Any]) -> Situation:
    parameters = obj("GatewayParameters", "many", {"manyHosts": True})
    return Situation(parameters, gateway(infrastructure={"parametersRef": REFERENCE}), *routes)


def on(name: str, *hostnames: str) -> dict[str, Any]:
    return route(name, path_rule("PathPrefix", "/"), hostnames=list(hostnames))


def test_each_host_has_a_table_and_a_change_is_of_one() -> None:
    there = situation(on("a", "a.example"), on("b", "b.example"))
    assert there.names(ROUTES) == [f"{TABLE}|a.example", f"{TABLE}|b.example"]
    keys = [f"{TABLE}|{host}{port}" for host in ("a.example", "b.example") for port in ("", ":80")]
    assert there.names(SCOPES) == keys
    before = dict(there.pipeline.ads.resources[ROUTES])
    changed = on("a", "a.example")
    changed["spec"]["rules"][0]["matches"][0]["path"]["value"] = "/x"
    there.put(changed)
    after = there.pipeline.ads.resources[ROUTES]
    assert [name for name in after if after[name] != before[name]] == [f"{TABLE}|a.example"]
    there.delete(changed)
    assert there.names(ROUTES) == [f"{TABLE}|b.example"] and len(there.names(SCOPES)) == 2


def test_a_wildcard_makes_it_one_table_again() -> None:
    there = situation(on("a", "a.example"))
    scoped = there.pipeline.ads.resources[LISTENER][TABLE]
    wide = on("wide", "*.example")
    there.put(wide)
    assert there.names(ROUTES) == [TABLE] and there.names(SCOPES) == []
    assert sorted(there.hosts()) == ["*", "*.example", "a.example"]
    assert there.pipeline.ads.resources[LISTENER][TABLE] != scoped
    there.delete(wide)
    assert there.names(ROUTES) == [f"{TABLE}|a.example"]
    assert there.pipeline.ads.resources[LISTENER][TABLE] == scoped


def test_a_host_that_envoy_refuses_is_the_fault_of_its_route() -> None:
    there = situation(on("a", "a.example"))
    ads = there.pipeline.ads
    ads.on_answer(ROUTES, f"{TABLE}|a.example", ads.sequence, "")
    there.put(on("b", "b.example"))
    ads.on_answer(ROUTES, f"{TABLE}|b.example", ads.sequence, "no")
    there.pipeline.update()
    assert "Envoy refused it: no" in there.conditions("HTTPRoute", "b")["Accepted"]["message"]
    assert there.conditions("HTTPRoute", "a")["Accepted"]["status"] == "True"
    assert there.names(ROUTES) == [f"{TABLE}|a.example"]


def test_nothing_stays_of_a_gateway_that_does_not_ask_for_it_any_more() -> None:
    there = situation(on("a", "a.example"))
    there.put(gateway())
    assert there.names(ROUTES) == [TABLE] and there.names(SCOPES) == []
