"""Making and deleting the pods of a workload: names, owner references, expectations, events, a slow start.

Creations begin with one and double as long as they succeed, so that a template that is refused is refused once and not
a hundred times (Kubernetes' slow start batch).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import PODS
from sampan.controllers.expectations import Expectations
from sampan.controllers.ownership import owner_reference
from sampan.schema.objects import Object

SUFFIX = "bcdfghjklmnpqrstvwxz2456789"
SUFFIX_LENGTH = 5
LONGEST_BASE = 63 - SUFFIX_LENGTH
NAMES_TRIED = 8
"""How many names are tried for a pod, as the API does for ``generateName``."""


def random_suffix() -> str:
    """Return five characters as the API's ``generateName`` does."""
    return "".join(random.choices(SUFFIX, k=SUFFIX_LENGTH))


def name_by_chance(base: str) -> str:
    """Return a name as the API's ``generateName`` makes it: a base that is too long is cut."""
    return base[:LONGEST_BASE] + random_suffix()


def pod_of(owner: Object, resource: ResourceType, name: str, base: str = "") -> Object:
    """Return the pod that a workload's template stands for. ``base``: what its name begins with (``generateName``)."""
    template = owner["spec"]["template"]
    metadata = {
        key: value
        for key, value in template.get("metadata", {}).items()
        if key in ("labels", "annotations", "finalizers")
    }
    metadata |= {
        "name": name,
        "generateName": base or f"{owner['metadata']['name']}-",
        "namespace": owner["metadata"]["namespace"],
        "ownerReferences": [owner_reference(owner, resource)],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def is_by_chance(pod: Object) -> bool:
    metadata = pod["metadata"]
    return bool(metadata["name"][:-SUFFIX_LENGTH] == metadata.get("generateName", "")[:LONGEST_BASE])


class PodControl:
    """Creates and deletes pods for one controller."""

    def __init__(self, client: Client, events: EventRecorder, expectations: Expectations) -> None:
        self._client = client
        self._events = events
        self._expectations = expectations

    async def create(
        self, key: str, owner: Object, pods: Sequence[Object], made: Callable[[int], None] | None = None
    ) -> int:
        """Create pods; return how many were. ``made`` is told how many more there are, with every batch. Raises the first
        ``ApiError``."""
        done, batch = 0, 1
        while done < len(pods):
            results = await asyncio.gather(
                *(self._create(key, owner, pod) for pod in pods[done : done + batch]), return_exceptions=True
            )
            errors = [result for result in results if isinstance(result, BaseException)]
            if made is not None:
                made(len(results) - len(errors))
            if errors:
                raise errors[0]
            done += len(results)
            batch *= 2
        return done

    async def _create(self, key: str, owner: Object, pod: Object) -> None:
        for last in [False] * (NAMES_TRIED - 1) + [True]:
            name = pod["metadata"]["name"]
            token = f"+{name}"
            self._expectations.expect(key, token)
            try:
                await self._client.create(PODS, pod, pod["metadata"]["namespace"])
            except ApiError as error:
                self._expectations.seen(key, token)
                if error.already_exists and not last and is_by_chance(pod):  # somebody has that name: another one
                    pod = {**pod, "metadata": {**pod["metadata"], "name": name_by_chance(name[:-SUFFIX_LENGTH])}}
                    continue
                if not (error.already_exists or error.has_cause("NamespaceTerminating")):
                    self._events.warning(owner, "FailedCreate", f"Error creating: {error}")
                raise
            self._events.normal(owner, "SuccessfulCreate", f"Created pod: {name}")
            return

    async def delete(self, key: str, owner: Object, pods: Sequence[Object]) -> None:
        """Delete pods, all at once; those already gone are no error."""
        await asyncio.gather(*(self._delete(key, owner, pod) for pod in pods))

    async def _delete(self, key: str, owner: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        token = f"-{metadata['uid']}"
        self._expectations.expect(key, token)
        try:
            await self._client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            self._expectations.seen(key, token)
            if not error.is_not_found:
                self._events.warning(owner, "FailedDelete", f"Error deleting: {error}")
                raise
            return
        self._events.normal(owner, "SuccessfulDelete", f"Deleted pod: {metadata['name']}")


def expectation_observer(expectations: Expectations, kind: str) -> Callable[[str, Object | None, Object], None]:
    """Return an informer handler that marks a workload's awaited pods as seen."""
    from sampan.controllers.ownership import controller_of

    def observe(change: str, old: Object | None, new: Object) -> None:
        reference = controller_of(new)
        if reference is None or reference.get("kind") != kind:
            return
        metadata = new["metadata"]
        key = f"{metadata['namespace']}/{reference['name']}"
        if change == "ADDED":
            expectations.seen(key, f"+{metadata['name']}")
        if change == "DELETED" or "deletionTimestamp" in metadata:
            expectations.seen(key, f"-{metadata['uid']}")

    return observe
