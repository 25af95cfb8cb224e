"""The API as a long-running part: a store, an app, and HTTPS on sockets that somebody else opened.

``open_api`` makes the app without a server (in-process use: tests, controllers); ``serve`` runs it until cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sampan.api.app import Api
from sampan.api.flags import Flags
from sampan.api.memory import trim
from sampan.api.uvicorn_protocols import State
from sampan.schema.types import type_system
from sampan.store import Store, encryption
from sampan.store.database import Durability
from sampan.store.opening import open_store
from sampan.store.retention import Limits

logger = logging.getLogger("sampan.api")

SWITCH_SECONDS = 0.001
"""How long the loop may keep the interpreter when the store's thread wants it: at Python's 5 ms a commit waits for the
busy loop longer than for the disk (3,700 creates/s instead of 4,500 with 16 clients)."""

COLLECT_AFTER = (10_000, 20, 10)
"""How many objects come into being before Python looks for cycles among the young (its own 700 are those of a dozen requests
under way: it would look at each of them several times before they end). 7 % of a create's time, 3 % with this."""

TRIM_SECONDS = 1.0
"""After the end of a connection; once for all that end meanwhile."""
KEEP_ALIVE_SECONDS = 120
WEBSOCKET_MESSAGE_BYTES = 16 * 1024 * 1024
SHUTDOWN_SECONDS = 2.0
"""How long requests under way may still take when the server stops."""


@dataclass(frozen=True)
class ApiConfig:
    """What an API server is made of. The store is ``store_url``, or the file ``store_path``, or in memory."""

    pki_dir: Path
    store_path: Path | None = None
    store_url: str = ""
    """``etcd://…``; empty: ``store_path``."""
    snapshots_dir: Path | None = None
    """Where snapshots are kept; None: none can be made."""
    sockets: tuple[socket.socket, ...] = ()
    """Bound sockets; each serves HTTPS."""
    kubernetes_version: str = "1.37"
    service_cidr: str = "10.96.0.0/18"
    """One range, or one of each family with a comma between, the main one first."""
    pod_cidr: str = "10.244.0.0/18"
    advertise: tuple[str, int] = ("127.0.0.1", 6443)
    """Address and port of the Service default/kubernetes' endpoint."""
    cluster_domain: str = "cluster.local"
    node_port_range: tuple[int, int] = (30000, 32767)
    durability: Durability = "disk"
    from_image: bool = False
    """The store begins with what this version of ours has bootstrapped: only where the API is reached may be new."""
    resource_metrics: bool = False
    """Whether metrics.k8s.io is served: where there are kubelets to ask."""
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    flags: Flags = field(default_factory=Flags)

    @property
    def front_proxy_ca(self) -> Path | None:
        """Who signs front proxies: what was asked for, or the cluster's own."""
        own = self.pki_dir / "front-proxy-ca.crt"
        return self.flags.requestheader_client_ca_file or (own if own.exists() else None)


async def open_api(config: ApiConfig, store: Store | None = None) -> Api:
    """Return an app with everything in it: built-in resources, identity, admission, bootstrap objects. Its store is
    open: ``await api.store.close()``. ``store``: a ready one (a fork), which becomes the app's. Raises ``StoreError``."""
    from sampan.api.assembly import assemble, bootstrap  # above this module in meaning: it puts all parts together

    if store is None:
        file = config.flags.encryption_provider_config
        store = await open_store(
            config.store_url,
            config.store_path,
            durability=config.durability,
            limits=Limits.of(config.flags.etcd_compaction_interval),
            encryption=encryption.read(file) if file else None,
        )
    try:
        api = Api(store, type_system(config.kubernetes_version))
        assemble(api, config)
        await bootstrap(api)
    except BaseException:
        await store.close()
        raise
    return api


async def serve(config: ApiConfig, ready: Callable[[], None], alongside: Alongside | None = None) -> None:
    """Serve until cancelled. ``alongside`` runs in the same loop with the app (controllers, scheduler)."""
    sys.setswitchinterval(SWITCH_SECONDS)
    gc.set_threshold(*COLLECT_AFTER)
    allow_many_connections()
    api = await open_api(config)
    try:
        async with listening(api, config):
            ready()
            if alongside is not None:
                await alongside(api)
            await asyncio.get_running_loop().create_future()
    finally:
        await api.close()


def allow_many_connections() -> None:
    """Take as many open files as this process may have: each watch is a connection (as Go's runtime does)."""
    try:
        import resource
    except ImportError:  # not on this system
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


Alongside = Callable[[Api], Awaitable[None]]


@asynccontextmanager
async def listening(api: Api, config: ApiConfig) -> AsyncIterator[None]:
    """HTTPS on the sockets of ``config`` for as long as the context lasts."""
    from sampan.api.tls import HttpProtocol, TlsFiles, server_context, websocket
    from sampan.api.uvicorn_protocols import Settings
    from sampan.api.whole import Outbox

    settings = Settings(api, websocket, timeout_keep_alive=KEEP_ALIVE_SECONDS, ws_max_size=WEBSOCKET_MESSAGE_BYTES)
    state = Connections(asyncio.get_running_loop())
    logging.getLogger("uvicorn.access").propagate = False  # what has handlers is written to, a line a request
    loop = asyncio.get_running_loop()

    outbox = Outbox(loop)

    def protocol() -> HttpProtocol:
        made = HttpProtocol(settings, state, {}, loop)  # type: ignore[arg-type]
        made.outbox = outbox
        return made

    pki = config.pki_dir
    files = TlsFiles(pki / "apiserver.crt", pki / "apiserver.key", pki / "ca.crt", config.front_proxy_ca)
    context = server_context(files)
    servers = [
        await loop.create_server(protocol, sock=listener, ssl=context, backlog=2048) for listener in config.sockets
    ]
    try:
        yield
    finally:
        api.stopping = True
        for server in servers:
            server.close()
        await _finish(api, state)


class Connections(State):
    """The connections there are. A while after one has ended, what answers to it needed goes back to the system."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__()
        self._loop = loop
        self._trimming = False

    def ended(self) -> None:
        if not self._trimming:
            self._trimming = True
            self._loop.call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._trimming = False
        trim()


async def _finish(api: Api, state: Connections) -> None:
    """Let requests under way end, watches at once, and close every connection."""
    for connection in list(state.connections):
        connection.shutdown()
    for served in api.catalog:
        served.end_watches()
    tasks = list(state.tasks)
    if tasks:
        await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
    for task in tasks:
        task.cancel()
    for connection in list(state.connections):
        connection.transport.abort()
