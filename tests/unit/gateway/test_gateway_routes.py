"""From HTTPRoutes and GRPCRoutes to Envoy's routes."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.gateway.model.durations import duration
from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.xds.clusters import endpoints_of
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, EXTENSION, LISTENER

from .situation import BACKEND, Situation, gateway, grant, obj, opened, path_rule, route, service


def test_a_service_becomes_a_cluster_with_its_ready_endpoints() -> None:
    found = Situation(route("r", path_rule("PathPrefix", "/")))
    assert found.names(CLUSTER) == ["shop/web/80"]
    address = found.get(ENDPOINTS, "shop/web/80")["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]
    assert address["socket_address"] == {"address": "10.0.0.1", "port_value": 8080}
    assert found.hosts()["*"][0]["route"]["cluster"] == "shop/web/80"


def test_what_is_sent_again_is_said_by_the_cluster_where_the_route_says_nothing() -> None:
    """Envoy takes the cluster's word before the route's: routes with a word of their own have a cluster without."""
    own = path_rule("PathPrefix", "/own", retry={"attempts": 0})
    found = Situation(route("r", path_rule("PathPrefix", "/"), own))
    plain, other = "shop/web/80", "shop/web/80/own-tries"
    assert found.names(CLUSTER) == found.names(ENDPOINTS) == [plain, other]
    said = {}
    for name in (plain, other):
        options = found.get(CLUSTER, name)["typed_extension_protocol_options"]
        said[name] = opened(next(iter(options.values()))).get("retry_policy")
    assert said[other] is None and said[plain]["retry_on"].startswith("connect-failure")
    actions = {one["route"]["cluster"]: one["route"].get("retry_policy") for one in found.hosts()["*"]}
    assert actions[plain] is None and actions[other]["num_retries"]["value"] == 0


def test_the_order_of_the_specification() -> None:
    many = route(
        "r",
        path_rule("PathPrefix", "/"),
        path_rule("PathPrefix", "/long/er"),
        path_rule("Exact", "/long"),
        path_rule("PathPrefix", "/long"),
        {"matches": [{"path": {"value": "/long"}, "headers": [{"name": "x", "value": "1"}]}], "backendRefs": BACKEND},
    )
    found = [entry["match"] for entry in Situation(many).hosts()["*"]]
    paths = [match.get("path") or match.get("path_separated_prefix") or match.get("prefix") for match in found]
    assert paths == ["/long", "/long/er", "/long", "/long", "/"]
    assert "headers" in found[2] and "headers" not in found[3]


def test_older_routes_win_ties() -> None:
    old, new = route("b", path_rule("Exact", "/x")), route("a", path_rule("Exact", "/x"))
    new["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    assert [entry["name"] for entry in Situation(new, old).hosts()["*"]] == ["shop/b/0", "shop/a/0"]


def test_a_wider_host_name_is_asked_after_the_more_specific() -> None:
    wide = route("wide", path_rule("PathPrefix", "/long/path"), hostnames=["*.example.com"])
    narrow = route("narrow", path_rule("PathPrefix", "/"), hostnames=["a.example.com"])
    hosts = Situation(wide, narrow).hosts()
    assert [entry["name"] for entry in hosts["a.example.com"]] == ["shop/narrow/0", "shop/wide/0"]
    assert [entry["name"] for entry in hosts["*.example.com"]] == ["shop/wide/0"]


def test_a_request_belongs_to_the_most_specific_listener() -> None:
    wide = {"name": "wide", "port": 80, "protocol": "HTTP"}
    narrow = {"name": "narrow", "port": 80, "protocol": "HTTP", "hostname": "*.example.com"}
    there = Situation(gateway(wide, narrow))
    on_wide = route("r", path_rule("PathPrefix", "/"), hostnames=["a.example.com", "b.org"])
    on_wide["spec"]["parentRefs"][0]["sectionName"] = "wide"
    there.put(on_wide)
    assert sorted(there.hosts()) == ["*", "*.example.com", "b.org"]
    assert there.hosts()["*.example.com"] == []


def test_weights_and_backends_that_do_not_exist() -> None:
    rule = {"backendRefs": [{"name": "web", "port": 80, "weight": 3}, {"name": "gone", "port": 80, "weight": 1}]}
    there = Situation(route("r", rule))
    clusters = there.hosts()["*"][0]["route"]["weighted_clusters"]["clusters"]
    assert [(c["name"], c["weight"]["value"]) for c in clusters] == [("shop/web/80", 3), ("sampan/refuses", 1)]
    assert there.conditions("HTTPRoute", "r")["ResolvedRefs"]["reason"] == "BackendNotFound"
    there.put(route("r", {"backendRefs": [{"name": "gone", "port": 80}]}))
    assert there.hosts()["*"][0]["direct_response"]["status"] == 500
    assert there.names(CLUSTER) == []
    there.put(service("gone"))
    assert there.hosts()["*"][0]["route"]["cluster"] == "shop/gone/80"


def test_backends_of_other_namespaces_need_a_grant() -> None:
    there = Situation(
        route("r", {"backendRefs": [{"name": "web", "namespace": "other", "port": 80}]}),
        service("web", namespace="other"),
    )
    assert there.conditions("HTTPRoute", "r")["ResolvedRefs"]["reason"] == "RefNotPermitted"
    permission = grant("HTTPRoute", "Service", "other")
    there.put(permission)
    assert there.conditions("HTTPRoute", "r")["ResolvedRefs"]["status"] == "True"
    assert there.names(CLUSTER) == ["other/web/80"]
    there.delete(permission)
    assert there.names(CLUSTER) == []


def test_filters() -> None:
    rule = path_rule(
        "PathPrefix",
        "/api",
        filters=[
            {
                "type": "RequestHeaderModifier",
                "requestHeaderModifier": {"set": [{"name": "a", "value": "100%"}], "remove": ["b"]},
            },
            {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"add": [{"name": "c", "value": "d"}]}},
            {
                "type": "URLRewrite",
                "urlRewrite": {
                    "hostname": "in.example",
                    "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/v2"},
                },
            },
            {"type": "CORS", "cors": {"allowOrigins": ["https://*.example"], "allowMethods": ["GET"]}},
            {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "web", "port": 80}, "percent": 20}},
        ],
        timeouts={"request": "1m500ms", "backendRequest": "2s"},
        retry={"codes": [503], "attempts": 3, "backoff": "50ms"},
        sessionPersistence={"sessionName": "s"},
    )
    found = Situation(route("r", rule)).hosts()["*"][0]
    assert found["request_headers_to_add"][0]["header"] == {"key": "a", "value": "100%%"}
    assert found["request_headers_to_remove"] == ["b"]
    assert found["response_headers_to_add"][0]["header"]["key"] == "c"
    action = found["route"]
    assert action["host_rewrite_literal"] == "in.example"
    assert action["timeout"] == {"seconds": 60, "nanos": 500_000_000}
    assert action["retry_policy"]["num_retries"]["value"] == 3
    assert action["retry_policy"]["per_try_timeout"]["seconds"] == 2
    share = action["request_mirror_policies"][0]["runtime_fraction"]["default_value"]
    assert (share["numerator"], share["denominator"]) == (200_000, 2)
    assert sorted(found["typed_per_filter_config"]) == ["cors", "safe-retry", "session"]


@pytest.mark.parametrize(
    ("port", "redirect", "expected"),
    [
        (80, {"scheme": "https", "hostname": "other", "port": 8443, "statusCode": 308}, {"port_redirect": 8443}),
        (80, {"scheme": "https"}, {"scheme_redirect": "https"}),
        (80, {"port": 80}, {}),
        (8080, {"hostname": "other"}, {"host_redirect": "other", "port_redirect": 8080}),
        (8080, {"scheme": "https"}, {"scheme_redirect": "https"}),
        (8080, {"scheme": "https", "port": 443}, {"scheme_redirect": "https"}),
    ],
)
def test_redirects(port: int, redirect: dict[str, Any], expected: dict[str, Any]) -> None:
    rule = path_rule("PathPrefix", "/", filters=[{"type": "RequestRedirect", "requestRedirect": redirect}])
    there = Situation(gateway({"name": "http", "port": port, "protocol": "HTTP"}), route("r", rule))
    found = there.hosts(f"shop/gw/{port}")["*"][0]["redirect"]
    assert found.get("port_redirect") == expected.get("port_redirect")
    assert expected.items() <= found.items()


@pytest.mark.parametrize(
    ("method", "match"),
    [
        ({"service": "a.B", "method": "C"}, {"path": "/a.B/C"}),
        ({"service": "a.B"}, {"prefix": "/a.B/"}),
        ({"method": "C"}, {"safe_regex": {"regex": "/[^/]+/C"}}),
        ({"type": "RegularExpression", "service": "a|b"}, {"safe_regex": {"regex": "/(?:a|b)/[^/]+"}}),
    ],
)
def test_methods_of_grpc_routes(method: dict[str, Any], match: dict[str, Any]) -> None:
    there = Situation(route("r", {"matches": [{"method": method}], "backendRefs": BACKEND}, kind="GRPCRoute"))
    found = there.hosts()["*"][0]
    assert found["match"] == match
    assert found["route"]["cluster"] == "shop/web/80/h2"
    assert b"grpc-web" in there.pipeline.ads.resources[LISTENER]["shop/gw/80"]


def test_a_plugin_wakes_its_filter_and_a_missing_one_answers_500() -> None:
    reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": "p"}
    rule = path_rule("PathPrefix", "/", filters=[{"type": "ExtensionRef", "extensionRef": reference}])
    there = Situation(route("r", rule), obj("Plugin", "p", {"path": "/x"}))
    assert there.hosts()["*"][0]["direct_response"]["status"] == 500
    there.pipeline.put_plugin("shop/p", Loaded("abc", "sampan_plugin_abc_app"), "")
    there.pipeline.update()
    assert "plugin/shop/p/question" in there.hosts()["*"][0]["typed_per_filter_config"]
    assert there.names(EXTENSION) == ["plugin/shop/p", "plugin/shop/p/question"]
    there.pipeline.put_plugin("shop/p", None, "SyntaxError")
    there.pipeline.update()
    assert "SyntaxError" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert there.names(EXTENSION) == []


def modifier(which: str, **change: Any) -> dict[str, Any]:
    return {"type": f"{which}HeaderModifier", f"{which[0].lower()}{which[1:]}HeaderModifier": change}


@pytest.mark.parametrize(
    ("item", "word"),
    [
        ({"type": "RequestHeaderModifier"}, "needs"),
        ({"type": "ExtensionRef"}, "needs"),
        ({"type": "Later"}, "not served"),
        (modifier("Request", set=[{"name": "a b", "value": ""}]), "name"),
        (modifier("Request", remove=["Host"]), "Host"),
        (modifier("Response", add=[{"name": "a", "value": "\n"}]), "line"),
    ],
)
def test_a_filter_that_cannot_be_served_drops_its_rule(item: dict[str, Any], word: str) -> None:
    good, bad = path_rule("PathPrefix", "/"), path_rule("PathPrefix", "/bad", filters=[item])
    there = Situation(route("r", good, bad))
    assert [entry["name"] for entry in there.hosts()["*"]] == ["shop/r/0"]
    assert word in there.conditions("HTTPRoute", "r")["PartiallyInvalid"]["message"]
    there.put(route("r", bad))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "UnsupportedValue"
    at_backend = path_rule("PathPrefix", "/", backendRefs=[{**BACKEND[0], "filters": [item]}])
    there.put(route("r", at_backend))
    assert word in there.conditions("HTTPRoute", "r")["Accepted"]["message"]


@pytest.mark.parametrize("text", ["(", "[a", "a(?=b)", "(?<!a)b", r"(a)\1", "a*+", "(?P<n>a)(?P=n)", "*a"])
def test_expressions_that_re2_refuses(text: str) -> None:
    there = Situation(route("r", path_rule("RegularExpression", text)))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "UnsupportedValue"


@pytest.mark.parametrize(
    "text", [r"/v\d+/.*", r"a\++", "[*+]", "[]+*]+", r"\pL+", "(?i)ab", r"\\1", "(?:a|b)", "[[:alpha:]]+"]
)
def test_expressions_that_re2_takes(text: str) -> None:
    there = Situation(route("r", path_rule("RegularExpression", text)))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["status"] == "True"


@pytest.mark.parametrize("path", ["shop", "/a?b", "/a#b", ""])
def test_paths_that_no_request_has(path: str) -> None:
    there = Situation(route("r", path_rule("PathPrefix", path)))
    assert there.conditions("HTTPRoute", "r")["Accepted"]["reason"] == "UnsupportedValue"


def test_terminating_endpoints_serve_when_no_other_is_left() -> None:
    endpoint_slice: dict[str, Any] = {
        "ports": [{"name": "http", "port": 80}],
        "endpoints": [
            {"addresses": ["10.0.0.1"], "conditions": {"ready": False, "serving": True, "terminating": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False, "serving": False, "terminating": False}},
        ],
    }
    assert endpoints_of([endpoint_slice], {"name": "http"}) == [("10.0.0.1", 80)]
    endpoint_slice["endpoints"].append({"addresses": ["10.0.0.3"], "conditions": {"ready": True}})
    assert endpoints_of([endpoint_slice], {"name": "http"}) == [("10.0.0.3", 80)]


def test_durations() -> None:
    assert duration("1h2m3s4ms") == {"seconds": 3723, "nanos": 4_000_000}
    assert duration("0s") == {"seconds": 0, "nanos": 0}
