"""Plugins in processes of their own: processors, hooks and middlewares, and all that they do wrong to nobody else."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import os
import shutil
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib.client import Channel, StreamStreamMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError
from grpclib.server import Server

from sampan.gateway.xds.ads import Raw, RawCodec

from .eventually import eventually
from .gateway_with_plugins import Alone, alone, memory, named, route, with_trailers
from .test_gateway_plugins import WRAP, WRAP_TOML

EXAMPLES = Path(__file__).parents[2] / "examples/plugins"
PROCESSOR = """
import ctypes, os, time

class Everything:
    def __init__(self, *, mark):
        self.mark, self.kept = mark, []

    def request_headers(self, exchange):
        exchange.request.headers["x-in"] = self.mark
        wrong = exchange.request.path.partition("?")[2]
        if wrong == "deny":
            return exchange.respond(403, "not you\\n", {"x-why": "because"})
        if wrong == "raises":
            raise ValueError("on purpose")
        if wrong == "garbage":
            return {"status": 200}
        if wrong == "splits":
            exchange.request.headers["x-a"] = "b\\r\\nx-evil: 1"
        if wrong == "blocks":
            time.sleep(60)
        if wrong == "loops":
            while True:
                pass
        if wrong == "exits":
            os._exit(3)
        if wrong == "crashes":
            ctypes.string_at(0)
        if wrong == "leaks":
            while True:
                self.kept.append(bytearray(1 << 20))

    def response_headers(self, exchange):
        exchange.response.headers["x-mark"] = self.mark
        exchange.response.headers["x-client"] = exchange.request.client
        if exchange.request.path.endswith("?teapot"):
            exchange.response.status = 418
"""
BODIES = """
    async def request_body(self, exchange, chunks):
        async for chunk in chunks:
            yield chunk.upper()

    async def response_body(self, exchange, chunks):
        async for chunk in chunks:
            if exchange.request.path.endswith("?late"):
                os._exit(4)
            yield chunk
        if not exchange.request.path.endswith("/big"):
            yield b" and more"
"""
TOML = """
kind = "processor"
entry-point = "plugin:Everything"
settings = {type = "object", required = ["mark"], properties = {mark = {type = "string"}}}
"""
THROUGH = """
class Through:
    def __init__(self, app):
        self.app = app

    async def __call__(self, scope, receive, send):
        await self.app(scope, receive, send)
"""
THROUGH_TOML = 'kind = "asgi"\nentry-point = "plugin:Through"\n'
TRAILERS = """
class Trailers:
    async def request_body(self, exchange, chunks):
        async for chunk in chunks:
            yield chunk

    async def response_body(self, exchange, chunks):
        async for chunk in chunks:
            yield chunk

    def response_trailers(self, exchange, trailers):
        trailers["x-end"] = trailers["x-end"] + ", seen"
"""
TRAILERS_TOML = 'kind = "processor"\nentry-point = "plugin:Trailers"\n'
WHOLE = """
class Whole:
    def response_content(self, exchange, content):
        raise ValueError("gRPC is no whole")

    request_content = response_content

    def response_trailers(self, exchange, trailers):
        trailers["x-end"] = trailers["x-end"] + ", seen"
"""
WHOLE_TOML = 'kind = "processor"\nentry-point = "plugin:Whole"\ncontent-types = ["*/*"]\n'
HOOK = """
import os

def request(request):
    if "exits" in request.path:
        os._exit(3)
    request.response_headers["x-pid"] = str(os.getpid())
