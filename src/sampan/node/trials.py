"""Copies of a pod, run to see whether it still works: each must become as ready as the first, unchanged copy, and stay so.

A copy works when it is Ready (or has succeeded, where the original does that), no container of it has failed or restarted
for a while after, its logs complain of nothing that the unchanged copy's do not complain of, and a check of the user's, where
there is one, passes. Copies are awaited by a watch on their label, and deleted at the end whatever happens.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import time
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple

from sampan.client.errors import ApiError
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.resources import PODS
from sampan.schema.objects import Object
from sampan.security.shadow import RUN, copy_of

COMPLAINTS = re.compile(
    r"permission denied|operation not permitted|read-only file system|\bE(?:ACCES|PERM|ROFS)\b", re.I
)
AT_ONCE = 6
LONGEST_SECONDS = 60.0
FINAL = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
    "ErrImageNeverPull",
)
"""Reasons for which a container waits in vain."""


class Outcome(NamedTuple):
    works: bool
    why: str = ""
    seconds: float = 0.0
    complaints: frozenset[str] = frozenset()


class Trials:
    """The trials of one pod. ``check``: a shell command that must succeed for each copy, with ``POD`` and ``POD_IP``."""

    def __init__(self, client: HttpClient, pod: Object, *, hold_seconds: float, check: str = "") -> None:
        self._client, self._pod = client, pod
        self._hold, self._check = hold_seconds, check
        self._run = f"{os.getpid()}-{int(time.time())}"
        self._namespace = pod["metadata"]["namespace"]
        self._copies = Informer(client, PODS, self._namespace, label_selector=f"{RUN}={self._run}")
        self._changed: dict[str, asyncio.Event] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._number = 0
        self.longest = LONGEST_SECONDS
        self.usual: frozenset[str] = frozenset()
        """What the unchanged copy complains of."""

    async def __aenter__(self) -> Trials:
        self._watching = asyncio.create_task(self._copies.run(), name="copies")
        await self._copies.synced()
        self._copies.add_handler(self._on_change)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        try:
            for one in self._copies.all():
                await self._delete(one["metadata"]["name"])
        finally:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching

    def _on_change(self, change: str, old: Object | None, new: Object) -> None:
        if event := self._changed.get(new["metadata"]["name"]):
            event.set()

    async def unchanged(self) -> Outcome:
        """Run the pod as it is: what the others are measured by."""
        outcome = await self.run(self._pod["spec"])
        if outcome.works:
            self.longest = min(outcome.seconds * 5 + 10, LONGEST_SECONDS)
            self.usual = outcome.complaints
        return outcome

    async def all(self, specs: Sequence[Object]) -> list[Outcome]:
        """Run one copy for each spec, some at a time."""
        return list(await asyncio.gather(*(self.run(spec) for spec in specs)))

    async def run(self, spec: Object) -> Outcome:
        """Run a copy with that spec, and remove it."""
        async with self._at_once:
            self._number += 1
            name = f"{self._pod['metadata']['name'][:45].rstrip('-.')}-least-{self._number}"
            event = self._changed[name] = asyncio.Event()
            begun = time.monotonic()
            try:
                await self._client.create(PODS, copy_of(self._pod, spec, name, self._run))
            except ApiError as error:
                return Outcome(False, f"the API refuses it: {error}")
            try:
                outcome = await self._watched(name, event)
                return outcome._replace(seconds=time.monotonic() - begun - self._hold * outcome.works)
            finally:
                del self._changed[name]
                await self._delete(name)

    async def _watched(self, name: str, event: asyncio.Event) -> Outcome:
        """Return whether a copy becomes ready and stays so."""
        deadline = time.monotonic() + self.longest
        ready_since: float | None = None
        while True:
            pod = self._copies.get(f"{self._namespace}/{name}") or {}
            if why := failed(pod):
                return Outcome(False, await self._with_last_words(name, pod, why))
            now = time.monotonic()
            if not is_ready(pod):
                ready_since = None
            elif ready_since is None:
                ready_since = now
            if ready_since is not None and now >= ready_since + self._hold:
                return await self._judged(name, pod)
            until = deadline if ready_since is None else ready_since + self._hold
            if now >= until:
                return Outcome(False, await self._with_last_words(name, pod, f"not ready within {self.longest:.0f} s"))
            event.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(until - now):
                    await event.wait()

    async def _judged(self, name: str, pod: Object) -> Outcome:
        complaints = {line for log in await self._logs(name, pod) for line in log if COMPLAINTS.search(line)}
        new = {plain(line) for line in complaints} - self.usual
        if self._number > 1 and new:
            return Outcome(False, f"it complains: {min(new)[:160]}")
        if self._check and (why := await self._checked(name, pod)):
            return Outcome(False, why)
        return Outcome(True, complaints=frozenset(map(plain, complaints)))

    async def _checked(self, name: str, pod: Object) -> str:
        address = (pod.get("status") or {}).get("podIP", "")
        environment = {**os.environ, "POD": name, "POD_IP": address, "NAMESPACE": self._namespace}
        child = await asyncio.create_subprocess_shell(
            self._check, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE
        )
        _, said = await child.communicate()
        words = said.decode(errors="replace").strip().splitlines()
        return f"the check fails: {words[-1] if words else f'exit code {child.returncode}'}" if child.returncode else ""

    async def _with_last_words(self, name: str, pod: Object, why: str) -> str:
        logs = await self._logs(name, pod)
        complaining = [line for log in logs for line in log if COMPLAINTS.search(line)]
        last = (complaining or [line for log in logs for line in log if line.strip()])[-1:]
        return f"{why}: {last[0].strip()[:160]}" if last else why

    async def _logs(self, name: str, pod: Object) -> list[list[str]]:
        found = []
        for container in pod.get("spec", {}).get("containers") or ():
            path = f"/api/v1/namespaces/{self._namespace}/pods/{name}/log"
            status, body = await self._client.raw(
                "GET", path, query={"container": container["name"], "tailLines": "200"}
            )
            if status == 200:
                found.append(body.decode(errors="replace").splitlines())
        return found

    async def _delete(self, name: str) -> None:
        with contextlib.suppress(ApiError):
            await self._client.delete(PODS, name, self._namespace, grace_period_seconds=0)


def plain(line: str) -> str:
    """Return a line without what changes from run to run: times, numbers."""
    return re.sub(r"[\d:.]+", "#", line).strip()


def is_ready(pod: Object) -> bool:
    status = pod.get("status") or {}
    conditions = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    return status.get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def failed(pod: Object) -> str:
    """Return why a pod can no longer become ready, "" while it may."""
    status = pod.get("status") or {}
    if status.get("phase") == "Failed":
        return str(status.get("message") or status.get("reason") or first_exit(status) or "it failed")
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in FINAL:
            return f"{one['name']}: {waiting['reason']} {waiting.get('message', '')}".strip()
        if one.get("restartCount", 0) and (ended := (one.get("lastState") or {}).get("terminated")):
            return f"{one['name']} ended with {ended.get('exitCode')}"
    return ""


def first_exit(status: Object) -> str:
    for one in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return f"{one['name']} ended with {ended['exitCode']}"
    return ""
