"""The kubelet's HTTPS server: what the API proxies for kubectl.

``/containerLogs/NS/POD/CONTAINER``, ``/exec/…``, ``/attach/…``, ``/portForward/NS/POD``, ``/pods``, ``/runningpods/``,
``/configz``, ``/healthz``, and what ``stats_routes.py`` has. Who may ask is judged by ``access.py``. Source: the kubelet's
own paths.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node.access import Access, middleware
from sampan.node.kubelet_config import KubeletConfig, shown
from sampan.node.log_stream import LogOptions, follow_log
from sampan.node.node_status import KUBELET_PORT
from sampan.node.pod_config import every_container, log_directory
from sampan.node.pod_worker import PodWorker
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.node.spdy import SpdyError
from sampan.node.stats_routes import StatsConfig, StatsRoutes
from sampan.node.streaming import (
    PORT_FORWARD,
    REMOTE_COMMAND,
    SPDY_COMMAND,
    Upgraded,
    bridge_command,
    bridge_streams,
    connect,
)

if TYPE_CHECKING:
    from aiohttp import web


class ServerConfig(StatsConfig, Protocol):
    """What of the node's configuration the server needs."""

    @property
    def ip(self) -> str: ...
    @property
    def pki_dir(self) -> Path: ...
    @property
    def kubelet(self) -> KubeletConfig: ...


