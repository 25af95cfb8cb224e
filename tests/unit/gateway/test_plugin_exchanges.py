"""How a processor is asked: by Envoy itself where it may be, else in its process; no listener and no route hears of it."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.xds.plugins import socket_name
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, EXTENSION, LISTENER

from .situation import Situation, obj, opened, path_rule, route
from .test_plugin_middlewares import chain, reference

NAME = "plugin/shop/p+exchange"
QUICK = Loaded(
    "a",
    "",
    "processor",
    "/run/a.sock",
    ("request_headers", "response_headers"),
    fails_open=True,
    timeout_seconds=1.5,
    package="sampan_plugin_a",
    deployment='{"key": "shop/p", "settings": {"mark": "x"}}',
)
SLOW = Loaded("s", "sampan_plugin_s_app", slow="line 3: no")


def situation(live: Loaded = QUICK, exchange_module: str = "/run/exchange.so", failure: str = "Closed") -> Situation:
    rule = path_rule("PathPrefix", "/", filters=[reference("p")])
    plugin = obj("Plugin", "p", {"path": "/x", "failure": failure})
    there = Situation(route("r", rule), plugin, inline_module="/run/jumps.so", exchange_module=exchange_module)
    there.pipeline.world.put("Plugin status", "shop/p", plugin)
    put(there, "p", live)
    return there


def put(there: Situation, name: str, live: Loaded | None) -> None:
    there.pipeline.put_plugin(f"shop/{name}", live, "")
    there.pipeline.update()


def answered(there: Situation, words: str = "") -> None:
    """Envoy says that of the processor's filter."""
    there.pipeline.ads.on_answer(EXTENSION, NAME, there.pipeline.ads.sequence, words)
    there.pipeline.update()


def exchange(there: Situation) -> dict[str, Any]:
    return dict(opened(there.get(EXTENSION, NAME)["typed_config"]))


def is_called(there: Situation) -> bool:
    return "dynamic_module_config" in exchange(there)


def told(there: Situation) -> str:
    return str(there.conditions("Plugin", "p")["Live"]["message"])


def outside(there: Situation) -> tuple[Any, ...]:
    """Return what a change of the way is to leave as it is."""
    return there.pipeline.ads.resources[LISTENER]["shop/gw/80"], there.hosts()


def test_a_quick_one_is_called_and_its_process_is_there_all_the_same() -> None:
    there = situation()
    found = exchange(there)
    assert found["dynamic_module_config"] == {
        "do_not_close": True,
        "module": {"local": {"filename": "/run/exchange.so"}},
    }
    assert found["filter_name"] == "exchange" and not found.get("terminal_filter")
    assert json.loads(opened(found["filter_config"])["value"]) == {
        "package": "sampan_plugin_a",
        "version": "a",
        "deployment": {"key": "shop/p", "settings": {"mark": "x"}},
        "counters": f"/run/{socket_name('shop/p', 'called')}",
    }
    assert there.get(ENDPOINTS, "plugin/shop/p")["endpoints"] and "plugin/shop/p" in there.names(CLUSTER)
    assert told(there) == "version a is live, called by Envoy itself"


def test_what_is_asked_has_all_of_its_version_in_the_filter() -> None:
    live = replace(QUICK, phases=("request_headers", "response_body"), slow="line 7: no")
    there = situation(live)
    found = exchange(there)
    assert found["grpc_service"]["envoy_grpc"]["cluster_name"] == "plugin/shop/p"
    assert found["message_timeout"] == {"seconds": 1, "nanos": 750_000_000}
    assert found["failure_mode_allow"] is True and found["route_cache_action"] == 2
    assert found["request_attributes"] == ["source.address"]
    assert found["processing_mode"] == {
        "request_header_mode": 1,
        "response_header_mode": 1,
        "request_body_mode": 0,
        "response_body_mode": 4,
        "request_trailer_mode": 2,
        "response_trailer_mode": 1,
    }
    before = outside(there)
    put(there, "p", replace(QUICK, version="b", fails_open=False, reroutes=True, timeout_seconds=3.0, slow="no"))
    found = exchange(there)
    assert found["failure_mode_allow"] is False and "route_cache_action" not in found
    assert not found["processing_mode"]["response_body_mode"] and found["message_timeout"]["seconds"] == 3
    assert outside(there) == before


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"slow": "line 7: no"}, "it is not shown to be quick: line 7: no"),
        ({"apart": "it says isolation: Process"}, "it says isolation: Process"),
    ],
)
def test_one_that_may_not_be_called_is_asked_and_nobody_beside_it(change: dict[str, str], why: str) -> None:
    there = situation()
    before = outside(there)
    put(there, "q", QUICK)
    put(there, "p", replace(QUICK, **change))
    assert not is_called(there) and outside(there) == before
    assert told(there) == f"version a is live, asked in its process, since {why}"
    found = opened(there.get(EXTENSION, "plugin/shop/q+exchange")["typed_config"])
    assert "dynamic_module_config" in found, "what is slow in a process holds nobody in Envoy"
    put(there, "p", QUICK)
    assert is_called(there) and outside(there) == before


def test_a_slow_one_in_envoys_python_has_it_asked() -> None:
    there = situation()
    before = outside(there)
    put(there, "slow", SLOW)
    assert not is_called(there) and outside(there) == before
    words = "version a is live, asked in its process, since Plugin shop/slow beside it is not shown to be quick"
    assert told(there) == words
    put(there, "slow", None)
    assert is_called(there) and outside(there) == before


