"""managedFields of several versions of a kind: each manager owns fields of the version it wrote in."""

from __future__ import annotations

from typing import Any

from .conftest import Caller

SCALERS = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}


def scaler(version: str, **spec: Any) -> dict[str, Any]:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    head = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"}}
    return {**head, "spec": {"scaleTargetRef": target, "maxReplicas": 3, **spec}}


def cpu(percent: int) -> list[Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def owned(obj: Any) -> dict[str, tuple[str, list[str]]]:
    """Return manager → its version and the fields of spec that it owns."""
    return {
        entry["manager"]: (entry["apiVersion"], sorted(entry["fieldsV1"].get("f:spec") or {}))
        for entry in obj["metadata"]["managedFields"]
    }


async def test_a_field_of_another_version_changes_its_owner(whole: Caller) -> None:
    v1, v2 = SCALERS.format("v1"), SCALERS.format("v2")
    code, _ = await whole("POST", f"{v2}?fieldManager=first", scaler("v2", metrics=cpu(50)))
    assert code == 201
    change = {"spec": {"targetCPUUtilizationPercentage": 60}}
    code, made = await whole("PATCH", f"{v1}/web?fieldManager=second", change, MERGE)
    assert code == 200
    found = owned(made)
    assert found["second"] == ("autoscaling/v1", ["f:targetCPUUtilizationPercentage"])
    assert found["first"] == ("autoscaling/v2", ["f:maxReplicas", "f:minReplicas", "f:scaleTargetRef"])
    _, read = await whole("GET", f"{v2}/web")
    assert read["spec"]["metrics"] == cpu(60)


async def test_an_apply_meets_an_owner_of_another_version(whole: Caller) -> None:
    v1, v2 = SCALERS.format("v1"), SCALERS.format("v2")
    config = scaler("v1", targetCPUUtilizationPercentage=50)
    code, _ = await whole("PATCH", f"{v1}/web?fieldManager=first", config, APPLY)
    assert code == 201
    code, refused = await whole("PATCH", f"{v2}/web?fieldManager=second", scaler("v2", metrics=cpu(60)), APPLY)
    assert code == 409 and 'conflict with "first": .spec.targetCPUUtilizationPercentage' in refused["message"]
    forced = f"{v2}/web?fieldManager=second&force=true"
    code, made = await whole("PATCH", forced, scaler("v2", metrics=cpu(60)), APPLY)
    assert code == 200
    assert owned(made)["first"] == ("autoscaling/v1", ["f:maxReplicas", "f:scaleTargetRef"])
    # the same in the other version is no conflict
    code, made = await whole(
        "PATCH", f"{v1}/web?fieldManager=first", scaler("v1", targetCPUUtilizationPercentage=60), APPLY
    )
    assert code == 200, made
    assert "f:targetCPUUtilizationPercentage" in owned(made)["first"][1]


async def test_who_wrote_in_a_version_that_is_no_more_owns_nothing(whole: Caller) -> None:
    v2 = SCALERS.format("v2")
    body = scaler("v2")
    code, made = await whole("POST", f"{v2}?fieldManager=first", body)
    gone = {
        "manager": "old",
        "operation": "Update",
        "apiVersion": "autoscaling/v2beta2",
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": {"f:minReplicas": {}}},
        "time": "2020-01-01T00:00:00Z",
    }
    made["metadata"]["managedFields"].append(gone)
    made["spec"]["minReplicas"] = 2
    code, made = await whole("PUT", f"{v2}/web?fieldManager=first", made)
    assert code == 200 and list(owned(made)) == ["first"]
