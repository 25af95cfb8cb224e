"""A Gateway as it is meant: its class is ours, its listeners and those of its ListenerSets are judged, its parameters found.

Source: Gateway API v1, GatewaySpec; GEP-1713, GEP-1762 (addresses, infrastructure), GEP-91 and GEP-3155 (TLS of both sides).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any

from sampan.gateway.kinds.resources import MIDDLEWARES_ANNOTATION, OWN_GROUP
from sampan.gateway.model.certificates import certificate
from sampan.gateway.model.indexes import LISTENER_SETS
from sampan.gateway.model.listeners import Entry, Listener, Parent, judge
from sampan.gateway.model.observers import observer_problem
from sampan.gateway.model.selectors import lets_in, selector_text
from sampan.gateway.model.verdicts import Unresolved, Verdict
from sampan.gateway.model.world import World, age_key, key_of
from sampan.schema.objects import Object

ACCEPTED = Verdict("Accepted", "the Gateway is accepted")
RESOLVED = Verdict("ResolvedRefs", "all references are resolved")


@dataclass(frozen=True)
class GatewayModel:
    key: str
    accepted: Verdict
    resolved: Verdict
    listeners: tuple[Listener, ...]
    listener_sets: tuple[tuple[str, Verdict], ...]
    """Key of each ListenerSet that names this Gateway, and whether it may."""
    client_certificate: str
    """SDS name of the certificate shown to backends, ``""`` for none."""
    addresses: tuple[str, ...]
    """The addresses asked for."""
    parameters: dict[str, Any] = field(default_factory=dict)
    """Spec of its GatewayParameters."""
    middlewares: str = ""
    """What its annotation says of Middlewares for all its routes."""

    @property
    def is_accepted(self) -> bool:
        return self.accepted.reason == "Accepted"

    def of(self, parent: Parent) -> list[Listener]:
        return [listener for listener in self.listeners if listener.id.parent == parent]

    @property
    def ports(self) -> list[tuple[int, str]]:
        """Return ``(port, transport)`` of what is served, each once; ``QUIC`` is a transport of its own here."""
        quic = {(port, "QUIC") for port in self.quic_ports}
        return sorted({(listener.port, listener.transport) for listener in self.listeners if listener.serves} | quic)

    @property
    def http3(self) -> bool:
        return self.parameters.get("http3") is not None

    @property
    def quic_ports(self) -> set[int]:
        """Return the ports that HTTP/3 is spoken on."""
        return {listener.port for listener in self.listeners if self.http3 and listener.may_speak_quic}


def is_ours(world: World, gateway: Object) -> bool:
    gateway_class = world.get("GatewayClass", gateway["spec"]["gatewayClassName"])
    return gateway_class is not None and gateway_class["spec"]["controllerName"] == world.surroundings.controller


def gateway_model(world: World, key: str) -> GatewayModel | None:
    """Return the model of a Gateway; None when it is not there or not ours."""
    gateway = world.get("Gateway", key)
    if gateway is None or not is_ours(world, gateway):
        return None
    namespace = key.partition("/")[0]
    spec = gateway["spec"]
    own = Parent("Gateway", key)
    entries = [Entry(own, listener) for listener in spec["listeners"]]
    sets: list[tuple[str, Verdict]] = []
    for listener_set in sorted(world.find(LISTENER_SETS, key), key=age_key):
        set_key = key_of(listener_set)
        allowed = (spec.get("allowedListeners") or {}).get("namespaces") or {}
        source, selector = allowed.get("from", "None"), selector_text(allowed.get("selector"))
        if lets_in(world, source, selector, namespace, listener_set["metadata"]["namespace"]):
            sets.append((set_key, Verdict("Accepted", "the listener set is accepted")))
            parent = Parent("ListenerSet", set_key)
            entries += [Entry(parent, listener) for listener in listener_set["spec"].get("listeners") or ()]
        else:
            sets.append((set_key, Verdict("NotAllowed", f"Gateway {key} does not allow listener sets of here")))
    accepted, parameters = ACCEPTED, {}
    try:
        parameters = parameters_of(world, gateway)
    except Unresolved as error:
        accepted = error.verdict
    addresses, problem = addresses_of(spec)
    resolved, client_certificate = observer_problem(world, parameters, key) or RESOLVED, ""
    reference = ((spec.get("tls") or {}).get("backend") or {}).get("clientCertificateRef")
    if reference:
        try:
            client_certificate = certificate(world, "Gateway", namespace, reference, "InvalidClientCertificateRef")
        except Unresolved as error:
            resolved = error.verdict
    return GatewayModel(
        key,
        problem or accepted,
        resolved,
        judge(world, gateway, entries, http3=parameters.get("http3") is not None),
        tuple(sets),
        client_certificate,
        addresses,
        parameters,
        str((gateway["metadata"].get("annotations") or {}).get(MIDDLEWARES_ANNOTATION) or ""),
    )


def addresses_of(spec: Object) -> tuple[tuple[str, ...], Verdict | None]:
    """Return the addresses a Gateway asks for, and why one cannot be had."""
    wanted = []
    for address in spec.get("addresses") or ():
        kind, value = address.get("type", "IPAddress"), address.get("value", "")
        if kind != "IPAddress":
            return (), Verdict("UnsupportedAddress", f"addresses of the type {kind} are not served")
        if not value:
            continue
        try:
            ip_address(value)
        except ValueError:
            return (), Verdict("UnsupportedAddress", f"{value} is no IP address")
        wanted.append(value)
    return tuple(wanted), None


def parameters_of(world: World, gateway: Object) -> dict[str, Any]:
    """Return the parameters of the class with the Gateway's own over them. Raises ``Unresolved``."""
    found: dict[str, Any] = {}
    gateway_class = world.get("GatewayClass", gateway["spec"]["gatewayClassName"])
    reference = gateway_class["spec"].get("parametersRef")
    if reference:
        found |= _parameters(world, reference, reference.get("namespace", ""))
    own = (gateway["spec"].get("infrastructure") or {}).get("parametersRef")
    if own:
        found |= _parameters(world, own, gateway["metadata"]["namespace"])
    return found


def _parameters(world: World, reference: Object, namespace: str) -> dict[str, Any]:
    kind, name = reference["kind"], reference["name"]
    if reference["group"] != OWN_GROUP or kind != "GatewayParameters":
        text = f"parametersRef is to be a GatewayParameters of {OWN_GROUP}, not a {kind} of {reference['group']}"
        raise Unresolved("InvalidParameters", text)
    obj = world.get("GatewayParameters", f"{namespace}/{name}")
    if obj is None:
        raise Unresolved("InvalidParameters", f"GatewayParameters {namespace}/{name} does not exist")
    return dict(obj["spec"])
