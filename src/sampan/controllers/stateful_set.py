"""StatefulSet: pods with names, claims and an order of their own. What should be is in ``stateful_set_plan.py``."""

from __future__ import annotations

import asyncio

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from sampan.controllers import stateful_set_plan as plan
from sampan.controllers.claiming import ORPHANS, claim, namespace_of_orphan, orphans_owners, set_owners
from sampan.controllers.ownership import (
    BY_OWNER,
    controller_uid,
    is_pod_active,
    owner_keys,
    owner_reference,
)
from sampan.controllers.pod_availability import finished, soonest_available
from sampan.controllers.replica_set import selector_of
from sampan.controllers.revisions import History, Revisions
from sampan.schema.objects import Object


class StatefulSetController(Controller):
    name = "statefulset-controller"

    def __init__(
        self,
        client: Client,
        stateful_sets: Informer,
        pods: Informer,
        claims: Informer,
        revisions: Informer,
        events: EventRecorder,
    ) -> None:
        super().__init__(client)
        self.stateful_sets, self.pods, self.claims, self.events = stateful_sets, pods, claims, events
        self.revisions = Revisions(client, revisions, STATEFUL_SETS)
        pods.add_index(BY_OWNER, controller_uid)
        pods.add_index(ORPHANS, namespace_of_orphan)
        self.watch(stateful_sets)
        self.watch(pods, owner_keys("StatefulSet"))
        self.watch(pods, orphans_owners(stateful_sets, selector_of))
        self.watch(revisions, owner_keys("StatefulSet"))

    async def reconcile(self, key: str) -> float | None:
        stateful_set = self.stateful_sets.get(key)
        if stateful_set is None:
            return None
        pods = await self._own(stateful_set)
        if "deletionTimestamp" in stateful_set["metadata"]:
            await self._write_last_status(stateful_set, list(pods.values()))
            return None
        history = await self.revisions.of(stateful_set)
        current = self._current(stateful_set, history)
        await self._keep_owners_of_claims(stateful_set, pods)
        await self._keep_identities(stateful_set, pods)
        doing = plan.desired(stateful_set, pods, current, history.present)
        try:
            try:
                for ordinal, revision in doing.create:
                    await self._create(stateful_set, ordinal, revision)
            finally:  # where pods cannot be made, others can go all the same
                await asyncio.gather(*(self._delete(stateful_set, pod) for pod in doing.delete))
        finally:
            await self._write_status(stateful_set, list(pods.values()), current, history)
        live = {current["metadata"]["name"], history.present["metadata"]["name"]}
        live |= {plan.revision_name(pod) for pod in pods.values()}
        await self.revisions.truncate(stateful_set, history, live)
        return soonest_available(stateful_set, filter(plan.healthy, pods.values()))

    async def _own(self, stateful_set: Object) -> dict[int, Object]:
        """Return the StatefulSet's pods by ordinal."""

        def may_adopt(pod: Object) -> bool:
            return is_pod_active(pod) and plan.ordinal_of(stateful_set, pod) is not None

        found = await claim(self.client, self.pods, stateful_set, STATEFUL_SETS, selector_of(stateful_set), may_adopt)
        return {number: pod for pod in found if (number := plan.ordinal_of(stateful_set, pod)) is not None}

    async def _keep_identities(self, stateful_set: Object, pods: dict[int, Object]) -> None:
        """Give pods back the labels that tell which one each is, and those that wait for claims that have gone new ones."""
        for ordinal, pod in pods.items():
            metadata, namespace = pod["metadata"], pod["metadata"]["namespace"]
            labels = plan.identity(pod)
            if (metadata.get("labels") or {}).get(plan.POD_NAME) != metadata["name"]:
                await self.client.patch(PODS, metadata["name"], {"metadata": {"labels": labels}}, namespace)
            if pod.get("status", {}).get("phase") == "Pending" and ordinal in plan.ordinals(stateful_set):
                for wanted in plan.claims(stateful_set, ordinal):
                    await self._ensure_claim(stateful_set, wanted, metadata["name"])

    def _current(self, stateful_set: Object, history: History) -> Object:
        """Return the revision of the status, or the present one where there is none (any more)."""
        name = stateful_set.get("status", {}).get("currentRevision")
        return next((r for r in history.revisions if r["metadata"]["name"] == name), history.present)

    async def _create(self, stateful_set: Object, ordinal: int, revision: Object) -> None:
        pod = plan.pod_for(stateful_set, ordinal, revision)
        name, owner = pod["metadata"]["name"], stateful_set["metadata"]["name"]
        try:
            for wanted in plan.claims(stateful_set, ordinal):
                await self._ensure_claim(stateful_set, wanted, name)
            await self.client.create(PODS, pod, pod["metadata"]["namespace"])
        except ApiError as error:
            if error.already_exists:
                return  # made a moment ago; the informer will say so
            message = f"create Pod {name} in StatefulSet {owner} failed error: {error}"
            self.events.warning(stateful_set, "FailedCreate", message)
            raise
        self.events.normal(stateful_set, "SuccessfulCreate", f"create Pod {name} in StatefulSet {owner} successful")

    async def _ensure_claim(self, stateful_set: Object, wanted: Object, pod: str) -> None:
        namespace, name = wanted["metadata"]["namespace"], wanted["metadata"]["name"]
        there = self.claims.get(f"{namespace}/{name}")
        if there is not None:
            if "deletionTimestamp" in there["metadata"]:
                raise ApiError(409, {"reason": "Conflict", "message": f"pvc {name} is being deleted"})
            return
        if self._retention(stateful_set, "whenDeleted") == "Delete":
            owners = [{**owner_reference(stateful_set, STATEFUL_SETS), "blockOwnerDeletion": False}]
            wanted["metadata"]["ownerReferences"] = owners
        try:
            await self.client.create(PERSISTENT_VOLUME_CLAIMS, wanted, namespace)
        except ApiError as error:
            if not error.already_exists:
                raise
            return
        owner = stateful_set["metadata"]["name"]
        message = f"create Claim {name} Pod {pod} in StatefulSet {owner} success"
        self.events.normal(stateful_set, "SuccessfulCreate", message)

    async def _delete(self, stateful_set: Object, pod: Object) -> None:
        metadata = pod["metadata"]
        reason = "RecreatingFailedPod" if finished(pod) else "SuccessfulDelete"
        try:
            await self.client.delete(PODS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise
            return
        owner = stateful_set["metadata"]["name"]
        if reason == "RecreatingFailedPod":
            namespace = metadata["namespace"]
            message = f"StatefulSet {namespace}/{owner} is recreating failed Pod {metadata['name']}"
            self.events.warning(stateful_set, reason, message)
        else:
            message = f"delete Pod {metadata['name']} in StatefulSet {owner} successful"
            self.events.normal(stateful_set, reason, message)

    # claims that go with the StatefulSet, or with a pod that is scaled away

    def _retention(self, stateful_set: Object, when: str) -> str:
        policy = stateful_set["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        return str(policy.get(when, "Retain"))

    async def _keep_owners_of_claims(self, stateful_set: Object, pods: dict[int, Object]) -> None:
        """Let each claim be owned by what it is to go with."""
        by_set = self._retention(stateful_set, "whenDeleted") == "Delete"
        by_pod = self._retention(stateful_set, "whenScaled") == "Delete"
        wanted = plan.ordinals(stateful_set)
        for ordinal, pod in pods.items():
            owners = []
            if by_pod and ordinal not in wanted:
                metadata = pod["metadata"]
                owners.append({"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]})
            elif by_set:
                owners.append({**owner_reference(stateful_set, STATEFUL_SETS), "blockOwnerDeletion": False})
            for asked in plan.claims(stateful_set, ordinal):
                await self._set_claim_owners(stateful_set, asked, owners)

    async def _set_claim_owners(self, stateful_set: Object, asked: Object, owners: list[Object]) -> None:
        there = self.claims.get(f"{asked['metadata']['namespace']}/{asked['metadata']['name']}")
        if there is None:
            return
        known = there["metadata"].get("ownerReferences") or []
        name = stateful_set["metadata"]["name"]
        others = [r for r in known if not (r["kind"] == "StatefulSet" and r["name"] == name) and r["kind"] != "Pod"]
        if known != (wanted := [*others, *owners]):
            await set_owners(self.client, there, wanted, PERSISTENT_VOLUME_CLAIMS)

    async def _write_last_status(self, stateful_set: Object, pods: list[Object]) -> None:
        """Keep the status up while the StatefulSet waits for its pods to go; its revisions may have gone already."""
        known = stateful_set.get("status", {})
        current, update = ({"metadata": {"name": known.get(key, "")}} for key in ("currentRevision", "updateRevision"))
        if known:
            await self._write_status(stateful_set, pods, current, History([], update, known.get("collisionCount", 0)))

    async def _write_status(self, stateful_set: Object, pods: list[Object], current: Object, history: History) -> None:
        status = plan.status_of(stateful_set, pods, current, history.present, history.collisions)
        if status != stateful_set.get("status"):
            await self.client.update(STATEFUL_SETS, {**stateful_set, "status": status}, subresource="status")
