"""Deployment: rolls ReplicaSets from one template to the next.

The arithmetic is in ``deployment_plan.py``, what is told of a rollout in ``deployment_progress.py``; here are the reads and
writes, revisions and history.
Source: apps/v1 Deployment, the annotations and conditions that ``kubectl rollout`` reads.
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import DEPLOYMENTS, REPLICA_SETS
from sampan.controllers import deployment_plan as plan
from sampan.controllers import deployment_progress as progress
from sampan.controllers.claiming import set_owners
from sampan.controllers.ownership import (
    BY_NAMESPACE,
    BY_OWNER,
    controller_of,
    controller_uid,
    namespace_of,
    owned_by,
    owner_keys,
    owner_reference,
)
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector


class DeploymentController(Controller):
    name = "deployment-controller"

    def __init__(
        self, client: Client, deployments: Informer, replica_sets: Informer, pods: Informer, events: EventRecorder
    ) -> None:
        super().__init__(client)
        self.deployments = deployments
        self.replica_sets = replica_sets
        self.pods = pods
        self.events = events
        replica_sets.add_index(BY_OWNER, controller_uid)
        replica_sets.add_index(BY_NAMESPACE, namespace_of)
        self.watch(deployments)
        self.watch(replica_sets, owner_keys("Deployment"))
        self.watch(pods, self._recreating)

    def _recreating(self, pod: Object) -> list[str]:
        """Recreate waits for the last old pod to go, which no ReplicaSet's status tells."""
        keys = []
        for reference in pod["metadata"].get("ownerReferences") or ():
            replica_set = self.replica_sets.get(f"{pod['metadata']['namespace']}/{reference['name']}")
            for key in owner_keys("Deployment")(replica_set) if replica_set else ():
                deployment = self.deployments.get(key)
                if deployment and deployment["spec"].get("strategy", {}).get("type") == "Recreate":
                    keys.append(key)
        return keys

    async def reconcile(self, key: str) -> float | None:
        deployment = self.deployments.get(key)
        if deployment is None:
            return None
        if "deletionTimestamp" in deployment["metadata"]:
            sets = owned_by(self.replica_sets, deployment)
            await self._write_status(deployment, plan.split(deployment, sets)[0], sets, is_going=True)
            return None
        sets = await self._claim(deployment)
        new, old = plan.split(deployment, sets)
        only_scaled = bool(deployment["spec"].get("paused")) or plan.is_rescaled(deployment, sets)
        told: Object | None = None
        if new is not None:
            new = await self._mark(deployment, new, old)
        elif not only_scaled and not self._waits_for_old_pods(deployment, old):
            new, told = await self._create(deployment, old)
        sets = [*old, *([new] if new is not None else [])]
        await self._size(deployment, new, old, only_scaled=only_scaled)
        status = await self._write_status(deployment, new, sets, told)
        if deployment["spec"].get("paused") or (new is not None and plan.is_complete(deployment, status)):
            await self._forget_history(deployment, old)
        return progress.seconds_left(deployment, status)

    async def _claim(self, deployment: Object) -> list[Object]:
        """Return our ReplicaSets: those that nobody controls and our selector matches are adopted, those that it does not
        match any more are let go."""
        selector = label_selector(deployment["spec"]["selector"])
        mine = []
        for own in owned_by(self.replica_sets, deployment):
            if selector.matches(own["metadata"].get("labels")):
                mine.append(own)
            elif "deletionTimestamp" not in own["metadata"]:
                uid = deployment["metadata"]["uid"]
                others = [owner for owner in own["metadata"]["ownerReferences"] if owner["uid"] != uid]
                await set_owners(self.client, own, others, REPLICA_SETS)
        for stray in self.replica_sets.by_index(BY_NAMESPACE, deployment["metadata"]["namespace"]):
            metadata = stray["metadata"]
            if controller_of(stray) or "deletionTimestamp" in metadata or not selector.matches(metadata.get("labels")):
                continue
            owners = [*(metadata.get("ownerReferences") or ()), owner_reference(deployment, DEPLOYMENTS)]
            mine.append(await set_owners(self.client, stray, owners, REPLICA_SETS))
        return mine

    def _waits_for_old_pods(self, deployment: Object, old: list[Object]) -> bool:
        """Whether a Deployment that recreates its pods still has some of an old template."""
        return plan.recreates(deployment) and any(plan.replicas(rs) or self._has_pods(rs) for rs in old)

    async def _create(self, deployment: Object, old: list[Object]) -> tuple[Object, Object | None]:
        """Create the ReplicaSet of the present template, sized at once as the strategy allows; return it, and what is told of
        that."""
        revision = max((plan.revision_of(rs) for rs in old), default=0) + 1
        collisions = deployment.get("status", {}).get("collisionCount", 0)
        new = plan.new_replica_set(deployment, revision, owner_reference(deployment, DEPLOYMENTS), collisions)
        new["spec"]["replicas"] = plan.rolling(deployment, new, old).get(new["metadata"]["name"], 0)
        try:
            created = await self.client.create(REPLICA_SETS, new)
        except ApiError as error:
            if not error.already_exists:
                await self._tell_not_created(deployment, old, new["metadata"]["name"], error)
                raise
            there = await self.client.get(REPLICA_SETS, new["metadata"]["name"], new["metadata"]["namespace"])
            ours = any(
                r["uid"] == deployment["metadata"]["uid"] for r in there["metadata"].get("ownerReferences") or ()
            )
            if ours and plan.same_template(deployment, there):
                return there, None
            status = {**deployment.get("status", {}), "collisionCount": collisions + 1}
            await self.client.update(DEPLOYMENTS, {**deployment, "status": status}, subresource="status")
            raise
        if new["spec"]["replicas"]:
            self._scaled(deployment, created, 0, new["spec"]["replicas"])
        await self._annotate(deployment, revision)
        return created, progress.created(created)

    async def _tell_not_created(self, deployment: Object, old: list[Object], name: str, error: ApiError) -> None:
        if error.has_cause("NamespaceTerminating"):
            return
        message = f'Failed to create new replica set "{name}": {error}'
        self.events.warning(deployment, "ReplicaSetCreateError", message)
        await self._write_status(deployment, None, old, progress.not_created(message))

    async def _mark(self, deployment: Object, new: Object, old: list[Object]) -> Object:
        """Give the current ReplicaSet the highest revision and our annotations; both change on a rollback."""
        highest = max((plan.revision_of(rs) for rs in old), default=0)
        revision = plan.revision_of(new)
        if revision <= highest:
            revision = highest + 1
        wanted = plan.annotations_for(deployment, revision)
        del wanted[plan.DESIRED], wanted[plan.MAX]  # they go with a change of size only, which is reckoned from them
        have = new["metadata"].get("annotations") or {}
        if plan.REVISION in have and revision != plan.revision_of(new):
            wanted[plan.REVISION_HISTORY] = plan.history_of(new)
        patch: Object = {}
        if any(have.get(name) != value for name, value in wanted.items()):
            patch["metadata"] = {"annotations": wanted}
        ready_seconds = deployment["spec"].get("minReadySeconds", 0)
        if new["spec"].get("minReadySeconds", 0) != ready_seconds:
            patch["spec"] = {"minReadySeconds": ready_seconds}
        if patch:
            new = await self.client.patch(REPLICA_SETS, new["metadata"]["name"], patch, new["metadata"]["namespace"])
        await self._annotate(deployment, revision)
        return new

    async def _annotate(self, deployment: Object, revision: int) -> None:
        if (deployment["metadata"].get("annotations") or {}).get(plan.REVISION) != str(revision):
            patch = {"metadata": {"annotations": {plan.REVISION: str(revision)}}}
            metadata = deployment["metadata"]
            await self.client.patch(DEPLOYMENTS, metadata["name"], patch, metadata["namespace"])

    async def _size(self, deployment: Object, new: Object | None, old: list[Object], *, only_scaled: bool) -> None:
        wanted = plan.replicas(deployment)
        everyone = [*old, *([new] if new else [])]
        if only_scaled:
            sizes = plan.scaled(deployment, new, old)
        elif plan.recreates(deployment):
            sizes = {rs["metadata"]["name"]: 0 for rs in old}
            if new is not None and not self._waits_for_old_pods(deployment, old):
                sizes[new["metadata"]["name"]] = wanted
        else:
            sizes = plan.rolling(deployment, new, old) if new is not None else {}
        by_name = {rs["metadata"]["name"]: rs for rs in everyone}
        annotations = {plan.DESIRED: str(wanted), plan.MAX: str(wanted + plan.limits(deployment)[0])}
        for name, size in sizes.items():
            replica_set = by_name[name]
            have = replica_set["metadata"].get("annotations") or {}
            if size == plan.replicas(replica_set) and annotations.items() <= have.items():
                continue
            # the revision makes a size that was computed from an old copy a conflict, tried again with a fresh one
            metadata = {"annotations": annotations, "resourceVersion": replica_set["metadata"]["resourceVersion"]}
            patch = {"spec": {"replicas": size}, "metadata": metadata}
            await self.client.patch(REPLICA_SETS, name, patch, deployment["metadata"]["namespace"])
            if size != plan.replicas(replica_set):
                self._scaled(deployment, replica_set, plan.replicas(replica_set), size)

    def _has_pods(self, replica_set: Object) -> bool:
        return any(
            pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")
            for pod in self.pods.by_index(BY_OWNER, replica_set["metadata"]["uid"])
        )

    def _scaled(self, deployment: Object, replica_set: Object, before: int, after: int) -> None:
        way = "up" if after > before else "down"
        name = replica_set["metadata"]["name"]
        self.events.normal(deployment, "ScalingReplicaSet", f"Scaled {way} replica set {name} from {before} to {after}")

    async def _write_status(
        self,
        deployment: Object,
        new: Object | None,
        sets: list[Object],
        told: Object | None = None,
        *,
        is_going: bool = False,
    ) -> Object:
        now = timestamp()
        fresh = [self.replica_sets.get(f"{rs['metadata']['namespace']}/{rs['metadata']['name']}") or rs for rs in sets]
        current = next((rs for rs in fresh if new and rs["metadata"]["name"] == new["metadata"]["name"]), new)
        status = plan.status_of(deployment, current, fresh, now)
        if not is_going:
            status["conditions"] = progress.with_progress(deployment, current, status, now, told)
        if status != deployment.get("status"):
            # our copy is older than the annotation that was patched meanwhile, and than what others may have written: nothing
            # but the status goes
            metadata = deployment["metadata"]
            patch = [
                {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
                {"op": "add", "path": "/status", "value": status},
            ]
            await self.client.patch(
                DEPLOYMENTS, metadata["name"], patch, metadata["namespace"], type="json", subresource="status"
            )
        return status

    async def _forget_history(self, deployment: Object, old: list[Object]) -> None:
        limit = deployment["spec"].get("revisionHistoryLimit", 10)
        there = sorted((rs for rs in old if "deletionTimestamp" not in rs["metadata"]), key=plan.revision_of)
        surplus = [rs for rs in there[: max(len(there) - limit, 0)] if plan.is_idle(rs)]
        for replica_set in surplus:
            metadata = replica_set["metadata"]
            await self.client.delete(REPLICA_SETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