def test_it_is_asked_where_there_are_no_jumps() -> None:
    there = situation(exchange_module="")
    assert not is_called(there) and told(there) == "version a is live"


def test_one_that_envoy_will_not_call_is_asked_until_another_version_comes() -> None:
    there = situation()
    before = outside(there)
    answered(there, "it cannot be loaded\n")
    assert not is_called(there) and outside(there) == before
    conditions = there.conditions("Plugin", "p")
    assert conditions["Accepted"]["status"] == "True"
    words = "version a is live, asked in its process, since Envoy refused to call it: it cannot be loaded"
    assert conditions["Live"]["message"] == words
    answered(there)
    assert there.pipeline.taken_versions() == {"shop/p": "a"}
    put(there, "p", replace(QUICK, is_there=False))  # its process ends, and is there again
    put(there, "p", QUICK)
    assert not is_called(there)
    put(there, "p", replace(QUICK, version="b"))
    assert is_called(there) and there.pipeline.taken_versions() == {"shop/p": "a"}
    answered(there)
    assert there.pipeline.taken_versions() == {"shop/p": "b"}


def test_what_envoy_refuses_of_an_asked_one_is_told() -> None:
    asked = replace(QUICK, slow="no")
    there = situation(asked)
    assert b"plugin/shop/p" in there.pipeline.ads.resources[LISTENER]["shop/gw/80"]
    answered(there, "it is wrong")
    assert b"plugin/shop/p" not in there.pipeline.ads.resources[LISTENER]["shop/gw/80"]
    assert there.hosts()["*"][0]["direct_response"]["status"] == 500
    assert "Envoy refused it: it is wrong" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert there.conditions("Plugin", "p")["Accepted"]["status"] == "False"
    assert there.pipeline.taken_versions() == {}
    put(there, "p", replace(asked, version="b"))  # the same filter once more: Envoy would not look at it
    assert there.pipeline.taken_versions() == {} and "direct_response" in there.hosts()["*"][0]
    put(there, "p", replace(asked, version="c", phases=("request_headers",)))
    answered(there)
    assert there.pipeline.taken_versions() == {"shop/p": "c"} and "direct_response" not in there.hosts()["*"][0]


def test_after_a_refusal_the_version_that_envoy_had_serves_by_its_own_process() -> None:
    asked = replace(QUICK, slow="no")
    there = situation(asked)
    answered(there)
    worse = replace(asked, version="b", socket="/run/b.sock", phases=("request_headers",))
    put(there, "p", worse)
    assert there.pipeline.taken_versions() == {"shop/p": "a"}, "its process is kept"
    answered(there, "it is wrong")
    put(there, "p", replace(worse, is_there=False))
    assert "/run/a.sock" in json.dumps(there.get(ENDPOINTS, "plugin/shop/p"))
    assert exchange(there)["processing_mode"]["response_header_mode"] == 1
    answered(there)
    assert there.conditions("Plugin", "p")["Accepted"]["message"] == "Envoy refused it: it is wrong"
    assert there.pipeline.taken_versions() == {"shop/p": "a"}


def test_a_version_with_the_filter_of_the_one_before_takes_its_place() -> None:
    asked = replace(QUICK, slow="no")
    there = situation(asked)
    put(there, "p", replace(asked, version="b"))  # before Envoy has said anything
    answered(there)
    assert there.pipeline.taken_versions() == {"shop/p": "b"}
    put(there, "p", replace(asked, version="c"))  # and after that
    assert there.pipeline.taken_versions() == {"shop/p": "c"}, "else the process of the one before stays for good"


def test_one_whose_process_begins_again_is_passed_by_where_it_is_asked_only() -> None:
    gone = replace(QUICK, is_there=False)
    there = situation(gone, failure="Open")

    def passes_by() -> bool:
        return NAME not in there.hosts()["*"][0].get("typed_per_filter_config", {})

    assert not passes_by()
    put(there, "slow", SLOW)
    assert passes_by()
    put(there, "slow", None)
    assert not passes_by()


def test_nothing_stays_of_one_that_is_gone_or_is_of_another_kind() -> None:
    there = situation()
    put(there, "p", Loaded("h", "sampan_plugin_h_app"))
    assert there.names(EXTENSION) == ["plugin/shop/p", "plugin/shop/p/question"]
    put(there, "p", QUICK)
    assert there.names(EXTENSION) == [NAME]
    put(there, "p", None)
    assert there.names(EXTENSION) == [] and there.pipeline.taken_versions() == {}


def test_filters_stand_in_the_order_of_their_plugins_names() -> None:
    kinds = {"a": "processor", "a-a": "asgi", "a-b": "processor", "a-c": "asgi", "a.a": "processor", "aa": "asgi"}
    there = Situation(*(obj("Plugin", name, {"path": "/x"}) for name in kinds), exchange_module="/run/exchange.so")
    for name, kind in kinds.items():
        live = replace(QUICK, version=name) if kind == "processor" else Loaded("v", f"sampan_plugin_{name}_app", kind)
        put(there, name, live)
    there.put(route("r", path_rule("PathPrefix", "/", filters=[reference(name) for name in kinds])))

    def plugins(listener: str) -> list[str]:
        return [name for name in chain(there, listener) if name.startswith("plugin/")]

    names = [f"plugin/shop/{name}{'+exchange' * (kind == 'processor')}" for name, kind in kinds.items()]
    assert plugins("shop/gw/80") == names
    for number, (name, kind) in enumerate(kinds.items()):
        if kind == "asgi":
            assert plugins(f"inner/shop/{name}/shop/gw/80") == names[number + 1 :]
