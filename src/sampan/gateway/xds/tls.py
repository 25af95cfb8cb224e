"""TLS of both sides of Envoy. Certificates and authorities are named, not held: they come by SDS."""

from __future__ import annotations

from typing import Any

from sampan.gateway.model.listeners import Listener
from sampan.gateway.model.policies import SYSTEM, TlsPolicy

ADS_SOURCE: dict[str, Any] = {"ads": {}, "resource_api_version": 2}
DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
UPSTREAM = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
QUIC = "envoy.extensions.transport_sockets.quic.v3.QuicDownstreamTransport"
DNS, URI, IP_ADDRESS = 2, 3, 4
ACCEPT_UNTRUSTED = 1
TLS_VERSIONS = {"1.2": 3, "1.3": 4}


def by_name(name: str) -> dict[str, Any]:
    return {"name": name, "sds_config": ADS_SOURCE}


def downstream_context(listener: Listener, protocols: list[str]) -> dict[str, Any]:
    """Return the TLS of a listener. ``protocols``: what is offered by ALPN."""
    common: dict[str, Any] = {
        "tls_certificate_sds_secret_configs": [by_name(name) for name in listener.certificates],
        "alpn_protocols": protocols,
    }
    if listener.tls.min_version:
        common.setdefault("tls_params", {})["tls_minimum_protocol_version"] = TLS_VERSIONS[listener.tls.min_version]
    if listener.tls.cipher_suites:
        common.setdefault("tls_params", {})["cipher_suites"] = list(listener.tls.cipher_suites)
    context: dict[str, Any] = {"common_tls_context": common}
    if listener.client_authorities:
        validation = by_name(listener.client_authorities)
        if listener.client_fallback:
            lenient = {"trust_chain_verification": ACCEPT_UNTRUSTED}
            common["combined_validation_context"] = {
                "default_validation_context": lenient,
                "validation_context_sds_secret_config": validation,
            }
        else:
            common["validation_context_sds_secret_config"] = validation
            context["require_client_certificate"] = {"value": True}
    return context


def downstream_socket(listener: Listener, protocols: list[str]) -> dict[str, Any]:
    context = {"@type": DOWNSTREAM, **downstream_context(listener, protocols)}
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def quic_socket(listener: Listener) -> dict[str, Any]:
    """Return the TLS of a listener for QUIC. No early data: others can send it again. Source: RFC 8446 section 8."""
    context = downstream_context(listener, ["h3"])
    typed = {"@type": QUIC, "downstream_tls_context": context, "enable_early_data": {"value": False}}
    return {"name": "envoy.transport_sockets.quic", "typed_config": typed}


def upstream_socket(policy: TlsPolicy, client_certificate: str, protocols: list[str]) -> dict[str, Any]:
    """Return the TLS of a cluster that a policy asks for."""
    names = policy.names or (("Hostname", policy.hostname),)
    matchers = [san_matcher(kind, value) for kind, value in names]
    context: dict[str, Any] = {"match_typed_subject_alt_names": matchers}
    common: dict[str, Any] = {"alpn_protocols": protocols}
    if policy.authorities == SYSTEM:
        common["validation_context"] = {**context, "system_root_certs": {}}
    else:
        common["combined_validation_context"] = {
            "default_validation_context": context,
            "validation_context_sds_secret_config": by_name(policy.authorities),
        }
    if client_certificate:
        common["tls_certificate_sds_secret_configs"] = [by_name(client_certificate)]
    typed = {"@type": UPSTREAM, "common_tls_context": common, "sni": policy.hostname}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def url_socket(host: str, trusted: dict[str, Any] | None) -> dict[str, Any]:
    """Return the TLS of a cluster of a URL, by which the server is to be that host. ``trusted``: whom to believe that (part
    of a ``CertificateValidationContext``); None: nobody is asked."""
    common: dict[str, Any] = {"alpn_protocols": ["http/1.1"]}
    is_address = ":" in host or host.replace(".", "").isdecimal()
    if trusted is not None:
        matcher = {"san_type": IP_ADDRESS if is_address else DNS, "matcher": {"exact": host}}
        common["validation_context"] = {**trusted, "match_typed_subject_alt_names": [matcher]}
    typed = {"@type": UPSTREAM, "common_tls_context": common, "sni": "" if is_address else host}
    return {"name": "envoy.transport_sockets.tls", "typed_config": typed}


def san_matcher(kind: str, value: str) -> dict[str, Any]:
    """Return the matcher for a name of the certificate; a wildcard in it stands for one label."""
    if kind == "URI":
        return {"san_type": URI, "matcher": {"exact": value}}
    return {"san_type": DNS, "matcher": {"exact": value}}
