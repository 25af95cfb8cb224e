"""What a test does with a running cluster, as coroutines: apply, wait, read, run kubectl. ``cluster.py`` makes the blocking
form of the same of it.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.schema.objects import Object
from sampan.testing.manifests import Manifests, load
from sampan.testing.running import Running
from sampan.testing.spec import ClusterError

if TYPE_CHECKING:
    from sampan.client.discovery import ResourceMap
    from sampan.client.http import HttpClient
    from sampan.testing.cluster import Cluster

Condition: TypeAlias = "str | Callable[[Object], object]"
KUBECTL_SECONDS = 60.0


@dataclass(frozen=True)
class Finished:
    """A program that has ended."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


class AsyncCluster:
    """A cluster for coroutines. Made by ``async with Cluster()``, or by the fixture ``cluster`` in an async test."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self._client: HttpClient | None = None
        self._resources: ResourceMap | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._keeper: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """``https://127.0.0.1:<port>``."""
        return self.running.url

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of a member of ``system:masters``, for any client."""
        return self.running.kubeconfig

    @property
    def kubernetes_version(self) -> str:
        return self.running.spec.kubernetes_version

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a program that is to find this cluster (``KUBECONFIG``)."""
        return self.running.environment()

    @property
    def client(self) -> HttpClient:
        """Sampan's own client, bound to the running event loop."""
        if self._client is None:
            from sampan.client.http import HttpClient
            from sampan.client.kubeconfig import load as load_kubeconfig

            self._client = HttpClient(load_kubeconfig(self.kubeconfig), agent="sampan-testing")
            self._loop = asyncio.get_running_loop()
            self._keeper = self._loop.create_task(until_cancelled(self._client.close), name="sampan-cluster-client")
        return self._client

    @property
    def resources(self) -> ResourceMap:
        """What the API serves."""
        if self._resources is None:
            from sampan.client.discovery import ResourceMap

            self._resources = ResourceMap(self.client)
        return self._resources

    async def apply(self, manifests: Manifests, *, namespace: str = "default") -> list[Object]:
        """Apply objects, YAML text, files or folders (server-side apply); return the objects as they are now."""
        from sampan.client.applying import apply

        return await apply(self.client, load(manifests), namespace=namespace, resources=self.resources)

    async def delete(self, manifests: Manifests, *, namespace: str = "default") -> None:
        """Delete what ``apply`` made."""
        from sampan.client.applying import delete

        await delete(self.client, load(manifests), namespace=namespace)

    async def get(self, what: str | Object, *, namespace: str = "default") -> Object | None:
        """Return an object by ``"deployment/web"`` (or an object of that name), None where there is none."""
        resource, name, where = await self._meant(what, namespace)
        try:
            return await self.client.get(resource, name, where)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def list(self, what: str, *, namespace: str | None = None, label_selector: str = "") -> list[Object]:
        """Return the objects of a resource (``"pods"``), of all namespaces where none is named."""
        resource = await self.resources.named(what)
        return (await self.client.list(resource, namespace, label_selector=label_selector)).items

    async def wait_for(
        self, what: str | Object, condition: Condition = "ready", *, namespace: str = "default", timeout: float = 30.0
    ) -> Object:
        """Return the object when it is so. Conditions: ``"ready"`` (what ready means for its kind), ``"exists"``,
        ``"deleted"``, a condition of its status (``"Available"``, ``"Ready=False"``), a JSONPath
        (``"{.status.phase}=Running"``), or a function of the object. Raises ``WaitTimeout`` (a ``TimeoutError``) with what
        was missing."""
        from sampan.client.waiting import wait_for
        from sampan.testing.conditions import missing

        resource, name, where = await self._meant(what, namespace)
        found = await wait_for(self.client, resource, name, missing(condition), namespace=where, seconds=timeout)
        return found or {}

    async def logs(self, pod: str, *, namespace: str = "default", container: str = "") -> str:
        """Return what a pod wrote."""
        query = {"container": container} if container else {}
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        status, body = await self.client.raw("GET", path, query=query)
        if status >= 400:
            raise ClusterError(body.decode(errors="replace"))
        return body.decode(errors="replace")

    async def kubectl(
        self, *arguments: str, stdin: object = None, check: bool = True, timeout: float = KUBECTL_SECONDS
    ) -> Finished:
        """Run the packaged kubectl on this cluster. ``stdin``: a text, or an object that is sent as JSON. A failure raises
        ``ClusterError`` with what it said, unless ``check`` is false."""
        text = stdin if isinstance(stdin, str) else None if stdin is None else json.dumps(stdin)
        program = Path(sys.executable).parent / "kubectl"
        process = await asyncio.create_subprocess_exec(
            program,
            *arguments,
            env=self.environment,
            stdin=asyncio.subprocess.PIPE if text is not None else asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(timeout):
                out, err = await process.communicate(text.encode() if text is not None else None)
        except TimeoutError:
            raise ClusterError(f"kubectl {' '.join(arguments)}: no end after {timeout:g} s") from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        done = Finished(process.returncode or 0, out.decode(errors="replace"), err.decode(errors="replace"))
        if check and done.code:
            raise ClusterError(f"kubectl {' '.join(arguments)}: {(done.err or done.out).strip()}")
        return done

    async def load_image(self, archive: str | Path) -> None:
        """Make the images of an archive (``docker save``) known to real pods; simulated ones need none."""
        await asyncio.to_thread(self.running.load_image, Path(archive))

    def fork(self) -> Cluster:
        """Return another cluster with the state this one has when its block is entered: ``async with c.fork() as other``."""
        from sampan.testing.cluster import Cluster

        return Cluster.copy_of(self.running)

    async def not_ready(self) -> str:
        """Return what is not ready, with its conditions, events and logs, as text; ``""`` when everything is."""
        from sampan.testing.report import not_ready

        return await not_ready(self.client, self.resources)

    async def close(self) -> None:
        """End the connections of this handle; the cluster goes on."""
        keeper, self._keeper = self._keeper, None
        self._client = self._resources = None
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    def close_from_outside(self) -> None:
        """``close`` for whoever has no coroutine left: nothing to do when the loop has ended, as it took the task along."""
        if self._loop is not None and not self._loop.is_closed() and not self._loop.is_running():
            self._loop.run_until_complete(self.close())

    async def _meant(self, what: str | Object, namespace: str) -> tuple[ResourceType, str, str | None]:
        if isinstance(what, str):
            word, slash, name = what.partition("/")
            if not slash or not name:
                raise ValueError(f"{what!r} names no object: write resource/name")
            resource = await self.resources.named(word)
        else:
            resource = await self.resources.of_kind(what["apiVersion"], what["kind"])
            name, namespace = what["metadata"]["name"], what["metadata"].get("namespace", namespace)
        return resource, name, namespace if resource.namespaced else None


async def until_cancelled(close: Callable[[], Coroutine[None, None, None]]) -> None:
    """Close when this task is cancelled, which is at the latest when its loop ends (``asyncio.Runner`` cancels them all)."""
    try:
        await asyncio.get_running_loop().create_future()
    finally:
        await close()
