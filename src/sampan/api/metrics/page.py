"""The page ``/metrics``: every family of an API, from counts that were kept and from what is looked at now.

Source: kubernetes test/instrumentation/documentation (names, labels, help); Prometheus' client libraries (``process_*``).
"""

from __future__ import annotations

import os
import platform
import re
import sys
from collections.abc import Iterator
from time import perf_counter
from typing import TYPE_CHECKING

from sampan.api.metrics.exposition import Family, Histogram, HistogramFamily, Sample, lines
from sampan.api.metrics.requests import BUCKETS, STORE_BUCKETS, Labels, Series, labels
from sampan.client.counted import REQUESTS as CLIENT_REQUESTS
from sampan.client.workqueue import DURATIONS, QUEUES

if TYPE_CHECKING:
    from sampan.api.app import Api

LABELS = ("verb", "group", "version", "resource", "subresource", "scope", "dry_run")
OWN = ("verb", "group", "version", "resource", "subresource", "scope")
SLI_BUCKETS = BUCKETS[2:]
REMOVED = re.compile(r"unavailable in v([0-9.]+)")
Families = Iterator[Family | HistogramFamily]


async def page(api: Api) -> bytes:
    """Return the metrics in Prometheus' text format."""
    counted = await storage_objects(api)
    api.measured.watched = True
    api.chain.measured = api.measured
    families = [
        *requests(api),
        *deprecated(api),
        *api.measured.families(),
        *aggregation(api),
        *features(api),
        *flow_control(api),
        *store(api, counted),
        *work_queues(),
        *client_requests(),
        *process(),
        *(family for source in api.metric_sources for family in source()),
    ]
    return ("\n".join(lines([*families, build_info(api.types.version)])) + "\n").encode()


def health_page(api: Api) -> bytes:
    """Return ``/metrics/slis``: how the health checks are, and how they went."""
    from sampan.api.health import checks_of

    api.measured.watched = True
    samples = [
        Sample({"name": name, "type": endpoint}, not check())
        for endpoint in ("healthz", "livez", "readyz")
        for name, check in checks_of(api, endpoint).items()
    ]
    now = Family("kubernetes_healthcheck", "gauge", "How the health checks are.", samples)
    counted = api.measured.families(of=("kubernetes_healthchecks_total",))
    return ("\n".join(lines([now, *counted])) + "\n").encode()


def named(values: Labels, *names: str) -> dict[str, str]:
    """Return labels by name, with the component as kube-apiserver has it; ``names``: which."""
    found = dict(zip(LABELS, values, strict=True))
    return {"component": "apiserver", **{name: found[name] for name in names or LABELS}}


def requests(api: Api) -> Families:
    metrics = api.metrics
    totals: dict[tuple[Labels, int], int] = {}
    for key, series in metrics.series.items():
        for code, count in series.codes.items():
            totals[labels(key), code] = totals.get((labels(key), code), 0) + count
    samples = [Sample({**named(at), "code": str(code)}, count) for (at, code), count in sorted(totals.items())]
    yield Family("apiserver_request_total", "counter", "Requests by verb, resource and code.", samples)
    histograms = [
        Histogram(named(labels(key)), BUCKETS, series.counts, series.total) for key, series in metrics.series.items()
    ]
    yield HistogramFamily("apiserver_request_duration_seconds", "How long requests took.", histograms)
    own = [
        Histogram(named(labels(key), *OWN), SLI_BUCKETS, *own_time(series)) for key, series in metrics.series.items()
    ]
    yield HistogramFamily("apiserver_request_sli_duration_seconds", "How long requests took without webhooks.", own)
    inflight = [Sample({"request_kind": kind}, count) for kind, count in metrics.inflight.items()]
    yield Family("apiserver_current_inflight_requests", "gauge", "Requests that are being served.", inflight)
    kept = ("verb", "group", "version", "resource", "subresource", "scope")
    running = [Sample(named(at, *kept), count) for at, count in metrics.running.items()]
    yield Family("apiserver_longrunning_requests", "gauge", "Watches, logs, exec that are open.", running)
    events = [
        Sample({"group": group, "version": version, "kind": kind}, count)
        for (group, version, kind), count in metrics.watch_events.items()
    ]
    yield Family("apiserver_watch_events_total", "counter", "Events sent to watchers.", events)


