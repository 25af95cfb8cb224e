"""What pods are given on a real node: cgroups, scores, resizes of running pods, refusals."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from pathlib import Path
from typing import Any

from tests.device_plugin import RESOURCE, register, serving

from .eventually import eventually
from .space import Space, pod, state

V2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()


def amounts(cpu: str, memory: str, limit_cpu: str = "", limit_memory: str = "") -> dict[str, Any]:
    limits = {"cpu": limit_cpu or cpu, "memory": limit_memory or memory}
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": limits}


def cgroup_file(space: Space, uid: str, v1: str, v2: str, below: str = "") -> str:
    controller, _, name = v1.partition("/")
    root = Path("/sys/fs/cgroup") if V2 else Path("/sys/fs/cgroup") / controller
    (folder,) = (root / f"sampan/{space.cluster.name}/kubepods").glob(f"**/pod{uid}")
    return (folder / below / (v2 if V2 else name)).read_text().strip()


def conditions(space: Space, name: str) -> dict[str, dict[str, Any]]:
    return {c["type"]: c for c in space.pod(name)["status"].get("conditions") or ()}


def test_a_running_pod_is_resized_without_a_restart_and_with_one(space: Space) -> None:
    policies = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}]
    side = {"name": "side", "image": "busybox:1", "command": ["sleep", "1000"], "resources": amounts("10m", "8Mi")}
    script = "trap 'exit 0' TERM; sleep 1000 & wait"
    main = {"resources": amounts("100m", "32Mi"), "resizePolicy": policies}
    whole = pod("sized", script, **main)
    whole["spec"]["containers"].append(side)
    space.apply(whole)
    space.ready("sized")
    found = space.pod("sized")
    uid, container_id = found["metadata"]["uid"], state(space, "sized")["containerID"].partition("://")[2]
    assert found["status"]["qosClass"] == "Guaranteed"
    assert cgroup_file(space, uid, "memory/memory.limit_in_bytes", "memory.max") == str(40 << 20)
    assert space("exec", "sized", "-c", "main", "--", "cat", "/proc/1/oom_score_adj").strip().lstrip("-").isdigit()

    def resize(cpu: str, memory: str) -> None:
        change = {"spec": {"containers": [{"name": "main", "resources": amounts(cpu, memory)}]}}
        space("patch", "pod", "sized", "--subresource", "resize", "-p", json.dumps(change))

    resize("200m", "32Mi")

    def in_force() -> dict[str, Any]:
        return dict(state(space, "sized").get("resources", {}).get("limits", {}))

    eventually("more CPU is in force", lambda: in_force().get("cpu") == "200m")
    quota = cgroup_file(space, uid, "cpu/cpu.cfs_quota_us", "cpu.max", container_id)
    assert quota.split()[0] == "20000" and state(space, "sized")["restartCount"] == 0
    assert cgroup_file(space, uid, "cpu/cpu.cfs_quota_us", "cpu.max").split()[0] == "21000"
    assert state(space, "sized")["allocatedResources"] == {"cpu": "200m", "memory": "32Mi"}
    resize("200m", "48Mi")
    eventually("a restart with more memory", lambda: state(space, "sized")["restartCount"] == 1)
    eventually("it is in force", lambda: in_force().get("memory") == "48Mi")
    eventually("it is done", lambda: "PodResizeInProgress" not in conditions(space, "sized"))
    resize("900", "48Mi")
    eventually("it is told to be impossible", lambda: "PodResizePending" in conditions(space, "sized"))
    pending = conditions(space, "sized")["PodResizePending"]
    assert pending["reason"] == "Infeasible" and "Node didn't have enough capacity: cpu" in pending["message"]
    assert in_force()["cpu"] == "200m"
    assert pending["observedGeneration"] == space.pod("sized")["metadata"]["generation"]
    resize("150m", "48Mi")
    eventually("what is possible is given", lambda: in_force().get("cpu") == "150m")
    eventually("nothing is pending", lambda: "PodResizePending" not in conditions(space, "sized"))


def test_many_containers_are_resized_at_once_up_and_down(space: Space) -> None:
    def sized(name: str, resources: dict[str, Any]) -> dict[str, Any]:
        return {"name": name, "image": "busybox:1", "command": ["sleep", "1000"], "resources": resources}

    def asked(**requests: str) -> dict[str, Any]:
        return {"requests": requests}

    guaranteed = [sized(f"c{number}", amounts("100m", "32Mi")) for number in (1, 2, 3)]
    both = {"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "50m", "memory": "32Mi"}}
    burstable = [sized("full", both), sized("asks", asked(cpu="20m", memory="16Mi")), sized("cpu", asked(cpu="20m"))]
    burstable += [sized("memory", asked(memory="16Mi")), sized("nothing", {}), sized("least", asked(cpu="1m"))]
    space.apply(pod("three", "", {"containers": guaranteed}), pod("six", "", {"containers": burstable}))
    space.ready("three")
    space.ready("six")

    def resize(name: str, **containers: dict[str, Any]) -> None:
        change = {"spec": {"containers": [{"name": one, "resources": what} for one, what in containers.items()]}}
        space("patch", "pod", name, "--subresource", "resize", "-p", json.dumps(change))

    def in_force(name: str) -> dict[str, Any]:
        pod = space.pod(name)
        if any(one["type"].startswith("PodResize") for one in pod["status"]["conditions"]):
            return {}
        assert all(entry["restartCount"] == 0 for entry in pod["status"]["containerStatuses"])
        return {entry["name"]: entry["resources"] for entry in pod["status"]["containerStatuses"]}

    def limits(name: str) -> tuple[dict[str, str], str, str]:
        """Return quotas by container, and the pod's quota and limit of memory, as the kernel has them."""
        found = space.pod(name)
        uid = found["metadata"]["uid"]
        ids = {e["name"]: e["containerID"].partition("://")[2] for e in found["status"]["containerStatuses"]}
        file = ("cpu/cpu.cfs_quota_us", "cpu.max")
        quotas = {one: cgroup_file(space, uid, *file, below).split()[0] for one, below in ids.items()}
        memory = cgroup_file(space, uid, "memory/memory.limit_in_bytes", "memory.max")
        return quotas, cgroup_file(space, uid, *file).split()[0], memory

    swap = ("memory/memory.memsw.limit_in_bytes", "memory.swap.max")

    def without_swap(name: str) -> bool:
        """Whether what the kernel counts of a container's swap is forbidden."""
        found = space.pod("three")
        below = next(e["containerID"] for e in found["status"]["containerStatuses"] if e["name"] == name)
        try:
            limit = cgroup_file(space, found["metadata"]["uid"], *swap, below.partition("://")[2])
        except FileNotFoundError:
            return True
        memory = next(c["resources"]["limits"]["memory"] for c in found["spec"]["containers"] if c["name"] == name)
        return limit == ("0" if V2 else str(int(memory.removesuffix("Mi")) << 20))

    net_more = {"c1": amounts("200m", "64Mi"), "c2": amounts("150m", "48Mi"), "c3": amounts("50m", "16Mi")}
    net_less = {"c1": amounts("250m", "72Mi"), "c2": amounts("50m", "24Mi"), "c3": amounts("20m", "16Mi")}
    mixed = {"c1": amounts("260m", "72Mi"), "c2": amounts("40m", "40Mi"), "c3": amounts("30m", "20Mi")}
    for step in (net_more, net_less, mixed):
        resize("three", **step)
        eventually("it is in force", lambda step=step: in_force("three") == step)  # type: ignore[misc]
        cpu = {name: int(what["limits"]["cpu"].removesuffix("m")) for name, what in step.items()}
        memory = sum(int(what["limits"]["memory"].removesuffix("Mi")) << 20 for what in step.values())
        quotas = {name: str(amount * 100) for name, amount in cpu.items()}
        assert limits("three") == (quotas, str(sum(cpu.values()) * 100), str(memory))
        assert all(map(without_swap, step))
    more = {"requests": {"cpu": "30m", "memory": "16Mi"}, "limits": {"cpu": "60m", "memory": "48Mi"}}
    limited = {**asked(cpu="20m", memory="16Mi"), "limits": {"cpu": "40m", "memory": "24Mi"}}
    steps = {
        "full": more,
        "asks": limited,
        "cpu": asked(cpu="40m"),
        "memory": asked(memory="24Mi"),
        "least": asked(cpu="2m"),
    }
    resize("six", **steps)
    eventually("all of it is in force", lambda: in_force("six") == {**steps, "nothing": {}})
    quotas, of_pod, memory = limits("six")
    assert (quotas["full"], quotas["asks"], of_pod) == ("6000", "4000", "-1" if not V2 else "max")


