"""The Node object: what the machine is and has, whether it is ready; and the Lease that says it is alive.

Source: core/v1 NodeStatus, KEP-589 (a Lease every 10 s, the status only when it changes or every 5 minutes).
"""

from __future__ import annotations

import asyncio
import datetime
import os
import platform
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.protocol import Client
from sampan.client.resources import LEASES, NODES
from sampan.node import cri_pb2 as cri
from sampan.node.devices.plugins import Devices
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.scheduler.pod_info import amount
from sampan.schema.objects import Object
from sampan.schema.quantity import NANO, Quantity

KUBELET_PORT = 10250
RUNTIME_GRACE_SECONDS = 30.0
"""How long a runtime that answered may be silent before the node says that it is down: as a kubelet."""
ANNOTATIONS = {"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
REQUIRED_CONDITIONS = ("RuntimeReady", "NetworkReady")
RETRY_SECONDS = 1.0
FIRST_RETRY_SECONDS = 0.05


def memory_bytes() -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    return 0


def capacity(kubelet_dir: Path, most_pods: int) -> dict[str, str]:
    """Return what the machine has, as quantities."""
    kubelet_dir.mkdir(parents=True, exist_ok=True)
    return {
        "cpu": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory_bytes() // 1024}Ki",
        "ephemeral-storage": f"{shutil.disk_usage(kubelet_dir).total // 1024}Ki",
        "pods": str(most_pods),
        **hugepages(),
    }


def hugepages() -> dict[str, str]:
    """Return the huge pages of the machine, in bytes by their size."""
    result = {"hugepages-1Gi": "0", "hugepages-2Mi": "0"}
    for folder in Path("/sys/kernel/mm/hugepages").glob("hugepages-*kB"):
        kibibytes = int(folder.name.removeprefix("hugepages-").removesuffix("kB"))
        count = int(read_first(str(folder / "nr_hugepages")) or 0)
        name = f"hugepages-{Quantity(kibibytes * 1024 * NANO, 'BinarySI')}"
        result[name] = str(Quantity(kibibytes * 1024 * count * NANO, "BinarySI"))
    return result


def reserved(config: KubeletConfig, resource: str) -> int:
    """Return what of a resource is not for pods: milli-CPU, or bytes."""
    return sum(amount(resource, holder.get(resource, "0")) for holder in (config.system_reserved, config.kube_reserved))


def allocatable(total: Mapping[str, str], config: KubeletConfig) -> dict[str, str]:
    """Return what pods may have: the capacity less what is reserved, what eviction keeps free, and huge pages."""
    pages = sum(amount(name, value) for name, value in total.items() if name.startswith("hugepages-"))
    kept = {
        "cpu": reserved(config, "cpu"),
        "memory": reserved(config, "memory") + pages + kept_free(config, "memory.available", total["memory"]),
        "ephemeral-storage": reserved(config, "ephemeral-storage")
        + kept_free(config, "nodefs.available", total["ephemeral-storage"]),
    }
    left = {name: max(amount(name, total[name]) - less, 0) for name, less in kept.items()}
    return {
        **total,
        "cpu": str(Quantity(left["cpu"] * NANO // 1000)),
        "memory": f"{left['memory'] // 1024}Ki",
        "ephemeral-storage": str(left["ephemeral-storage"]),
    }


def kept_free(config: KubeletConfig, signal: str, whole: str) -> int:
    """Return how many bytes eviction keeps free of a capacity."""
    threshold = config.eviction_hard.get(signal, "0")
    if threshold.endswith("%"):
        return int(amount("memory", whole) * float(threshold[:-1]) / 100)
    return amount("memory", threshold)


def read_first(*paths: str) -> str:
    for path in paths:
        try:
            return Path(path).read_text().strip()
        except OSError:
            continue
    return ""


def os_image() -> str:
    for line in read_first("/etc/os-release").splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return platform.system()


def node_info(version: cri.VersionResponse, kubernetes_version: str) -> Object:
    kubelet = f"v{kubernetes_version}.0-sampan"
    machine = platform.machine()
    return {
        "machineID": read_first("/etc/machine-id"),
        "systemUUID": read_first("/sys/class/dmi/id/product_uuid") or read_first("/etc/machine-id"),
        "bootID": read_first("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": os_image(),
        "containerRuntimeVersion": f"{version.runtime_name}://{version.runtime_version}",
        "kubeletVersion": kubelet,
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine),
    }


def conditions(problem: str, old: list[Object], pressures: Collection[str] = ()) -> list[Object]:
    """Return the node's conditions; ``problem`` is why it is not ready, or ``""``, ``pressures`` are those that hold."""
    now = timestamp()
    before = {condition["type"]: condition for condition in old}
    fresh = [
        ("MemoryPressure", "True", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available")
        if "MemoryPressure" in pressures
        else ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "True", "KubeletHasDiskPressure", "kubelet has disk pressure")
        if "DiskPressure" in pressures
        else ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "True", "KubeletHasInsufficientPID", "kubelet has insufficient PID available")
        if "PIDPressure" in pressures
        else ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ("Ready", "False", "KubeletNotReady", problem)
        if problem
        else ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ]
    result = []
    for type, status, reason, message in fresh:
        known = before.get(type)
        since = known["lastTransitionTime"] if known and known["status"] == status else now
        result.append(
            {
                "type": type,
                "status": status,
                "reason": reason,
                "message": message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": since,
            }
        )
    return result


class NodeReporter:
    """Keeps the Node object and its Lease."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        *,
        name: str,
        ips: tuple[str, ...],
        pod_cidrs: tuple[str, ...],
        kubernetes_version: str,
        kubelet_dir: Path,
        kubelet: KubeletConfig,
    ) -> None:
        self.client, self.runtime = client, runtime
        self.name, self.ips, self.pod_cidrs = name, ips, pod_cidrs
        self.kubernetes_version = kubernetes_version
        self.kubelet = kubelet
        self.capacity = capacity(kubelet_dir, kubelet.max_pods)
        self.changed = asyncio.Event()
        self.volumes_in_use: Collection[str] = ()
        """Attached volumes that are mounted here, by their unique names."""
        self.devices: Devices | None = None
        self._registered = False
        """Whether the Node was seen to have its labels since this process began."""
        self.steady: Callable[[], float] = time.monotonic
        self._answered: float | None = None
        """When the runtime answered last."""
        self._silent = False
        self.leaving: Callable[[], str] = str
        """Why the node is not ready whatever its runtime says."""
        self.pressures: Callable[[], Collection[str]] = tuple
        """The conditions of pressure that hold now."""

    def of_machine(self) -> dict[str, str]:
        """Return what pods may have of the machine, without devices of plugins."""
        return allocatable(self.capacity, self.kubelet)

    def allocatable(self) -> dict[str, str]:
        return {**self.of_machine(), **(self.devices.allocatable if self.devices else {})}

    def labels(self) -> dict[str, str]:
        machine = platform.machine()
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
        return {
            "kubernetes.io/hostname": self.name,
            "kubernetes.io/os": "linux",
            "kubernetes.io/arch": architecture,
            "beta.kubernetes.io/os": "linux",
            "beta.kubernetes.io/arch": architecture,
        }

    def fresh(self) -> Object:
        """Return the Node as it is registered."""
        node: Object = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "labels": self.labels(), "annotations": ANNOTATIONS},
            "spec": {"podCIDR": self.pod_cidrs[0], "podCIDRs": list(self.pod_cidrs)},
        }
        if self.kubelet.register_with_taints:
            node["spec"]["taints"] = list(self.kubelet.register_with_taints)
        return node

    async def problem(self) -> str:
        """Return why the runtime is not ready, or ``""``. What else it tells of itself (containerd from 2.0 on: that its
        configuration is of an old form) is no reason. Raises ``RuntimeFailure``."""
        answer = await self.runtime.status()
        bad = [c for c in answer.status.conditions if not c.status and c.type in REQUIRED_CONDITIONS]
        return "; ".join(
            f"container runtime {'network' if c.type == 'NetworkReady' else 'status'} not ready: {c.type}=false "
            f"reason:{c.reason} message:{c.message}"
            for c in bad
        )

    async def abilities(self) -> Object:
        """Return what the runtime and its handlers can: ``features``, ``runtimeHandlers``."""
        answer = await self.runtime.status()
        handlers = [
            {
                "name": handler.name,
                "features": {
                    "recursiveReadOnlyMounts": handler.features.recursive_read_only_mounts,
                    "userNamespaces": handler.features.user_namespaces,
                },
            }
            for handler in answer.runtime_handlers
        ]
        features = {"supplementalGroupsPolicy": answer.features.supplemental_groups_policy}
        return {"features": features, **({"runtimeHandlers": handlers} if handlers else {})}

    async def of_runtime(self) -> tuple[Object, str]:
        """Return what the runtime says of itself and its images, and why it is not ready, or ``""``. While it is silent, what
        it said stays; it may be so for a while (its pods go on) before the node says that it is down."""
        try:
            version, images = await self.runtime.version(), await self.runtime.list_images()
            told = {
                "nodeInfo": node_info(version, self.kubernetes_version),
                "images": [
                    {"names": [*image.repo_digests, *image.repo_tags], "sizeBytes": image.size}
                    for image in sorted(images, key=lambda image: -image.size)[:50]
                ],
                **await self.abilities(),
            }
            problem = await self.problem()
        except RuntimeFailure as error:
            self._silent = True
            if self._answered is not None and self.steady() - self._answered < RUNTIME_GRACE_SECONDS:
                return {}, ""
            return {}, f"container runtime is down: {error}"
        self._silent, self._answered = False, self.steady()
        return told, problem

    async def status(self, old: Object) -> Object:
        told, problem = await self.of_runtime()
        problem = self.leaving() or problem
        return {
            **{key: value for key, value in old.items() if key != "volumesAttached"},  # a controller's to write
            "volumesInUse": sorted(self.volumes_in_use) or None,
            "capacity": {**self.capacity, **(self.devices.capacity if self.devices else {})},
            "allocatable": self.allocatable(),
            "addresses": [
                *({"type": "InternalIP", "address": ip} for ip in self.ips),
                {"type": "Hostname", "address": self.name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            **told,
            "conditions": conditions(problem, old.get("conditions") or [], self.pressures()),
        }

    async def register(self) -> str:
        """Create or update the Node; return why it is not ready, or ``""``."""
        try:
            node = await self.client.get(NODES, self.name)
        except ApiError as error:
            if not error.is_not_found:
                raise
            node = await self.client.create(NODES, self.fresh())
        if not self._registered:  # somebody may have taken a label away while the node was down
            self._registered = True
            if lacking := {
                k: v for k, v in self.labels().items() if (node["metadata"].get("labels") or {}).get(k) != v
            }:
                await self.client.patch(NODES, self.name, {"metadata": {"labels": lacking}})
        status = await self.status(node.get("status", {}))
        await self.client.patch(NODES, self.name, {"status": status}, type="merge", subresource="status")
        ready = next(c for c in status["conditions"] if c["type"] == "Ready")
        return "" if ready["status"] == "True" else str(ready["message"])

    async def run(self, ready: Callable[[], None]) -> None:
        """Report until cancelled; ``ready`` is called when the API has heard that the node is Ready."""
        told = False
        while True:
            problem = await self.register()
            if not problem and not told:
                told = True
                ready()
            pause = self.kubelet.node_status_report_frequency
            if problem or self._silent:
                pause = RETRY_SECONDS if told else FIRST_RETRY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self.changed.wait()
            except TimeoutError:
                continue
            finally:
                self.changed.clear()

    async def heartbeat(self) -> None:
        """Renew the Lease until cancelled."""
        while True:
            now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            spec = {
                "holderIdentity": self.name,
                "leaseDurationSeconds": self.kubelet.node_lease_duration_seconds,
                "renewTime": now,
            }
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            try:
                await self.client.patch(LEASES, self.name, {"spec": spec}, "kube-node-lease")
            except ApiError as error:
                if not error.is_not_found:
                    raise
                await self.client.create(LEASES, lease)
            await asyncio.sleep(self.kubelet.node_lease_duration_seconds / 4)
