"""pods/log, exec, attach and portforward: the API's part is to find the kubelet and carry bytes both ways.

The kubelet is found by the pod's node (its InternalIP and kubelet port) and asked over HTTPS with the API's own client
certificate. WebSockets are carried message by message with the sub-protocol the client chose. aiohttp is imported with the
first request. Source: core/v1 PodLogOptions, PodExecOptions, PodAttachOptions; KEP-4006.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import re
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson

from sampan.api import log_sockets, node_proxy, pod_proxy
from sampan.api.asgi import all_of
from sampan.api.errors import StatusError, bad_request, not_found
from sampan.api.request import Asgi, Receive, Request, Scope, Send
from sampan.api.tunnel import Tunnel, messages
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp

    from sampan.api.app import Api

DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
KUBELET_PORT = 10250
REMOTE_COMMAND = ("v5.channel.k8s.io", "v4.channel.k8s.io")
PORT_FORWARD = ("SPDY/3.1+portforward.k8s.io",)
SPDY = {
    False: ("v4.channel.k8s.io", "SPDY/3.1+remotecommand.k8s.io"),
    True: ("portforward.k8s.io", "SPDY/3.1+portforward.k8s.io"),
}
"""By whether ports are forwarded: what is spoken with the client, and the WebSocket protocol that carries it."""
LOG_PARAMETERS = ("follow", "previous", "timestamps", "sinceSeconds", "sinceTime", "tailLines", "limitBytes")
SPLIT_STREAMS = "PodLogsQuerySplitStreams"


def add(api: Api, pki_dir: Path) -> None:
    """Serve the streaming subresources of pods."""
    kubelets = Kubelets(api, pki_dir)
    api.closing.append(kubelets.close)
    stream = api.catalog.stream
    stream("", "v1", "pods", "log", ("GET",), kubelets.log, kind="Pod")
    for name in ("exec", "attach", "portforward"):
        kind = {"exec": "PodExecOptions", "attach": "PodAttachOptions", "portforward": "PodPortForwardOptions"}[name]
        stream("", "v1", "pods", name, ("GET", "POST"), kubelets.upgrade, kind=kind)
    node_proxy.add(api, kubelets)
    pod_proxy.add(api)


class Kubelets:
    """The way from a pod, or a node, to the kubelet."""

    def __init__(self, api: Api, pki_dir: Path) -> None:
        self._api = api
        self._pki_dir = pki_dir
        self._session: aiohttp.ClientSession | None = None

    def client(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            context = ssl.create_default_context(cafile=str(self._pki_dir / "ca.crt"))
            stem = self._pki_dir / "apiserver-kubelet-client"
            context.load_cert_chain(stem.with_suffix(".crt"), stem.with_suffix(".key"))
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context, limit=0), timeout=timeout)
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _pod(self, request: Request) -> Object:
        at = request.attributes
        served = self._api.catalog.get("", "v1", "pods")
        assert served is not None
        record = self._api.store.get(served.key(at.namespace, at.name))
        if record is None:
            raise not_found(served.resource, at.name)
        pod: Object = orjson.loads(record.value)
        return pod

    def _in_process(self, pod: Object) -> Asgi | None:
        """Return the kubelet of a node that lives in this process (a simulated one)."""
        return self._api.kubelet_of(pod["spec"].get("nodeName", ""))

    def _url(self, pod: Object) -> str:
        """Return the kubelet's address. Raises 400 where the pod has no node yet, 500 where the node cannot be asked."""
        name = pod["spec"].get("nodeName")
        if not name:
            raise bad_request(f"pod {pod['metadata']['name']} does not have a host assigned")
        node = self.node(name)
        if node is None:
            raise StatusError(500, "InternalError", f"node {name} of pod {pod['metadata']['name']} does not exist")
        return self.address(node)

    def node(self, name: str) -> Object | None:
        served = self._api.catalog.get("", "v1", "nodes")
        assert served is not None
        record = self._api.store.get(served.key("", name))
        return None if record is None else self._api.parsed(record)

    @staticmethod
    def host(node: Object) -> str:
        """Return a node's first InternalIP as URLs have it; ``""``: it has none."""
        listed = node.get("status", {}).get("addresses") or ()
        found = next((str(entry["address"]) for entry in listed if entry["type"] == "InternalIP"), "")
        return f"[{found}]" if ":" in found else found

    def address(self, node: Object) -> str:
        """Return the URL of a node's kubelet. Raises 500 where it has none."""
        name, status = node["metadata"]["name"], node.get("status", {})
        host = self.host(node)
        port = status.get("daemonEndpoints", {}).get("kubeletEndpoint", {}).get("Port")
        if not host or not port:
            raise StatusError(
                500, "InternalError", f"node {name} has no kubelet: its pods have no logs and cannot be entered"
            )
        return f"https://{host}:{port}"

    async def log(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve ``pods/log``; over a WebSocket, too."""
        if scope["type"] == "websocket":
            http = {**scope, "type": "http", "method": "GET"}
            await log_sockets.serve(lambda heard, tell: self.log(request, http, heard, tell), scope, receive, send)
            return
        pod = self._pod(request)
        split = self._api.features.enabled(SPLIT_STREAMS)
        check_log_options(request.query, split=split)
        container = choose_container(pod, request.query.get("container", ""))
        metadata = pod["metadata"]
        parameters = (*LOG_PARAMETERS, "stream") if split else LOG_PARAMETERS
        query = urlencode([(name, request.query[name]) for name in parameters if name in request.query])
        path = f"/containerLogs/{metadata['namespace']}/{metadata['name']}/{container}"
        if (kubelet := self._in_process(pod)) is not None:
            await kubelet({**scope, "path": path, "query_string": query.encode()}, receive, send)
            return
        url = f"{self._url(pod)}{path}?{query}"
        async with kubelet_errors(), self.client().get(url) as answer:
            if answer.status >= 400:
                text = (await answer.text()).strip()
                raise StatusError(answer.status, REASONS.get(answer.status, "InternalError"), text)
            headers = [(b"content-type", b"text/plain"), (b"cache-control", b"no-cache, private")]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            gone = asyncio.ensure_future(until_gone(receive))
            try:
                async for piece in answer.content.iter_any():
                    if gone.done():
                        return
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
            finally:
                gone.cancel()
        await send({"type": "http.response.body", "body": b""})

    async def upgrade(self, request: Request, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve exec, attach and portforward: over WebSocket; over SPDY, which reaches the kubelet inside of one."""
        verb = request.attributes.subresource
        pod = self._pod(request)
        kubelet = self._in_process(pod)
        tunnel: Tunnel | None = scope.get("sampan.tunnel")
        if scope["type"] != "websocket" and tunnel is None and (kubelet is None or verb != "portforward"):
            raise bad_request("Upgrade request required")
        metadata = pod["metadata"]
        path = f"/{'portForward' if verb == 'portforward' else verb}/{metadata['namespace']}/{metadata['name']}"
        offered = PORT_FORWARD if verb == "portforward" else REMOTE_COMMAND
        if verb != "portforward":
            if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
                text = f"cannot {verb} into a container in a completed pod; current phase is {pod['status']['phase']}"
                raise bad_request(text)
            path += f"/{choose_container(pod, request.query.get('container', ''))}"
        if kubelet is not None:
            if tunnel is not None and verb != "portforward":
                raise bad_request("unable to upgrade: a simulated pod is entered by WebSocket only, not by SPDY")
            await kubelet({**scope, "path": path}, receive, send)
            return
        parameters = [(name, value) for name, values in request.query_lists.items() for value in values]
        url = f"{self._url(pod)}{path}?{urlencode(parameters)}"
        if tunnel is not None:
            spoken, inner = SPDY[verb == "portforward"]
            check_spdy(all_of(request.headers, "x-stream-protocol-version"), spoken)
            await self._carry(url, inner, *messages(tunnel, spoken))
            return
        chosen = next((name for name in offered if name in scope.get("subprotocols", ())), None)
        if chosen is None:
            raise bad_request(f"none of the sub-protocols is known; known: {', '.join(offered)}")
        await self._carry(url, chosen, receive, send)

    async def _carry(self, url: str, protocol: str, receive: Receive, send: Send) -> None:
        import aiohttp

        try:
            kubelet = await self.client().ws_connect(url, protocols=(protocol,), max_msg_size=0)
        except aiohttp.WSServerHandshakeError as error:
            async with kubelet_errors(), self.client().get(url) as answer:  # the reason is in the body of a plain GET
                raise StatusError(
                    error.status, REASONS.get(error.status, "InternalError"), await answer.text()
                ) from error
        except (aiohttp.ClientError, OSError) as error:
            raise StatusError(500, "InternalError", f"error dialing backend: {error}") from error
        async with kubelet:
            await receive()  # websocket.connect
            await send({"type": "websocket.accept", "subprotocol": protocol})
            inward = asyncio.ensure_future(to_kubelet(receive, kubelet))
            outward = asyncio.ensure_future(to_client(kubelet, send))
            await asyncio.wait((inward, outward), return_when=asyncio.FIRST_COMPLETED)
            for task in (inward, outward):
                task.cancel()
            await asyncio.gather(inward, outward, return_exceptions=True)
        with contextlib.suppress(RuntimeError):  # the client closed first
            await send({"type": "websocket.close", "code": 1000})


def check_spdy(offered: list[str], spoken: str) -> None:
    """Raise 403 where a client does not offer the version that is spoken here."""
    if spoken not in offered:
        why = f"client supports [{' '.join(offered)}], server accepts [{spoken}]"
        raise StatusError(403, "Forbidden", f"unable to upgrade: unable to negotiate protocol: {why}")


WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
REASONS = {400: "BadRequest", 404: "NotFound", 403: "Forbidden", 500: "InternalError"}


@contextlib.asynccontextmanager
async def kubelet_errors() -> Any:
    """Turn a kubelet that does not answer into a 500 that says so."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientError, OSError) as error:
        raise StatusError(500, "InternalError", f"error dialing backend: {error}") from error


async def until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def to_kubelet(receive: Receive, kubelet: aiohttp.ClientWebSocketResponse) -> None:
    while (message := await receive())["type"] == "websocket.receive":
        data = message.get("bytes")
        await kubelet.send_bytes(data if data is not None else (message.get("text") or "").encode())


async def to_client(kubelet: aiohttp.ClientWebSocketResponse, send: Send) -> None:
    async for message in kubelet:
        if isinstance(message.data, bytes):
            await send({"type": "websocket.send", "bytes": message.data})


def names(pod: Object) -> Iterator[str]:
    for section in ("initContainers", "containers", "ephemeralContainers"):
        for container in pod["spec"].get(section) or ():
            yield container["name"]


def choose_container(pod: Object, asked: str) -> str:
    """Return the container that is meant. Raises 400 in Kubernetes' words."""
    everyone = list(names(pod))
    name = pod["metadata"]["name"]
    if asked:
        if asked not in everyone:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    preferred = (pod["metadata"].get("annotations") or {}).get(DEFAULT_CONTAINER)
    if preferred in everyone:
        return str(preferred)
    containers = [container["name"] for container in pod["spec"]["containers"]]
    if len(containers) == 1:
        return str(containers[0])
    raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(containers)}]")