"""


def directory(folder: Path, source: str, toml: str = "") -> Path:
    folder.mkdir()
    (folder / "plugin.py").write_text(source)
    if toml:
        (folder / "plugin.toml").write_text(toml)
    return folder


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    folder = tmp_path_factory.mktemp("alone")
    with alone(folder) as served:
        headers = directory(folder / "headers", PROCESSOR, TOML)
        bodies = directory(folder / "bodies", PROCESSOR + BODIES, TOML)
        for failure in ("Open", "Closed"):
            common = {"failure": failure, "timeout": "1500ms", "memory": "200Mi", "settings": {"mark": "one"}}
            served.plugin(f"headers-{failure.lower()}", path=str(headers), **common)
            served.plugin(f"bodies-{failure.lower()}", path=str(bodies), **common)
        hook = directory(folder / "hook", HOOK)
        served.plugin("hook", path=str(hook), isolation="Process", failure="Open", timeout="1500ms")
        wrap = directory(folder / "wrap", WRAP, WRAP_TOML)
        served.plugin("wrap", path=str(wrap), isolation="Process", settings={"mark": "two"}, timeout="1500ms")
        served.plugin("cache", path=str(EXAMPLES / "cache"), isolation="Process")
        for name in ("headers-open", "headers-closed", "bodies-open", "bodies-closed", "hook", "wrap", "cache"):
            served.served(name, 60)
        yield served


def test_headers_and_bodies_of_both_directions(gateway: Alone) -> None:
    answer = gateway.ask("/headers-closed/a")
    assert (answer.told["headers"]["x-in"], answer.headers["x-mark"]) == ("one", "one")
    assert answer.headers["x-client"] == "127.0.0.1"
    answer = gateway.ask("/bodies-closed/a", b"hello")
    assert b'"body": "HELLO"' in answer.body and answer.body.endswith(b" and more")
    assert gateway.ask("/headers-closed/a?teapot").status == 418
    denied = gateway.ask("/bodies-closed/a?deny", b"hello")
    assert (denied.status, denied.headers["x-why"], denied.body) == (403, "because", b"not you\n")


def test_a_middleware_is_the_same_outside(gateway: Alone) -> None:
    answer = gateway.ask("/wrap/a", b"hello")
    assert answer.headers["x-mark"] == "two"
    assert (answer.told["mark"], answer.told["was"]["body"]) == ("two", "hello")
    assert answer.told["was"]["headers"]["x-in"] == "two"
    for wrong, words in (
        ("raises", b"ValueError: on purpose"),
        ("awaits", b"longer than 1.5 s"),
        ("nothing", b"without"),
    ):
        failed = gateway.ask(f"/wrap/a?wrong={wrong}")
        assert failed.status == 500 and words in failed.body
    assert gateway.ask("/cache/x").headers["x-cache"] == "miss"
    assert gateway.ask("/cache/x").headers["x-cache"] == "hit"


def test_trailers_of_requests_are_refused_where_the_body_is_seen(gateway: Alone) -> None:
    for name, status in (("wrap", 501), ("bodies-closed", 501), ("bodies-open", 501), ("headers-closed", 200)):
        found = with_trailers(gateway.port, f"/{name}/a", b"hello", "text/plain")
        assert found[0] == status, (name, found)
        assert (b"hello" if status == 200 else b"trailers of a request cannot pass") in found[2]


@pytest.mark.parametrize("kind", ["headers", "bodies"])
@pytest.mark.parametrize("wrong", ["raises", "garbage", "splits"])
def test_what_fails_in_python_passes_or_is_answered(gateway: Alone, kind: str, wrong: str) -> None:
    passed = gateway.ask(f"/{kind}-open/a?{wrong}", b"hello")
    assert passed.status == 200 and passed.told["body"] == "hello" and "x-in" not in passed.told["headers"]
    failed = gateway.ask(f"/{kind}-closed/a?{wrong}", b"hello")
    assert failed.status == 500 and b"ValueError" in failed.body
    eventually("it is counted", lambda: "ValueError" in str(gateway.counters(f"{kind}-closed").get("errors")))


@pytest.mark.parametrize("wrong", ["blocks", "loops", "exits", "crashes", "leaks"])
def test_what_ends_the_process_ends_nothing_else(gateway: Alone, wrong: str) -> None:
    envoy = gateway.envoy()
    before = gateway.counters("headers-closed")["restarts"]
    assert gateway.ask(f"/headers-open/a?{wrong}", b"hello").status == 200
    assert gateway.status(f"/headers-closed/a?{wrong}", b"hello") in (500, 504)
    assert gateway.ask("/plain").status == 200
    assert gateway.ask("/hook/a").status == 200
    eventually("it is started again", lambda: gateway.counters("headers-closed").get("restarts", 0) > before)
    said = gateway.counters("headers-closed")
    eventually("it serves again", lambda: gateway.status("/headers-closed/a") == 200)
    eventually("so does the open one", lambda: "x-mark" in gateway.ask("/headers-open/a").headers)
    words = {"exits": "exit code 3", "crashes": "SIGSEGV", "leaks": "out of memory"}
    assert words.get(wrong, "did not return for longer than a request may take") in said["lastEnding"]
    assert gateway.envoy() == envoy


def test_an_open_one_that_ended_is_left_out_while_it_is_away(gateway: Alone) -> None:
    """Envoy itself cannot pass by a plugin that is to have the body."""
    assert gateway.status("/bodies-open/a?exits", b"hello") == 500  # its body was on its way
    (pid,) = [pid for pid, said in pids(gateway, "bodies-open").items() if said]
    os.kill(pid, signal.SIGKILL)
    eventually("requests pass", lambda: gateway.status("/bodies-open/a", b"hello") == 200)
    eventually("it is back", lambda: gateway.ask("/bodies-open/a", b"hello").body.endswith(b" and more"))


def pids(gateway: Alone, name: str) -> dict[int, bool]:
    eventually("it serves", lambda: gateway.ask(f"/{name}/a", b"hello").body.endswith(b" and more"))
    version = gateway.counters(name)["version"]
    sockets = {
        line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(f".{version}.sock")
    }
    inodes = {f"socket:[{number}]" for number in sockets}
    return {pid: bool(inodes & open_files(pid)) for pid in gateway.children()}


def open_files(pid: int) -> set[str]:
    found: set[str] = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):  # it has just been closed
            found.add(str(descriptor.readlink()))
    return found


def test_a_process_that_ends_in_a_body_ends_the_answer(gateway: Alone) -> None:
    assert gateway.status("/bodies-closed/a?late", b"hello") in (0, 500)
    eventually("it serves again", lambda: gateway.status("/bodies-closed/a", b"hello") == 200)


@pytest.mark.parametrize("name", ["wrap", "bodies-closed"])
def test_a_slow_client_holds_little_memory(gateway: Alone, tmp_path: Path, name: str) -> None:
    """200 MiB to a client that does not read: Envoy and the plugin hold some MiB, and stop."""
    if name == "wrap":
        folder = directory(tmp_path / "through", THROUGH, THROUGH_TOML)
        gateway.plugin("through", path=str(folder), isolation="Process")
        gateway.served("through")
        name = "through"
    gateway.status(f"/{name}/a")
    before = {pid: memory(pid) for pid in gateway.children()}
    with socket.create_connection(("127.0.0.1", gateway.port)) as slow:
        slow.sendall(f"GET /{name}/big HTTP/1.1\r\nhost: x\r\n\r\n".encode())
        received = len(slow.recv(65536))
        assert received
        held = settled(gateway, before)
        assert held < 64 << 20, f"{held >> 20} MiB"
        while received < 16 << 20:
            received += len(slow.recv(1 << 20))


def settled(gateway: Alone, before: dict[int, int]) -> int:
    """Return how much more all processes have when that has not grown for a second."""
    most, since = -1, time.monotonic()
    while time.monotonic() - since < 1:
        grown = sum(memory(pid) - before.get(pid, 0) for pid in gateway.children())
        if grown > most:
            most, since = grown, time.monotonic()
        time.sleep(0.05)
    return most


@pytest.mark.parametrize("name", ["headers-closed", "bodies-closed", "wrap"])
def test_websockets(gateway: Alone, name: str) -> None:
    """They pass where only headers are seen, and are refused by what sees bodies."""
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as client:
        head = f"GET /{name}/a HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\n"
        client.sendall(
            f"{head}sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = client.recv(4096)
            assert piece, answer
            answer += piece
        if name != "headers-closed":
            assert answer.startswith(b"HTTP/1.1 501 ")
            return
        assert answer.startswith(b"HTTP/1.1 101 "), answer
        for text in (b"one", b"two"):
            client.sendall(text)
            assert client.recv(4096) == text


def test_a_processor_may_have_the_route_chosen_again(gateway: Alone, tmp_path: Path) -> None:
    source = "class Marks:\n    def request_headers(self, exchange):\n"
    source += "        exchange.request.headers['x-canary'] = 'yes'\n"
    folder = directory(tmp_path / "canary", source, 'kind = "processor"\nentry-point = "plugin:Marks"\n')
    plugin = named("gateway.sampan.dev/v1alpha1", "Plugin", "canary", path=str(folder), reroutes=True)
    made = route("canary", "canary")
    second = copy.deepcopy(made["spec"]["rules"][0])
    second["matches"][0]["headers"] = [{"name": "x-canary", "value": "yes"}]
    rewrite = {"type": "URLRewrite", "urlRewrite": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/new"}}}
    second["filters"].append(rewrite)
    made["spec"]["rules"].append(second)
    gateway.write("canary", plugin, made)
    eventually("the other rule is taken", lambda: b'"path": "/new"' in gateway.ask("/canary/a").body)


class Echo:
    """A gRPC service: gives back what it gets, as it comes, and ends with a status and a trailer."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __mapping__(self) -> dict[str, Handler]:
        handler = Handler(self.echo, Cardinality.STREAM_STREAM, Raw, Raw)
        return {f"/{name}/Echo": handler for name in self._names}

    async def echo(self, stream: Any) -> None:
        while (message := await stream.recv_message()) is not None:
            await stream.send_message(message)
            if message.content == b"end":
                await stream.send_trailing_metadata(
                    status=Status.ABORTED, status_message="as asked", metadata={"x-end": "yes"}
                )
                return


