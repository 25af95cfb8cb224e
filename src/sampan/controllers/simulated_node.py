"""A node that only pretends: it takes the pods bound to it through their phases, without a container.

Pods become Running and Ready at once, or after the seconds of the annotation ``sim.sampan.dev/start-seconds``; pods whose
``restartPolicy`` is not Always end after ``sim.sampan.dev/run-seconds`` (0) with the exit code of
``sim.sampan.dev/exit-code`` (0). Deletion is graceful and instant.
"""

from __future__ import annotations

import asyncio
import ipaddress

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.events import EventRecorder, timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import LEASES, NODES, PODS
from sampan.schema.objects import Object

PREFIX = "sim.sampan.dev/"
HEARTBEAT_SECONDS = 10.0
BY_ADDRESS = "address"
CAPACITY = {"cpu": "64", "memory": "256Gi", "pods": "5000", "ephemeral-storage": "1Ti"}


def node_object(name: str, pod_cidr: str) -> Object:
    now = timestamp()
    condition = {"lastHeartbeatTime": now, "lastTransitionTime": now}
    healthy = [
        {"type": kind, "status": "False", "reason": f"KubeletHas{text}", "message": f"kubelet has {text}", **condition}
        for kind, text in (
            ("MemoryPressure", "SufficientMemory"),
            ("DiskPressure", "NoDiskPressure"),
            ("PIDPressure", "SufficientPID"),
        )
    ]
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "simulated node is ready"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**labels, "type": "simulated"}},
        "spec": {"podCIDR": pod_cidr, "podCIDRs": [pod_cidr]},
        "status": {
            "capacity": CAPACITY,
            "allocatable": CAPACITY,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}, {"type": "Hostname", "address": name}],
            "conditions": [*healthy, {**ready, **condition}],
            "nodeInfo": {
                "kubeletVersion": "v1.37.0-simulated",
                "containerRuntimeVersion": "simulated://1",
                "osImage": "simulated",
                "kernelVersion": "simulated",
                "operatingSystem": "linux",
                "architecture": "amd64",
                **dict.fromkeys(("machineID", "systemUUID", "bootID", "kubeProxyVersion"), ""),
            },
        },
    }


def number(pod: Object, name: str) -> float:
    value = (pod["metadata"].get("annotations") or {}).get(PREFIX + name, "0")
    try:
        return float(value)
    except ValueError:
        return 0.0


def container_status(container: Object, state: Object, *, ready: bool) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"simulated://{container['image']}",
        "containerID": f"simulated://{container['name']}",
        "restartCount": 0,
        "ready": ready,
        "started": ready,
        "state": state,
    }


