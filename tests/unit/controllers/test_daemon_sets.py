"""DaemonSets: which nodes have a pod, how pods are replaced, and a rollout on the real API."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.client.resources import CONTROLLER_REVISIONS, DAEMON_SETS, NODES, PODS
from sampan.controllers import daemon_set_plan as plan
from sampan.schema.objects import Object


def daemon_set(spec: Object | None = None, **update: Any) -> Object:
    labels = {"app": "agent"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "c", "image": "one"}], **(spec or {})},
    }
    strategy = {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": update}} if update else {}
    return {
        "apiVersion": "apps/v1",
        "kind": "DaemonSet",
        "metadata": {"name": "agent", "namespace": "default", "uid": "1"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **strategy},
    }


def node(name: str, *taints: tuple[str, str], **labels: str) -> Object:
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{"key": key, "effect": effect} for key, effect in taints]},
    }


def pod(at: str, hash: str = "new", *, ready: bool = True, phase: str = "Running", name: str = "") -> Object:
    made = plan.pod_for(daemon_set(), at, name or f"agent-{at}", hash)
    made["status"] = {"phase": phase, "conditions": [{"type": "Ready", "status": str(ready)}]}
    return made


def doing(wanted: Object, nodes: list[Object], *pods: Object) -> tuple[list[str], list[str]]:
    found = plan.desired(wanted, nodes, list(pods), "new")
    return found.create, [p["metadata"]["name"] for p in found.delete]


@pytest.mark.parametrize(
    ("spec", "at", "wanted"),
    [
        ({}, node("a"), (True, True)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a"), (False, False)),
        ({"nodeSelector": {"disk": "ssd"}}, node("a", disk="ssd"), (True, True)),
        ({}, node("a", ("mine", "NoSchedule")), (False, True)),
        ({}, node("a", ("mine", "NoExecute")), (False, False)),
        ({}, node("a", ("mine", "PreferNoSchedule")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/unschedulable", "NoSchedule")), (True, True)),
        ({}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (False, True)),
        ({"hostNetwork": True}, node("a", ("node.kubernetes.io/network-unavailable", "NoSchedule")), (True, True)),
        ({"nodeName": "b"}, node("a"), (False, False)),
    ],
)
def test_which_nodes_have_a_pod(spec: Object, at: Object, wanted: tuple[bool, bool]) -> None:
    assert plan.place(daemon_set(spec), at) == wanted


NODES_ABC = [node("a"), node("b"), node("c")]


def test_pods_come_where_they_are_missing_and_go_where_they_may_not_be() -> None:
    assert doing(daemon_set(), NODES_ABC, pod("b")) == (["a", "c"], [])
    assert doing(daemon_set(), [node("a", ("mine", "NoExecute"))], pod("a")) == ([], ["agent-a"])
    assert doing(daemon_set(), [node("a")], pod("a"), pod("a", name="twin")) == ([], ["twin"])
    assert doing(daemon_set(), [node("a")], pod("a", phase="Failed")) == ([], ["agent-a"])
    assert doing(daemon_set(), [node("a")], pod("a"), pod("gone")) == ([], ["agent-gone"])


def test_old_pods_are_replaced_as_the_limits_allow() -> None:
    old = [pod(name, "old") for name in "abc"]
    assert doing(daemon_set(), NODES_ABC, *old) == ([], ["agent-a"])
    assert doing(daemon_set(), NODES_ABC, pod("a", ready=False), *old[1:]) == ([], [])
    assert doing(daemon_set(), NODES_ABC, pod("a", "old", ready=False), *old[1:]) == ([], ["agent-a"])
    assert doing(daemon_set(maxUnavailable="67%"), NODES_ABC, *old) == ([], ["agent-a", "agent-b", "agent-c"])
    surging = daemon_set(maxSurge=1, maxUnavailable=0)
    assert doing(surging, NODES_ABC, *old) == (["a"], [])
    assert doing(surging, NODES_ABC, *old, pod("a", ready=False, name="next")) == ([], [])
    assert doing(surging, NODES_ABC, *old, pod("a", name="next")) == (["b"], ["agent-a"])
    on_delete = daemon_set()
    on_delete["spec"]["updateStrategy"] = {"type": "OnDelete"}
    assert doing(on_delete, NODES_ABC, *old) == ([], [])


def going(made: Object) -> Object:
    made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


def test_pods_that_end_make_room() -> None:
    alone, surging = [node("a")], daemon_set(maxSurge=1, maxUnavailable=0)
    assert doing(daemon_set(), alone, going(pod("a"))) == ([], [])
    assert doing(daemon_set(), alone, going(pod("a", phase="Failed"))) == (["a"], []), (
        "it has ended, and only waits to go"
    )
    assert doing(surging, alone, going(pod("a"))) == (["a"], [])
    lame = pod("a", "old", ready=False)
    assert doing(surging, alone, lame, pod("a", ready=False, name="next")) == ([], ["agent-a"])


def test_old_pods_where_no_new_one_may_come_go_with_the_update() -> None:
    nodes = [node("a"), node("shut", ("mine", "NoSchedule"))]
    assert doing(daemon_set(), nodes, pod("a"), pod("shut", "old")) == ([], ["agent-shut"])
    assert doing(daemon_set(), nodes, pod("a"), pod("shut")) == ([], [])
    surging = daemon_set(maxSurge=1, maxUnavailable=0)
    assert doing(surging, nodes, pod("a"), pod("shut", "old")) == ([], ["agent-shut"])
    assert doing(surging, nodes, pod("a", ready=False), pod("shut", "old")) == ([], []), "it is the only one that works"
    assert doing(surging, nodes, pod("a"), pod("shut", "old", ready=False)) == ([], ["agent-shut"])


def test_the_oldest_pod_of_a_node_stands_for_it() -> None:
    old, new = pod("a", "old", ready=False), pod("a", name="next")
    old["metadata"]["creationTimestamp"], new["metadata"]["creationTimestamp"] = (
        "2026-01-01T00:00:00Z",
        "2026-01-02T00:00:00Z",
    )
    found = plan.status_of(daemon_set(), [node("a")], [new, old], "new", 0)
    assert (found["numberReady"], found.get("updatedNumberScheduled")) == (0, None)
    ended = plan.status_of(daemon_set(), [node("a")], [pod("a", phase="Failed", ready=False)], "new", 0)
    assert (ended["currentNumberScheduled"], ended["numberUnavailable"]) == (1, 1)


def test_what_was_only_counted_is_not_called_observed() -> None:
    wanted = daemon_set()
    wanted["metadata"]["generation"], wanted["status"] = 2, {"observedGeneration": 1}
    assert plan.status_of(wanted, [], [], "new", 0, is_acted_on=False)["observedGeneration"] == 1
    assert plan.status_of(wanted, [], [], "new", 0)["observedGeneration"] == 2


def test_a_pod_is_bound_to_its_node() -> None:
    made = pod("a")
    assert plan.node_of(made) == "a" and "nodeName" not in made["spec"]
    assert {t["key"].partition("/")[2] for t in made["spec"]["tolerations"]} >= {"not-ready", "unschedulable"}


async def test_a_daemon_set_lives(cluster: Any) -> None:
    def on_all(image: str, count: int) -> Any:
        def done(found: Object) -> bool:
            status = found.get("status", {})
            current = status.get("observedGeneration") == found["metadata"]["generation"]
            return current and status.get("updatedNumberScheduled") == status.get("numberAvailable") == count

        return done

    await cluster.client.create(DAEMON_SETS, daemon_set())
    await cluster.until(DAEMON_SETS, "agent", on_all("one", 1))
    (first,) = await cluster.pods("agent")
    assert first["spec"]["nodeName"] == "sim"
    image = {"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "two"}]}}}}
    await cluster.client.patch(DAEMON_SETS, "agent", image, "default", type="strategic")
    await cluster.until(DAEMON_SETS, "agent", on_all("two", 1))
    (second,) = await cluster.until_all(
        PODS, lambda pods: [p["spec"]["containers"][0]["image"] for p in pods] == ["two"]
    )
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    history = (await cluster.client.list(CONTROLLER_REVISIONS, "default")).items
    assert sorted(r["revision"] for r in history) == [1, 2]
    await cluster.client.patch(NODES, "sim", {"spec": {"taints": [{"key": "mine", "effect": "NoExecute"}]}})
    await cluster.gone(PODS, second["metadata"]["name"])
    counts = ("desiredNumberScheduled", "numberMisscheduled")
    await cluster.until(DAEMON_SETS, "agent", lambda d: [d["status"][name] for name in counts] == [0, 0])


async def test_a_daemon_pod_that_succeeds_is_made_anew_at_once(cluster: Any) -> None:
    await cluster.client.create(DAEMON_SETS, daemon_set())
    (first,) = await cluster.until_all(PODS, lambda pods: [p["status"]["phase"] for p in pods] == ["Running"])
    name, uid = first["metadata"]["name"], first["metadata"]["uid"]
    await cluster.client.patch(PODS, name, {"status": {"phase": "Succeeded"}}, "default", subresource="status")
    await cluster.until_all(PODS, lambda pods: pods and all(p["metadata"]["uid"] != uid for p in pods))
    told = await cluster.event("SucceededDaemonPod")
    assert (told["type"], told["message"]) == (
        "Normal",
        f"Found succeeded daemon pod default/{name} on node sim, will try to delete it",
    )
