"""The kubelet's side of logs, exec and attach for simulated pods: an ASGI app, asked by the API in its own process.

Paths are a kubelet's: ``/containerLogs/<namespace>/<pod>/<container>``, ``/exec/…``, ``/attach/…``, ``/portForward/…``; of a
node ``/stats/summary``, ``/metrics/resource``, ``/pods``. exec speaks the remotecommand protocol (``v5.channel.k8s.io`` and
v4): the first byte of a message is its channel. KEP-4006.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any
from urllib.parse import parse_qs

import orjson

from sampan.api.errors import StatusError, bad_request
from sampan.api.request import Receive, Scope, Send
from sampan.client.informer import Informer, key_of
from sampan.node.log_stream import LogOptions
from sampan.node.stats import summary
from sampan.node.stats_metrics import resource_page
from sampan.schema.objects import Object
from sampan.simulation.commands import Command
from sampan.simulation.logs import LogBook
from sampan.simulation.usage import Usages

PROMETHEUS = b"text/plain; version=0.0.4; charset=utf-8"
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


class SimulatedKubelet:
    """Answers for the pods of an informer."""

    def __init__(self, pods: Informer, nodes: Informer, log_book: LogBook, usages: Usages) -> None:
        self.pods, self.nodes = pods, nodes
        self.log_book, self.usages = log_book, usages
        pods.add_handler(lambda change, old, new: log_book.tell(key_of(new)))

    def has_ended(self, pod: Object, container: str) -> bool:
        """Whether what was a running container of a pod is none any more."""
        now = self.pods.get(key_of(pod))
        if now is None or now["metadata"]["uid"] != pod["metadata"]["uid"]:
            return True
        return "running" not in state_of(now, container)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope["query_string"].decode())
        if "sampan.node" in scope:
            await self._of_node(scope["sampan.node"], scope["path"], query, send)
            return
        verb, namespace, name, *container = scope["path"].strip("/").split("/")
        pod = self.pods.get(f"{namespace}/{name}")
        if pod is None:
            raise StatusError(404, "NotFound", f'pods "{name}" not found')
        if verb == "containerLogs":
            await self._logs(pod, container[0], query, receive, send)
        elif verb in ("exec", "attach"):
            check_running(pod, container[0])
            await self._stream(verb, pod, container[0], query, scope, receive, send)
        else:
            raise bad_request("unable to forward port: a simulated pod has no network")

    async def _of_node(self, name: str, path: str, query: dict[str, list[str]], send: Send) -> None:
        """Answer what is asked of a node through ``nodes/proxy``."""
        node = self.nodes.get(name)
        if node is None:
            raise StatusError(404, "NotFound", f'nodes "{name}" not found')
        if path == "/stats/summary":
            only = query.get("only_cpu_and_memory", ["false"])[0].lower() in ("true", "1")
            body = orjson.dumps(summary(*self.usages.snapshot(node), only_cpu_and_memory=only))
            await whole(send, body, b"application/json")
        elif path == "/metrics/resource":
            await whole(send, resource_page(self.usages.snapshot(node)[0]).encode(), PROMETHEUS)
        elif path == "/pods":
            items = [pod for pod in self.pods if pod["spec"].get("nodeName") == name]
            body = orjson.dumps({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
            await whole(send, body, b"application/json")
        elif path == "/healthz":
            await whole(send, b"ok", b"text/plain")
        else:
            raise StatusError(404, "NotFound", "404 page not found")

    async def _logs(
        self, pod: Object, container: str, query: dict[str, list[str]], receive: Receive, send: Send
    ) -> None:
        options = LogOptions.parse({name: values[0] for name, values in query.items()})
        state = state_of(pod, container)
        name = pod["metadata"]["name"]
        if options.previous:
            raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        if "waiting" in state or not state:
            reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
            raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')
        headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-cache, private")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})

        def ended() -> bool:
            return self.has_ended(pod, container)

        async def write() -> None:
            async for piece in self.log_book.follow(pod, container, options, ended):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})

        await first_of(write(), until_gone(receive))

    async def _stream(
        self,
        verb: str,
        pod: Object,
        container: str,
        query: dict[str, list[str]],
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        chosen = next((name for name in PROTOCOLS if name in scope.get("subprotocols", ())), None)
        if chosen is None:
            raise bad_request(f"none of the sub-protocols is known; known: {', '.join(PROTOCOLS)}")
        await receive()  # websocket.connect
        await send({"type": "websocket.accept", "subprotocol": chosen})
        connection = Connection(receive, send, tty=query.get("tty", ["false"])[0] in ("1", "true"))
        await first_of(connection.read(), self._work(verb, pod, container, query, connection))
        with contextlib.suppress(RuntimeError):  # the client closed first
            await send({"type": "websocket.close", "code": 1000})

    async def _work(
        self, verb: str, pod: Object, container: str, query: dict[str, list[str]], connection: Connection
    ) -> None:
        if verb == "exec":
            stdin = connection.stdin() if query.get("stdin", ["false"])[0] in ("1", "true") else nothing()
            code = await Command(pod, container, connection.write, stdin).run(query.get("command") or ["true"])
        else:
            options = LogOptions(follow=True, tail_lines=0)
            async for piece in self.log_book.follow(pod, container, options, lambda: self.has_ended(pod, container)):
                await connection.write(STDOUT, piece)
            code = 0
        await connection.write(ERROR, verdict(code))


async def whole(send: Send, body: bytes, media: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", media)]})
    await send({"type": "http.response.body", "body": body})


class Connection:
    """A client's end of exec or attach."""

    def __init__(self, receive: Receive, send: Send, *, tty: bool) -> None:
        self._receive, self._send, self._tty = receive, send, tty
        self._input: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def read(self) -> None:
        """Take in what the client sends, until it goes. Sizes of its terminal mean nothing here."""
        while (message := await self._receive())["type"] == "websocket.receive":
            data = message.get("bytes") or (message.get("text") or "").encode()
            if data[:1] == bytes([STDIN]):
                self._input.put_nowait(data[1:])
            elif data == bytes([CLOSE, STDIN]):
                self._input.put_nowait(None)

    async def write(self, channel: int, data: bytes) -> None:
        if self._tty and channel in (STDOUT, STDERR):
            channel, data = STDOUT, data.replace(b"\n", b"\r\n")
        await self._send({"type": "websocket.send", "bytes": bytes([channel]) + data})

    async def stdin(self) -> AsyncIterator[bytes]:
        while (data := await self._input.get()) is not None:
            yield data


async def first_of(*coroutines: Coroutine[Any, Any, None]) -> None:
    """Run coroutines until one of them has ended; the others are cancelled. Raises what that one raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def nothing() -> AsyncIterator[bytes]:
    """A stdin that is closed."""
    none: tuple[bytes, ...] = ()
    for data in none:
        yield data


def verdict(code: int) -> bytes:
    """Return the Status that ends a command, as the kubelet sends it."""
    if code == 0:
        return orjson.dumps({"metadata": {}, "status": "Success"})
    message = f"command terminated with non-zero exit code: exit status {code}"
    causes = [{"reason": "ExitCode", "message": str(code)}]
    status = {"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode", "message": message}
    return orjson.dumps({**status, "details": {"causes": causes}})


def state_of(pod: Object, container: str) -> dict[str, Any]:
    """Return the state of a container, empty where it has none yet."""
    status = pod.get("status") or {}
    for section in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(section) or ():
            if entry["name"] == container:
                return dict(entry.get("state") or {})
    return {}


def check_running(pod: Object, container: str) -> None:
    """Raise what a kubelet says where there is nothing to enter."""
    if "running" not in state_of(pod, container):
        raise StatusError(500, "InternalError", f'unable to upgrade connection: container not found ("{container}")')