def check_log_options(query: Any, *, split: bool = False) -> None:
    """Raise 422 for numbers that are none, or too small. ``split``: a stream may be chosen (KEP-3288)."""
    causes = []
    for name, least in (("tailLines", 0), ("sinceSeconds", 1), ("limitBytes", 1)):
        value = query.get(name, "")
        if not value:
            continue
        if not WHOLE.fullmatch(value):
            raise bad_request(f'strconv.ParseInt: parsing "{value}": invalid syntax')
        if int(value) < least:
            causes.append(f"{name}: Invalid value: {value}: must be greater than or equal to {least}")
    since = query.get("sinceTime", "")
    if since and not is_time(since):
        raise bad_request(f'parsing time "{since}" as RFC 3339: cannot parse "{since}" as "2006"')
    if query.get("sinceSeconds") and since:
        causes.append("sinceSeconds: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified")
    stream = query.get("stream") or "All"
    if split and stream not in ("All", "Stdout", "Stderr"):
        causes.append(f'stream: Unsupported value: "{stream}": supported values: "All", "Stderr", "Stdout"')
    elif split and stream != "All" and query.get("tailLines"):
        causes.append("tailLines: Forbidden: `tailLines` and specific `stream` are mutually exclusive for now")
    if causes:
        raise StatusError(422, "Invalid", f'PodLogOptions "" is invalid: {", ".join(causes)}')


def is_time(text: str) -> bool:
    """Whether a text is an RFC 3339 time, zone included."""
    try:
        return datetime.datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return False
