"""NoExecute taints: how long pods bear them, and that a taint that goes spares them (conformance: NoExecuteTaintManager)."""

from __future__ import annotations

from typing import Any

from sampan.client.resources import EVENTS, NODES, PODS
from sampan.controllers.node_conditions import toleration_left
from sampan.schema.objects import Object

TAINT = {"key": "example.org/evict", "value": "yes", "effect": "NoExecute"}


def pod(name: str, seconds: int | None) -> Object:
    toleration = {"key": TAINT["key"], "operator": "Equal", "value": "yes", "effect": "NoExecute"}
    if seconds is not None:
        toleration["tolerationSeconds"] = seconds  # type: ignore[assignment]
    spec = {"nodeName": "sim", "containers": [{"name": "c", "image": "i"}], "tolerations": [toleration]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


async def taint(cluster: Any, *taints: Object) -> None:
    await cluster.client.patch(NODES, "sim", {"spec": {"taints": list(taints) or None}})


async def test_a_pod_leaves_when_its_time_is_over_and_others_stay(cluster: Any) -> None:
    await cluster.until(NODES, "sim", lambda n: (n.get("status") or {}).get("conditions"), None)
    for name, seconds in (("soon", 1), ("late", 600), ("never", None)):
        await cluster.client.create(PODS, pod(name, seconds))
    await taint(cluster, TAINT)
    await cluster.gone(PODS, "soon")
    for name in ("late", "never"):
        assert "deletionTimestamp" not in (await cluster.client.get(PODS, name, "default"))["metadata"]


async def test_a_taint_that_goes_spares_the_pod(cluster: Any) -> None:
    await cluster.until(NODES, "sim", lambda n: (n.get("status") or {}).get("conditions"), None)
    await cluster.client.create(PODS, pod("spared", 1))
    await taint(cluster, TAINT)
    await taint(cluster)
    # one that is tainted and leaves afterwards shows that the first one's time is over
    await cluster.client.create(PODS, pod("leaves", 1))
    await taint(cluster, {**TAINT, "value": "other"})
    await cluster.gone(PODS, "leaves")
    await taint(cluster)
    gone = {**TAINT, "key": "example.org/other"}
    await cluster.client.create(PODS, {**pod("last", None), "metadata": {"name": "last", "namespace": "default"}})
    await taint(cluster, gone)
    await cluster.gone(PODS, "last")


async def test_an_eviction_that_is_called_off_is_told(cluster: Any) -> None:
    await cluster.until(NODES, "sim", lambda n: (n.get("status") or {}).get("conditions"), None)
    await cluster.client.create(PODS, pod("late", 600))
    await taint(cluster, TAINT)
    await cluster.client.create(PODS, pod("soon", 0))  # it goes when the taint has been looked at
    await cluster.gone(PODS, "soon")
    await taint(cluster)
    told = await cluster.until_all(
        EVENTS, lambda events: [e for e in events if e["message"] == "Cancelling deletion of Pod default/late"]
    )
    assert {e["reason"] for e in told if "deletion" in e["message"]} == {"TaintManagerEviction"}


def test_of_several_tolerations_of_a_taint_the_first_counts() -> None:
    tolerations = [{"operator": "Exists"}, {**pod("a", 5)["spec"]["tolerations"][0]}]
    assert toleration_left({"spec": {"tolerations": tolerations}}, [TAINT], 9.0) is None
    assert toleration_left({"spec": {"tolerations": tolerations[::-1]}}, [TAINT], 2.0) == 3.0
