"""The service that Envoy's ``ratelimit`` filters ask, and to which a listener's access log tells what connections have ended.
Source: ``envoy.service.ratelimit.v3.RateLimitService``, ``envoy.service.accesslog.v3.AccessLogService``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from sampan.gateway.limits.buckets import Buckets
from sampan.gateway.limits.descriptors import BUCKET, ENDED, FLIGHT, SHARED, Asked, Malformed, read
from sampan.gateway.limits.flights import Flights
from sampan.gateway.xds.ads import Raw
from sampan.gateway.xds.encode import EncodingError, decode, encode

logger = logging.getLogger("sampan.gateway")

METHOD = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
LOG_METHOD = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"
SOCKET = "limits.sock"
"""In the folder of the gateway's sockets."""
OK, OVER_LIMIT = 1, 2
SECOND = 1_000_000_000
AskOwner = Callable[[list[Asked]], Awaitable[int]]
"""Takes one of each shared bucket from who keeps it; returns the nanoseconds until there is one, 0 where all had one."""


class Limits:
    """Decides. One of it for an Envoy."""

    def __init__(self, buckets: Buckets | None = None) -> None:
        self.buckets, self.flights = buckets or Buckets(), Flights()
        self.ask_owner: AskOwner | None = None
        """None: this is the only replica."""

    async def decide(self, asked: list[Asked]) -> tuple[bool, int]:
        """Return whether a request may pass, and else after how many nanoseconds it may be worth another try (0: that is
        not known). Nothing is counted of a request that may not pass."""
        for one in asked:
            if one.kind == ENDED:
                self.flights.end(one.identity)
        flights = [one for one in asked if one.kind == FLIGHT]
        shared = [one for one in asked if one.kind == SHARED]
        own = [one for one in asked if one.kind == BUCKET]
        if self.ask_owner is None:
            own, shared = own + shared, []
        if any(self.flights.count(one.name) >= one.amount for one in flights):
            return False, 0
        waits = [self.buckets.wait(one.name, one.interval_nanoseconds, one.amount) for one in own]
        if any(waits):
            return False, max(waits)
        for one in flights:  # before the owner is asked: what comes meanwhile has to see it
            self.flights.begin(one.name, one.identity)
        self.take(own)
        if shared and self.ask_owner is not None and (wait := await self.ask_owner(shared)):
            for one in flights:
                self.flights.end(one.identity)
            return False, wait
        return True, 0

    def take(self, buckets: list[Asked]) -> None:
        for one in buckets:
            self.buckets.take(one.name, one.interval_nanoseconds)

    def take_all(self, buckets: list[Asked]) -> int:
        """Take one of each bucket if all have one; return the nanoseconds until they have, 0 where it was done."""
        waits = [self.buckets.wait(one.name, one.interval_nanoseconds, one.amount) for one in buckets]
        if any(waits):
            return max(waits)
        self.take(buckets)
        return 0


class Service:
    """The gRPC side of it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits

    def __mapping__(self) -> dict[str, Any]:
        from grpclib.const import Cardinality, Handler

        return {
            METHOD: Handler(self._ask, Cardinality.UNARY_UNARY, Raw, Raw),
            LOG_METHOD: Handler(self._follow, Cardinality.STREAM_UNARY, Raw, Raw),
        }

    async def _ask(self, stream: Any) -> None:
        message = await stream.recv_message()
        if message is not None:
            await stream.send_message(Raw(await self.answer(message.content)))

    async def _follow(self, stream: Any) -> None:
        while (message := await stream.recv_message()) is not None:
            self.ended(message.content)
        await stream.send_message(Raw(b""))

    def ended(self, content: bytes) -> None:
        """Take over which connections have ended: a ``StreamAccessLogsMessage``."""
        try:
            logs = decode("envoy.service.accesslog.v3.StreamAccessLogsMessage", content).get("tcp_logs") or {}
        except EncodingError as error:
            logger.error("an access log of envoy cannot be read: %s", error)
            return
        for entry in logs.get("log_entry") or ():
            self.limits.flights.end(connection(entry.get("common_properties") or {}))

    async def answer(self, content: bytes) -> bytes:
        """Return the bytes of a ``RateLimitResponse`` to those of a ``RateLimitRequest``. Raises ``GRPCError``."""
        from grpclib.const import Status
        from grpclib.exceptions import GRPCError

        try:
            request = decode("envoy.service.ratelimit.v3.RateLimitRequest", content)
            asked = [read(one) for one in request.get("descriptors") or ()]
        except (EncodingError, Malformed) as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from error
        passes, wait = await self.limits.decide(asked)
        answer: dict[str, Any] = {"overall_code": OK if passes else OVER_LIMIT}
        if wait:
            answer["response_headers_to_add"] = [{"key": "retry-after", "value": str(-(-wait // SECOND))}]
        answer["statuses"] = [{"code": answer["overall_code"]} for _ in asked]
        return encode("envoy.service.ratelimit.v3.RateLimitResponse", answer)


def connection(properties: dict[str, Any]) -> str:
    """Return the identity of a connection by what an access log tells of it: ``REMOTE>LOCAL@SECONDS``."""

    def place(name: str) -> str:
        socket_address = (properties.get(name) or {}).get("socket_address") or {}
        address = socket_address.get("address", "")
        return f"{f'[{address}]' if ':' in address else address}:{socket_address.get('port_value', 0)}"

    began = properties.get("start_time") or {}
    moment = f"{began.get('seconds', 0)}.{began.get('nanos', 0):09d}"
    return f"{place('downstream_remote_address')}>{place('downstream_local_address')}@{moment}"
