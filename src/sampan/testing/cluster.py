"""``sampan.Cluster``: a cluster of one's own for as long as a block lasts, in a coroutine or without one.

    async with sampan.Cluster() as c:            with sampan.Cluster() as c:
        await c.apply("manifests/")                  c.apply("manifests/")
        await c.wait_for("deployment/web")           c.wait_for("deployment/web")

The first gives ``AsyncCluster``, the second ``BlockingCluster``: the same words with and without ``await``.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sampan.schema.objects import Object
from sampan.testing.blocking import BlockingClient
from sampan.testing.handle import KUBECTL_SECONDS, AsyncCluster, Condition, Finished
from sampan.testing.manifests import Manifests, load
from sampan.testing.portal import portal
from sampan.testing.running import Running, start
from sampan.testing.spec import ClusterSpec, PodsMode


class BlockingCluster:
    """A cluster for code without an event loop; every call returns when it is done. See ``AsyncCluster`` for what they do."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._handle = AsyncCluster(running)  # in the portal's loop
        self._aio: AsyncCluster | None = None
        self.url = running.url
        self.kubeconfig: Path = running.kubeconfig
        self.kubernetes_version = running.spec.kubernetes_version

    @property
    def environment(self) -> dict[str, str]:
        return self.running.environment()

    @property
    def aio(self) -> AsyncCluster:
        """The same cluster for coroutines; close it before its event loop ends."""
        if self._aio is None:
            self._aio = AsyncCluster(self.running)
        return self._aio

    @property
    def client(self) -> BlockingClient:
        """Sampan's own client: the methods of ``client.protocol.Client``, blocking."""
        return BlockingClient(lambda: self._handle.client)

    def apply(self, manifests: Manifests, *, namespace: str = "default") -> list[Object]:
        return portal.call(self._handle.apply(manifests, namespace=namespace))

    def delete(self, manifests: Manifests, *, namespace: str = "default") -> None:
        portal.call(self._handle.delete(manifests, namespace=namespace))

    def get(self, what: str | Object, *, namespace: str = "default") -> Object | None:
        return portal.call(self._handle.get(what, namespace=namespace))

    def list(self, what: str, *, namespace: str | None = None, label_selector: str = "") -> list[Object]:
        return portal.call(self._handle.list(what, namespace=namespace, label_selector=label_selector))

    def wait_for(
        self, what: str | Object, condition: Condition = "ready", *, namespace: str = "default", timeout: float = 30.0
    ) -> Object:
        return portal.call(self._handle.wait_for(what, condition, namespace=namespace, timeout=timeout))

    def logs(self, pod: str, *, namespace: str = "default", container: str = "") -> str:
        return portal.call(self._handle.logs(pod, namespace=namespace, container=container))

    def kubectl(
        self, *arguments: str, stdin: object = None, check: bool = True, timeout: float = KUBECTL_SECONDS
    ) -> Finished:
        return portal.call(self._handle.kubectl(*arguments, stdin=stdin, check=check, timeout=timeout))

    def load_image(self, archive: str | Path) -> None:
        self.running.load_image(Path(archive))

    def fork(self) -> Cluster:
        """Return another cluster with the state this one has, for a ``with`` block."""
        return Cluster.copy_of(self.running)

    def not_ready(self) -> str:
        return portal.call(self._handle.not_ready())

    def close(self) -> None:
        """End the connections of this handle; the cluster goes on."""
        portal.call(self._handle.close())
        if self._aio is not None:
            self._aio.close_from_outside()


class Cluster:
    """A fresh cluster, for one ``with`` or ``async with``. Raises ``ClusterError`` where it cannot be made.

    ``pods``: ``"simulated"`` (pretended nodes, any system), ``"none"``, or ``"real"`` (containers; root, Linux).
    A running cluster's ``fork()`` is such a block too: another cluster with the state the first has then.
    ``manifests`` (and ``crds``, the same under a telling name) are there from the beginning, in the snapshot that equal
    clusters are forked from. ``controllers=False`` leaves an API alone, as envtest's."""

    def __init__(
        self,
        kubernetes_version: str = "1.37",
        *,
        pods: PodsMode = "simulated",
        nodes: int = 1,
        controllers: bool = True,
        crds: Manifests = (),
        manifests: Manifests = (),
    ) -> None:
        self.spec = make_spec(kubernetes_version, pods, nodes, controllers, crds, manifests)
        self._begin: Callable[[], Running] = lambda: begin(self.spec)
        self._blocking: BlockingCluster | None = None
        self._async: AsyncCluster | None = None

    @classmethod
    def copy_of(cls, running: Running) -> Cluster:
        """Return a cluster that will begin with the state another has when the block is entered."""
        made = cls.__new__(cls)
        made.spec, made._begin, made._blocking, made._async = running.spec, running.fork, None, None
        return made

    def __enter__(self) -> BlockingCluster:
        self._blocking = BlockingCluster(self._begin())
        return self._blocking

    def __exit__(self, *_: object) -> None:
        blocking, self._blocking = self._blocking, None
        assert blocking is not None
        try:
            blocking.close()
        finally:
            blocking.running.stop()

    async def __aenter__(self) -> AsyncCluster:
        beginning = Beginning(self._begin)
        try:
            running = await asyncio.to_thread(beginning.run)
        except asyncio.CancelledError:
            beginning.give_up()
            raise
        self._async = AsyncCluster(running)
        return self._async

    async def __aexit__(self, *_: object) -> None:
        handle, self._async = self._async, None
        assert handle is not None
        try:
            await handle.close()
        finally:
            await asyncio.to_thread(handle.running.stop)


class Beginning:
    """The start of a cluster in a thread, which nobody can interrupt: where who waits for it is cancelled, the cluster ends
    as soon as it is there."""

    def __init__(self, begin: Callable[[], Running]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._wanted = True
        self._running: Running | None = None

    def run(self) -> Running:
        running = self._begin()
        with self._lock:
            self._running = running
            wanted = self._wanted
        if not wanted:
            running.stop()
        return running

    def give_up(self) -> None:
        """End the cluster, now or when it is there."""
        with self._lock:
            self._wanted = False
            running = self._running
        if running is not None:
            running.stop()


def begin(spec: ClusterSpec) -> Running:
    """Start a cluster, and apply the manifests where no snapshot has them (real pods)."""
    running = start(spec)
    if spec.pods == "real" and spec.manifests:
        cluster = BlockingCluster(running)
        try:
            cluster.apply(spec.objects())
        except BaseException:
            running.stop()
            raise
        finally:
            cluster.close()
    return running


def make_spec(
    kubernetes_version: str, pods: PodsMode, nodes: int, controllers: bool, crds: Manifests, manifests: Manifests
) -> ClusterSpec:
    """Return the spec; the order of manifests is kept, so that equal lists share a snapshot."""
    import json

    if pods not in ("simulated", "none", "real"):
        raise ValueError(f'pods is "simulated", "none" or "real", not {pods!r}')
    objects: list[Any] = [*load(crds), *load(manifests)]
    return ClusterSpec(kubernetes_version, pods, controllers, nodes, tuple(json.dumps(obj) for obj in objects))
