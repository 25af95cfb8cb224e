"""One of several gateways for the same cluster: each serves, one writes.

Every replica has an Envoy of its own, an EndpointSlice for each Gateway that leads to it, and a Lease that says it is alive.
The holder of another Lease writes what is written once (statuses, Events, Services) and takes away the slices of replicas
whose Lease nobody renews. Source: ``client/leases.py``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.leases import Elector, LeaseConfig, LostLease
from sampan.client.protocol import Client
from sampan.client.resources import ENDPOINT_SLICES, LEASES
from sampan.gateway.kinds.resources import CLASS

LEASE = "sampan-gateway"
LABEL = "gateway.sampan.dev/replica"
CLASS_LABEL = "gateway.sampan.dev/class"

LEAVE_SECONDS = 5.0
NOTICE_SECONDS = 1.0
"""What every node has to hear that an endpoint is gone."""


@dataclass(frozen=True, slots=True)
class Replica:
    name: str
    """Of the pod or the machine: no two have the same."""
    address: str
    """Where the cluster reaches its Envoy."""
    lease_namespace: str = "kube-system"
    lease_seconds: float = 15.0
    gateway_class: str = CLASS

    @property
    def labels(self) -> dict[str, str]:
        """The labels of its slices: whose they are, and who may take them away."""
        return {LABEL: self.name, CLASS_LABEL: self.gateway_class}

    @property
    def election(self) -> str:
        """The name of the Lease of those that serve the same class. A replica's own has a dash there."""
        return LEASE if self.gateway_class == CLASS else f"{LEASE}.{self.gateway_class}"

    def lease(self, name: str) -> LeaseConfig:
        seconds = self.lease_seconds
        return LeaseConfig(name, self.name, self.lease_namespace, seconds, seconds * 2 / 3, seconds * 2 / 15)


async def elected(client: Client, replica: Replica, name: str, lead: Callable[[], Awaitable[Any]]) -> None:
    """Run ``lead`` whenever the Lease of that name is ours, until cancelled."""
    elector = Elector(client, replica.lease(name))
    while True:
        with contextlib.suppress(LostLease):
            await elector.run(lead)


async def alive(client: Client, replica: Replica) -> None:
    """Say that this replica is alive, until cancelled."""
    await elected(client, replica, f"{LEASE}-{replica.name}", asyncio.Event().wait)


async def bury(client: Client, replica: Replica) -> None:
    """Take away the slices of replicas that are not alive, until cancelled: no clock but our own counts."""
    seen: dict[str, Any] = {}
    ours = f"{LABEL},{CLASS_LABEL}={replica.gateway_class}"
    while True:
        await asyncio.sleep(replica.lease_seconds)
        with contextlib.suppress(ApiError, OSError, TimeoutError):
            slices = (await client.list(ENDPOINT_SLICES, label_selector=ours)).items
            found = (await client.list(LEASES, replica.lease_namespace)).items
            leases = {lease["metadata"]["name"]: lease["spec"] for lease in found}
            names = {piece["metadata"]["labels"][LABEL] for piece in slices} - {replica.name}
            states = {name: leases.get(f"{LEASE}-{name}") or {} for name in names}
            for piece in slices:
                metadata = piece["metadata"]
                name = metadata["labels"][LABEL]
                # one whose Lease we see for the first time has a whole term to renew it in
                if name in states and (not states[name].get("holderIdentity") or seen.get(name) == states[name]):
                    await client.delete(ENDPOINT_SLICES, metadata["name"], metadata["namespace"])
            seen = states


async def leave(client: Client, replica: Replica) -> None:
    """Take away our own slices and wait a moment, so that nobody is led to us when Envoy ends."""
    with contextlib.suppress(ApiError, OSError, TimeoutError):
        async with asyncio.timeout(LEAVE_SECONDS):
            for piece in (await client.list(ENDPOINT_SLICES, label_selector=f"{LABEL}={replica.name}")).items:
                await client.delete(ENDPOINT_SLICES, piece["metadata"]["name"], piece["metadata"]["namespace"])
    await asyncio.sleep(NOTICE_SECONDS)
