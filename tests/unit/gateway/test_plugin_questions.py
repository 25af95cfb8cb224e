"""How a hook is asked: by Envoy itself, as long as all Python in Envoy is shown to be quick."""

from __future__ import annotations

import json

from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.plugins.wasm import PROXY_WASM
from sampan.gateway.xds.types import EXTENSION, LISTENER

from .situation import Situation, obj, opened, path_rule, route

QUICK = Loaded("a", "sampan_plugin_a_app", timeout_seconds=1.5, fails_open=True, reroutes=True)


def situation(inline_module: str = "/run/jumps.so") -> Situation:
    reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": "p"}
    rule = path_rule("PathPrefix", "/", filters=[{"type": "ExtensionRef", "extensionRef": reference}])
    there = Situation(route("r", rule), obj("Plugin", "p", {"path": "/x"}), inline_module=inline_module)
    put(there, "p", QUICK)
    return there


def put(there: Situation, name: str, live: Loaded | None) -> None:
    there.pipeline.put_plugin(f"shop/{name}", live, "")
    there.pipeline.update()


def question(there: Situation) -> dict[str, object]:
    return dict(opened(there.get(EXTENSION, "plugin/shop/p/question")["typed_config"]))


def test_a_quick_one_is_called() -> None:
    found = question(situation())
    assert found["dynamic_module_config"] == {"do_not_close": True, "module": {"local": {"filename": "/run/jumps.so"}}}
    said = found["filter_config"]
    assert json.loads(opened(said)["value"] if isinstance(said, bytes) else "{}") == {
        "package": "sampan_plugin_a",
        "reroutes": True,
    }


def test_it_is_asked_where_there_are_no_jumps() -> None:
    found = question(situation(""))
    assert found["grpc_service"] == {
        "envoy_grpc": {"cluster_name": "plugin/shop/p", "authority": "plugin"},
        "timeout": {"seconds": 1, "nanos": 750_000_000},
    }
    assert found["failure_mode_allow"] is True and found["clear_route_cache"] is True


def test_a_slow_one_beside_it_has_all_of_them_asked_and_no_listener_changes() -> None:
    there = situation()
    before = there.pipeline.ads.versions[LISTENER]["shop/gw/80"]
    for slow in (
        Loaded("b", "sampan_plugin_b_app", slow="line 3: while is not known to end"),
        Loaded("c", "sampan_plugin_c_app", "asgi", slow="it is no hook"),
    ):
        put(there, "slow", slow)
        assert "grpc_service" in question(there)
        put(there, "slow", None)
        assert "dynamic_module_config" in question(there)
    put(there, "apart", Loaded("d", "", "processor", "/run/d.sock"))
    put(there, "alone", Loaded("e", "", "hook", "/run/e.sock"))
    assert "dynamic_module_config" in question(there)
    assert there.pipeline.ads.versions[LISTENER]["shop/gw/80"] == before


def test_the_condition_says_how() -> None:
    there = situation()
    plugin = obj("Plugin", "p", {"path": "/x"})

    def told(slow: str = "") -> str:
        there.pipeline.world.put("Plugin status", "shop/p", plugin)
        put(there, "p", QUICK if not slow else Loaded("a", "sampan_plugin_a_app", slow=slow))
        return str(there.conditions("Plugin", "p")["Live"]["message"])

    assert told() == "version a is live, called by Envoy itself"
    assert (
        told("line 3: no") == "version a is live, on a loop of its own, since it is not shown to be quick: line 3: no"
    )
    put(there, "other", Loaded("b", "sampan_plugin_b_app", slow="no"))
    assert (
        told() == "version a is live, on a loop of its own, since Plugin shop/other beside it is not shown to be quick"
    )


def test_nothing_stays_of_one_that_is_gone() -> None:
    there = situation()
    put(there, "p", None)
    assert there.names(EXTENSION) == []


def answered(there: Situation, words: str) -> None:
    """Envoy says that of the plugin's filter."""
    there.pipeline.ads.on_answer(EXTENSION, "plugin/shop/p", there.pipeline.ads.sequence, words)
    there.pipeline.update()


def listener(there: Situation) -> bytes:
    return bytes(there.pipeline.ads.resources[LISTENER]["shop/gw/80"])


