"""What of a Lease belongs to coordinated election (KEP-4355) is dropped: its feature gate is off, and stays off."""

from __future__ import annotations

from pathlib import Path

from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.client.protocol import ResourceType

LEASES = ResourceType("coordination.k8s.io", "v1", "leases", "Lease")
COORDINATED = {"strategy": "OldestEmulationVersion", "preferredHolder": "other"}


async def test_a_lease_has_no_strategy(throwaway_pki: Path) -> None:
    api = await open_api(ApiConfig(pki_dir=throwaway_pki, kubernetes_version="1.37"))
    try:
        client = LocalClient(api, User("admin", ("system:masters",)))
        lease = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": "elected", "namespace": "default"},
            "spec": {"holderIdentity": "one", **COORDINATED},
        }
        made = await client.create(LEASES, lease)
        assert made["spec"] == {"holderIdentity": "one"}
    finally:
        await api.close()
