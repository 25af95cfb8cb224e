"""HTTP/3: what Envoy is told of a UDP port beside TLS, who may not have it, and what else wanted that port."""

from __future__ import annotations

import base64
from typing import Any

from sampan.gateway.infrastructure import service_of
from sampan.gateway.xds.tls import QUIC
from sampan.gateway.xds.types import LISTENER

from .certificates import pair
from .situation import Object, Situation, gateway, obj, opened, path_rule, route

QUIC_LISTENER = "shop/gw/443/quic"


def secret(name: str) -> Object:
    chain, key = pair(f"{name}.example")
    data = {"tls.crt": base64.b64encode(chain).decode(), "tls.key": base64.b64encode(key).decode()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data}


def https(name: str, hostname: str = "", port: int = 443) -> Object:
    tls = {"certificateRefs": [{"name": "one"}]}
    return {"name": name, "port": port, "protocol": "HTTPS", "tls": tls, **({"hostname": hostname} if hostname else {})}


def situation(*listeners: Object, http3: dict[str, Any] | None, **spec: Any) -> Situation:
    parameters = obj("GatewayParameters", "p", {} if http3 is None else {"http3": http3})
    reference = {"group": "gateway.sampan.dev", "kind": "GatewayParameters", "name": "p"}
    there = gateway(*listeners, infrastructure={"parametersRef": reference}, **spec)
    return Situation(secret("one"), parameters, there, route("web", path_rule("PathPrefix", "/")))


def manager(chain: Object) -> Object:
    return opened(chain["filters"][0]["typed_config"])


def test_each_https_listener_has_a_chain_on_the_udp_port() -> None:
    there = situation(https("all"), https("shop", "shop.example"), https("else", port=8443), http3={})
    found = there.get(LISTENER, QUIC_LISTENER)
    assert found["address"]["socket_address"]["protocol"] == 1 and "quic_options" in found["udp_listener_config"]
    matches = {chain["name"]: chain.get("filter_chain_match", {}) for chain in found["filter_chains"]}
    assert matches == {"shop/gw/443/all": {}, "shop/gw/443/shop": {"server_names": ["shop.example"]}}
    assert all(QUIC.encode() in chain["transport_socket"]["typed_config"] for chain in found["filter_chains"])
    assert all(manager(chain)["codec_type"] == 3 for chain in found["filter_chains"])
    ports = there.pipeline.gateway_ports("shop/gw")
    assert {(port.number, port.transport) for port in ports} == {
        (443, "TCP"),
        (443, "UDP"),
        (8443, "TCP"),
        (8443, "UDP"),
    }
    made = service_of(gateway(), ports, ())["spec"]["ports"]
    assert [(entry["name"], entry["protocol"]) for entry in made if entry["port"] == 443] == [
        ("port-443", "TCP"),
        ("udp-443", "UDP"),
    ]


def test_answers_over_tcp_tell_of_it() -> None:
    for wanted, settings in ((b'h3=":443"; ma=86400', {}), (b'h3=":8444"; ma=86400', {"advertisedPort": 8444})):
        there = situation(https("all"), http3=settings)
        assert wanted in there.pipeline.ads.resources[LISTENER]["shop/gw/443"]


def test_without_being_asked_for_there_is_none() -> None:
    there = situation(https("all"), http3=None)
    assert QUIC_LISTENER not in there.names(LISTENER)
    assert b"h3=" not in there.pipeline.ads.resources[LISTENER]["shop/gw/443"]
    there.put(obj("GatewayParameters", "p", {"http3": {}}))
    assert QUIC_LISTENER in there.names(LISTENER)
    there.put(obj("GatewayParameters", "p", {}))
    assert QUIC_LISTENER not in there.names(LISTENER)


def test_who_asks_clients_for_certificates_is_left_out_and_says_so() -> None:
    chain, _ = pair("client.example")
    authorities = {
        "kind": "ConfigMap",
        "metadata": {"name": "ca", "namespace": "shop"},
        "data": {"ca.crt": chain.decode()},
    }
    reference = {"group": "", "kind": "ConfigMap", "name": "ca"}
    asking = {"port": 443, "tls": {"validation": {"caCertificateRefs": [reference]}}}
    there = situation(
        https("asks"), https("free", port=8443), http3={}, tls={"frontend": {"default": {}, "perPort": [asking]}}
    )
    there.put(authorities)
    assert there.names(LISTENER) == ["shop/gw/443", "shop/gw/8443", "shop/gw/8443/quic"]
    assert b"h3=" not in there.pipeline.ads.resources[LISTENER]["shop/gw/443"]
    programmed = there.listener("gw", "asks")["Programmed"]
    assert programmed["status"] == "True" and "not over HTTP/3" in programmed["message"]
    assert "HTTP/3" not in there.listener("gw", "free")["Programmed"]["message"]


def test_a_udp_listener_of_the_same_port_conflicts() -> None:
    udp = {"name": "udp", "port": 443, "protocol": "UDP"}
    there = situation(udp, https("all"), http3={})
    assert there.listener("gw", "udp")["Accepted"]["message"] == "port 443 is taken by listeners for HTTP/3"
    assert there.listener("gw", "all")["Accepted"]["status"] == "True"
    there.put(obj("GatewayParameters", "p", {}))
    assert there.listener("gw", "udp")["Accepted"]["status"] == "True"


def test_what_envoy_says_against_it_is_the_listeners() -> None:
    there = situation(https("all"), http3={})
    there.pipeline._on_answer(LISTENER, QUIC_LISTENER, 1, "cannot bind")
    assert "cannot bind" in there.listener("gw", "all")["Programmed"]["message"]
    there.put(obj("GatewayParameters", "p", {}))
    assert there.listener("gw", "all")["Programmed"]["status"] == "True"
