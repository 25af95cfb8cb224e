"""What Prometheus' client libraries tell of their process, by the names that those have agreed on.

Source: prometheus.io, "Writing client libraries", "Process metrics".
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from sampan.api.metrics.exposition import Family, Sample


@cache
def started() -> float:
    """Return when this process began, in seconds since 1970 (proc(5): boot, and the ticks from then on)."""
    since_boot = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    boot = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
    return int(boot.split()[1]) + since_boot


def of_process() -> Iterator[Family]:
    """Yield the CPU's seconds, resident memory, descriptors and start of the process that asks (Linux)."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    pages = int(Path("/proc/self/statm").read_text().split()[1] or 0)
    descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir())
    for family, kind, told, value in (
        (
            "process_cpu_seconds_total",
            "counter",
            "Total user and system CPU time spent in seconds.",
            used.ru_utime + used.ru_stime,
        ),
        (
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory size in bytes.",
            pages * os.sysconf("SC_PAGE_SIZE"),
        ),
        ("process_open_fds", "gauge", "Number of open file descriptors.", descriptors),
        (
            "process_start_time_seconds",
            "gauge",
            "Start time of the process since unix epoch in seconds.",
            started(),
        ),
    ):
        yield Family(family, kind, told, [Sample({}, value)])