def status_of(pod: Object, ip: str, phase: str, exit_code: int = 0) -> Object:
    """Return the status of a pod in a phase (Running, Succeeded or Failed)."""
    now = timestamp()
    old = pod.get("status", {})
    started = old.get("startTime", now)
    running = phase == "Running"
    if running:
        state: Object = {"running": {"startedAt": now}}
    else:
        reason = "Error" if exit_code else "Completed"
        state = {"terminated": {"exitCode": exit_code, "reason": reason, "startedAt": started, "finishedAt": now}}
    done = {} if running else {"reason": "PodCompleted"}
    conditions = [
        {"type": "PodScheduled", "status": "True"},
        {"type": "Initialized", "status": "True", **done},
        {"type": "ContainersReady", "status": str(running), **done},
        {"type": "Ready", "status": str(running), **done},
    ]
    status = {
        "phase": phase,
        "startTime": started,
        "hostIP": "127.0.0.1",
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "qosClass": old.get("qosClass", "BestEffort"),
        "conditions": [{"lastProbeTime": None, "lastTransitionTime": now, **condition} for condition in conditions],
        "containerStatuses": [container_status(c, state, ready=running) for c in pod["spec"]["containers"]],
    }
    finished = {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": started, "finishedAt": now}}
    if pod["spec"].get("initContainers"):
        status["initContainerStatuses"] = [
            container_status(c, finished, ready=True) for c in pod["spec"]["initContainers"]
        ]
    return status


class SimulatedNode(Controller):
    name = "simulated-node"

    def __init__(self, client: Client, node_name: str, pods: Informer, events: EventRecorder, pod_cidr: str) -> None:
        super().__init__(client)
        self.node_name = node_name
        self.pods = pods
        self.events = events
        self.pod_cidr = pod_cidr
        self._network = ipaddress.ip_network(pod_cidr)
        self._addresses: dict[str, str] = {}
        self._last = 0
        pods.add_index(BY_ADDRESS, lambda pod: [ip] if (ip := pod.get("status", {}).get("podIP")) else [])
        self._due: dict[str, float] = {}
        self.watch(pods, lambda pod: [key_of_mine(pod)] if pod["spec"].get("nodeName") == node_name else [])

    async def run(self) -> None:
        await self._register()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._heartbeat(), name=f"heartbeat-{self.node_name}")
            group.create_task(super().run(), name=f"pods-{self.node_name}")

    async def _register(self) -> None:
        node = node_object(self.node_name, self.pod_cidr)
        try:
            created = await self.client.create(NODES, node)
        except ApiError as error:
            if not error.already_exists:
                raise
            created = await self.client.get(NODES, self.node_name)
        await self.client.update(NODES, {**created, "status": node["status"]}, subresource="status")

    async def _heartbeat(self) -> None:
        while True:
            now = timestamp().replace("Z", ".000000Z")
            spec = {"holderIdentity": self.node_name, "leaseDurationSeconds": 40, "renewTime": now}
            lease = {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": self.node_name, "namespace": "kube-node-lease"},
                "spec": spec,
            }
            try:
                await self.client.patch(
                    LEASES, self.node_name, lease, "kube-node-lease", type="apply", field_manager="kubelet", force=True
                )
            except ApiError as error:
                self.logger.error("heartbeat of %s: %s", self.node_name, error)
            await asyncio.sleep(HEARTBEAT_SECONDS)

    def _address(self, key: str, pod: Object) -> str:
        """Return the address of a pod: the one it has, or the first that no pod of the cluster has."""
        known = pod.get("status", {}).get("podIP")
        if known:
            self._addresses.pop(key, None)
            return str(known)
        if key not in self._addresses:
            self._addresses[key] = self._free_address()
        return self._addresses[key]

    def _free_address(self) -> str:
        """Return the next address that no pod has, round and round through the range; "" when all are taken."""
        given = set(self._addresses.values())
        size = self._network.num_addresses - 2
        for _ in range(size):
            self._last = self._last % size + 1
            address = str(self._network[self._last])
            if address not in given and not self.pods.by_index(BY_ADDRESS, address):
                return address
        return ""

    async def reconcile(self, key: str) -> float | None:
        pod = self.pods.get(key)
        if pod is None or pod["spec"].get("nodeName") != self.node_name:
            self._addresses.pop(key, None)
            return None
        metadata = pod["metadata"]
        if "deletionTimestamp" in metadata:
            self._due.pop(metadata["uid"], None)
            for container in pod["spec"]["containers"]:
                path = f"spec.containers{{{container['name']}}}"
                self.events.normal(pod, "Killing", f"Stopping container {container['name']}", path)
            await self.client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=metadata["uid"]
            )
            return None
        phase = pod.get("status", {}).get("phase", "Pending")
        if phase == "Pending":
            return await self._after(pod, "start-seconds", "Running")
        if phase == "Running" and pod["spec"].get("restartPolicy", "Always") != "Always":
            code = int(number(pod, "exit-code"))
            return await self._after(pod, "run-seconds", "Failed" if code else "Succeeded", code)
        return None

    async def _after(self, pod: Object, delay: str, phase: str, exit_code: int = 0) -> float | None:
        """Bring the pod into a phase when the delay of its annotation is over."""
        now = asyncio.get_running_loop().time()
        mark = f"{pod['metadata']['uid']}{phase}"
        due = self._due.setdefault(mark, now + number(pod, delay))
        if due > now:
            return due - now
        self._due.pop(mark, None)
        status = status_of(pod, self._address(key_of_mine(pod), pod), phase, exit_code)
        await self.client.update(PODS, {**pod, "status": status}, subresource="status")
        if phase == "Running":
            for container in pod["spec"]["containers"]:
                path = f"spec.containers{{{container['name']}}}"
                self.events.normal(pod, "Started", f"Started container {container['name']}", path)
        return None


def key_of_mine(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
