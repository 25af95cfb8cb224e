"""Waiting until an object is as one wants it: on events, with a deadline that says what was missing.

A test of an object is a function from the object (None: it does not exist) to the reason why it is not so yet, ``""`` when
it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import Object

Missing = Callable[[Object | None], str]
RETRY_SECONDS = 0.1


class WaitTimeout(TimeoutError):
    """It did not become so; ``last`` is the object as it was seen last."""

    def __init__(self, message: str, last: Object | None) -> None:
        super().__init__(message)
        self.last = last


async def wait_for(
    client: Client,
    resource: ResourceType,
    name: str,
    missing: Missing,
    *,
    namespace: str | None = None,
    seconds: float = 30.0,
) -> Object | None:
    """Return the object when nothing is missing (None: it was to be gone). Raises ``WaitTimeout``."""
    last: Object | None = None
    reason = "it was never seen"
    try:
        async with asyncio.timeout(seconds):
            while True:
                try:
                    found = await client.list(resource, namespace, field_selector=f"metadata.name={name}")
                    last = found.items[0] if found.items else None
                    reason = missing(last)
                    if not reason:
                        return last
                    async for event in client.watch(
                        resource,
                        namespace,
                        resource_version=found.resource_version,
                        field_selector=f"metadata.name={name}",
                    ):
                        if event.type == "BOOKMARK":
                            continue
                        last = None if event.type == "DELETED" else event.object
                        reason = missing(last)
                        if not reason:
                            return last
                except ApiError as error:
                    if not error.is_expired:
                        raise
                except OSError as error:
                    reason = str(error)
                    await asyncio.sleep(RETRY_SECONDS)  # the API is away for a moment
    except TimeoutError:
        what = f"{resource.plural}/{name}" + (f" in {namespace}" if namespace else "")
        raise WaitTimeout(f"{what}: {reason} (waited {seconds:g} s)", last) from None
