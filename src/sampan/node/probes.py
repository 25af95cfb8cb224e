"""Probes: asks a container whether it has started, lives, is ready, and tells the pod's worker when the answer changes.

The first probe of a container runs as soon as its initial delay is over; then one every period. Until the first success
there are quick tries in between (50 ms, doubling): they find a container ready the moment it is, and their failures count
for nothing. A timer of the loop wakes each probe, nothing polls. Source: core/v1 Probe, gRPC health checking protocol v1.
"""

from __future__ import annotations

import asyncio
import urllib.parse
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Literal

from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.schema.objects import Object

Kind = Literal["startup", "liveness", "readiness"]
FIRST_TRY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Target:
    """The container a probe asks: its id, its pod's address."""

    container: Object
    container_id: str
    pod_ip: str


@dataclass(frozen=True, slots=True)
class Answer:
    well: bool
    message: str = ""


async def ask(runtime: Runtime, probe: Object, target: Target) -> Answer:
    """Run a probe once, within its timeout."""
    timeout = probe.get("timeoutSeconds", 1)
    try:
        async with asyncio.timeout(timeout):
            if "exec" in probe:
                return await ask_exec(runtime, probe["exec"], target, timeout)
            if "httpGet" in probe:
                return await ask_http(probe["httpGet"], target)
            if "tcpSocket" in probe:
                return await ask_tcp(probe["tcpSocket"], target)
            if "grpc" in probe:
                return await ask_grpc(probe["grpc"], target)
    except TimeoutError:
        return Answer(False, f"probe did not answer within {timeout} s")
    return Answer(True)


async def ask_exec(runtime: Runtime, action: Object, target: Target, timeout: int) -> Answer:
    try:
        done = await runtime.exec_sync(target.container_id, list(action.get("command") or ()), timeout)
    except RuntimeFailure as error:
        return Answer(False, str(error))
    output = (done.stdout + done.stderr).decode(errors="replace").strip()
    return Answer(done.exit_code == 0, output[:1024])


def port_of(value: int | str, container: Object) -> int:
    """Return a port given by number or by the name of one of the container's ports; 0 when there is none."""
    if isinstance(value, int):
        return value
    for port in container.get("ports") or ():
        if port.get("name") == value:
            return int(port["containerPort"])
    return int(value) if value.isdecimal() else 0


REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10


async def ask_http(action: Object, target: Target) -> Answer:
    """GET; 200 to 399 is well. Redirects to the same host are followed."""
    try:
        code = await get(action, target)
    except HttpFault as error:
        return Answer(False, str(error))
    return Answer(200 <= code < 400, f"HTTP probe failed with statuscode: {code}")


class HttpFault(Exception):
    """No HTTP answer came; the message says why."""


async def get(action: Object, target: Target) -> int:
    """GET what an httpGet action names and return the status code, that of where it redirects to on the same host.
    Raises ``HttpFault``."""
    path = action.get("path") or "/"
    for _ in range(MOST_REDIRECTS):
        code, location = await get_once({**action, "path": path}, target)
        there = urllib.parse.urlsplit(location)
        own = action.get("host") or target.pod_ip
        if code not in REDIRECTS or not location or (there.hostname or own) != own:
            return code
        path = there.path + (f"?{there.query}" if there.query else "")
        if there.port:
            action = {**action, "port": there.port}
        if there.scheme:
            action = {**action, "scheme": there.scheme.upper()}
    raise HttpFault(f"stopped after {MOST_REDIRECTS} redirects")


async def get_once(action: Object, target: Target) -> tuple[int, str]:
    """Return the status code and the ``Location`` of one GET. Certificates are not checked. Raises ``HttpFault``."""
    import ssl

    host = action.get("host") or target.pod_ip
    port = port_of(action["port"], target.container)
    secure = action.get("scheme", "HTTP") == "HTTPS"
    context = ssl._create_unverified_context() if secure else None
    named = f"[{host}]" if ":" in host else host
    headers = {"Host": f"{named}:{port}", "User-Agent": "kube-probe/1.37", "Accept": "*/*", "Connection": "close"}
    headers |= {header["name"]: header["value"] for header in action.get("httpHeaders") or ()}
    path = action.get("path") or "/"
    head = f"GET {path if path.startswith('/') else '/' + path} HTTP/1.1\r\n"
    head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
    try:
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
    except OSError as error:
        url = f"{action.get('scheme', 'HTTP').lower()}://{named}:{port}{path}"
        raise HttpFault(f'Get "{url}": {error.strerror or error}') from error
    try:
        writer.write(head.encode("latin-1", "replace"))
        line, location = await reader.readline(), ""
        while (header := (await reader.readline()).decode("latin-1")).strip():
            name, _, value = header.partition(":")
            if name.lower() == "location":
                location = value.strip()
    except (OSError, ValueError) as error:
        raise HttpFault(f"probe of {host}:{port}: {error}") from error
    finally:
        writer.transport.abort()  # no goodbye: a server that says nothing would be waited for beyond the timeout
    words = line.split()
    code = int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
    return code, location