def test_pods_that_do_not_fit_are_refused_by_the_node(space: Space) -> None:
    node = space.cluster.settings.node_name
    big = pod("big", "sleep 1000", {"nodeName": node}, resources={"requests": {"cpu": "900"}})
    own = {"resources": {"limits": {"memory": "24Mi", "cpu": "50m"}, "requests": {"memory": "12Mi"}}}
    space.apply(big, pod("whole", "sleep 1000", own))
    eventually("it is refused", lambda: space.pod("big").get("status", {}).get("phase") == "Failed")
    status = space.pod("big")["status"]
    expected = "Pod was rejected: Node didn't have enough resource: cpu, requested: 900000, used: "
    assert status["reason"] == "OutOfcpu" and status["message"].startswith(expected)
    space.ready("whole")
    uid = space.pod("whole")["metadata"]["uid"]
    assert cgroup_file(space, uid, "memory/memory.limit_in_bytes", "memory.max") == str(24 << 20)
    assert space.pod("whole")["status"]["qosClass"] == "Burstable"


def test_the_kubelet_answers_those_who_may_ask(space: Space) -> None:
    settings = space.cluster.settings
    node = settings.node_name
    space("create", "serviceaccount", "scraper")
    space("create", "clusterrole", space.name, "--verb=get", "--resource=nodes/metrics")
    who = f"--serviceaccount={space.name}:scraper"
    space("create", "clusterrolebinding", space.name, f"--clusterrole={space.name}", who)
    token = space("create", "token", "scraper").strip()
    trust = ssl.create_default_context(cafile=str(settings.pki_dir / "ca.crt"))

    def ask(path: str, token: str) -> tuple[int, str]:
        connection = http.client.HTTPSConnection(str(settings.node_ip), 10250, context=trust, timeout=10)
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    status, text = ask("/metrics/resource", token)
    assert status == 200 and "node_memory_working_set_bytes" in text
    assert ask("/metrics", "")[0] == 401 and ask("/metrics", "nonsense")[0] == 401
    user = f"system:serviceaccount:{space.name}:scraper"
    denied = f"Forbidden (user={user}, verb=get, resource=nodes, subresource(s)=[proxy])"
    assert ask("/pods", token) == (403, denied)
    space.cluster.kubectl("delete", "clusterrole,clusterrolebinding", space.name)
    config = json.loads(space("get", "--raw", f"/api/v1/nodes/{node}/proxy/configz"))["kubeletconfig"]
    assert (config["kind"], config["maxPods"], config["imageMinimumGCAge"]) == ("KubeletConfiguration", 250, "2m0s")
    pods = json.loads(space("get", "--raw", f"/api/v1/nodes/{node}/proxy/pods"))
    assert pods["kind"] == "PodList"


