"""From Gateway API objects to Envoy's resources: decoded again and looked at."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway import ads
from sampan.gateway.attachment import hostname_matches
from sampan.gateway.encode import EncodingError, decode, encode
from sampan.gateway.plugins import Loaded
from sampan.gateway.resources import Translation, endpoints_of, translate
from sampan.gateway.routes import duration
from sampan.gateway.status import gateway_status, route_status
from sampan.gateway.world import World


def obj(kind: str, name: str, spec: dict[str, Any], namespace: str = "shop", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{name}", "generation": 1}
    return {"kind": kind, "metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, **more}


def http_route(name: str, *rules: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return obj("HTTPRoute", name, {"parentRefs": [{"name": "gw"}], "rules": list(rules), **spec})


def world(*routes: dict[str, Any], **more: Any) -> World:
    listeners = more.pop("listeners", [{"name": "http", "port": 80, "protocol": "HTTP"}])
    gateway = obj("Gateway", "gw", {"gatewayClassName": "sampan", "listeners": listeners})
    service = obj("Service", "web", {"ports": [{"port": 80, "name": "http"}]})
    endpoint_slice = {
        "metadata": {"name": "web-1", "namespace": "shop"},
        "ports": [{"name": "http", "port": 8080}],
        "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}],
    }
    fields: dict[str, Any] = {
        "classes": {"sampan": {"spec": {"controllerName": "sampan.dev/gateway"}}},
        "gateways": {"shop/gw": gateway},
        "routes": {f"shop/{route['metadata']['name']}": route for route in routes},
        "services": {"shop/web": service},
        "slices": {"shop/web": [endpoint_slice]},
        "secrets": {},
        "namespaces": {"shop": obj("Namespace", "shop", {})},
        "grants": {},
        "middlewares": {},
        "plugins": {},
        "live_plugins": {},
        "plugin_problems": {},
        "node_ip": "127.0.0.1",
        "plugin_sockets": "/run/x",
        "ports": {("shop/gw", listener["port"]): 10300 + i for i, listener in enumerate(listeners)},
    }
    return World(**{**fields, **more})


def routes_of(translation: Translation, name: str = "shop/gw/80") -> dict[str, list[dict[str, Any]]]:
    content = translation.snapshot[ads.ROUTES][name]
    message = decode("envoy.config.route.v3.RouteConfiguration", content)
    return {host["name"]: host.get("routes", []) for host in message.get("virtual_hosts", [])}


BACKEND = [{"name": "web", "port": 80}]


def path_rule(kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"matches": [{"path": {"type": kind, "value": value}}], "backendRefs": BACKEND, **more}


def test_a_service_becomes_a_cluster_with_its_ready_endpoints() -> None:
    translation = translate(world(http_route("r", path_rule("PathPrefix", "/"))))
    assert list(translation.snapshot[ads.CLUSTER]) == ["shop/web/80"]
    assignment = decode(
        "envoy.config.endpoint.v3.ClusterLoadAssignment", translation.snapshot[ads.ENDPOINTS]["shop/web/80"]
    )
    address = assignment["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["socket_address"]
    assert address == {"address": "10.0.0.1", "port_value": 8080}
    assert routes_of(translation)["*"][0]["route"]["cluster"] == "shop/web/80"


def test_the_order_of_the_specification() -> None:
    many = http_route(
        "r",
        path_rule("PathPrefix", "/"),
        path_rule("PathPrefix", "/long/er"),
        path_rule("Exact", "/long"),
        path_rule("PathPrefix", "/long"),
    )
    many["spec"]["rules"].append(
        {"matches": [{"path": {"value": "/long"}, "headers": [{"name": "x", "value": "1"}]}], "backendRefs": BACKEND}
    )
    found = [route["match"] for route in routes_of(translate(world(many)))["*"]]
    paths = [match.get("path") or match.get("path_separated_prefix") or match.get("prefix") for match in found]
    assert paths == ["/long", "/long/er", "/long", "/long", "/"]
    assert "headers" in found[2] and "headers" not in found[3]


def test_older_routes_win_ties() -> None:
    old, new = http_route("b", path_rule("Exact", "/x")), http_route("a", path_rule("Exact", "/x"))
    new["metadata"]["creationTimestamp"] = "2026-02-01T00:00:00Z"
    names = [route["name"] for route in routes_of(translate(world(new, old)))["*"]]
    assert names == ["shop/b/0", "shop/a/0"]


def test_weights_and_backends_that_do_not_exist() -> None:
    rule = {"backendRefs": [{"name": "web", "port": 80, "weight": 3}, {"name": "gone", "port": 80, "weight": 1}]}
    translation = translate(world(http_route("r", rule)))
    clusters = routes_of(translation)["*"][0]["route"]["weighted_clusters"]["clusters"]
    assert [(c["name"], c["weight"]["value"]) for c in clusters] == [("shop/web/80", 3), ("sampan/refuses", 1)]
    assert translation.route_problems["shop/r"].reason == "BackendNotFound"
    alone = translate(world(http_route("r", {"backendRefs": [{"name": "gone", "port": 80}]})))
    assert routes_of(alone)["*"][0]["direct_response"]["status"] == 500


def test_backends_of_other_namespaces_need_a_grant() -> None:
    route = http_route("r", {"backendRefs": [{"name": "web", "namespace": "other", "port": 80}]})
    service = {"other/web": obj("Service", "web", {"ports": [{"port": 80}]}, "other")}
    refused = translate(world(route, services=service))
    assert refused.route_problems["shop/r"].reason == "RefNotPermitted"
    source = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}
    grant = obj("ReferenceGrant", "g", {"from": [source], "to": [{"group": "", "kind": "Service"}]}, "other")
    allowed = translate(world(route, services=service, grants={"other/g": grant}))
    assert not allowed.route_problems["shop/r"].messages
    assert "other/web/80" in allowed.snapshot[ads.CLUSTER]


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
        ],
        timeouts={"request": "1m500ms"},
    )
    found = routes_of(translate(world(http_route("r", rule))))["*"][0]
    assert found["request_headers_to_add"][0]["header"] == {"key": "a", "value": "100%%"}
    assert found["request_headers_to_remove"] == ["b"]
    assert found["response_headers_to_add"][0]["header"]["key"] == "c"
    assert found["route"]["host_rewrite_literal"] == "in.example"
    assert found["route"]["timeout"] == {"seconds": 60, "nanos": 500_000_000}


def test_redirects() -> None:
    redirect = {"scheme": "https", "hostname": "other", "port": 8443, "statusCode": 308}
    rule = path_rule("PathPrefix", "/", filters=[{"type": "RequestRedirect", "requestRedirect": redirect}])
    found = routes_of(translate(world(http_route("r", rule))))["*"][0]["redirect"]
    assert found == {"response_code": 4, "scheme_redirect": "https", "host_redirect": "other", "port_redirect": 8443}


def test_a_plugin_wakes_its_filter_and_a_missing_one_answers_500() -> None:
    reference = {"group": "gateway.sampan.dev", "kind": "Plugin", "name": "p"}
    rule = path_rule("PathPrefix", "/", filters=[{"type": "ExtensionRef", "extensionRef": reference}])
    plugin = {"shop/p": obj("Plugin", "p", {"path": "/x"})}
    live = {"shop/p": Loaded("abc", "sampan_plugin_abc_app")}
    translation = translate(world(http_route("r", rule), plugins=plugin, live_plugins=live))
    assert "plugin/shop/p" in routes_of(translation)["*"][0]["typed_per_filter_config"]
    assert "plugin/shop/p" in translation.snapshot[ads.EXTENSION]
    broken = translate(world(http_route("r", rule), plugins=plugin, plugin_problems={"shop/p": "SyntaxError"}))
    assert routes_of(broken)["*"][0]["direct_response"]["status"] == 500
    assert "SyntaxError" in broken.route_problems["shop/r"].messages[0]


@pytest.mark.parametrize(
    ("listener", "route", "shared"),
    [
        ("", "", "*"),
        ("", "a.example", "a.example"),
        ("a.example", "", "a.example"),
        ("a.example", "a.example", "a.example"),
        ("a.example", "b.example", ""),
        ("*.example", "a.example", "a.example"),
        ("*.example", "a.b.example", "a.b.example"),
        ("*.example", "example", ""),
        ("a.example", "*.example", "a.example"),
        ("*.example", "*.a.example", "*.a.example"),
        ("*.a.example", "*.example", "*.a.example"),
        ("*.a.example", "*.b.example", ""),
    ],
)
def test_host_names_in_common(listener: str, route: str, shared: str) -> None:
    assert hostname_matches(listener, route) == shared


def test_status_tells_what_hangs_where_and_what_is_not_so() -> None:
    attached = http_route("r", path_rule("PathPrefix", "/"))
    lost = http_route("lost", path_rule("PathPrefix", "/"))
    lost["spec"]["parentRefs"] = [{"name": "gw", "sectionName": "nope"}]
    there = world(attached, lost)
    translation = translate(there)
    gateway = there.gateways["shop/gw"]
    now = "2026-01-02T00:00:00Z"
    waiting = gateway_status(there, translation, "shop/gw", gateway, "10.0.0.9", False, "", now)
    conditions = {c["type"]: c for c in waiting["conditions"]}
    assert conditions["Accepted"]["status"] == "True" and conditions["Programmed"]["status"] == "False"
    assert waiting["listeners"][0]["attachedRoutes"] == 1
    refused = gateway_status(there, translation, "shop/gw", gateway, "10.0.0.9", True, "no such port", now)
    programmed = next(c for c in refused["conditions"] if c["type"] == "Programmed")
    assert programmed["status"] == "False" and "no such port" in programmed["message"]
    status = route_status(there, translation, "shop/lost", lost, now, {})
    assert status is not None
    assert status["parents"][0]["conditions"][0]["reason"] == "NoMatchingParent"


def test_terminating_endpoints_serve_when_no_other_is_left() -> None:
    endpoint_slice = {
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
    assert duration({"request": "10s", "backendRequest": "250ms"}) == {"seconds": 0, "nanos": 250_000_000}
    assert duration(None) == {"seconds": 0, "nanos": 0}


def test_a_field_that_a_message_does_not_have_is_an_error() -> None:
    with pytest.raises(EncodingError, match=r"Address has no field nope"):
        encode("envoy.config.core.v3.Address", {"nope": 1})


headers = st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=5)


@given(
    name=st.text(max_size=30), version=st.text(max_size=10), nonce=st.text(max_size=5), code=st.integers(0, 2**31 - 1)
)
def test_messages_survive_the_wire(name: str, version: str, nonce: str, code: int) -> None:
    request = {
        "type_url": name,
        "resource_names_subscribe": [name, version],
        "response_nonce": nonce,
        "error_detail": {"code": code, "message": version},
    }
    assert (
        decode(
            "envoy.service.discovery.v3.DeltaDiscoveryRequest",
            encode("envoy.service.discovery.v3.DeltaDiscoveryRequest", request),
        )
        == request
    )


@given(values=headers)
def test_maps_survive_the_wire(values: dict[str, str]) -> None:
    request = {"request": {"http": {"method": "GET", "headers": values}}}
    message = "envoy.service.auth.v3.AttributeContext"
    decoded = decode(message, encode(message, request))
    assert decoded["request"]["http"].get("headers", {}) == values


@given(data=st.binary(max_size=60))
def test_any_bytes_are_a_message_or_an_error(data: bytes) -> None:
    with contextlib.suppress(EncodingError):
        assert isinstance(decode("envoy.service.discovery.v3.DeltaDiscoveryRequest", data), dict)