async def ask_tcp(action: Object, target: Target) -> Answer:
    host, port = action.get("host") or target.pod_ip, port_of(action["port"], target.container)
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError as error:
        return Answer(False, f"dial tcp {host}:{port}: {error.strerror or error}")
    writer.close()
    return Answer(True)


async def ask_grpc(action: Object, target: Target) -> Answer:
    from grpclib.client import Channel
    from grpclib.exceptions import GRPCError
    from grpclib.health.v1.health_grpc import HealthStub
    from grpclib.health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    channel = Channel(target.pod_ip, int(action["port"]))
    try:
        answer = await HealthStub(channel).Check(HealthCheckRequest(service=action.get("service") or ""))
    except (GRPCError, OSError) as error:
        return Answer(False, f"health rpc failed: {error}")
    finally:
        channel.close()
    well = answer.status == HealthCheckResponse.SERVING
    return Answer(well, "" if well else "service unhealthy (responded with a status other than SERVING)")


class ContainerProbes:
    """The probes of one running container. ``ready`` and ``started`` are their verdicts of now."""

    def __init__(
        self,
        runtime: Runtime,
        target: Target,
        changed: Callable[[], None],
        fail: Callable[[Kind, str], None],
        unhealthy: Callable[[Kind, str], None],
        *,
        started: bool = False,
        ready: bool = False,
    ) -> None:
        """``started`` and ``ready``: what was found before this node came back; it holds until a probe says otherwise."""
        container = target.container
        self.target = target
        self.started = started or "startupProbe" not in container
        self.ready = self.started and (ready or "readinessProbe" not in container)
        self._runtime = runtime
        self._changed = changed
        self._fail = fail
        self._unhealthy = unhealthy
        self._alive: asyncio.Task[None] | None = None

    def end(self) -> None:
        """The container is being stopped: whether it is ready is asked on, whether it lives is not."""
        if self._alive is not None:
            self._alive.cancel()

    async def run(self) -> None:
        """Probe until cancelled, or until the container is to be restarted."""
        container = self.target.container
        if not self.started and not await self._until_started(container["startupProbe"]):
            return
        async with asyncio.TaskGroup() as group:
            if "readinessProbe" in container:
                group.create_task(self._readiness(container["readinessProbe"]), name="readiness")
            elif not self.ready:
                self.ready = True
                self._changed()
            if "livenessProbe" in container:
                self._alive = group.create_task(self._liveness(container["livenessProbe"]), name="liveness")

    async def _first_success(self, probe: Object) -> Answer:
        """Try quickly for one period; return the first success, or the last failure when the period is over."""
        loop = asyncio.get_running_loop()
        over = loop.time() + probe.get("periodSeconds", 10)
        pause = FIRST_TRY_SECONDS
        while True:
            answer = await ask(self._runtime, probe, self.target)
            left = over - loop.time()
            if answer.well or left <= 0:
                return answer
            await asyncio.sleep(min(pause, left))
            pause *= 2

    async def _until_started(self, probe: Object) -> bool:
        failures = 0
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        while True:
            answer = await self._first_success(probe)
            if answer.well:
                self.started = True
                self._changed()
                return True
            failures += 1
            self._unhealthy("startup", answer.message)
            if failures >= probe.get("failureThreshold", 3):
                self._fail("startup", answer.message)
                return False

    async def _readiness(self, probe: Object) -> None:
        async for well in self._verdicts("readiness", probe):
            if well != self.ready:
                self.ready = well
                self._changed()

    async def _liveness(self, probe: Object) -> None:
        async for well in self._verdicts("liveness", probe):
            if not well:
                self._fail("liveness", "")
                return

    async def _verdicts(self, kind: Kind, probe: Object) -> AsyncIterator[bool]:
        """Yield a verdict whenever enough probes in a row agree."""
        row, before = 0, None
        await asyncio.sleep(probe.get("initialDelaySeconds", 0))
        eager = kind == "readiness" and probe.get("successThreshold", 1) == 1
        while True:
            if eager and before is not True:
                answer = await self._first_success(probe)
            else:
                answer = await ask(self._runtime, probe, self.target)
            if not answer.well:
                self._unhealthy(kind, answer.message)
            row = row + 1 if answer.well == before else 1
            before = answer.well
            needed = probe.get("successThreshold", 1) if answer.well else probe.get("failureThreshold", 3)
            if row >= needed:
                yield answer.well
            if answer.well or not eager:
                eager = False
                await asyncio.sleep(probe.get("periodSeconds", 10))
