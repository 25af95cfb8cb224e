"""A cluster's objects as the DNS server follows them, without an API, and questions to it read by dnspython."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

from sampan.dns.asking import Pending, Way
from sampan.dns.corefile.configuration import DEFAULT, Configuration, read
from sampan.dns.following import Follower
from sampan.dns.forwarding.forwarder import Forwarder
from sampan.dns.gateway_names import GatewayNames
from sampan.dns.hosts import Hosts
from sampan.dns.metrics import Metrics
from sampan.dns.records import Options
from sampan.dns.responder import Responder

DOMAIN = "cluster.local"
NOBODY = ip_address("192.0.2.77")


class NoClient:
    streams_lists = False


class Cluster:
    """Objects in, answers out."""

    def __init__(self, options: Options | None = None) -> None:
        self.follower = Follower(NoClient(), options or Options(), (ip_address("10.240.64.10"),))  # type: ignore[arg-type]
        self.follower.begin()
        self.versions = 0

    def namespace(self, *names: str) -> None:
        for name in names:
            self.follower.namespaces.take({"metadata": {"name": name}})

    def service(self, name: str, namespace: str = "shop", ports: Any = None, **spec: Any) -> None:
        ports = [{"name": "http", "port": 80, "protocol": "TCP"}] if ports is None else ports
        obj = {
            "metadata": {"name": name, "namespace": namespace},
            "spec": {"type": "ClusterIP", "ports": ports, **spec},
        }
        self.follower.services.take(obj)

    def no_service(self, name: str, namespace: str = "shop") -> None:
        self.follower.services.forget({"metadata": {"name": name, "namespace": namespace}})

    def piece(
        self, service: str, *endpoints: dict[str, Any], namespace: str = "shop", name: str = "", port: int = 8080
    ) -> None:
        labels = {"kubernetes.io/service-name": service}
        obj = {
            "metadata": {"name": name or f"{service}-1", "namespace": namespace, "labels": labels},
            "endpoints": list(endpoints),
            "ports": [{"name": "http", "port": port, "protocol": "TCP"}],
        }
        self.follower.slices.take(obj)

    def pod(self, name: str, ip: str, namespace: str = "shop", phase: str = "Running", **spec: Any) -> None:
        status = {"phase": phase, "podIP": ip, "podIPs": [{"ip": ip}]}
        self.follower.pods.take({"metadata": {"name": name, "namespace": namespace}, "spec": spec, "status": status})

    def no_pod(self, name: str, namespace: str = "shop") -> None:
        self.follower.pods.forget({"metadata": {"name": name, "namespace": namespace}})

    def responder(
        self, corefile: str | Configuration = "", forwarder: Forwarder | None = None, searches: tuple[str, ...] = ()
    ) -> Responder:
        """Return a responder for the objects as they are; a Corefile changes nothing of the zone's options."""
        made = corefile if isinstance(corefile, Configuration) else read(corefile or DEFAULT)
        ways = [
            Way(
                block,
                forwarder if block.forwards else None,
                Hosts(block.hosts) if block.hosts else None,
                GatewayNames(block.gateway) if block.gateway else None,
            )
            for block in made.blocks
        ]
        zone = self.follower.zone
        return Responder(zone, self.follower, made, ways, Metrics(), host_searches=searches, now=lambda: 0.0)

    def ask(
        self, name: str, kind: str = "A", *, responder: Responder | None = None, **options: Any
    ) -> dns.message.Message:
        return ask(responder or self.responder(), name, kind, **options)


def query(name: str, kind: str = "A", **options: Any) -> bytes:
    made = dns.message.make_query(name + ".", kind, **{"id": 4711, **options})
    return made.to_wire()


def ask(
    responder: Responder, name: str, kind: str = "A", *, source: Any = NOBODY, udp: bool = True, **options: Any
) -> dns.message.Message:
    """Return the answer as dnspython reads it, having checked that it is one to the question."""
    made = dns.message.make_query(name + ".", kind, **options)
    answer = responder.answer(made.to_wire(), source, udp=udp)
    assert isinstance(answer, bytes), answer
    read_back = dns.message.from_wire(answer)
    assert made.is_response(read_back)
    return read_back


def pending(responder: Responder, name: str, kind: str = "A", *, source: Any = NOBODY) -> Pending:
    answer = responder.answer(query(name, kind), source)
    assert isinstance(answer, Pending), answer
    return answer


def data(answer: dns.message.Message, kind: str = "A", section: str = "answer") -> list[str]:
    """Return the data of a section's records of a type, sorted."""
    wanted = dns.rdatatype.from_text(kind)
    return sorted(str(one) for rrset in getattr(answer, section) if rrset.rdtype == wanted for one in rrset)


def code(answer: dns.message.Message) -> str:
    return dns.rcode.to_text(answer.rcode())