def test_what_envoy_never_took_stands_in_no_listener() -> None:
    there = situation()
    put(there, "p", Loaded("a", "/x/a.wasm", PROXY_WASM))
    assert b"plugin/shop/p" in listener(there)
    answered(there, "it cannot be linked")
    assert b"plugin/shop/p" not in listener(there)
    assert there.hosts()["*"][0]["direct_response"]["status"] == 500
    assert "Envoy refused it: it cannot be linked" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    put(there, "p", Loaded("b", "/x/b.wasm", PROXY_WASM))  # it is mended: Envoy is to judge
    assert b"plugin/shop/p" in listener(there) and "direct_response" not in there.hosts()["*"][0]


def test_where_envoy_has_a_version_a_refused_one_changes_nothing() -> None:
    there = situation()
    put(there, "p", Loaded("a", "/x/a.wasm", PROXY_WASM))
    answered(there, "")
    put(there, "p", Loaded("b", "/x/b.wasm", PROXY_WASM))
    before = listener(there)
    answered(there, "it cannot be linked")
    assert listener(there) == before and "direct_response" not in there.hosts()["*"][0]
    put(there, "p", None)
    put(there, "p", Loaded("b", "/x/b.wasm", PROXY_WASM))
    answered(there, "it cannot be linked")
    assert b"plugin/shop/p" not in listener(there)


def refused(there: Situation, name: str, words: str) -> None:
    there.pipeline.ads.on_answer(EXTENSION, name, there.pipeline.ads.sequence, words)
    there.pipeline.update()


def test_one_that_envoy_will_not_call_is_asked_and_no_route_hears_of_it() -> None:
    there = situation()
    there.pipeline.world.put("Plugin status", "shop/p", obj("Plugin", "p", {"path": "/x"}))
    there.pipeline.world.put("Plugin", "shop/p", obj("Plugin", "p", {"path": "/x"}))
    put(there, "other", QUICK)
    before = listener(there), there.hosts()
    refused(there, "plugin/shop/p/question", "it cannot be loaded\n")
    assert "grpc_service" in question(there) and (listener(there), there.hosts()) == before
    assert b"/run/jumps.so" in there.pipeline.ads.resources[EXTENSION]["plugin/shop/other/question"]
    conditions = there.conditions("Plugin", "p")
    assert conditions["Accepted"]["status"] == "True"
    told = "version a is live, on a loop of its own, since Envoy refused to call it: it cannot be loaded"
    assert conditions["Live"]["message"] == told
    for slow in ("no", ""):  # another beside it comes and goes: this version is asked all the same
        put(there, "slow", Loaded("b", "sampan_plugin_b_app", slow=slow) if slow else None)
        assert "grpc_service" in question(there)
    put(there, "p", Loaded("c", "sampan_plugin_c_app"))
    assert "dynamic_module_config" in question(there), "another version is another matter"


def test_after_a_refusal_envoy_gets_the_version_that_it_had() -> None:
    there = situation()
    there.pipeline.world.put("Plugin", "shop/p", obj("Plugin", "p", {"path": "/x"}))

    def module() -> str:
        found = there.get(EXTENSION, "plugin/shop/p")["typed_config"]
        return "a" if b"/x/a.wasm" in found else "b"

    put(there, "p", Loaded("a", "/x/a.wasm", PROXY_WASM))
    answered(there, "")
    put(there, "p", Loaded("b", "/x/b.wasm", PROXY_WASM))
    assert module() == "b" and there.pipeline.taken_versions() == {"shop/p": "a"}
    answered(there, "it cannot be linked")
    assert module() == "a", "else every listener that names the filter is refused from now on"
    answered(there, "")
    condition = there.conditions("Plugin", "p")["Accepted"]
    assert (condition["status"], condition["message"]) == ("False", "Envoy refused it: it cannot be linked")
    put(there, "p", Loaded("c", "/x/b.wasm", PROXY_WASM))
    assert module() == "b" and there.conditions("Plugin", "p")["Accepted"]["status"] == "True"
    answered(there, "")
    assert there.pipeline.taken_versions() == {"shop/p": "c"}