def own_time(series: Series) -> tuple[list[int], float]:
    """Return the counts and the sum of the time of requests without webhooks."""
    counts = list(map(sum, zip(series.counts, series.outside, strict=True))) if series.outside else series.counts
    first = len(BUCKETS) - len(SLI_BUCKETS)  # the buckets are the same but for the first
    return [sum(counts[: first + 1]), *counts[first + 1 :]], series.total - series.outside_total


def deprecated(api: Api) -> Families:
    """Yield which deprecated versions were asked for."""
    samples: dict[tuple[str, ...], Sample] = {}
    for key in api.metrics.series:
        if len(key) == 2:
            continue
        group, version, resource, subresource = key[:4]
        served = api.catalog.get(group, version, resource)
        if served is None or not served.resource.deprecated:
            continue
        removed = REMOVED.search(served.resource.deprecated)
        values = {"group": group, "version": version, "resource": resource, "subresource": subresource}
        samples[key[:4]] = Sample({**values, "removed_release": removed[1] if removed else ""}, 1)
    yield Family("apiserver_requested_deprecated_apis", "gauge", "Deprecated versions in use.", samples.values())


def features(api: Api) -> Families:
    samples = [
        Sample({"name": gate.name, "stage": gate.stage if gate.stage != "GA" else ""}, gate.on) for gate in api.features
    ]
    yield Family("kubernetes_feature_enabled", "gauge", "Feature gates.", samples)


def aggregation(api: Api) -> Families:
    samples = [
        Sample({"name": remote.api_service["metadata"]["name"]}, not remote.available)
        for remote in api.remotes.values()
    ]
    yield Family("aggregator_unavailable_apiservice", "gauge", "Extension servers that do not answer.", samples)


def client_requests() -> Families:
    """Yield what the clients in this process have asked."""
    totals = [
        Sample({"code": code, "host": host, "method": method}, count)
        for (method, host, code), count in sorted(CLIENT_REQUESTS.items())
    ]
    yield Family("rest_client_requests_total", "counter", "Requests of clients in this process.", totals)


def flow_control(api: Api) -> Families:
    control = api.flow_control
    if control is None:
        return
    levels = list(control.seats.levels.values())

    def per_level(name: str, kind: str, help: str, attribute: str) -> Family:
        samples = [Sample({"priority_level": level.name}, getattr(level, attribute)) for level in levels]
        return Family(f"apiserver_flowcontrol_{name}", kind, help, samples)

    yield per_level("dispatched_requests_total", "counter", "Requests that were served.", "dispatched")
    yield per_level("current_executing_requests", "gauge", "Requests that are being served.", "executing")
    yield per_level("current_executing_seats", "gauge", "Seats that are used.", "used")
    yield per_level("current_inqueue_requests", "gauge", "Requests that wait.", "waiting")
    yield per_level("nominal_limit_seats", "gauge", "Seats that are a level's own.", "nominal")
    yield per_level("lower_limit_seats", "gauge", "Seats that a level does not lend.", "reserved")
    yield per_level("upper_limit_seats", "gauge", "Seats that a level uses at most.", "most")
    rejected = [
        Sample({"flow_schema": schema, "priority_level": level.name, "reason": reason}, count)
        for level in levels
        for (schema, reason), count in level.rejected.items()
    ]
    yield Family("apiserver_flowcontrol_rejected_requests_total", "counter", "Requests answered with 429.", rejected)
    waits = [
        Histogram({"flow_schema": schema, "priority_level": level, "execute": execute}, BUCKETS, counts, total)
        for (schema, level, execute), (counts, total) in control.waits.items()
    ]
    yield HistogramFamily("apiserver_flowcontrol_request_wait_duration_seconds", "How long requests waited.", waits)


async def storage_objects(api: Api) -> dict[tuple[str, str], int]:
    """Return how many objects there are, by group and plural."""
    found: dict[tuple[str, str], int] = {}
    for served in tuple(api.catalog):
        resource = served.resource
        if "list" in resource.verbs and (resource.group, resource.plural) not in found:
            counted = await api.store.page(served.prefix(""), limit=1)
            found[resource.group, resource.plural] = len(counted.records) + counted.remaining
    return found


