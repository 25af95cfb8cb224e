"""Requests and limits as CRI and the kernel know them, QoS classes, and the cgroup a pod belongs to. Pure.

CPU shares are milli-CPU * 1024 / 1000 (at least 2), the quota is of a period of 100 ms; on cgroup v2 the runtime translates.
What a Pod says of itself as a whole (KEP-2837) goes before what its containers say. Source: core/v1 ResourceRequirements, the
QoS rules of Kubernetes, its scores for the kernel's out-of-memory killer.
"""

from __future__ import annotations

from sampan.node import cri_pb2 as cri
from sampan.node.cgroup_limits import Limits, is_v2, swap_is_counted
from sampan.scheduler.pod_info import amount, requests_of
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

PERIOD = 100_000
MINIMUM_QUOTA = 1_000
MINIMUM_SHARES = 2
MAXIMUM_SHARES = 262_144
HUGEPAGES = "hugepages-"

GUARANTEED_OOM_SCORE, BEST_EFFORT_OOM_SCORE = -997, 1000
NODE_CRITICAL_PRIORITY = 2_000_001_000
"""Of ``system-node-critical``."""


def milli(container: Object, section: str, resource: str) -> int:
    """Return a container's request or limit: milli-CPU for cpu, bytes for memory; 0 when unset."""
    resources = container.get("resources") or {}
    value = (resources.get(section) or {}).get(resource)
    if value is None and section == "requests":
        value = (resources.get("limits") or {}).get(resource)
    if value is None:
        return 0
    quantity = parse(str(value))
    return quantity.milli() if resource == "cpu" else quantity.value()


def containers_of(pod: Object) -> list[Object]:
    return [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]


def qos_class(pod: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort."""
    own = pod["spec"].get("resources") or {}
    holders = [pod["spec"]] if own.get("limits") or own.get("requests") else containers_of(pod)
    named = ("cpu", "memory")
    set_ = [milli(c, section, r) for c in holders for section in ("requests", "limits") for r in named]
    if not any(set_):
        return "BestEffort"
    guaranteed = all(
        milli(c, "limits", r) and milli(c, "limits", r) == milli(c, "requests", r) for c in holders for r in named
    )
    return "Guaranteed" if guaranteed else "Burstable"


LEVELS = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}


def asked_by(pod: Object) -> dict[str, int]:
    """Return what a pod's spec asks for (the scheduler counts what is in force, too)."""
    return requests_of({"spec": pod["spec"]})


def pods_cgroup(cluster_cgroup: str, level: str = "Guaranteed") -> str:
    """Return the cgroup of all pods, or of those of a QoS class."""
    return f"{cluster_cgroup}/kubepods{LEVELS[level]}"


def cgroup_parent(cluster_cgroup: str, pod: Object) -> str:
    """Return the pod's cgroup: ``<cluster>/kubepods[/burstable|/besteffort]/pod<uid>``."""
    return f"{pods_cgroup(cluster_cgroup, qos_class(pod))}/pod{pod['metadata']['uid']}"


def shares_of(milli_cpu: int) -> int:
    return min(max(milli_cpu * 1024 // 1000, MINIMUM_SHARES), MAXIMUM_SHARES)


def quota_of(milli_cpu: int) -> int:
    """Return the microseconds of a period; 0 for no limit."""
    return max(milli_cpu * PERIOD // 1000, MINIMUM_QUOTA) if milli_cpu else 0


def limit_of(pod: Object, resource: str) -> int:
    """Return the limit of the pod as a whole: its own, or what its containers may take together where each has a limit; with
    overhead. 0: none."""
    own = milli(pod["spec"], "limits", resource)
    if not own:
        containers = containers_of(pod)
        if not all(milli(container, "limits", resource) for container in containers):
            return 0
        limited = {"spec": {**pod["spec"], "overhead": None, "resources": None}}
        for kind in ("containers", "initContainers"):
            limited["spec"][kind] = [
                {**c, "resources": {"requests": (c.get("resources") or {}).get("limits")}}
                for c in pod["spec"].get(kind) or ()
            ]
        own = requests_of(limited).get(resource, 0)
    return own + amount(resource, (pod["spec"].get("overhead") or {}).get(resource, "0"))


def pod_limits(pod: Object, pids: int = 0) -> Limits:
    """Return what the pod's cgroup allows. ``pids``: how many processes a pod of this node may have, 0: any number."""
    pages = {name: value for name, value in asked_by(pod).items() if name.startswith(HUGEPAGES)}
    return Limits(
        shares=shares_of(asked_by(pod).get("cpu", 0)),
        quota=quota_of(limit_of(pod, "cpu")),
        period=PERIOD,
        memory=limit_of(pod, "memory"),
        pids=pids,
        hugepages={page_size(name): value for name, value in pages.items()},
    )


def page_size(resource: str) -> str:
    """Return the kernel's name of a huge page's size: ``hugepages-2Mi`` is ``2MB``."""
    return resource.removeprefix(HUGEPAGES).replace("i", "") + "B"


def linux_resources(
    container: Object, oom_score: int = 0, cpus: str = "", memory: str = ""
) -> cri.LinuxContainerResources:
    """Return a container's resources for CRI. Containers do not swap (``NoSwap``), where the kernel can forbid it. ``cpus``,
    ``memory``: the only CPUs, and the only NUMA nodes' memory, that it may use."""
    cpu_limit = milli(container, "limits", "cpu")
    resources = cri.LinuxContainerResources(
        cpu_shares=shares_of(milli(container, "requests", "cpu")),
        memory_limit_in_bytes=milli(container, "limits", "memory"),
        oom_score_adj=oom_score,
        cpuset_cpus=cpus,
        cpuset_mems=memory,
    )
    if swap_is_counted() and is_v2():
        resources.unified["memory.swap.max"] = "0"
    elif swap_is_counted():
        resources.memory_swap_limit_in_bytes = resources.memory_limit_in_bytes  # of both together
    if cpu_limit:
        resources.cpu_period, resources.cpu_quota = PERIOD, quota_of(cpu_limit)
    for name, value in ((container.get("resources") or {}).get("limits") or {}).items():
        if name.startswith(HUGEPAGES):
            resources.hugepage_limits.add(page_size=page_size(name), limit=parse(str(value)).value())
    return resources


def oom_score(pod: Object, container: Object, node_memory: int, least: int = -1000) -> int:
    """Return a container's ``oom_score_adj``: the less memory it asks for of the node, the sooner it is killed. ``least``:
    what this node can give at least."""
    return max(_oom_score(pod, container, node_memory), least)


def _oom_score(pod: Object, container: Object, node_memory: int) -> int:
    if (pod["spec"].get("priority") or 0) >= NODE_CRITICAL_PRIORITY:
        return GUARANTEED_OOM_SCORE
    quality = qos_class(pod)
    if quality != "Burstable":
        return GUARANTEED_OOM_SCORE if quality == "Guaranteed" else BEST_EFFORT_OOM_SCORE
    mains = pod["spec"].get("containers") or ()
    asked = milli(container, "requests", "memory") or milli(pod["spec"], "requests", "memory") // max(len(mains), 1)
    score = 1000 - 1000 * asked // max(node_memory, 1)
    if container not in mains:  # a sidecar is not killed sooner than the containers that it serves
        score = min([score, *(1000 - 1000 * milli(c, "requests", "memory") // max(node_memory, 1) for c in mains)])
    return min(max(score, 1000 + GUARANTEED_OOM_SCORE), BEST_EFFORT_OOM_SCORE - 1)