class KubeletServer:
    def __init__(
        self, workers: Mapping[str, PodWorker], runtime: Runtime, config: ServerConfig, access: Access
    ) -> None:
        self._access = access
        self._workers = workers
        self._runtime = runtime
        self._config = config

    async def run(self) -> None:
        """Serve until cancelled."""
        from aiohttp import web

        app = web.Application(client_max_size=1 << 20, middlewares=[middleware(self._access)])
        for path in ("/healthz", "/healthz/ping", "/healthz/log", "/healthz/syncloop"):
            app.router.add_get(path, self._healthz)
        for path in ("/pods", "/pods/"):
            app.router.add_get(path, self._pods)
        for path in ("/runningpods", "/runningpods/"):
            app.router.add_get(path, self._running_pods)
        app.router.add_get("/configz", self._configz)
        StatsRoutes(self._workers, self._runtime, self._config).add(app)
        app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", self._logs)
        app.router.add_get("/exec/{namespace}/{pod}/{container}", self._exec)
        app.router.add_get("/attach/{namespace}/{pod}/{container}", self._attach)
        app.router.add_get("/portForward/{namespace}/{pod}", self._port_forward)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._config.ip, KUBELET_PORT, ssl_context=self._tls(), reuse_address=True)
            await site.start()
            await asyncio.get_running_loop().create_future()
        finally:
            await runner.cleanup()

    def _tls(self) -> ssl.SSLContext:
        pki = self._config.pki_dir
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pki / "kubelet.crt", pki / "kubelet.key")
        context.load_verify_locations(pki / "ca.crt")
        context.verify_mode = ssl.CERT_OPTIONAL  # others come with tokens
        return context

    def _worker(self, request: web.Request) -> PodWorker:
        from aiohttp import web

        key = f"{request.match_info['namespace']}/{request.match_info['pod']}"
        for worker in self._workers.values():
            if worker.key == key:
                return worker
        name = request.match_info["pod"]
        raise web.HTTPNotFound(text=f'pod "{name}" is not on this node')

    def _container_id(self, request: web.Request) -> str:
        """Return the id of the running container that is named. Raises 404 and 400 in the kubelet's words."""
        from aiohttp import web

        worker = self._worker(request)
        name = request.match_info["container"]
        view = worker.view.containers.get(name)
        if view is None or view.current is None:
            raise web.HTTPNotFound(text=f'container not found ("{name}")')
        if view.current.state != cri.CONTAINER_RUNNING:
            raise web.HTTPBadRequest(text=f"container {name} is not running")
        return str(view.current.id)

    async def _healthz(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="ok")

    async def _pods(self, request: web.Request) -> web.Response:
        items = [worker.pod for worker in self._workers.values()]
        return self._json({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})

    async def _running_pods(self, request: web.Request) -> web.Response:
        """The pods as the runtime has them: what runs, whatever the API knows."""
        items = []
        for worker in self._workers.values():
            metadata = {key: worker.pod["metadata"].get(key, "") for key in ("name", "namespace", "uid")}
            running = [name for name, view in worker.view.containers.items() if view.running]
            found = [c for c in every_container(worker.pod["spec"]) if c["name"] in running]
            if found:
                containers = [{"name": c["name"], "image": c["image"], "resources": {}} for c in found]
                items.append({"metadata": metadata, "spec": {"containers": containers}, "status": {}})
        return self._json({"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": items})

    async def _configz(self, request: web.Request) -> web.Response:
        return self._json({"kubeletconfig": shown(self._config.kubelet)})

    def _json(self, document: Any) -> web.Response:
        from aiohttp import web

        return web.Response(body=orjson.dumps(document), content_type="application/json")

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        worker = self._worker(request)
        name = request.match_info["container"]
        options = LogOptions.parse(request.query)
        view = worker.view.containers.get(name)
        status = None if view is None else view.last if options.previous else view.current
        if status is None:
            pod = worker.pod["metadata"]["name"]
            if options.previous:
                raise web.HTTPBadRequest(text=f'previous terminated container "{name}" in pod "{pod}" not found')
            reason = (view.waiting_reason if view else "") or "ContainerCreating"
            raise web.HTTPBadRequest(text=f'container "{name}" in pod "{pod}" is waiting to start: {reason}')
        path = log_directory(self._config.pod_log_dir, worker.pod) / name / f"{status.metadata.attempt}.log"
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)

        def ended() -> bool:
            now = worker.view.containers.get(name)
            return now is None or now.current is None or now.current.id != status.id or not now.running

        async for piece in follow_log(path, options, ended):
            await response.write(piece)
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        query = request.query
        wanted = cri.ExecRequest(
            container_id=self._container_id(request), cmd=query.getall("command", []), **flags(query)
        )
        return await self._remote_command(request, await self._reach(self._runtime.exec_url(wanted)), wanted)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        wanted = cri.AttachRequest(container_id=self._container_id(request), **flags(request.query))
        return await self._remote_command(request, await self._reach(self._runtime.attach_url(wanted)), wanted)

    async def _reach(self, asked: Awaitable[str]) -> Upgraded:
        """Connect to the URL that the runtime gives. Raises 500 with what it said: the client is not yet answered."""
        from aiohttp import web

        try:
            return await connect(await asked, self._runtime.socket)
        except RuntimeFailure as error:
            raise web.HTTPInternalServerError(text=str(error)) from error
        except (OSError, SpdyError) as error:
            raise web.HTTPInternalServerError(text=f"the runtime's streaming server: {error}") from error

    async def _remote_command(self, request: web.Request, upgraded: Upgraded, wanted: Any) -> web.StreamResponse:
        from aiohttp import web

        protocols = (*REMOTE_COMMAND, SPDY_COMMAND)
        socket = web.WebSocketResponse(protocols=protocols, max_msg_size=0, autoping=True)
        try:
            await socket.prepare(request)
            if socket.ws_protocol == SPDY_COMMAND:
                await bridge_streams(socket, upgraded)
                return socket
            await bridge_command(
                socket, upgraded, stdin=wanted.stdin, stdout=wanted.stdout, stderr=wanted.stderr, tty=wanted.tty
            )
        except (OSError, SpdyError) as error:
            await socket.close(code=1011, message=str(error).encode()[:120])
        finally:
            await upgraded.close()
        await socket.close()
        return socket

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        from aiohttp import web

        worker = self._worker(request)
        if not worker.view.sandbox_id:
            raise web.HTTPBadRequest(text="unable to forward port because pod is not running")
        upgraded = await self._reach(self._runtime.port_forward_url(worker.view.sandbox_id))
        socket = web.WebSocketResponse(protocols=PORT_FORWARD, max_msg_size=0)
        try:
            await socket.prepare(request)
            await bridge_streams(socket, upgraded)
        except (OSError, SpdyError) as error:
            await socket.close(code=1011, message=str(error).encode()[:120])
        finally:
            await upgraded.close()
        await socket.close()
        return socket


def flags(query: Any) -> dict[str, bool]:
    """Return which streams are asked for; a terminal has no stderr of its own."""

    def on(name: str) -> bool:
        return query.get(name, "") in ("1", "true", "True")

    tty = on("tty")
    return {"stdin": on("stdin"), "stdout": on("stdout"), "stderr": on("stderr") and not tty, "tty": tty}
