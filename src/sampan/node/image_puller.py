"""Making sure that an image is there before a container is created: policy, events, one pull at a time, back-off.

``IfNotPresent`` and ``Never`` look first; ``Always`` asks the registry, and where that cannot be reached a present image of
a local name (loaded, built) is used: a machine without a registry must be able to work. Source: core/v1 imagePullPolicy,
the image pull back-off of Kubernetes (10 s doubling to 300 s).
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node.images import LONGEST_BACKOFF_SECONDS, Backoff, ImageError, full_name
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.schema.objects import Object

Tell = Callable[[str, str, str], None]
"""``(event type, reason, message)``."""


class ImagePuller:
    """Images for all pods of the node."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._backoff: dict[str, Backoff] = {}
        self._pulls: dict[str, asyncio.Lock] = {}

    async def ensure(
        self, container: Object, sandbox: cri.PodSandboxConfig, secrets: list[Object], tell: Tell
    ) -> cri.Image:
        """Return the image. Raises ``ImageError`` with the reason the container's status shows."""
        image = container["image"]
        reference = full_name(image)
        policy = container.get("imagePullPolicy") or ("Always" if reference.endswith(":latest") else "IfNotPresent")
        present = await self._runtime.image_status(reference)
        if present is not None and policy != "Always":
            tell("Normal", "Pulled", f'Container image "{image}" already present on machine')
            return present
        if policy == "Never":
            message = f'Container image "{image}" is not present with pull policy of Never'
            tell("Warning", "ErrImageNeverPull", message)
            raise ImageError("ErrImageNeverPull", message)
        backoff = self._backoff.get(reference)
        if backoff is not None and time.monotonic() < backoff.until:
            message = f'Back-off pulling image "{image}": {backoff.problem}'
            tell("Normal", "BackOff", f'Back-off pulling image "{image}"')
            raise ImageError("ImagePullBackOff", message)
        return await self._pull(image, reference, present, sandbox, secrets, tell)

    def seconds_left(self, image: str) -> float:
        """Return how long the back-off of an image still lasts."""
        backoff = self._backoff.get(full_name(image))
        return max(backoff.until - time.monotonic(), 0.0) if backoff is not None else 0.0

    async def _pull(
        self,
        image: str,
        reference: str,
        present: cri.Image | None,
        sandbox: cri.PodSandboxConfig,
        secrets: list[Object],
        tell: Tell,
    ) -> cri.Image:
        async with self._pulls.setdefault(reference, asyncio.Lock()):
            tell("Normal", "Pulling", f'Pulling image "{image}"')
            begun = time.monotonic()
            try:
                await self._runtime.pull_image(reference, auth_for(reference, secrets), sandbox)
            except RuntimeFailure as error:
                if present is not None:
                    tell(
                        "Normal",
                        "Pulled",
                        f'Container image "{image}" already present on machine; pulling it failed: {error}',
                    )
                    return present
                backoff = self._backoff.setdefault(reference, Backoff())
                backoff.until = time.monotonic() + backoff.pause
                backoff.pause = min(backoff.pause * 2, LONGEST_BACKOFF_SECONDS)
                backoff.problem = f"ErrImagePull: {error}"
                tell("Warning", "Failed", f'Failed to pull image "{image}": {error}')
                tell("Warning", "Failed", "Error: ErrImagePull")
                raise ImageError("ErrImagePull", str(error)) from error
            self._backoff.pop(reference, None)
            pulled = await self._runtime.image_status(reference)
            if pulled is None:
                raise ImageError("ErrImagePull", f"{image} was pulled and is not there")
            took = time.monotonic() - begun
            tell(
                "Normal",
                "Pulled",
                f'Successfully pulled image "{image}" in {took:.3f}s. Image size: {pulled.size} bytes.',
            )
            return pulled


def auth_for(reference: str, secrets: list[Object]) -> cri.AuthConfig | None:
    """Return the credentials that the pod's imagePullSecrets have for an image's registry."""
    registry = reference.split("/")[0]
    for secret in secrets:
        data = secret.get("data") or {}
        encoded = data.get(".dockerconfigjson") or data.get(".dockercfg")
        if not encoded:
            continue
        document = orjson.loads(base64.b64decode(encoded))
        entries = document.get("auths", document)
        for name, entry in entries.items():
            host = name.removeprefix("https://").removeprefix("http://").split("/")[0]
            if host != registry and not (registry == "docker.io" and host == "index.docker.io"):
                continue
            if entry.get("auth"):
                user, _, password = base64.b64decode(entry["auth"]).decode().partition(":")
                return cri.AuthConfig(username=user, password=password)
            return cri.AuthConfig(username=entry.get("username", ""), password=entry.get("password", ""))
    return None
