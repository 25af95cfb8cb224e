"""Events as ``kubectl describe`` shows them, with repeats counted on one object instead of written anew.

Two events are the same when object, type, reason, message and source are; then ``count`` and ``lastTimestamp`` of the
first are patched. Events never fail their caller: what cannot be written is logged. They are written a moment after what
they tell of: the writes that something waits for come first.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
from collections import OrderedDict
from datetime import UTC, datetime

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import EVENTS
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.client")

REMEMBERED = 4096
LATER_SECONDS = 0.25
"""How long an event waits: a pod starts in less, and the four events of its start would be written in the middle of that."""
ATTEMPTS = 6
"""How often an event is tried while the API does not answer (3 s in all): a restart of the API loses none."""


def timestamp() -> str:
    """Return now as ``metav1.Time`` (RFC 3339, whole seconds)."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def reference_to(obj: Object) -> Object:
    """Return the ``ObjectReference`` of an object."""
    metadata = obj["metadata"]
    reference = {
        "apiVersion": obj.get("apiVersion", ""),
        "kind": obj.get("kind", ""),
        "namespace": metadata.get("namespace", ""),
        "name": metadata["name"],
        "uid": metadata.get("uid", ""),
        "resourceVersion": metadata.get("resourceVersion", ""),
    }
    return {key: value for key, value in reference.items() if value}


class EventRecorder:
    """Writes the events of one component. ``run`` must be a task of the owner's group."""

    def __init__(self, client: Client, component: str, host: str = "") -> None:
        self._client = client
        self._source = {"component": component, **({"host": host} if host else {})}
        self._component = component
        self._queue: asyncio.Queue[tuple[float, Object]] = asyncio.Queue()
        """Events with the time of the loop from which on they may be written."""
        self._flushing = asyncio.Event()
        self._seen: OrderedDict[str, tuple[str, int]] = OrderedDict()

    def normal(self, about: Object, reason: str, message: str, field_path: str = "") -> None:
        self.record(about, "Normal", reason, message, field_path)

    def warning(self, about: Object, reason: str, message: str, field_path: str = "") -> None:
        self.record(about, "Warning", reason, message, field_path)

    def record(self, about: Object, type: str, reason: str, message: str, field_path: str = "") -> None:
        """Queue an event about an object; ``field_path`` names a part of it (``spec.containers{web}``)."""
        involved = reference_to(about)
        if field_path:
            involved["fieldPath"] = field_path
        now = timestamp()
        event: Object = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": involved.get("namespace") or "default"},
            "involvedObject": involved,
            "type": type,
            "reason": reason,
            "message": message[:1024],
            "source": self._source,
            "reportingComponent": self._component,
            "reportingInstance": self._source.get("host", ""),
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        self._queue.put_nowait((asyncio.get_running_loop().time() + LATER_SECONDS, event))

    async def run(self) -> None:
        """Write queued events until cancelled."""
        while True:
            due, event = await self._queue.get()
            await self._until(due)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._write(event)
                except ApiError as error:
                    # an event about an object of a namespace that goes is refused, and that is nobody's trouble
                    logger.debug("event %s: %s", event["reason"], error)
                except OSError as error:
                    if attempt < ATTEMPTS:
                        await asyncio.sleep(0.2 * attempt)
                        continue
                    logger.warning("event %s about %s: %s", event["reason"], event["involvedObject"]["name"], error)
                break
            self._queue.task_done()

    async def _until(self, due: float) -> None:
        """Wait until an event may be written, unless somebody waits for that already."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self._flushing.wait()

    async def flush(self) -> None:
        """Return when all events that were recorded so far are written, or given up."""
        self._flushing.set()
        await self._queue.join()
        self._flushing.clear()

    async def _write(self, event: Object) -> None:
        involved = event["involvedObject"]
        identity = "\0".join(
            [
                event["metadata"]["namespace"],
                *(str(involved.get(part, "")) for part in ("kind", "name", "uid", "fieldPath")),
                event["type"],
                event["reason"],
                event["message"],
            ]
        )
        name, count = self._seen.get(identity, ("", 0))
        if count:
            change = {"count": count + 1, "lastTimestamp": event["lastTimestamp"]}
            try:
                await self._client.patch(EVENTS, name, change, event["metadata"]["namespace"])
            except ApiError as error:
                if not error.is_not_found:
                    raise
                count = 0
        if not count:
            stamp = hashlib.sha256(f"{identity}{datetime.now(UTC).timestamp()}".encode()).hexdigest()[:16]
            name = f"{involved['name'][:230]}.{stamp}"
            event["metadata"]["name"] = name
            await self._client.create(EVENTS, event, event["metadata"]["namespace"])
        self._seen[identity] = (name, count + 1)
        self._seen.move_to_end(identity)
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)
