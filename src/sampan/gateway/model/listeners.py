"""Listeners of a Gateway and its ListenerSets: what each serves, whether it may, and who wins a conflict.

Source: Gateway API v1, Listener, and GEP-1713 (ListenerSet: the Gateway's listeners first, then the sets by age).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sampan.gateway.kinds.resources import GROUP
from sampan.gateway.model.certificates import authorities, certificate, certificate_concern
from sampan.gateway.model.tls_options import USUAL, TlsOptions, tls_options
from sampan.gateway.model.verdicts import Unresolved, Unsupported, Verdict
from sampan.gateway.model.world import World, key_of
from sampan.schema.objects import Object

ROUTE_KINDS = {
    ("HTTP", "Terminate"): ("HTTPRoute", "GRPCRoute"),
    ("HTTPS", "Terminate"): ("HTTPRoute", "GRPCRoute"),
    ("TLS", "Terminate"): ("TLSRoute",),
    ("TLS", "Passthrough"): ("TLSRoute",),
    ("TCP", "Terminate"): ("TCPRoute",),
    ("UDP", "Terminate"): ("UDPRoute",),
}
FAMILIES = {"HTTP": "HTTP", "HTTPS": "TLS", "TLS": "TLS", "TCP": "TCP", "UDP": "UDP"}
"""Protocols that may share a port: those of one family, told apart by host name."""
ACCEPTED = Verdict("Accepted", "the listener is accepted")
RESOLVED = Verdict("ResolvedRefs", "all references are resolved")
NO_CONFLICTS = Verdict("NoConflicts", "")


class Parent(NamedTuple):
    """A Gateway or ListenerSet."""

    kind: str
    key: str

    @property
    def namespace(self) -> str:
        return self.key.partition("/")[0]


class ListenerId(NamedTuple):
    parent: Parent
    name: str


@dataclass(frozen=True, slots=True)
class Listener:
    """One listener, judged."""

    id: ListenerId
    port: int
    protocol: str
    mode: str
    hostname: str
    """``*`` where all hosts are meant."""
    kinds: tuple[str, ...]
    """The kinds of routes it takes."""
    namespaces_from: str
    namespace_selector: str
    """The selector as JSON: a value that can be compared."""
    certificates: tuple[str, ...]
    client_authorities: str
    """SDS name of the authorities that client certificates are checked with; ``""``: none is asked for."""
    client_fallback: bool
    """Whether clients without a valid certificate are let in."""
    accepted: Verdict
    resolved: Verdict
    conflicted: Verdict
    tls: TlsOptions = USUAL

    @property
    def transport(self) -> str:
        return "UDP" if self.protocol == "UDP" else "TCP"

    @property
    def may_speak_quic(self) -> bool:
        """Whether HTTP/3 can be offered beside it: Envoy asks no client for a certificate over QUIC."""
        return self.protocol == "HTTPS" and self.serves and not self.client_authorities

    @property
    def is_accepted(self) -> bool:
        return self.accepted.reason == "Accepted"

    def table(self, gateway: str) -> str:
        """Return the name of the route table its requests are looked up in: one for all plain listeners of a port, one
        for each listener with TLS (its host name was decided by the handshake)."""
        if self.protocol == "HTTP":
            return f"{gateway}/{self.port}"
        parts = [gateway, str(self.port)]
        if self.id.parent.kind == "ListenerSet":
            parts.append(self.id.parent.key)
        return "/".join((*parts, self.id.name))

    @property
    def terminates(self) -> bool:
        return self.protocol == "HTTPS" or (self.protocol == "TLS" and self.mode == "Terminate")

    @property
    def serves(self) -> bool:
        """Whether there is anything that Envoy can be told."""
        return self.is_accepted and bool(self.kinds) and bool(self.certificates or not self.terminates)


class Entry(NamedTuple):
    """A listener as it is written, and where."""

    parent: Parent
    spec: Object


def judge(world: World, gateway: Object, entries: list[Entry], *, http3: bool = False) -> tuple[Listener, ...]:
    """Return the listeners, in order of precedence, each with its verdicts. ``http3``: whether HTTPS takes UDP ports too."""
    from sampan.gateway.model.selectors import selector_text

    families: dict[tuple[int, str], str] = {}
    if http3:
        families |= {(int(spec["port"]), "UDP"): "HTTP/3" for _, spec in entries if spec["protocol"] == "HTTPS"}
    hosts: set[tuple[int, str, str]] = set()
    result = []
    for parent, spec in entries:
        protocol, port = spec["protocol"], int(spec["port"])
        hostname = (spec.get("hostname") or "*").lower()
        mode = ((spec.get("tls") or {}).get("mode") or "Terminate") if protocol in ("TLS", "HTTPS") else "Terminate"
        possible = ROUTE_KINDS.get((protocol, mode), ())
        kinds, resolved = route_kinds(spec, possible)
        accepted, conflicted = ACCEPTED, NO_CONFLICTS
        transport = "UDP" if protocol == "UDP" else "TCP"
        family = FAMILIES.get(protocol)
        if family is None:
            accepted = Verdict("UnsupportedProtocol", f"the protocol {protocol} is not served")
        elif not possible:
            accepted = Verdict("UnsupportedValue", f"the protocol {protocol} is not served with the mode {mode}")
        elif families.setdefault((port, transport), family) != family:
            other = families[port, transport]
            accepted = conflicted = Verdict("ProtocolConflict", f"port {port} is taken by listeners for {other}")
        elif (port, transport, hostname) in hosts:
            text = f"port {port} has a listener for {'all hosts' if hostname == '*' else hostname} already"
            accepted = conflicted = Verdict("HostnameConflict", text)
        else:
            hosts.add((port, transport, hostname))
        certificates: tuple[str, ...] = ()
        client_authorities, client_fallback = "", False
        if protocol == "HTTPS" or (protocol == "TLS" and mode == "Terminate"):
            certificates, problem = listener_certificates(world, parent, spec)
            resolved = problem or resolved
        options = USUAL
        try:
            options = tls_options((spec.get("tls") or {}).get("options") or {})
        except Unsupported as error:
            accepted = Verdict("UnsupportedValue", str(error)) if accepted is ACCEPTED else accepted
        if protocol == "HTTPS":
            client_authorities, client_fallback, problems = client_validation(world, gateway, port)
            if problems:
                resolved = problems[0].verdict
                if not client_authorities and accepted is ACCEPTED:
                    text = "no reference of the client validation leads to a certificate authority"
                    accepted = Verdict("NoValidCACertificate", text)
        namespaces = (spec.get("allowedRoutes") or {}).get("namespaces") or {}
        result.append(
            Listener(
                ListenerId(parent, spec["name"]),
                port,
                protocol,
                mode,
                hostname,
                kinds,
                namespaces.get("from", "Same"),
                selector_text(namespaces.get("selector")),
                certificates,
                client_authorities,
                client_fallback,
                accepted,
                resolved,
                conflicted,
                options,
            )
        )
    return tuple(result)


def route_kinds(spec: Object, possible: tuple[str, ...]) -> tuple[tuple[str, ...], Verdict]:
    """Return the kinds of routes a listener takes, and what is wrong with those it names."""
    named = (spec.get("allowedRoutes") or {}).get("kinds") or []
    if not named:
        return possible, RESOLVED
    good = tuple(k["kind"] for k in named if k.get("group", GROUP) == GROUP and k["kind"] in possible)
    if len(good) == len(named):
        return good, RESOLVED
    wrong = [k["kind"] for k in named if k.get("group", GROUP) != GROUP or k["kind"] not in possible]
    text = f"not served by a listener for {spec['protocol']}: {', '.join(wrong)}"
    return good, Verdict("InvalidRouteKinds", text)


def listener_certificates(world: World, parent: Parent, spec: Object) -> tuple[tuple[str, ...], Verdict | None]:
    """Return the SDS names of a listener's certificates, and what is wrong with the first that is not well."""
    references = (spec.get("tls") or {}).get("certificateRefs") or []
    if not references:
        return (), Verdict("InvalidCertificateRef", "the listener has no certificateRefs")
    names: list[str] = []
    problem: Verdict | None = None
    for reference in references:
        try:
            name = certificate(world, parent.kind, parent.namespace, reference, "InvalidCertificateRef", keeps=True)
            names.append(name)
            concern = certificate_concern(world, name)
            if concern:
                problem = problem or Verdict("InvalidCertificateRef", concern)
        except Unresolved as error:
            problem = problem or error.verdict
    return tuple(dict.fromkeys(names)), problem


def client_validation(world: World, gateway: Object, port: int) -> tuple[str, bool, list[Unresolved]]:
    """Return the authorities for client certificates on a port, whether clients without are let in, and problems."""
    frontend = (gateway["spec"].get("tls") or {}).get("frontend") or {}
    tls = frontend.get("default") or {}
    for entry in frontend.get("perPort") or ():
        if entry["port"] == port:
            tls = entry.get("tls") or {}
    validation = tls.get("validation")
    if not validation:
        return "", False, []
    namespace = key_of(gateway).partition("/")[0]
    name, problems = authorities(
        world,
        "Gateway",
        namespace,
        validation.get("caCertificateRefs") or [],
        "InvalidCACertificateKind",
        "InvalidCACertificateRef",
    )
    return name, validation.get("mode") == "AllowInsecureFallback", problems
