"""What the destination of a trace means: ``SERVICE:PORT``, ``pod/NAME:PORT``, ``IP:PORT`` or a name of DNS.

A name is looked up as a pod's resolver would with its search list: a Service of the pod's namespace, then
``SERVICE.NAMESPACE``, then the cluster's domain, then the world. Source: Kubernetes DNS specification 1.1.
"""

from __future__ import annotations

import difflib
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from sampan.network.families import FAMILIES, Address, Family, parse_address
from sampan.network.service_endpoints import Candidate, Endpoint, candidates, choose
from sampan.network.services import (
    affinity_seconds,
    cluster_ip_of,
    external_addresses,
    is_proxied,
    load_balancer_addresses,
)
from sampan.network.trace_world import World
from sampan.schema.objects import Object


class TraceError(Exception):
    """The question has no answer: what it names is not there. ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Target:
    """``endpoints`` with equal chances; without any, ``problem`` says why nothing can answer."""

    asked: str
    protocol: str
    port: int
    name: str = ""
    """In DNS, empty where an address was asked."""
    what: str = ""
    """What stands behind it, as a person says it."""
    addresses: tuple[Address, ...] = ()
    """What the client sends to: a Service's address, or the endpoints' own."""
    service: str = ""
    translated: bool = False
    """Whether the Service's address is translated to an endpoint's (DNAT)."""
    endpoints: tuple[Endpoint, ...] = ()
    unused: tuple[tuple[Endpoint, str], ...] = ()
    """Endpoints that get nothing, and why."""
    notes: tuple[str, ...] = ()
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Asker:
    """From where the question is asked."""

    namespace: str
    node: str
    family: Family
    protocol: str


def target_of(text: str, world: World, asker: Asker) -> Target:
    """Return what a destination means. Raises ``TraceError``."""
    kind, _, rest = text.partition("/") if text.startswith(("svc/", "service/", "pod/", "po/")) else ("", "", text)
    host, port = _split(rest)
    address = parse_address(host)
    if address is not None:
        return _of_address(text, address, port, world, asker)
    if kind in ("pod", "po"):
        return _of_pod(text, host, port, world, asker)
    labels = host.rstrip(".").split(".")
    domain = world.cluster_domain.split(".")
    if labels[-len(domain) :] == domain:
        labels = labels[: -len(domain)]
    if "/" in host:
        namespace, _, name = host.partition("/")
        return _of_service(text, _service(world, namespace, name), port, world, asker)
    if len(labels) == 1:
        return _of_service(text, _service(world, asker.namespace, labels[0]), port, world, asker)
    if len(labels) == 2 and (kind or f"{labels[1]}/{labels[0]}" in world.services):
        return _of_service(text, _service(world, labels[1], labels[0]), port, world, asker)
    if len(labels) >= 3 and labels[2] == "svc" and len(labels) == 3:
        return _of_service(text, _service(world, labels[1], labels[0]), port, world, asker)
    if len(labels) == 4 and labels[3] == "svc":
        return _of_service(text, _service(world, labels[2], labels[1]), port, world, asker, hostname=labels[0])
    return _of_world(text, host, port, asker)


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.count(":") > 1:  # a bare address of IPv6
        return text, ""
    host, _, port = text.partition(":")
    if not host:
        raise TraceError(f"{text!r} names no destination", "SERVICE:PORT, pod/NAME:PORT, IP:PORT or NAME:PORT")
    return host, port


def _number(port: str, text: str) -> int:
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise TraceError(f"{text!r}: {port or 'nothing'} is no port", "a number from 1 to 65535")
    return int(port)


def _service(world: World, namespace: str, name: str) -> Object:
    found = world.services.get(f"{namespace}/{name}")
    if found is None:
        near = difflib.get_close_matches(f"{namespace}/{name}", world.services, 3)
        hint = f"there are {', '.join(near)}" if near else "`kubectl get services -A` shows them"
        raise TraceError(f"there is no Service {name!r} in namespace {namespace!r}", hint)
    return found


def _of_service(text: str, service: Object, port: str, world: World, asker: Asker, hostname: str = "") -> Target:
    metadata, spec = service["metadata"], service["spec"]
    key = f"{metadata.get('namespace')}/{metadata['name']}"
    dns = f"{metadata['name']}.{metadata.get('namespace')}.svc.{world.cluster_domain}"
    name = f"{hostname}.{dns}" if hostname else dns
    if spec.get("type") == "ExternalName" and not hostname:
        found = _aliased(text, str(spec["externalName"]), port, world, asker)
        what = f"Service {key}, an ExternalName: CNAME {spec['externalName']}"
        if found.service:
            what += f", {found.what}"
        return replace(found, name=name, what=what, service=found.service or key)
    if spec.get("clusterIP") in (None, "", "None") or hostname:
        return _headless(text, name, service, port, world, asker, hostname)
    chosen = _port(service, key, port, asker.protocol)
    address = cluster_ip_of(service, asker.family)
    if address is None:
        return Target(text, asker.protocol, int(chosen["port"]), name, f"Service {key}", service=key,
                      problem=f"it has no {asker.family.name} address")  # fmt: skip
    return _through(text, name, key, service, chosen, address, world, asker, outside=False)


def _aliased(text: str, name: str, port: str, world: World, asker: Asker) -> Target:
    """Return what the name of an ExternalName means, as the server follows it: aliases of the cluster, then the world's."""
    known: list[str] = []
    while name not in known:
        known.append(name)
        service = _service_called(name, world)
        if service is None:
            if not name.rstrip(".").lower().endswith(f".svc.{world.cluster_domain}"):
                return _of_world(text, name, port, asker)
            try:
                return target_of(f"{name}:{port}", world, asker)  # an endpoint's own name
            except TraceError as error:
                problem = f"it has no address: {error}"
                return Target(text, asker.protocol, _number(port, text), name, problem=problem)
        if service["spec"].get("type") != "ExternalName":
            return _of_service(text, service, port, world, asker)
        name = str(service["spec"]["externalName"])
    problem = f"it has no address: {' → '.join([*known, name])} is a circle"
    return Target(text, asker.protocol, _number(port, text), name, problem=problem)


