"""minReplicas: 0 is for those with HPAScaleToZero: on since 1.37, and before where it was switched on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.api import flags
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType

AUTOSCALERS = ResourceType("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler")
EXTERNAL = {"type": "External", "external": {"metric": {"name": "q"}, "target": {"type": "Value", "value": "1"}}}
CPU = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 1}}}


def autoscaler(name: str, metric: dict[str, Any]) -> dict[str, Any]:
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": reference, "minReplicas": 0, "maxReplicas": 2, "metrics": [metric]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


@pytest.mark.parametrize(
    ("version", "gate", "on"),
    [("1.37", "", True), ("1.37", "false", False), ("1.36", "", False), ("1.36", "true", True)],
)
async def test_the_gate(throwaway_pki: Path, version: str, gate: str, on: bool) -> None:
    given = flags.parse({"feature-gates": f"HPAScaleToZero={gate}"} if gate else {})
    api = await open_api(ApiConfig(pki_dir=throwaway_pki, flags=given, kubernetes_version=version))
    try:
        client = LocalClient(api, User("admin", ("system:masters",)))
        if on:
            made = await client.create(AUTOSCALERS, autoscaler("queue", EXTERNAL))
            assert made["metadata"].get("generation") == (1 if version == "1.37" else None)
            with pytest.raises(ApiError, match="must specify at least one Object or External metric"):
                await client.create(AUTOSCALERS, autoscaler("cpu", CPU))
            if version == "1.37":
                groupless = autoscaler("groupless", EXTERNAL)
                groupless["spec"]["scaleTargetRef"].pop("apiVersion")
                with pytest.raises(ApiError, match="apiVersion must specify API group"):
                    await client.create(AUTOSCALERS, groupless)
        else:
            with pytest.raises(
                ApiError, match=r"spec\.minReplicas: Invalid value: 0: must be greater than or equal to 1"
            ):
                await client.create(AUTOSCALERS, autoscaler("queue", EXTERNAL))
    finally:
        await api.close()


def test_settings_of_autoscaling() -> None:
    found = flags.parse({"horizontal-pod-autoscaler-sync-period": "1s", "horizontal-pod-autoscaler-tolerance": 0.2})
    assert (found.horizontal_pod_autoscaler_sync_period, found.horizontal_pod_autoscaler_tolerance) == (1.0, 0.2)
