"""What is put up with: expressions, certificates whose time passes, and what clients may take."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.model.expressions import MOST_STEPS, checked
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.xds.types import CLUSTER, LISTENER

from .certificates import pair
from .situation import Object, Situation, gateway, obj, opened, path_rule, route


@pytest.mark.parametrize(
    ("expression", "groups"),
    [("/api/v([0-9]+)/(.*)", 2), ("", 0), ("(?P<a>x)|(?i:y)", 1), (r"\pL+", 0), ("a" * 1900, 0), ("x{0,900}", 0)],
)
def test_expressions_that_are_served(expression: str, groups: int) -> None:
    assert checked(expression) == groups


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("(", "missing )"),
        ("(?=x)", "invalid perl operator"),
        (r"(a)\1", "invalid escape sequence"),
        ("a{1001}", "invalid repetition size"),
        ("((a{30}){30}){30}", "invalid repetition size"),
        (r"(\pL{1,200}){1,5}", "pattern too large"),
        ("(.{0,100}){10}", f"at most {MOST_STEPS} are served"),
        ("a" * 5000, "is too long"),
    ],
)
def test_expressions_that_are_not(expression: str, text: str) -> None:
    with pytest.raises(Unsupported, match=text.replace(")", r"\)")):
        checked(expression)


@given(st.text(max_size=60))
def test_any_text_is_judged(text: str) -> None:
    try:
        assert checked(text) >= 0
    except Unsupported as error:
        assert str(error)


def secret(name: str, chain: bytes, key: bytes) -> Object:
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data}


def https() -> Object:
    tls = {"certificateRefs": [{"name": "one"}]}
    return gateway({"name": "https", "port": 443, "protocol": "HTTPS", "tls": tls})


def test_a_certificate_that_expires_while_it_is_served_is_told_when_it_does() -> None:
    there = Situation(secret("one", *pair("a.example")), https())
    now = datetime.now(UTC)
    assert there.listener("gw", "https")["ResolvedRefs"]["status"] == "True"
    next_time = there.pipeline.world.time_passes()
    assert next_time is not None and abs(next_time - (now + timedelta(days=1)).timestamp()) < 60
    there.pipeline.world.clock = lambda: next_time + 1
    assert there.pipeline.world.time_passes() is None
    there.pipeline.update()
    told = there.listener("gw", "https")["ResolvedRefs"]
    assert told["status"] == "False" and "Secret shop/one: the certificate has expired at 2" in told["message"]
    assert there.listener("gw", "https")["Programmed"]["status"] == "True"
    there.put(secret("one", *pair("a.example")))
    there.pipeline.world.clock = lambda: now.timestamp()
    there.put(secret("one", *pair("a.example")))
    assert there.listener("gw", "https")["ResolvedRefs"]["status"] == "True"


def test_a_broken_certificate_after_a_good_one_leaves_that_in_service() -> None:
    there = Situation(secret("one", *pair("a.example")), https())
    there.put(secret("one", b"broken", b"broken"))
    assert "shop/gw/443" in there.names(LISTENER)
    told = there.listener("gw", "https")["ResolvedRefs"]
    assert told["reason"] == "InvalidCertificateRef" and told["message"].endswith("; what it held before is served")
    there.delete(secret("one", b"", b""))
    assert there.names(LISTENER) == []
    assert Situation(secret("one", b"broken", b"broken"), https()).names(LISTENER) == []


def manager(there: Situation) -> Object:
    return opened(there.get(LISTENER, "shop/gw/80")["filter_chains"][0]["filters"][0]["typed_config"])


def test_what_clients_may_take_can_be_set() -> None:
    usual = manager(Situation(route("web", path_rule("PathPrefix", "/"))))
    assert usual["request_headers_timeout"]["seconds"] == 60 and "request_timeout" not in usual
    assert usual["common_http_protocol_options"]["headers_with_underscores_action"] == 2
    assert usual["http2_protocol_options"]["max_concurrent_streams"] == {"value": 100}
    settings: dict[str, Any] = {
        "requestHeadersTimeout": "5s",
        "requestTimeout": "1m",
        "idleTimeout": "2m",
        "streamIdleTimeout": "3m",
        "maxHeaders": 20,
        "maxHeadersKiB": 16,
        "underscoresInHeaders": "Allow",
    }
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "p"}
    there = Situation(
        obj("GatewayParameters", "p", {"clients": settings}), gateway(infrastructure={"parametersRef": reference})
    )
    found = manager(there)
    common = found["common_http_protocol_options"]
    assert found["request_headers_timeout"]["seconds"] == 5 and found["request_timeout"]["seconds"] == 60
    assert common["idle_timeout"]["seconds"] == 120 and found["stream_idle_timeout"]["seconds"] == 180
    assert (common["max_headers_count"]["value"], found["max_request_headers_kb"]["value"]) == (20, 16)
    assert common["headers_with_underscores_action"] == 0


def test_what_backends_send_unread_has_a_limit() -> None:
    rule = {"matches": [{"method": {"service": "a", "method": "b"}}], "backendRefs": [{"name": "web", "port": 80}]}
    there = Situation(route("grpc", rule, kind="GRPCRoute"))
    options = there.get(CLUSTER, "shop/web/80/h2")["typed_extension_protocol_options"]
    found = opened(next(iter(options.values())))["explicit_http_config"]["http2_protocol_options"]
    assert found["initial_stream_window_size"]["value"] == 1 << 18


@pytest.mark.parametrize("app_protocol", ["http", "kubernetes.io/h2c"])
@pytest.mark.parametrize("kind", ["Service", "XBackend"])
def test_an_idle_connection_to_a_backend_ends(kind: str, app_protocol: str) -> None:
    """Before a server ends it, and without the hour that Envoy keeps each."""
    there = Situation(*backend_of(kind, app_protocol))
    (name,) = [name for name in there.pipeline.ads.resources[CLUSTER] if "idle" in name]
    options = there.get(CLUSTER, name)["typed_extension_protocol_options"]
    found = opened(next(iter(options.values())))
    assert found["common_http_protocol_options"]["idle_timeout"]["seconds"] == (15 if kind == "Service" else 50)
    expected = {"http2_protocol_options"} if app_protocol != "http" else {"http_protocol_options"}
    assert set(found["explicit_http_config"]) == expected


def backend_of(kind: str, app_protocol: str) -> list[dict[str, Any]]:
    if kind == "Service":
        made = obj("Service", "idle", {"ports": [{"port": 80, "appProtocol": app_protocol}]})
        reference: dict[str, Any] = {"name": "idle", "port": 80}
    else:
        protocol = "H2C" if app_protocol != "http" else "HTTP"
        external = {"hostname": "idle.example.org"}
        spec = {"type": "ExternalHostname", "externalHostname": external, "port": {"port": 80}, "protocol": protocol}
        made = obj("XBackend", "idle", spec)
        reference = {"group": "gateway.networking.x-k8s.io", "kind": "XBackend", "name": "idle"}
    return [made, route("idle", {"backendRefs": [reference]})]


def test_a_match_by_a_header_that_is_dropped_is_told() -> None:
    rule = {
        "matches": [{"headers": [{"name": "x_canary", "value": "yes"}]}],
        "backendRefs": [{"name": "web", "port": 80}],
    }
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "p"}
    there = Situation(
        obj("GatewayParameters", "p", {}), gateway(infrastructure={"parametersRef": reference}), route("web", rule)
    )
    told = there.conditions("HTTPRoute", "web")["Accepted"]
    assert told["status"] == "False" and "rule 0: matches[0].headers[x_canary].name: " in told["message"]
    there.put(obj("GatewayParameters", "p", {"clients": {"underscoresInHeaders": "Allow"}}))
    assert there.conditions("HTTPRoute", "web")["Accepted"]["status"] == "True"


@pytest.mark.parametrize(
    ("options", "said", "refused"),
    [
        ({}, None, ""),
        ({"gateway.sampan.dev/tls-min-version": "1.3"}, {"tls_minimum_protocol_version": 4}, ""),
        ({"gateway.sampan.dev/tls-cipher-suites": "A, B"}, {"cipher_suites": ["A", "B"]}, ""),
        ({"gateway.sampan.dev/tls-min-version": "1.1"}, None, "Unsupported value: '1.1'"),
        ({"gateway.sampan.dev/tls-cipher-suites": " "}, None, "Required value"),
        ({"example.com/other": "x"}, None, "tls.options[example.com/other]: this option is not served"),
    ],
)
def test_options_of_tls(options: dict[str, str], said: Object | None, refused: str) -> None:
    listener = https()
    listener["spec"]["listeners"][0]["tls"]["options"] = options
    there = Situation(secret("one", *pair("a.example")), listener)
    accepted = there.listener("gw", "https")["Accepted"]
    assert (refused in accepted["message"] and accepted["reason"] == "UnsupportedValue") if refused else True
    if refused:
        assert there.names(LISTENER) == []
    else:
        context = opened(there.get(LISTENER, "shop/gw/443")["filter_chains"][0]["transport_socket"]["typed_config"])
        assert context["common_tls_context"].get("tls_params") == said