def _service_called(name: str, world: World) -> Object | None:
    inner = name.rstrip(".").lower().removesuffix(f".svc.{world.cluster_domain}")
    service, _, namespace = inner.partition(".")
    return world.services.get(f"{namespace}/{service}") if inner != name.rstrip(".").lower() else None


def _port(service: Object, key: str, port: str, protocol: str) -> Any:
    listed = [one for one in service["spec"].get("ports") or () if (one.get("protocol") or "TCP").lower() == protocol]
    shown = ", ".join(f"{one.get('name') or ''} {one['port']}/{one.get('protocol') or 'TCP'}".strip()
                      for one in service["spec"].get("ports") or ())  # fmt: skip
    if not port and len(listed) == 1:
        return listed[0]
    for one in listed:
        if port and port in (str(one["port"]), one.get("name")):
            return one
    missing = f"port {port!r}" if port else "single port to take"
    raise TraceError(f"Service {key} has no {protocol.upper()} {missing}", f"it has {shown or 'no ports'}")


def _through(
    text: str,
    name: str,
    key: str,
    service: Object,
    port: Any,
    address: Address,
    world: World,
    asker: Asker,
    *,
    outside: bool,
) -> Target:
    """Return what a Service's address leads to, as the proxy of the client's node has it."""
    place = world.place(asker.node)
    listed = candidates(world.slices_of(service), port, asker.family, place)
    choice, spec = choose(listed, place), service["spec"]
    policy = spec.get("externalTrafficPolicy" if outside else "internalTrafficPolicy") or "Cluster"
    used = choice.local if policy == "Local" else choice.cluster
    notes = []
    if policy == "Local":
        notes.append(f"{'external' if outside else 'internal'}TrafficPolicy Local: endpoints of node {asker.node} only")
    if seconds := affinity_seconds(spec):
        notes.append(f"sessionAffinity ClientIP: the same endpoint for {seconds} s")
    problem = ""
    if not is_proxied(service):
        problem = "another proxy serves it (service.kubernetes.io/service-proxy-name)"
    elif not used:
        problem = "it has no endpoint on this node: dropped" if choice.anywhere else "no endpoint is ready: refused"
    return Target(
        asked=text,
        protocol=asker.protocol,
        port=int(port["port"]),
        name=name,
        what=f"Service {key}",
        addresses=(address,),
        service=key,
        translated=True,
        endpoints=() if problem else tuple(used),
        unused=tuple((one.endpoint, _why_not(one)) for one in listed if one.endpoint not in used),
        notes=tuple(notes),
        problem=problem,
    )


def _why_not(candidate: Candidate) -> str:
    if candidate.ready:
        return "not near enough" if not candidate.local else "not chosen"
    return "terminating" if candidate.terminating else "not ready"