def test_a_container_gets_a_device_of_a_plugin(space: Space) -> None:
    folder = space.cluster.settings.kubelet_dir

    async def lend() -> str:
        async with serving(folder) as plugin:
            await register(folder)
            plugin.told.put_nowait({"a": "Healthy", "b": "Unhealthy"})
            limits = {"resources": {"limits": {RESOURCE: "1"}}}
            script = "echo $LAMPS; ls -l /dev/lamp-a; sleep 1000"
            await asyncio.to_thread(space.apply, pod("lit", script, **limits))
            await asyncio.to_thread(space.ready, "lit")
            written = lambda: space("logs", "lit").endswith("/dev/lamp-a\n")  # noqa: E731
            await asyncio.to_thread(eventually, "it has seen its lamp", written)
            log = await asyncio.to_thread(space, "logs", "lit")
            here = {"nodeName": space.cluster.settings.node_name}
            await asyncio.to_thread(space.apply, pod("dark", script, here, **limits))
            phase = "--for=jsonpath={.status.phase}=Failed"
            await asyncio.to_thread(space, "wait", "pod/dark", phase, "--timeout=60s")
            plugin.told.put_nowait(None)
            await plugin.ended.wait()
            return log

    log = asyncio.run(lend())
    assert log.startswith("a\ncrw") and log.endswith("/dev/lamp-a\n")
    refused = space.pod("dark")["status"]
    assert refused["reason"] == "UnexpectedAdmissionError"
    why = f"requested number of devices unavailable for {RESOURCE}. Requested: 1, Available: 0"
    assert refused["message"] == f"Pod was rejected: Allocate failed due to {why}, which is unexpected"
    status = space.cluster.get("node", space.cluster.settings.node_name)["status"]
    assert status["capacity"][RESOURCE] == "2"
    eventually("nothing is to be had without the plugin", lambda: allocatable(space, RESOURCE) == "0")


def allocatable(space: Space, resource: str) -> str:
    return str(space.cluster.get("node", space.cluster.settings.node_name)["status"]["allocatable"].get(resource))
