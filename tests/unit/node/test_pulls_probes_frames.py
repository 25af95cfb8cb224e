"""Image pulls with their back-off, TCP and startup probes, carriage returns in logs, SPDY's dictionary and resets."""

from __future__ import annotations

import asyncio
import struct
import zlib
from typing import Any, cast

import pytest
from grpclib.health.check import ServiceStatus
from grpclib.health.service import Health
from grpclib.server import Server

from sampan.node import cri_pb2 as cri
from sampan.node.image_puller import ImagePuller
from sampan.node.images import ImageError
from sampan.node.probes import Answer, ContainerProbes, Target, ask
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.spdy import DICTIONARY, Session, SpdyError

IMAGE = "registry.test/shop:1"


class Registry:
    """The image half of a runtime: what is present, and whether a pull works."""

    def __init__(self, *, present: bool = False, reachable: bool = False) -> None:
        self.present, self.reachable, self.pulls = present, reachable, 0

    async def image_status(self, reference: str) -> cri.Image | None:
        return cri.Image(id="sha256:1", size=7) if self.present else None

    async def pull_image(self, reference: str, auth: object, sandbox: object) -> str:
        self.pulls += 1
        await asyncio.sleep(0)
        if not self.reachable:
            raise RuntimeFailure("no such host")
        self.present = True
        return reference


async def ensure(puller: ImagePuller, policy: str, told: list[str] | None = None) -> cri.Image:
    events = told if told is not None else []
    container = {"name": "c", "image": IMAGE, "imagePullPolicy": policy}
    return await puller.ensure(container, cri.PodSandboxConfig(), [], lambda _, reason, __: events.append(reason))


async def test_a_failed_pull_is_backed_off() -> None:
    registry = Registry()
    puller = ImagePuller(cast("Runtime", registry))
    told: list[str] = []
    with pytest.raises(ImageError) as first:
        await ensure(puller, "IfNotPresent", told)
    with pytest.raises(ImageError) as second:
        await ensure(puller, "IfNotPresent", told)
    assert (first.value.reason, second.value.reason) == ("ErrImagePull", "ImagePullBackOff")
    assert told == ["Pulling", "Failed", "Failed", "BackOff"]
    assert registry.pulls == 1
    assert 9 < puller.seconds_left(IMAGE, "") <= 10


@pytest.mark.parametrize(("policy", "pulls"), [("IfNotPresent", 0), ("Never", 0), ("Always", 1)])
async def test_a_present_image_is_used_without_a_registry(policy: str, pulls: int) -> None:
    registry = Registry(present=True)
    assert (await ensure(ImagePuller(cast("Runtime", registry)), policy)).id == "sha256:1"
    assert registry.pulls == pulls


async def test_never_means_never() -> None:
    registry = Registry(reachable=True)
    with pytest.raises(ImageError) as error:
        await ensure(ImagePuller(cast("Runtime", registry)), "Never")
    assert error.value.reason == "ErrImageNeverPull"
    assert registry.pulls == 0


async def test_tcp_probes() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    target = Target({"name": "c", "ports": [{"name": "web", "containerPort": port}]}, "id", "127.0.0.1")
    probe = {"tcpSocket": {"port": "web"}}
    runtime = cast("Runtime", None)
    assert await ask(runtime, probe, target) == Answer(True)
    server.close()
    await server.wait_closed()
    assert not (await ask(runtime, probe, target)).well


class Named:
    """A service, as the health service of grpclib knows it by name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __mapping__(self) -> dict[str, Any]:
        return {f"/{self._name}/Any": None}


async def test_grpc_probes() -> None:
    good, bad = ServiceStatus(), ServiceStatus()
    good.set(True)
    bad.set(False)
    server = Server([Health({Named("good"): [good], Named("bad"): [bad]})])  # type: ignore[dict-item]
    await server.start("127.0.0.1", 0)
    assert server._server is not None
    port = server._server.sockets[0].getsockname()[1]
    target = Target({"name": "c"}, "id", "127.0.0.1")
    answers = {
        service: await ask(cast("Runtime", None), {"grpc": {"port": port, "service": service}}, target)
        for service in ("good", "bad", "unknown")
    }
    server.close()
    assert answers["good"].well and not answers["bad"].well and "NOT_FOUND" in answers["unknown"].message.upper()
    gone = await ask(cast("Runtime", None), {"grpc": {"port": port}}, target)
    assert not gone.well and gone.message.startswith("health rpc failed: ")


async def test_a_startup_probe_holds_readiness_back() -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    container: dict[str, Any] = {"name": "c", "startupProbe": {"tcpSocket": {"port": port}}}
    changes: list[tuple[bool, bool]] = []
    probes = ContainerProbes(
        cast("Runtime", None),
        Target(container, "id", "127.0.0.1"),
        lambda: changes.append((probes.started, probes.ready)),
        lambda kind, message: pytest.fail(message),
        lambda kind, message: pytest.fail(message),
    )
    assert (probes.started, probes.ready) == (False, False)
    await probes.run()
    server.close()
    assert changes == [(True, False), (True, True)]


def test_the_dictionary_is_the_drafts() -> None:
    assert zlib.adler32(DICTIONARY) == 0xE3C6A7C2


async def test_a_lost_connection_ends_its_streams() -> None:
    session = Session(lambda data: None, client=True)
    stream = session.open({"streamType": "data"})
    session.end()
    assert await stream.receive() == b""
    assert await stream.receive() == b""
    with pytest.raises(SpdyError):
        await stream.replied


async def test_a_bad_header_block_is_told() -> None:
    session = Session(lambda data: None, client=False)
    with pytest.raises(SpdyError):
        session.feed(b"\x80\x03\x00\x01\x00\x00\x00\x0c" + bytes(12))


async def test_what_is_received_is_not_answered_frame_by_frame() -> None:
    """A peer that has written its last and closed resets the connection when it is written to, and the end is lost."""
    written: list[bytes] = []
    session = Session(written.append, client=True)
    stream = session.open({"streamtype": "stdout"})
    before = len(written)
    for _ in range(64):
        session.feed(struct.pack(">II", stream.id, 16384) + b"x" * 16384)
    session.end()
    assert len(written) == before
    got = 0
    while piece := await stream.receive():
        got += len(piece)
    assert got == 64 * 16384