def _headless(text: str, name: str, service: Object, port: str, world: World, asker: Asker, hostname: str) -> Target:
    key = f"{service['metadata'].get('namespace')}/{service['metadata']['name']}"
    named = next((one for one in service["spec"].get("ports") or () if one.get("name") == port), None)
    number = int(named["port"]) if named else _number(port, text)
    everyone = bool(service["spec"].get("publishNotReadyAddresses"))
    found = []
    for piece in world.slices_of(service):
        for one in piece.get("endpoints") or ():
            ready = everyone or (one.get("conditions") or {}).get("ready") is not False
            if (
                piece.get("addressType") == asker.family.name
                and ready
                and (not hostname or one.get("hostname") == hostname)
            ):
                found += [address for text_ in one.get("addresses") or () if (address := parse_address(text_))]
    what = f"Service {key}, headless: the name's addresses are its endpoints'"
    problem = "" if found else "no endpoint is ready: the name has no address"
    listed = tuple(Endpoint(address, number) for address in dict.fromkeys(found))
    addresses = tuple(each.address for each in listed)
    return Target(text, asker.protocol, number, name, what, addresses, key, False, listed, problem=problem)


def _of_pod(text: str, host: str, port: str, world: World, asker: Asker) -> Target:
    name, _, other = host.partition(".")
    namespace, slash, inner = host.partition("/")
    key = f"{namespace}/{inner}" if slash else f"{other or asker.namespace}/{name}"
    if key not in world.pods:
        near = difflib.get_close_matches(key, world.pods, 3)
        raise TraceError(f"there is no pod {key}", f"there are {', '.join(near)}" if near else "")
    status = world.pods[key].get("status") or {}
    listed = [parse_address(entry.get("ip")) for entry in status.get("podIPs") or ()]
    address = next((each for each in listed if each and each.version == asker.family.version), None)
    number = _number(port, text)
    if address is None:
        return Target(
            text, asker.protocol, number, what=f"pod {key}", problem=f"it has no {asker.family.name} address (yet)"
        )
    ended = "it has ended" if status.get("phase") in ("Succeeded", "Failed") else ""
    endpoint = () if ended else (Endpoint(address, number),)
    return Target(text, asker.protocol, number, "", f"pod {key}", (address,), endpoints=endpoint, problem=ended)


def _of_address(text: str, address: Address, port: str, world: World, asker: Asker) -> Target:
    number = _number(port, text)
    for key, service in world.services.items():
        for own, given, outside in _frontends(service, number, asker.protocol, world):
            if own == address:
                here = Asker(asker.namespace, asker.node, _family(address), asker.protocol)
                found = _through(text, "", key, service, given, address, world, here, outside=outside)
                return replace(found, port=number)
        if any(own == address for own, _ in _addresses(service)):
            problem = f"the Service has no {asker.protocol.upper()} port {number}: refused"
            return Target(text, asker.protocol, number, "", f"Service {key}", (address,), key, problem=problem)
    pod = world.pod_at(address)
    node = world.node_at(address)
    what = f"pod {pod.key}" if pod else f"node {node}" if node else "no address of the cluster's"
    return Target(text, asker.protocol, number, "", what, (address,), endpoints=(Endpoint(address, number),))


def _family(address: Address) -> Family:
    return next(family for family in FAMILIES if family.version == address.version)


def _addresses(service: Object) -> Iterator[tuple[Address, bool]]:
    for family in FAMILIES:
        own = cluster_ip_of(service, family)
        if own is not None:
            yield own, False
        for outer in (*external_addresses(service, family), *load_balancer_addresses(service, family)):
            yield outer, True


def _frontends(service: Object, number: int, protocol: str, world: World) -> Iterator[tuple[Address, Any, bool]]:
    """Yield the addresses at which a port number is a Service's, the port, and whether that is a way from outside."""
    for port in service["spec"].get("ports") or ():
        if (port.get("protocol") or "TCP").lower() != protocol:
            continue
        if port["port"] == number:
            yield from ((address, port, outside) for address, outside in _addresses(service))
        if port.get("nodePort") == number:
            for node in world.nodes:
                for entry in (node.get("status") or {}).get("addresses") or ():
                    if address := parse_address(entry.get("address")):
                        yield address, port, True


def _of_world(text: str, host: str, port: str, asker: Asker) -> Target:
    number = _number(port, text)
    try:
        found = socket.getaddrinfo(host, number, asker.family.af, socket.SOCK_STREAM)
    except OSError as error:
        return Target(
            text,
            asker.protocol,
            number,
            host,
            "a name outside the cluster",
            problem=f"it has no address: {error.strerror}",
        )
    listed = dict.fromkeys(parse_address(str(entry[4][0])) for entry in found)
    addresses = tuple(address for address in listed if address)
    endpoints = tuple(Endpoint(address, number) for address in addresses)
    return Target(text, asker.protocol, number, host, "a name outside the cluster", addresses, endpoints=endpoints)