@pytest.mark.parametrize("name", ["rpc-asgi", "rpc-processor", "rpc-whole"])
async def test_grpc_streams_both_ways_with_its_trailers(gateway: Alone, tmp_path: Path, name: str) -> None:
    sources = {"rpc-asgi": (THROUGH, THROUGH_TOML), "rpc-processor": (TRAILERS, TRAILERS_TOML)}
    sources["rpc-whole"] = (WHOLE, WHOLE_TOML)
    folder = directory(tmp_path / "plugin", *sources[name])
    server = Server([Echo((name,))], codec=RawCodec())
    await server.start("127.0.0.1", 0)
    port = server._server.sockets[0].getsockname()[1]
    gateway.backend("rpc", port, appProtocol="kubernetes.io/h2c")
    gateway.plugin(name, backend="rpc", path=str(folder), isolation="Process")
    channel = Channel("127.0.0.1", gateway.port, codec=RawCodec())
    method: Any = StreamStreamMethod(channel, f"/{name}/Echo", Raw, Raw)

    async def talk() -> tuple[list[bytes], Any]:
        got = []
        try:
            async with method.open(timeout=30) as stream:
                for text in (b"one", b"two", b"end"):
                    await stream.send_message(Raw(text))
                    answer = await stream.recv_message()  # before the next is sent
                    got.append(answer.content)
                await stream.end()
                await stream.recv_trailing_metadata()
        except GRPCError as error:
            return got, (error.status, error.message, stream.trailing_metadata)
        except StreamTerminatedError:  # a listener that changes lets its connections go
            return [], None
        return got, None

    try:
        deadline = time.monotonic() + 60
        while True:
            got, ended = await talk()
            if len(got) == 3 or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        assert got == [b"one", b"two", b"end"]
        assert ended[:2] == (Status.ABORTED, "as asked")
        assert ended[2]["x-end"] == ("yes" if name == "rpc-asgi" else "yes, seen")
    finally:
        channel.close()
        server.close()
        await server.wait_closed()


