"""Requests and limits as CRI and the kernel know them, QoS classes, and the cgroup a pod belongs to.

CPU shares are milli-CPU * 1024 / 1000 (at least 2), the quota is of a period of 100 ms; on cgroup v2 the runtime translates.
Source: core/v1 ResourceRequirements, the QoS rules of Kubernetes.
"""

from __future__ import annotations

from sampan.node import cri_pb2 as cri
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

PERIOD = 100_000
MINIMUM_QUOTA = 1_000
MINIMUM_SHARES = 2


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


def qos_class(pod: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort."""
    containers = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    named = ("cpu", "memory")
    set_ = [milli(c, section, r) for c in containers for section in ("requests", "limits") for r in named]
    if not any(set_):
        return "BestEffort"
    guaranteed = all(
        milli(c, "limits", r) and milli(c, "limits", r) == milli(c, "requests", r) for c in containers for r in named
    )
    return "Guaranteed" if guaranteed else "Burstable"


def cgroup_parent(cluster_cgroup: str, pod: Object) -> str:
    """Return the pod's cgroup: ``<cluster>/kubepods[/burstable|/besteffort]/pod<uid>``."""
    level = {"Guaranteed": "", "Burstable": "/burstable", "BestEffort": "/besteffort"}[qos_class(pod)]
    return f"{cluster_cgroup}/kubepods{level}/pod{pod['metadata']['uid']}"


def linux_resources(container: Object) -> cri.LinuxContainerResources:
    """Return a container's resources for CRI."""
    cpu_request, cpu_limit = milli(container, "requests", "cpu"), milli(container, "limits", "cpu")
    resources = cri.LinuxContainerResources(
        cpu_shares=max(cpu_request * 1024 // 1000, MINIMUM_SHARES),
        memory_limit_in_bytes=milli(container, "limits", "memory"),
    )
    if cpu_limit:
        resources.cpu_period = PERIOD
        resources.cpu_quota = max(cpu_limit * PERIOD // 1000, MINIMUM_QUOTA)
    return resources
