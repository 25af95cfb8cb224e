"""The kubelet's pages for Prometheus: ``/metrics/resource``, ``/metrics/cadvisor`` and ``/metrics``. Pure.

Source: KEP-727 (resource metrics endpoint); cadvisor's names of container metrics; kubelet pkg/kubelet/metrics.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sampan.api.metrics.exposition import Family, Sample, lines
from sampan.api.metrics.process import of_process
from sampan.node.stats import NANO, Container, Pod, Snapshot, Usage

Labels = dict[str, str]


def page(families: Iterable[Family]) -> str:
    return "\n".join(lines(families)) + "\n"


def of(pod: Pod, container: Container) -> Labels:
    return {"container": container.name, "namespace": pod.namespace, "pod": pod.name}


def resource_page(snapshot: Snapshot) -> str:
    """Return ``/metrics/resource``: CPU, memory and start of node, pods and containers."""

    def family(name: str, kind: str, help: str, samples: Iterable[tuple[Labels, float | None]]) -> Family:
        return Family(name, kind, f"[STABLE] {help}", [Sample(labels, v) for labels, v in samples if v is not None])

    pods = snapshot.pods
    both = [(pod, container) for pod in pods for container in pod.containers]
    named = [({"namespace": pod.namespace, "pod": pod.name}, pod.usage) for pod in pods]
    return page(
        [
            family("node_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the node in core-seconds",
                   [({}, seconds(snapshot.usage))]),
            family("node_memory_working_set_bytes", "gauge", "Current working set of the node in bytes",
                   [({}, snapshot.usage.working_set_bytes)]),
            family("container_cpu_usage_seconds_total", "counter",
                   "Cumulative cpu time consumed by the container in core-seconds",
                   [(of(pod, container), seconds(container.usage)) for pod, container in both]),
            family("container_memory_working_set_bytes", "gauge", "Current working set of the container in bytes",
                   [(of(pod, container), container.usage.working_set_bytes) for pod, container in both]),
            family("container_start_time_seconds", "gauge",
                   "Start time of the container since unix epoch in seconds",
                   [(of(pod, container), container.started / NANO) for pod, container in both]),
            family("pod_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed by the pod in core-seconds",
                   [(labels, seconds(usage)) for labels, usage in named]),
            family("pod_memory_working_set_bytes", "gauge", "Current working set of the pod in bytes",
                   [(labels, usage.working_set_bytes) for labels, usage in named]),
            family("resource_scrape_error", "gauge", "1 if there was an error while getting container metrics, 0 otherwise",
                   [({}, 0)]),
        ]
    )  # fmt: skip


def seconds(usage: Usage) -> float | None:
    return None if usage.cpu_nanoseconds is None else usage.cpu_nanoseconds / NANO


def cadvisor_page(snapshot: Snapshot, cores: int, memory_bytes: int) -> str:
    """Return ``/metrics/cadvisor``: pods (their container is ""), containers, and the machine."""
    rows = list(cadvisor_rows(snapshot))

    def family(name: str, kind: str, help: str, pick: str, scale: float = 1) -> Family:
        found = [(labels, getattr(usage, pick)) for labels, usage in rows]
        return Family(name, kind, help, [Sample(labels, v / scale) for labels, v in found if v is not None])

    containers = [(pod, container) for pod in snapshot.pods for container in pod.containers]
    processes = [Sample({**row(pod, None)}, pod.processes) for pod in snapshot.pods if pod.processes is not None]
    return page(
        [
            family("container_cpu_usage_seconds_total", "counter", "Cumulative cpu time consumed in seconds.",
                   "cpu_nanoseconds", NANO),
            family("container_memory_usage_bytes", "gauge",
                   "Current memory usage in bytes, including all memory regardless of when it was accessed",
                   "memory_bytes"),
            family("container_memory_working_set_bytes", "gauge", "Current working set in bytes.", "working_set_bytes"),
            family("container_memory_rss", "gauge", "Size of RSS in bytes.", "rss_bytes"),
            Family("container_start_time_seconds", "gauge", "Start time of the container since unix epoch in seconds.",
                   [Sample(row(pod, container), container.started / NANO) for pod, container in containers]),
            Family("container_fs_usage_bytes", "gauge",
                   "Number of bytes that are consumed by the container on this filesystem.",
                   [Sample(row(pod, container), container.layer_bytes) for pod, container in containers
                    if container.layer_bytes is not None]),
            Family("container_processes", "gauge", "Number of processes running inside the container.", processes),
            *network(snapshot),
            Family("machine_cpu_cores", "gauge", "Number of logical CPU cores.", [Sample({}, cores)]),
            Family("machine_memory_bytes", "gauge", "Amount of memory installed on the machine.",
                   [Sample({}, memory_bytes)]),
        ]
    )  # fmt: skip


def cadvisor_rows(snapshot: Snapshot) -> Iterator[tuple[Labels, Usage]]:
    yield {"container": "", "id": "/", "image": "", "name": "", "namespace": "", "pod": ""}, snapshot.usage
    for pod in snapshot.pods:
        yield row(pod, None), pod.usage
        for container in pod.containers:
            yield row(pod, container), container.usage


def row(pod: Pod, container: Container | None) -> Labels:
    inner = {"container": "", "id": f"/pod{pod.uid}", "image": "", "name": ""}
    if container is not None:
        inner = {
            "container": container.name,
            "id": f"/pod{pod.uid}/{container.id}",
            "image": container.image,
            "name": container.id,
        }
    return {**inner, "namespace": pod.namespace, "pod": pod.name}


def network(snapshot: Snapshot) -> Iterator[Family]:
    links = [(pod, pod.interface) for pod in snapshot.pods if pod.interface is not None]
    for name, field, help in (
        ("receive_bytes", "received_bytes", "Cumulative count of bytes received"),
        ("receive_errors", "receive_errors", "Cumulative count of errors encountered while receiving"),
        ("transmit_bytes", "sent_bytes", "Cumulative count of bytes transmitted"),
        ("transmit_errors", "send_errors", "Cumulative count of errors encountered while transmitting"),
    ):
        samples = [Sample({**row(pod, None), "interface": link.name}, getattr(link, field)) for pod, link in links]
        yield Family(f"container_network_{name}_total", "counter", help, samples)


def kubelet_page(node: str, version: str, pods: int, containers: dict[str, int], more: Iterable[Family] = ()) -> str:
    """Return ``/metrics``: the kubelet of itself. ``containers``: how many there are in each state."""
    states = [Sample({"container_state": state}, count) for state, count in sorted(containers.items())]
    return page(
        [
            Family("kubelet_node_name", "gauge", "[ALPHA] The node's name. The count is always 1.",
                   [Sample({"node": node}, 1)]),
            Family("kubelet_running_pods", "gauge", "[ALPHA] Number of pods that have a running pod sandbox",
                   [Sample({}, pods)]),
            Family("kubelet_running_containers", "gauge", "[ALPHA] Number of containers currently running", states),
            Family("kubernetes_build_info", "gauge", "[ALPHA] A metric with a constant '1' value labeled by version.",
                   [Sample({"git_version": f"v{version}.0-sampan", "major": version.partition(".")[0],
                            "minor": version.partition(".")[2]}, 1)]),
            *of_process(),
            *more,
        ]
    )  # fmt: skip
