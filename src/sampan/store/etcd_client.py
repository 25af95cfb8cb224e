"""Calls to etcd's v3 API over gRPC: one connection to one member, another member when it fails.

What is only read is asked again of the next member. A write is asked again only where it was certainly not sent; where
nobody knows its fate the caller is told so (``Unknown``), as Kubernetes' clients are: they read and decide.
Source: etcd's rpc.proto; its client's retry rules (server/v3 "client design").
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from grpclib.client import Channel, Stream, StreamStreamMethod, UnaryUnaryMethod
from grpclib.config import Configuration
from grpclib.const import Status
from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

from sampan.store import etcd_pb2 as pb
from sampan.store.etcd_address import EtcdAddress
from sampan.store.protocol import NoSpace, StoreError, TooLarge, Unavailable, Unknown

CALL_SECONDS = 5.0
CONNECT_SECONDS = 2.0
WINDOW_BYTES = 64 << 20
"""Flow control of HTTP/2: the pages of a large state come without waiting for us."""
KEEPALIVE = Configuration(
    _keepalive_time=10.0,
    _keepalive_timeout=5.0,
    _keepalive_permit_without_calls=False,
    _http2_max_pings_without_data=0,
    _http2_min_sent_ping_interval_without_data=10.0,
    http2_connection_window_size=WINDOW_BYTES,
    http2_stream_window_size=WINDOW_BYTES,
)
"""A member that vanished without a word is noticed within 15 s."""
GONE = (OSError, StreamTerminatedError, ProtocolError, asyncio.TimeoutError)
Answer = TypeVar("Answer")


class Refused(StoreError):
    """etcd's own refusal. ``compacted``: the revision that was asked for is gone; ``lease_gone``: the lease of a key is."""

    def __init__(self, message: str, compacted: bool = False, lease_gone: bool = False) -> None:
        super().__init__(message)
        self.compacted, self.lease_gone = compacted, lease_gone


class EtcdClient:
    """A client of one etcd cluster. Needs a running loop."""

    def __init__(self, address: EtcdAddress) -> None:
        self.address = address
        self._tls = address.context()
        self._at = 0
        self._channel: Channel | None = None
        self._connecting = asyncio.Lock()

    @property
    def endpoint(self) -> str:
        """The member that is asked now."""
        host, port = self.address.endpoints[self._at]
        return f"{host}:{port}"

    async def call(self, path: str, request: Any, answer: type[Answer], *, safe: bool = False) -> Answer:
        """Return the answer to a call. ``safe``: it may be sent twice. Raises ``StoreError``."""
        failure: BaseException | None = None
        for _ in range(2 * len(self.address.endpoints)):
            try:
                channel = await self._connected()
            except GONE as error:
                failure = error
                continue
            try:
                method = UnaryUnaryMethod(channel, path, type(request), answer)
                return await method(request, timeout=CALL_SECONDS)  # type: ignore[no-any-return]
            except GRPCError as error:
                if error.status is not Status.UNAVAILABLE:
                    raise refusal(error) from error
                failure = error
            except GONE as error:
                failure = error
            self._leave(channel)
            if not safe:
                raise Unknown(f"etcd at {self.endpoint} broke off: {words(failure)}; the write may be there or not")
        raise Unavailable(f"etcd does not answer at {self._members()}: {words(failure)}")

    async def _connected(self) -> Channel:
        """Return a channel that is connected: from here on a failure may mean that something was sent."""
        async with self._connecting:
            # grpclib would connect anew by itself, in the middle of a call
            if self._channel is not None and not self._channel._connected:
                self._leave(self._channel)
            if self._channel is None:
                host, port = self.address.endpoints[self._at]
                channel = Channel(host, port, ssl=self._tls, config=KEEPALIVE)
                try:
                    async with asyncio.timeout(CONNECT_SECONDS):
                        await channel.__connect__()
                except GONE:
                    channel.close()
                    self._at = (self._at + 1) % len(self.address.endpoints)
                    raise
                self._channel = channel
            return self._channel

    def _leave(self, channel: Channel) -> None:
        """Give a member up, unless another call has done so already."""
        if self._channel is not None and self._channel is channel:
            channel.close()
            self._channel = None
            self._at = (self._at + 1) % len(self.address.endpoints)

    def _members(self) -> str:
        return ", ".join(f"{host}:{port}" for host, port in self.address.endpoints)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[Stream[Any, Any]]:
        """A watch stream; leaving the context ends it. Raises ``StoreError`` in place of the connection's errors."""
        channel: Channel | None = None
        try:
            channel = await self._connected()
            method = StreamStreamMethod(channel, "/etcdserverpb.Watch/Watch", pb.WatchRequest, pb.WatchResponse)
            async with method.open() as stream:
                yield stream
        except GRPCError as error:
            if channel is not None and error.status is Status.UNAVAILABLE:
                self._leave(channel)
            raise refusal(error) from error
        except GONE as error:
            if channel is not None:
                self._leave(channel)
            raise Unavailable(f"etcd at {self._members()}: {words(error)}") from error

    # the calls

    async def range(self, request: pb.RangeRequest) -> pb.RangeResponse:
        return await self.call("/etcdserverpb.KV/Range", request, pb.RangeResponse, safe=True)

    async def txn(self, request: pb.TxnRequest) -> pb.TxnResponse:
        return await self.call("/etcdserverpb.KV/Txn", request, pb.TxnResponse)

    async def put(self, request: pb.PutRequest) -> pb.PutResponse:
        return await self.call("/etcdserverpb.KV/Put", request, pb.PutResponse, safe=True)

    async def compact(self, revision: int) -> None:
        request = pb.CompactionRequest(revision=revision)
        await self.call("/etcdserverpb.KV/Compact", request, pb.CompactionResponse, safe=True)

    async def grant_lease(self, seconds: int) -> int:
        """Return the id of a new lease. What is put with it is deleted after so many seconds."""
        request = pb.LeaseGrantRequest(TTL=seconds)
        return int((await self.call("/etcdserverpb.Lease/LeaseGrant", request, pb.LeaseGrantResponse, safe=True)).ID)

    async def version(self) -> tuple[int, ...]:
        """Return the version of the member: ``(3, 4, 23)``."""
        status = await self.call("/etcdserverpb.Maintenance/Status", pb.StatusRequest(), pb.StatusResponse, safe=True)
        return tuple(int(part) for part in status.version.split("-")[0].split(".")[:3])

    def close(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def refusal(error: GRPCError) -> StoreError:
    message = error.message or error.status.name
    if error.status is Status.RESOURCE_EXHAUSTED and "space" in message:
        return NoSpace(f"{message}: compact and defragment etcd, or raise its quota")
    if "too large" in message or "larger than max" in message:
        return TooLarge(message)
    return Refused(message, "compacted" in message, "lease not found" in message)


def words(error: BaseException | None) -> str:
    return str(error) or type(error).__name__
