"""What the scheduler writes into ResourceClaims: devices given to them, pods that use them, and both taken back.

Others write them, too (their controller, drivers): who finds that a claim has changed begins anew with it. Source: KEP-4381.
"""

from __future__ import annotations

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import RESOURCE_CLAIMS
from sampan.scheduler.pod_info import PodInfo
from sampan.schema.objects import Object

FINALIZER = "resource.kubernetes.io/delete-protection"
ATTEMPTS = 5
ALLOCATED = ("allocation", "devices", "reservedFor")


class ClaimTakenError(Exception):
    """A claim has other devices than those that were chosen for it."""


class ClaimWriter:
    def __init__(self, client: Client) -> None:
        self.client = client

    async def give(self, claim: Object, allocation: Object, pod: PodInfo) -> Object:
        """Give a claim its devices and note that the pod uses it; return it as it is then. Raises ``ClaimTakenError``."""
        metadata, client = claim["metadata"], self.client
        for attempt in range(ATTEMPTS):
            there = await client.get(RESOURCE_CLAIMS, metadata["name"], metadata["namespace"])
            try:
                status = dict(there.get("status") or {})
                if not status.get("allocation"):
                    finalizers = there["metadata"].get("finalizers") or []
                    if FINALIZER not in finalizers:
                        held = {**there["metadata"], "finalizers": [*finalizers, FINALIZER]}
                        there = await client.update(RESOURCE_CLAIMS, {**there, "metadata": held})
                    status["allocation"] = allocation
                elif status["allocation"] != allocation:
                    raise ClaimTakenError(f"claim {metadata['name']} got allocated elsewhere in the meantime")
                if not reserved_for(there, pod):
                    user = {"resource": "pods", "name": pod.name, "uid": pod.uid}
                    status["reservedFor"] = [*(status.get("reservedFor") or ()), user]
                return await client.update(RESOURCE_CLAIMS, {**there, "status": status}, subresource="status")
            except ApiError as error:
                if not error.is_conflict or attempt == ATTEMPTS - 1:
                    raise
        raise AssertionError("unreachable")

    async def take_from(self, claim: Object, pod: PodInfo) -> None:
        """Take the pod out of a claim's users; the claim's controller frees what nobody uses."""
        metadata = claim["metadata"]
        for attempt in range(ATTEMPTS):
            there = await self.client.get(RESOURCE_CLAIMS, metadata["name"], metadata["namespace"])
            status = there.get("status") or {}
            users = [one for one in status.get("reservedFor") or () if one["uid"] != pod.uid]
            changed = {**there, "status": {**status, "reservedFor": users}}
            try:
                await self.client.update(RESOURCE_CLAIMS, changed, subresource="status")
                return
            except ApiError as error:
                if not error.is_conflict or attempt == ATTEMPTS - 1:
                    raise

    async def deallocate(self, claim: Object) -> None:
        """Free a claim's devices, unless it has changed meanwhile; its change brings the pod back."""
        status = {name: value for name, value in claim["status"].items() if name not in ALLOCATED}
        await self.client.update(RESOURCE_CLAIMS, {**claim, "status": status}, subresource="status")


def reserved_for(claim: Object, pod: PodInfo) -> bool:
    return any(one["uid"] == pod.uid for one in (claim.get("status") or {}).get("reservedFor") or ())
