"""HTTP/3 in front of a real Envoy: offered beside TLS, certificates exchanged under load, and who may not have it."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import re
import ssl
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from .eventually import eventually, eventually_async
from .gateway_world import (
    HOST,
    Alone,
    Connection,
    any_certificate,
    certificate,
    free_port,
    gateway_object,
    on_host,
    parameters_of,
    parameters_ref,
    route_object,
    secret,
    serve,
    to,
)
from .http3_client import http3

OTHER = "other.example"
EXAMPLE = Path(__file__).parents[2] / "examples/gateway-edge/gateway.yaml"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with how much it was sent, and by what protocol that was told to have come."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        text = f"{self.path} {len(body)} {self.headers['x-forwarded-proto']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


def https(name: str, port: int, host: str) -> dict[str, object]:
    tls = {"certificateRefs": [{"name": name}]}
    return {"name": name, "port": port, "protocol": "HTTPS", "hostname": host, "tls": tls}


class Front:
    def __init__(self, alone: Alone, port: int, backend: int) -> None:
        self.alone, self.port, self.backend = alone, port, backend

    def write(self, serial: int = 1, *more: dict[str, object], **spec: object) -> None:
        listeners = [https("shop", self.port, HOST), https("other", self.port, OTHER), *more]
        self.alone.write(
            parameters_of("p", http3={}),
            gateway_object(*listeners, infrastructure=parameters_ref("p"), **spec),
            secret("default", "shop", *certificate(serial)),
            secret("default", "other", *certificate(1, OTHER)),
            *on_host("default", "mirror", "127.0.0.1", self.backend),
            route_object("HTTPRoute", "shop", to("mirror"), hostnames=[HOST, OTHER, "more.example"]),
        )

    async def answers(self, host: str, status: int) -> bool:
        """Whether that is the status over HTTP/3; 0: nobody answers."""
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(5), http3("127.0.0.1", self.port, host) as client:
                return (await client.ask(host)).status == status
        return status == 0


@pytest.fixture
def front(tmp_path: Path) -> Iterator[Front]:
    server = serve(Mirror, "127.0.0.1")
    with Alone(tmp_path) as alone:
        made = Front(alone, free_port(), server.server_address[1])
        made.write()
        eventually("HTTP/3 is spoken", lambda: asyncio.run(made.answers(HOST, 200)))
        yield made
    server.shutdown()


def alternative(port: int) -> str | None:
    """Return what an answer over TCP says of HTTP/3."""
    connection = Connection("127.0.0.1", port, any_certificate())
    connection.request("GET", "/", headers={"Host": HOST})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.getheader("alt-svc")


def test_the_example_of_an_edge(tmp_path: Path) -> None:
    server, port = serve(Mirror, "127.0.0.1"), free_port()
    with Alone(tmp_path) as alone:
        ours = {"8443": port, "9000": server.server_address[1]}  # at once: one may have the digits of another
        text = re.sub("|".join(ours), lambda found: str(ours[found[0]]), EXAMPLE.read_text())
        (alone.directory / "gateway.yaml").write_text(text)
        alone.write(secret("default", "edge", *certificate()), file="secret")
        made = Front(alone, port, 0)
        eventually("HTTP/3 is spoken", lambda: asyncio.run(made.answers(HOST, 200)))
        eventually("it is logged", lambda: alone.told('"protocol":"HTTP/3"') and alone.told('"route":"default/shop/0"'))
        assert alternative(port) == f'h3=":{port}"; ma=86400'
    server.shutdown()


async def test_what_is_asked_over_quic_reaches_the_backend(front: Front) -> None:
    assert alternative(front.port) == f'h3=":{front.port}"; ma=86400'
    async with http3("127.0.0.1", front.port, HOST) as client:
        answer = await client.ask(HOST, "/x?y=1", "POST", b"z" * 3_000_000)
        assert (answer.status, answer.body) == (200, b"/x?y=1 3000000 https")
        several = await asyncio.gather(*(client.ask(HOST, f"/{number}") for number in range(50)))
        assert [answer.body for answer in several] == [b"/%d 0 https" % number for number in range(50)]
        misdirected = await client.ask(OTHER)
        assert misdirected.status == 421, "the handshake was for another listener"
    await eventually_async("the other listener answers", partial(front.answers, OTHER, 200))


async def test_certificates_and_routes_change_and_the_connection_stays(front: Front) -> None:
    async with http3("127.0.0.1", front.port, HOST) as client:
        statuses: list[int] = []
        ending = asyncio.Event()

        async def load() -> None:
            while not ending.is_set():
                statuses.append((await client.ask(HOST)).status)

        async def shown(serial: int) -> bool:
            async with http3("127.0.0.1", front.port, HOST) as other:
                return other.certificate.serial_number == serial

        task = asyncio.create_task(load())
        for serial in (2, 3):
            front.write(serial)
            await eventually_async(f"certificate {serial} is shown", partial(shown, serial))
        more = https("other", front.port, "more.example") | {"name": "more"}
        front.write(3, more)
        await eventually_async("the new listener serves", partial(front.answers, "more.example", 200))
        front.write(3)
        await eventually_async("the listener is gone", partial(front.answers, "more.example", 0))
        ending.set()
        await task
        assert set(statuses) == {200} and len(statuses) > 10 and client.ended is None


async def test_who_asks_clients_for_certificates_has_no_http3(front: Front) -> None:
    bundle, _ = certificate(9, "client.example")
    reference = {"group": "", "kind": "ConfigMap", "name": "clients"}
    front.alone.write(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "clients", "namespace": "default"},
            "data": {"ca.crt": bundle.decode()},
        },
        file="clients",
    )
    front.write(tls={"frontend": {"default": {"validation": {"caCertificateRefs": [reference]}}}})

    async def asks() -> bool:
        with contextlib.suppress(OSError):
            try:
                await asyncio.to_thread(alternative, front.port)
            except ssl.SSLError as error:
                return "certificate required" in str(error).lower().replace("_", " ")
        return False

    await eventually_async("clients are asked for certificates", asks)
    await eventually_async("HTTP/3 is not spoken", partial(front.answers, HOST, 0))
