"""Making sure that an image is there before a container is created: policy, credentials, events, back-off.

``IfNotPresent`` and ``Never`` look first; ``Always`` asks the registry, and where that cannot be reached an image that came
without a pull (loaded, built) is used: a machine without a registry must be able to work. An image that another pod pulled
with credentials is used only with such. Source: core/v1 imagePullPolicy, the image pull back-off of Kubernetes (10 s
doubling to 300 s, for each pod), KEP-2535, KEP-3673.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from weakref import WeakValueDictionary

from sampan.node import cri_pb2 as cri
from sampan.node.image_credentials import PullRecords, credentials_for
from sampan.node.images import LONGEST_BACKOFF_SECONDS, Backoff, ImageError, full_name
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.schema.objects import Object

Tell = Callable[[str, str, str], None]
"""``(event type, reason, message)``."""
KNOWN_FAILURES = ("RegistryUnavailable", "SignatureValidationFailed", "ImagePullBackOff")
"""What a runtime's message begins with when it says more than that a pull failed (CRI)."""


class ImagePuller:
    """Images for all pods of the node. ``at_once``: how many pulls there may be at a time, 0: any number; ``records``: where
    it is kept what images were pulled with."""

    def __init__(self, runtime: Runtime, at_once: int = 0, records: Path | None = None) -> None:
        self._runtime = runtime
        self._backoff: dict[tuple[str, str], Backoff] = {}
        """By the pod's uid and the image: another pod may have credentials."""
        self._pulls: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        """Who pulls an image, for as long as somebody does or waits for it."""
        self._at_once = asyncio.Semaphore(at_once) if at_once else contextlib.nullcontext()
        self.records = PullRecords(records)

    async def ensure(
        self, container: Object, sandbox: cri.PodSandboxConfig, secrets: list[Object], tell: Tell
    ) -> cri.Image:
        """Return the image. Raises ``ImageError`` with the reason the container's status shows."""
        image = container["image"]
        reference = full_name(image)
        policy = container.get("imagePullPolicy") or ("Always" if reference.endswith(":latest") else "IfNotPresent")
        credentials = credentials_for(reference, secrets)
        present = await self._present(reference)
        usable = present is not None and self.records.may_use(present.id, credentials)
        if present is not None and usable and policy != "Always":
            tell("Normal", "Pulled", f'Container image "{image}" already present on machine')
            return present
        if policy == "Never":
            why = (
                "is not present"
                if present is None
                else "was pulled with other credentials than this pod's, and is used"
            )
            message = f'Container image "{image}" {why} with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        backoff = self._backoff.get((sandbox.metadata.uid, image))
        if backoff is not None and time.monotonic() < backoff.until:
            message = f'Back-off pulling image "{image}": {backoff.problem}'
            tell("Normal", "BackOff", f'Back-off pulling image "{image}"')
            raise ImageError("ImagePullBackOff", message)
        turn = self._pulls.setdefault(reference, asyncio.Lock())
        async with turn:
            there = await self._present(reference) if policy != "Always" else None
            if there is not None and self.records.may_use(there.id, credentials):
                return there  # it came while another pod had the turn
            return await self._pull(image, reference, present, sandbox, credentials, tell)

    async def _present(self, reference: str) -> cri.Image | None:
        try:
            return await self._runtime.image_status(reference)
        except RuntimeFailure as error:
            raise ImageError("ImageInspectError", f'Failed to inspect image "{reference}": {error}') from error

    def seconds_left(self, image: str, uid: str) -> float:
        """Return how long the back-off of an image still lasts for a pod."""
        backoff = self._backoff.get((uid, image))
        return max(backoff.until - time.monotonic(), 0.0) if backoff is not None else 0.0

    def forget(self, uid: str) -> None:
        """Drop the back-offs of a pod that is gone."""
        for key in [key for key in self._backoff if key[0] == uid]:
            del self._backoff[key]

    async def _pull(
        self,
        image: str,
        reference: str,
        present: cri.Image | None,
        sandbox: cri.PodSandboxConfig,
        credentials: list[cri.AuthConfig],
        tell: Tell,
    ) -> cri.Image:
        tell("Normal", "Pulling", f'Pulling image "{image}"')
        asked = time.monotonic()
        async with self._at_once:
            begun = time.monotonic()
            try:
                await self._pull_with_any(reference, sandbox, credentials)
            except RuntimeFailure as error:
                if present is not None and not self.records.was_pulled(present.id):
                    why = f'Container image "{image}" already present on machine; pulling it failed: {error}'
                    tell("Normal", "Pulled", why)
                    return present
                raise self._failed(image, sandbox.metadata.uid, error, tell) from error
            done = time.monotonic()
        self._backoff.pop((sandbox.metadata.uid, image), None)
        pulled = await self._present(reference)
        if pulled is None:
            raise ImageError("ErrImagePull", f"{image} was pulled and is not there")
        took, whole = f"{done - begun:.3f}s", f"{done - asked:.3f}s"
        tell(
            "Normal",
            "Pulled",
            f'Successfully pulled image "{image}" in {took} ({whole} including waiting). Image size: {pulled.size} bytes.',
        )
        return pulled

    async def _pull_with_any(
        self, reference: str, sandbox: cri.PodSandboxConfig, credentials: list[cri.AuthConfig]
    ) -> None:
        """Pull with one credential after the other until one works. Raises the last ``RuntimeFailure``."""
        problem: RuntimeFailure | None = None
        for auth in (*credentials,) or (None,):
            try:
                await self._runtime.pull_image(reference, auth, sandbox)
            except RuntimeFailure as error:
                problem = error
                continue
            if (pulled := await self._present(reference)) is not None:
                self.records.add(pulled.id, auth)
            return
        assert problem is not None
        raise problem

    def _failed(self, image: str, uid: str, error: RuntimeFailure, tell: Tell) -> ImageError:
        """Note a failed pull in the back-off and tell of it; return what to raise."""
        reason, message = "ErrImagePull", str(error)
        for known in KNOWN_FAILURES:
            if message.startswith(f"{known}: "):
                reason, message = known, message.removeprefix(f"{known}: ")
        backoff = self._backoff.setdefault((uid, image), Backoff())
        backoff.until = time.monotonic() + backoff.pause
        backoff.pause = min(backoff.pause * 2, LONGEST_BACKOFF_SECONDS)
        backoff.problem = f"{reason}: {message}"
        tell("Warning", "Failed", f'Failed to pull image "{image}": {message}')
        tell("Warning", "Failed", f"Error: {reason}")
        return ImageError(reason, message)