def store(api: Api, counted: dict[tuple[str, str], int]) -> Families:
    qualified = [
        Sample({"resource": f"{plural}.{group}" if group else plural}, count)
        for (group, plural), count in sorted(counted.items())
    ]
    yield Family("apiserver_storage_objects", "gauge", "Objects that are stored.", qualified)
    apart = [Sample({"group": group, "resource": plural}, count) for (group, plural), count in sorted(counted.items())]
    yield Family("apiserver_resource_objects", "gauge", "Objects that are stored.", apart)
    durations = [
        Histogram({"operation": operation}, STORE_BUCKETS, counts, total)
        for operation, (counts, total) in api.metrics.commits.items()
    ]
    yield HistogramFamily("etcd_request_duration_seconds", "How long the store took to make writes durable.", durations)
    totals = [Sample({"operation": operation}, sum(counts)) for operation, (counts, _) in api.metrics.commits.items()]
    yield Family("etcd_requests_total", "counter", "Writes of the store.", totals)
    yield Family("sampan_store_revision", "gauge", "The newest durable revision.", [Sample({}, api.store.revision)])


def work_queues() -> Families:
    queues = sorted((queue for queue in QUEUES if queue.name), key=lambda queue: queue.name)

    def per_queue(name: str, kind: str, help: str, values: list[int]) -> Family:
        samples = [Sample({"name": queue.name}, value) for queue, value in zip(queues, values, strict=True)]
        return Family(f"workqueue_{name}", kind, help, samples)

    yield per_queue("depth", "gauge", "Keys that wait.", [len(queue) for queue in queues])
    yield per_queue("adds_total", "counter", "Keys that were added.", [queue.adds for queue in queues])
    yield per_queue("retries_total", "counter", "Keys that failed and were added again.", [q.retries for q in queues])
    now = perf_counter()

    def per_queue_in_seconds(name: str, help: str, values: list[float]) -> Family:
        samples = [Sample({"name": queue.name}, value) for queue, value in zip(queues, values, strict=True)]
        return Family(f"workqueue_{name}", "gauge", help, samples)

    at_work = [[now - begun for begun in queue.begun.values()] for queue in queues]
    yield per_queue_in_seconds("unfinished_work_seconds", "Time of work under way.", [sum(one) for one in at_work])
    longest = [max(one, default=0.0) for one in at_work]
    yield per_queue_in_seconds("longest_running_processor_seconds", "The longest work under way.", longest)
    for name, help in (("queue", "How long keys waited."), ("work", "How long keys were worked on.")):
        spent = [getattr(queue, f"{name}_seconds") for queue in queues]
        histograms = [
            Histogram({"name": queue.name}, DURATIONS, one.counts, one.total)
            for queue, one in zip(queues, spent, strict=True)
        ]
        yield HistogramFamily(f"workqueue_{name}_duration_seconds", help, histograms)


def process() -> Families:
    """Yield what the kernel knows of this process (Linux only)."""

    def one(name: str, kind: str, help: str, value: float) -> Family:
        return Family(f"process_{name}", kind, help, [Sample({}, value)])

    times = os.times()
    yield one("cpu_seconds_total", "counter", "Time on the processor.", times.user + times.system)
    if sys.platform != "linux":
        return
    with open("/proc/self/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    yield one("resident_memory_bytes", "gauge", "Memory in use.", int(fields[21]) * os.sysconf("SC_PAGE_SIZE"))
    yield one("virtual_memory_bytes", "gauge", "Address space.", int(fields[20]))
    with open("/proc/stat") as file:
        booted = next((int(line.split()[1]) for line in file if line.startswith("btime")), 0)
    yield one("start_time_seconds", "gauge", "When it started.", booted + int(fields[19]) / ticks)
    import resource

    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    yield one("virtual_memory_max_bytes", "gauge", "Most address space.", float(2**64 - 1) if most < 0 else most)
    with open("/proc/self/net/netstat") as file:
        rows = [line.split() for line in file if line.startswith("IpExt:")]
    octets = dict(zip(rows[0], rows[1], strict=False)) if len(rows) == 2 else {}
    for name, field in (("receive", "InOctets"), ("transmit", "OutOctets")):
        yield one(f"network_{name}_bytes_total", "counter", "Bytes over the network.", int(octets.get(field, 0)))
    yield one("open_fds", "gauge", "Open files.", len(os.listdir("/proc/self/fd")))  # noqa: PTH208  (a path is no file)
    yield one("max_fds", "gauge", "Most open files.", resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def build_info(version: str) -> Family:
    from sampan.api.health import version_info

    told = version_info(version)
    names = (
        "major",
        "minor",
        "gitVersion",
        "gitCommit",
        "gitTreeState",
        "buildDate",
        "goVersion",
        "compiler",
        "platform",
    )
    values = {snake(name): told[name] for name in names}
    values["go_version"] = f"python{platform.python_version()}"
    return Family("kubernetes_build_info", "gauge", "What is running.", [Sample(values, 1)])


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
