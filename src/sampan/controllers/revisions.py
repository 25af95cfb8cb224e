"""ControllerRevisions: the templates a StatefulSet or DaemonSet has had, as ``kubectl rollout history`` reads them.

A revision's ``data`` is the strategic merge patch that brings the template back. Equal templates share one revision, whose
number rises when they come back. Those that nobody owns any more (``kubectl delete --cascade=orphan``) are taken over.
Source: apps/v1 ControllerRevision, the history design of StatefulSet and DaemonSet.
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CONTROLLER_REVISIONS
from sampan.controllers.claiming import set_owners
from sampan.controllers.deployment_plan import template_hash
from sampan.controllers.ownership import (
    BY_NAMESPACE,
    BY_OWNER,
    controller_of,
    controller_uid,
    namespace_of,
    owned_by,
    owner_reference,
)
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

HASH_LABEL = "controller.kubernetes.io/hash"
REVISION_LABEL = "controller-revision-hash"
"""On pods: the name (StatefulSet) or the hash (DaemonSet) of the revision they were made from."""
MAX_COLLISIONS = 50


class History(NamedTuple):
    """The revisions of an owner, oldest first, the one of its present template, and how often a name was taken."""

    revisions: list[Object]
    present: Object
    collisions: int


def data_of(owner: Object) -> Object:
    """Return the patch that brings the owner's present template back."""
    return {"spec": {"template": {**owner["spec"]["template"], "$patch": "replace"}}}


def template_of(owner: Object, revision: Object) -> Object:
    """Return the owner as it was in a revision: with its template."""
    template = {key: value for key, value in revision["data"]["spec"]["template"].items() if key != "$patch"}
    return {**owner, "spec": {**owner["spec"], "template": template}}


def hash_of(revision: Object) -> str:
    return str((revision["metadata"].get("labels") or {}).get(HASH_LABEL, ""))


def superfluous(revisions: list[Object], live: set[str], limit: int) -> list[Object]:
    """Return the revisions to be deleted: the oldest of those that nothing uses, beyond ``limit``."""
    unused = [revision for revision in revisions if revision["metadata"]["name"] not in live]
    return unused[: max(len(unused) - limit, 0)]


class Revisions:
    """Keeps the revisions of one kind of owner."""

    def __init__(self, client: Client, revisions: Informer, resource: ResourceType) -> None:
        self._client = client
        self._revisions = revisions
        self._resource = resource
        revisions.add_index(BY_OWNER, controller_uid)
        revisions.add_index(BY_NAMESPACE, namespace_of)

    async def of(self, owner: Object) -> History:
        """Return the owner's history; the revision of its present template is made, or made the newest, first."""
        mine = [*owned_by(self._revisions, owner), *await self._adopt(owner)]
        known = sorted(mine, key=lambda revision: revision["revision"])
        collisions = owner.get("status", {}).get("collisionCount", 0)
        number = known[-1]["revision"] + 1 if known else 1
        data = data_of(owner)
        same = [revision for revision in known if revision["data"] == data]
        if same and same[-1] is known[-1]:
            return History(known, same[-1], collisions)
        if same:
            again = {**same[-1], "revision": number}
            written = await self._client.update(CONTROLLER_REVISIONS, again)
            return History([*(r for r in known if r is not same[-1]), written], written, collisions)
        made, collisions = await self._create(owner, data, number, collisions)
        return History([*known, made], made, collisions)

    async def _adopt(self, owner: Object) -> list[Object]:
        """Take over the revisions that the owner's selector matches and nobody controls."""
        selector = label_selector(owner["spec"].get("selector"))
        adopted = []
        for stray in self._revisions.by_index(BY_NAMESPACE, owner["metadata"]["namespace"]):
            metadata = stray["metadata"]
            if controller_of(stray) or "deletionTimestamp" in metadata or not selector.matches(metadata.get("labels")):
                continue
            owners = [*(metadata.get("ownerReferences") or ()), owner_reference(owner, self._resource)]
            adopted.append(await set_owners(self._client, stray, owners, CONTROLLER_REVISIONS))
        return adopted

    async def _create(self, owner: Object, data: Object, number: int, collisions: int) -> tuple[Object, int]:
        metadata = owner["metadata"]
        for attempt in range(collisions, collisions + MAX_COLLISIONS):
            suffix = template_hash(owner["spec"]["template"], attempt)
            name = f"{metadata['name'][:223]}-{suffix}"
            revision = {
                "apiVersion": "apps/v1",
                "kind": "ControllerRevision",
                "metadata": {
                    "name": name,
                    "namespace": metadata["namespace"],
                    "labels": {
                        **(owner["spec"]["template"].get("metadata", {}).get("labels") or {}),
                        HASH_LABEL: suffix,
                    },
                    "ownerReferences": [owner_reference(owner, self._resource)],
                },
                "data": data,
                "revision": number,
            }
            try:
                return await self._client.create(CONTROLLER_REVISIONS, revision, metadata["namespace"]), attempt
            except ApiError as error:
                if not error.already_exists:
                    raise
                there = await self._client.get(CONTROLLER_REVISIONS, name, metadata["namespace"])
                if there["data"] == data:
                    return there, attempt
        raise RuntimeError(f"{metadata['name']}: no free name for a ControllerRevision")

    async def truncate(self, owner: Object, history: History, live: set[str]) -> None:
        """Delete what is beyond ``spec.revisionHistoryLimit`` and used by nothing in ``live`` (names)."""
        limit = owner["spec"].get("revisionHistoryLimit", 10)
        for revision in superfluous(history.revisions, live, limit):
            try:
                await self._client.delete(
                    CONTROLLER_REVISIONS, revision["metadata"]["name"], owner["metadata"]["namespace"]
                )
            except ApiError as error:
                if not error.is_not_found:
                    raise
