"""TLS of the outputs: an own CA, a client's certificate, and a server that is not whom we mean."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.server import Server

from sampan.logs.outputs.otlp.grpc import Bytes
from sampan.logs.outputs.output import Output, Undelivered
from tests.unit.logs.certificates import Authority
from tests.unit.logs.remote import batch_of, made, serving
from tests.unit.logs.test_otlp_grpc import Collector
from tests.unit.logs.test_syslog import receiving

KINDS = ("http", "otlp", "loki", "elasticsearch", "grpc", "syslog")


class Mutual:
    """A CA, a server's context that wants certificates of it, and a client's options."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self.authority.path))
        self.context.load_cert_chain(*self.authority.issue("server"))
        self.context.verify_mode = ssl.CERT_REQUIRED
        certificate, key = self.authority.issue("agent")
        self.options = {"ca": str(self.authority.path), "certificate": str(certificate), "key": str(key)}


@pytest.fixture
def mutual(tmp_path: Path) -> Mutual:
    return Mutual(tmp_path)


@asynccontextmanager
async def server(kind: str, mutual: Mutual) -> AsyncIterator[tuple[str, str, Any]]:
    """Yield the type of the output, its address, and what counts the requests that were taken."""
    if kind == "grpc":
        it = Collector([])
        mutual.context.set_alpn_protocols(["h2"])
        grpc = Server([it], codec=Bytes())
        await grpc.start("127.0.0.1", 0, ssl=mutual.context)
        assert grpc._server is not None
        yield "otlp", f"grpcs://localhost:{grpc._server.sockets[0].getsockname()[1]}", lambda: len(it.taken)
        grpc.close()
        await grpc.wait_closed()
    elif kind == "syslog":
        async with receiving(mutual.context) as receiver:
            yield "syslog", f"tls://localhost:{receiver.port}", lambda: len(receiver.messages)
    else:
        async with serving(kind, [], mutual.context) as remote:
            yield kind, remote.url, lambda: len(remote.taken)


async def delivered(output: Output) -> None:
    try:
        async with asyncio.timeout(60):
            await output.deliver(batch_of(5))
    finally:
        await output.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_both_sides_know_each_other(kind: str, mutual: Mutual) -> None:
    async with server(kind, mutual) as (of, url, taken):
        await delivered(made(of, url=url, tls=mutual.options))
        async with asyncio.timeout(60):
            while taken() < 5:  # noqa: ASYNC110 - syslog's receiver reads later
                await asyncio.sleep(0.01)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_of_another_ca_gets_nothing(kind: str, mutual: Mutual, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    async with server(kind, mutual) as (of, url, taken):
        with pytest.raises(Undelivered, match=r"(?i)certificate"):
            await delivered(made(of, url=url, tls={**mutual.options, "ca": str(other.path)}))
        assert taken() == 0


@pytest.mark.parametrize("kind", ["http", "grpc", "syslog"])
async def test_without_a_certificate_nothing_is_taken(kind: str, mutual: Mutual) -> None:
    async with server(kind, mutual) as (of, url, taken):
        with pytest.raises(Undelivered):
            await delivered(made(of, url=url, tls={"ca": mutual.options["ca"]}))
        assert taken() == 0


async def test_no_check_is_said_out_loud(mutual: Mutual, caplog: pytest.LogCaptureFixture) -> None:
    mutual.context.verify_mode = ssl.CERT_NONE
    async with serving("http", [], mutual.context) as remote:
        await delivered(made("http", url=remote.url, tls={"insecure_skip_verify": True}))
    assert len(remote.taken) == 5
    assert "whoever answers gets the logs" in caplog.text


@pytest.mark.parametrize("kind", ["http", "grpc", "syslog"])
async def test_certificates_that_are_renewed_are_used(kind: str, mutual: Mutual, tmp_path: Path) -> None:
    """The server has a certificate of a new CA; the file of CAs is written anew, and the next connection knows it."""
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other")
    ca = tmp_path / "renewed.pem"
    ca.write_bytes(other.path.read_bytes())
    async with server(kind, mutual) as (of, url, taken):
        output = made(of, url=url, tls={**mutual.options, "ca": str(ca)})
        with pytest.raises(Undelivered):
            await output.deliver(batch_of(5))
        ca.write_bytes(mutual.authority.path.read_bytes())
        await delivered(output)
        async with asyncio.timeout(60):
            while taken() < 5:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
