"""What replicas count together: each bucket has an owner among them, which the others ask.

    EndpointSlices with LIMITS_LABEL ──▶ who is there ──▶ owner(bucket) = the highest of hash(bucket, replica)

Every replica finds the same owner without a word; one that comes or goes moves its share of the buckets alone, which then
begin full. An owner that does not answer is left alone for a time, and its buckets are counted by each for itself. Replicas
know each other by one certificate (``trust.py``).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import socket
import ssl
from collections.abc import Iterable
from typing import Any, NamedTuple

from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES
from sampan.gateway.limits.descriptors import BUCKET, SOURCE, Asked
from sampan.gateway.limits.service import METHOD, OVER_LIMIT, SECOND, Limits, Service
from sampan.gateway.limits.trust import NAME, client_context, server_context, shared_pair
from sampan.gateway.replicas import LABEL, Replica
from sampan.gateway.xds.ads import Raw, RawCodec
from sampan.gateway.xds.encode import decode, encode
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

LIMITS_LABEL = "gateway.sampan.dev/limits"
FIELD_MANAGER = "sampan-gateway-limits"
ANSWER_SECONDS = 0.5
"""Less than Envoy waits for us."""
LEFT_ALONE_SECONDS = 5.0


class Place(NamedTuple):
    address: str
    port: int


class Peers:
    """Set ``limits.ask_owner`` when it runs."""

    def __init__(self, limits: Limits, replica: Replica, listen: str, client: Client) -> None:
        self.limits, self.replica, self._listen, self._client = limits, replica, listen, client
        self.places: dict[str, Place] = {}
        """Replica → where it answers; ourselves among them when we do."""
        self.counting = asyncio.Event()
        """Set while the others are asked."""
        self._channels: dict[str, tuple[Place, Any]] = {}
        self._left_alone: dict[str, float] = {}
        self._context: ssl.SSLContext | None = None

    def on_slice(self, change: str, old: Object | None, new: Object) -> None:
        """Take over where a replica answers."""
        labels = new["metadata"].get("labels") or {}
        if LIMITS_LABEL not in labels or LABEL not in labels:
            return
        if new["metadata"].get("namespace") != self.replica.lease_namespace:
            return  # not one of us: else whoever may make slices anywhere could lead us away from a replica
        name = labels[LABEL]
        if change == "DELETED" or not new.get("endpoints") or not new.get("ports"):
            self.places.pop(name, None)
        else:
            self.places[name] = Place(new["endpoints"][0]["addresses"][0], new["ports"][0]["port"])
        self._left_alone.pop(name, None)

    async def run(self) -> None:
        """Answer the others and ask them, until cancelled. Raises ``ApiError`` where our place cannot be told."""
        from grpclib.server import Server

        certificate, key = await shared_pair(self._client, self.replica.lease_namespace)
        self._context = client_context(certificate, key)
        server = Server([Service(self.limits)], codec=RawCodec())
        family = socket.AF_INET6 if ":" in self._listen else socket.AF_INET
        listening = socket.create_server((self._listen, 0), family=family)
        await server.start(sock=listening, ssl=server_context(certificate, key))
        try:
            piece = self.slice(listening.getsockname()[1])
            name, namespace = piece["metadata"]["name"], self.replica.lease_namespace
            await self._client.patch(
                ENDPOINT_SLICES, name, piece, namespace, type="apply", field_manager=FIELD_MANAGER, force=True
            )
            self.limits.ask_owner = self.ask
            self.counting.set()
            await asyncio.get_running_loop().create_future()
        finally:
            self.limits.ask_owner = None
            self.counting.clear()
            for _, channel in self._channels.values():
                channel.close()
            self._channels.clear()
            server.close()
            await server.wait_closed()

    def slice(self, port: int) -> Object:
        """Return the EndpointSlice that tells the others where we answer; it goes as our other slices go."""
        name = f"sampan-gateway-limits-{self.replica.name}"
        return {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": name,
                "namespace": self.replica.lease_namespace,
                "labels": {**self.replica.labels, LIMITS_LABEL: "true"},
            },
            "addressType": "IPv6" if ":" in self.replica.address else "IPv4",
            "ports": [{"name": "limits", "port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [self.replica.address], "conditions": {"ready": True}}],
        }

    async def ask(self, buckets: list[Asked]) -> int:
        """Take one of each bucket where it is kept; return the nanoseconds until there is one, 0 where each had one. What
        the first owners gave is not given back when a later one has none."""
        by_owner: dict[str, list[Asked]] = {}
        for bucket in buckets:
            by_owner.setdefault(owner(bucket.name, {*self.places, self.replica.name}), []).append(bucket)
        for name, owned in by_owner.items():
            if wait := await self._ask(name, owned):
                return wait
        return 0

    async def _ask(self, name: str, buckets: list[Asked]) -> int:
        now = asyncio.get_running_loop().time()
        if name not in self.places or name == self.replica.name or self._left_alone.get(name, 0.0) > now:
            return self.limits.take_all(buckets)
        from grpclib.client import UnaryUnaryMethod
        from grpclib.exceptions import GRPCError, StreamTerminatedError

        try:
            method = UnaryUnaryMethod(self._channel(name), METHOD, Raw, Raw)
            answer = await method(Raw(request_of(buckets)), timeout=ANSWER_SECONDS)
        except (OSError, TimeoutError, GRPCError, StreamTerminatedError) as error:
            logger.warning("replica %s does not count with us for a while: %s", name, error or type(error).__name__)
            self._left_alone[name] = now + LEFT_ALONE_SECONDS
            return self.limits.take_all(buckets)
        return wait_of(answer.content)

    def _channel(self, name: str) -> Any:
        from grpclib.client import Channel
        from grpclib.config import Configuration

        place = self.places[name]
        known = self._channels.get(name)
        if known is None or known[0] != place:
            if known is not None:
                known[1].close()
            config = Configuration(ssl_target_name_override=NAME)
            channel = Channel(place.address, place.port, ssl=self._context, codec=RawCodec(), config=config)
            known = self._channels[name] = place, channel
        return known[1]


def owner(bucket: str, replicas: Iterable[str]) -> str:
    """Return which replica keeps a bucket (rendezvous hashing)."""
    return max(replicas, key=lambda name: hashlib.blake2b(f"{name} {bucket}".encode(), digest_size=8).digest())


def request_of(buckets: list[Asked]) -> bytes:
    """Return what an owner is asked: to it they are buckets of its own."""
    entries = []
    for one in buckets:
        name, _, source = one.name.rpartition(" ")
        limit = f"{name}|{one.interval_nanoseconds}|{one.amount}"
        entries.append({"entries": [{"key": BUCKET, "value": limit}, {"key": SOURCE, "value": source}]})
    return encode("envoy.service.ratelimit.v3.RateLimitRequest", {"descriptors": entries})


def wait_of(content: bytes) -> int:
    answer = decode("envoy.service.ratelimit.v3.RateLimitResponse", content)
    if answer.get("overall_code") != OVER_LIMIT:
        return 0
    headers = {entry.get("key"): entry.get("value", "") for entry in answer.get("response_headers_to_add") or ()}
    return max(1, int(headers.get("retry-after") or 1)) * SECOND
