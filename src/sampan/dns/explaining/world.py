"""The cluster as it is now, read once from the API, and why a name has the answer it has."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS, ENDPOINT_SLICES, NAMESPACES, PODS, SERVICES
from sampan.dns import wire
from sampan.dns.asking import Outside, Way
from sampan.dns.corefile.configuration import DEFAULT, Block, Configuration, read
from sampan.dns.entries import PodEntry
from sampan.dns.explaining.texts import described, text_of
from sampan.dns.following import Follower
from sampan.dns.gateway_names import RESOURCES, GatewayNames, hosts_of, named
from sampan.dns.hosts import Hosts
from sampan.dns.metrics import Metrics
from sampan.dns.records import Options, pod_address, reversed_address
from sampan.dns.responder import Responder
from sampan.dns.zone import Found
from sampan.schema.objects import Object


@dataclass(slots=True)
class Step:
    """One name of the search."""

    name: str
    code: str
    answers: list[str]
    """``TYPE data``, as they come."""
    ttl: int | None = None
    by: str = ""
    """The directive that answers."""
    because: list[str] = field(default_factory=list)
    """The objects behind the answer, and their endpoints below them."""
    server: str = ""
    """What the server says otherwise, "" where it says the same or was not asked."""

    @property
    def ends(self) -> bool:
        """Whether the search ends here."""
        return self.code != "NXDOMAIN"


class World:
    """The cluster as it is now, read once."""

    def __init__(self, follower: Follower, responder: Responder) -> None:
        self.follower = follower
        self.responder = responder

    @classmethod
    async def of(cls, client: Client, config_map: str, domain: str) -> World:
        """Raises ``ApiError``; ``CorefileError`` of a Corefile that is wrong."""
        text, files = await corefile_of(client, config_map, domain)
        configuration = read(text, files=files)
        options = configuration.kubernetes or Options(domain=domain)
        follower = Follower(client, options, ())
        for table, resource in (
            (follower.namespaces, NAMESPACES),
            (follower.services, SERVICES),
            (follower.slices, ENDPOINT_SLICES),
            (follower.pods, PODS),
        ):
            for obj in (await client.list(resource)).items:
                table.take(obj)
        follower.begin()
        ways = [await _way(client, block) for block in configuration.blocks]
        return cls(follower, Responder(follower.zone, follower, configuration, ways, Metrics()))

    @property
    def configuration(self) -> Configuration:
        return self.responder.configuration

    def step(self, name: str, kind: int) -> Step | Outside:
        """Return a name's answer with its reasons, ``Outside`` where resolvers are asked."""
        key = wire.name_to_wire(name.lower())
        block = self.configuration.block_of(key)
        if block is None:
            return Step(name, "REFUSED", [], because=["no server block has this name"])
        way = next(way for way in self.responder.ways if way.block is block)
        found = self.responder.look(way, key, kind)
        if isinstance(found, Outside):
            return found
        return self.told(name, kind, found)

    def told(self, name: str, kind: int, found: Found) -> Step:
        texts = [text_of(record) for record in found.answers]
        ttl = min((ttl for _, ttl in texts), default=None)
        step = Step(name, wire.CODES[found.code], [text for text, _ in texts], ttl, found.by)
        step.because = list(self._because(name, kind, found))
        return step

    def _because(self, name: str, kind: int, found: Found) -> Iterable[str]:
        if found.by == "hosts":
            yield "hosts in the Corefile"
        elif found.by == "k8s_gateway":
            yield from self._of_gateways(name)
        elif found.by == "kubernetes":
            yield from self._of_cluster(name.lower(), kind, found)

    def _of_gateways(self, name: str) -> Iterable[str]:
        for way in self.responder.ways:
            if way.gateway is not None:
                zones = [wire.wire_to_name(zone) for zone in way.gateway.settings.zones]
                about = [whose for host, _, whose in hosts_of(way.gateway.objects, zones) if covers(host, name.lower())]
                yield from dict.fromkeys(about)

    def _of_cluster(self, name: str, kind: int, found: Found) -> Iterable[str]:
        holders = self.follower.zone.holders(wire.name_to_wire(name), kind)
        address = reversed_address(name)
        if not holders and address is not None:
            holders = sorted(self.follower.services_at(address))
        for key in holders:
            yield from self._service(key)
        if holders:
            return
        options = self.follower.zone.options
        labels = name.removesuffix(f".{options.domain}").split(".")
        if (len(labels) >= 3 and labels[-1] == "pod") or address is not None:
            pod = self.follower.pod_at(address) if address else self._pod(labels)
            yield f"Pod {pod.namespace}/{pod.name}" if pod is not None else "there is no such Pod"
            return
        yield from self._absent(labels, found)

    def _pod(self, labels: list[str]) -> PodEntry | None:
        at = pod_address(labels[0])
        return (self.follower.pod_at(at) if at else None) or self.follower.pod(labels[-2], ".".join(labels[:-2]))

    def _absent(self, labels: list[str], found: Found) -> Iterable[str]:
        """Say what a name of the cluster lacks, or whose endpoint it is."""
        if labels[-1] != "svc" or len(labels) < 3:
            if found.code:
                yield "the cluster has no such name: names end with svc or pod below its domain"
            return
        namespace, service = labels[-2], labels[-3]
        key = f"{namespace}/{service}"
        if namespace not in self.follower.zone.namespaces:
            yield f"there is no Namespace {namespace}"
        elif self.follower.service(key) is None:
            yield f"there is no Service {key}"
        else:
            yield from self._service(key)
            if found.code:
                yield "no endpoint that is ready is called so" if len(labels) > 3 else "none of its endpoints is ready"

    def _service(self, key: str) -> Iterable[str]:
        service = self.follower.service(key)
        if service is None:
            return
        more = f" to {service.external_name}" if service.external_name else ""
        yield f"Service {key} ({service.kind}{more})"
        for endpoint in self.follower.endpoints(key):
            yield f"  {described(endpoint)}"


def covers(host: str, name: str) -> bool:
    return name == host or (host.startswith("*.") and name.endswith(host[1:]))


async def corefile_of(client: Client, config_map: str, domain: str) -> tuple[str, dict[str, str]]:
    namespace, _, name = config_map.partition("/")
    try:
        found = await client.get(CONFIG_MAPS, name, namespace)
    except ApiError as error:
        if not error.is_not_found:
            raise
        return DEFAULT.replace("cluster.local", domain), {}
    return str((found.get("data") or {}).get("Corefile", "")), dict(found.get("data") or {})


async def _way(client: Client, block: Block) -> Way:
    gateway = GatewayNames(block.gateway) if block.gateway is not None else None
    if gateway is not None:
        for kind in gateway.settings.resources:
            for obj in await listed(client, kind):
                metadata = obj["metadata"]
                gateway.take(kind, f"{metadata.get('namespace')}/{metadata['name']}", named(kind, obj))
    return Way(block, None, Hosts(block.hosts) if block.hosts is not None else None, gateway)


async def listed(client: Client, kind: str) -> list[Object]:
    try:
        return (await client.list(RESOURCES[kind])).items
    except ApiError as error:
        if error.is_not_found:  # the cluster does not serve Gateway API
            return []
        raise
