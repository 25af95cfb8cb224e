"""Leader election on a Lease: at most one of several candidates acts, and it knows in time when it no longer may.

The holder renews every ``retry_seconds``. It counts its own term from *before* each renewal was sent and gives up
``renew_deadline_seconds`` after the last success, which is before the others may take over: they wait until they have
seen no change of the Lease for ``lease_seconds`` on their own clock. No clock is compared with another's; the times in
the object are for people. Every write carries the resourceVersion it was decided on, so two candidates cannot both win,
and ``leaseTransitions`` grows with each new holder: a fencing token. Source: coordination.k8s.io/v1 Lease, client-go's
leader election.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import LEASES
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.client")

Clock = Callable[[], float]


def micro_time() -> str:
    """Return now as ``metav1.MicroTime``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(frozen=True, slots=True)
class LeaseConfig:
    """Who wants to lead what. The defaults are those of Kubernetes' own components."""

    name: str
    identity: str
    namespace: str = "kube-system"
    lease_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_seconds > self.renew_deadline_seconds > self.retry_seconds > 0:
            raise ValueError("lease_seconds > renew_deadline_seconds > retry_seconds > 0 must hold")


def next_spec(old: Object, config: LeaseConfig, now: str) -> Object:
    """Return the spec of the Lease when we hold it (again)."""
    ours = old.get("holderIdentity") == config.identity
    spec = {
        **old,
        "holderIdentity": config.identity,
        "leaseDurationSeconds": max(round(config.lease_seconds), 1),
        "renewTime": now,
        "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if ours or not old else 1),
    }
    if not ours or "acquireTime" not in spec:
        spec["acquireTime"] = now
    return spec


class LostLease(Exception):
    """We led and no longer do; what ran under the lease has been cancelled."""


class Elector:
    """One candidate."""

    def __init__(self, client: Client, config: LeaseConfig, clock: Clock | None = None) -> None:
        self.client = client
        self.config = config
        self.transitions = 0
        """The fencing token of our term."""
        self._clock = clock or asyncio.get_running_loop().time
        self._seen: tuple[str, float] = ("", 0.0)
        self._last_success = 0.0

    @property
    def leads(self) -> bool:
        """Whether the lease is ours beyond doubt at this moment."""
        return self._last_success > 0 and self._clock() - self._last_success < self.config.renew_deadline_seconds

    async def run(self, lead: Callable[[], Awaitable[None]]) -> None:
        """Wait to be elected, then run ``lead`` for as long as the lease is ours. Raises ``LostLease`` when it is lost;
        releases the lease when ``lead`` ends or we are cancelled."""
        while True:
            if await self._tried():
                break
            await asyncio.sleep(self._pause())
        logger.info("lease %s: %s leads", self.config.name, self.config.identity)
        leading = asyncio.ensure_future(lead())
        renewing = asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({leading, renewing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            lost = renewing.done() and not leading.done()
            for task in (leading, renewing):
                task.cancel()
            await asyncio.gather(leading, renewing, return_exceptions=True)
            self._last_success = 0.0
            if not lost:
                await self._release()
        if lost:
            raise LostLease(f"lease {self.config.namespace}/{self.config.name} was lost")
        leading.result()

    async def try_once(self) -> bool:
        """Take or renew the lease; return whether it is ours. Raises ``ApiError`` but for a lost race."""
        asked = self._clock()
        config = self.config
        try:
            lease = await self.client.get(LEASES, config.name, config.namespace)
        except ApiError as error:
            if not error.is_not_found:
                raise
            lease = {
                "apiVersion": LEASES.api_version,
                "kind": "Lease",
                "metadata": {"name": config.name, "namespace": config.namespace},
                "spec": {},
            }
        spec = lease.get("spec") or {}
        if not self._free(lease, spec):
            self._last_success = 0.0
            return False
        wanted = {**lease, "spec": next_spec(spec, config, micro_time())}
        try:
            if "resourceVersion" in lease["metadata"]:
                await self.client.update(LEASES, wanted)
            else:
                await self.client.create(LEASES, wanted)
        except ApiError as error:
            if error.is_conflict or error.already_exists:
                return False  # somebody wrote first; the next look shows who
            raise
        self.transitions = wanted["spec"]["leaseTransitions"]
        self._last_success = asked
        return True

    def _free(self, lease: Object, spec: Object) -> bool:
        """Whether we may write ourselves in: it is ours, nobody's, or unchanged for its whole duration."""
        holder = spec.get("holderIdentity")
        if not holder or holder == self.config.identity:
            return True
        version = lease["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = (version, self._clock())
            return False
        theirs = float(spec.get("leaseDurationSeconds") or self.config.lease_seconds)
        return self._clock() - self._seen[1] >= theirs

    async def _tried(self) -> bool:
        try:
            return await self.try_once()
        except (ApiError, OSError) as error:
            logger.warning("lease %s: %s", self.config.name, error)
            return False

    async def _renew(self) -> None:
        """Return when the lease is no longer ours."""
        while True:
            left = self._last_success + self.config.renew_deadline_seconds - self._clock()
            await asyncio.sleep(min(self.config.retry_seconds, max(left, 0)))
            held = self._last_success
            left = held + self.config.renew_deadline_seconds - self._clock()
            if left <= 0:
                return
            try:
                async with asyncio.timeout(left):
                    if not await self._tried() and not self._last_success:
                        return  # another one holds it
            except TimeoutError:
                return

    async def _release(self) -> None:
        """Let go of the lease, so that another need not wait for its end."""
        config = self.config
        try:
            async with asyncio.timeout(config.retry_seconds):
                lease = await self.client.get(LEASES, config.name, config.namespace)
                spec = lease.get("spec") or {}
                if spec.get("holderIdentity") == config.identity:
                    free = {**spec, "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": micro_time()}
                    await self.client.update(LEASES, {**lease, "spec": free})
        except (ApiError, OSError) as error:  # it runs out by itself
            logger.info("lease %s: not released: %s", config.name, error)

    def _pause(self) -> float:
        return self.config.retry_seconds * random.uniform(0.9, 1.3)