def test_versions_are_swapped_and_no_request_fails(gateway: Alone) -> None:
    codes: list[int] = []
    marks: list[str] = []
    done = threading.Event()

    def load() -> None:
        while not done.is_set():
            answer = gateway.ask("/swap/a", b"hello")
            codes.append(answer.status)
            marks.append(answer.headers.get("x-mark", ""))

    paths = [str(gateway.directory.parent / name) for name in ("bodies", "headers")]
    gateway.plugin("swap", path=paths[0], settings={"mark": "m0"})
    gateway.served("swap")
    thread = threading.Thread(target=load)
    thread.start()
    try:
        for number in range(1, 6):  # with the same methods as the version before, and with others
            gateway.plugin("swap", path=paths[number // 2 % 2], settings={"mark": f"m{number}"})
            eventually(f"version {number} serves", lambda number=number: marks[-1:] == [f"m{number}"])  # type: ignore[misc]
    finally:
        done.set()
        thread.join()
    assert set(codes) == {200}, codes


def test_a_hook_moves_out_of_envoy_and_in_again(gateway: Alone) -> None:
    path = str(gateway.directory.parent / "hook")
    gateway.plugin("moves", path=path)
    gateway.served("moves")
    inside = str(gateway.envoy())
    assert gateway.ask("/moves/a").headers["x-pid"] == inside
    gateway.plugin("moves", path=path, isolation="Process")
    eventually("it is outside", lambda: gateway.ask("/moves/a").headers.get("x-pid", inside) != inside)
    gateway.plugin("moves", path=path)
    eventually("it is inside", lambda: gateway.ask("/moves/a").headers.get("x-pid") == inside)


def test_a_version_that_cannot_start_is_told_and_the_old_one_serves(gateway: Alone) -> None:
    folder = gateway.directory.parent / "broken"
    shutil.copytree(gateway.directory.parent / "headers", folder)
    gateway.plugin("broken", path=str(folder), settings={"mark": "one"})
    gateway.served("broken")
    (folder / "plugin.py").write_text("import nothing_of_that_name\n")
    eventually("it is told", lambda: "No module named 'nothing_of_that_name'" in gateway.log.read_text())
    assert gateway.ask("/broken/a").headers["x-mark"] == "one"
