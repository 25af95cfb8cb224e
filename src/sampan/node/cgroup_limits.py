"""What a cgroup allows, written to and read from the kernel's files, in the words of cgroup v1 or v2.

Shares become a weight on v2: (shares - 2) of 262142 mapped to 1-10000. Memory is rounded to pages by the kernel, so equal
means equal in pages. Source: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/, KEP-2254 for the weight.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
PAGE_BYTES = 4096
WITHOUT_LIMIT = 1 << 60
"""What v1 says where there is no limit of memory is above this."""


@dataclass(frozen=True, slots=True)
class Limits:
    """0 of quota, memory or pids: no limit."""

    shares: int = 0
    quota: int = 0
    period: int = 100_000
    memory: int = 0
    pids: int = 0
    hugepages: Mapping[str, int] = field(default_factory=dict)
    """Size of the page, as the kernel names it (``2MB``), to bytes."""


def is_v2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


@functools.cache
def swap_is_counted() -> bool:
    """Whether the kernel counts what cgroups swap, so that it can be forbidden them."""
    if is_v2():
        return any(ROOT.glob("*/memory.swap.max"))
    return (ROOT / "memory" / "memory.memsw.limit_in_bytes").exists()


def weight_of(shares: int) -> int:
    return 1 + (shares - 2) * 9999 // 262142


def newer_weight_of(shares: int) -> int:
    """Return the weight that newer runtimes (runc 1.3.2, crun 1.23) make of shares: 1024 is 100."""
    logarithm = math.log2(max(shares, 2))
    return math.ceil(10 ** ((logarithm**2 + 125 * logarithm) / 612 - 7 / 34))


def files_of(limits: Limits, *, v2: bool) -> dict[str, str]:
    """Return file → content, controllers as the first part of the path on v1. Pure."""
    if v2:
        files = {
            "cpu.max": f"{limits.quota or 'max'} {limits.period}",
            "memory.max": str(limits.memory or "max"),
            "pids.max": str(limits.pids or "max"),
        }
        if limits.shares:
            files["cpu.weight"] = str(weight_of(limits.shares))
        return files | {f"hugetlb.{size}.max": str(value) for size, value in limits.hugepages.items()}
    files = {
        "cpu/cpu.cfs_period_us": str(limits.period),
        "cpu/cpu.cfs_quota_us": str(limits.quota or -1),
        "memory/memory.limit_in_bytes": str(limits.memory or -1),
        "pids/pids.max": str(limits.pids or "max"),
    }
    if limits.shares:
        files["cpu/cpu.shares"] = str(limits.shares)
    return files | {f"hugetlb/hugetlb.{size}.limit_in_bytes": str(v) for size, v in limits.hugepages.items()}


def path_of(cgroup: str, file: str) -> Path:
    """Return where a file of ``files_of`` is."""
    controller, _, name = file.rpartition("/")
    return ROOT / controller / cgroup.lstrip("/") / name


def write(cgroup: str, limits: Limits) -> None:
    """Set the limits of a cgroup. Raises ``OSError`` for a limit of memory below what is in use; controllers that the machine
    does not have are left out."""
    for file, content in files_of(limits, v2=is_v2()).items():
        path = path_of(cgroup, file)
        if path.exists():
            path.write_text(content)


def memory_in_use(cgroup: str) -> int:
    """Return the bytes of memory that are charged to a cgroup; 0 where that is not known."""
    with contextlib.suppress(OSError, ValueError):
        return int(path_of(cgroup, "memory.current" if is_v2() else "memory/memory.usage_in_bytes").read_text())
    return 0


def holds(cgroup: str, limits: Limits) -> bool:
    """Whether a cgroup has these shares, quota and limit of memory now. Raises ``OSError`` where there is no such cgroup."""
    if is_v2():
        quota, _, _ = path_of(cgroup, "cpu.max").read_text().partition(" ")
        memory, weight = path_of(cgroup, "memory.max").read_text(), path_of(cgroup, "cpu.weight").read_text()
        as_shares = int(weight) in (weight_of(limits.shares), newer_weight_of(limits.shares))
        return as_shares and number(quota) == limits.quota and same_pages(number(memory), limits.memory)
    shares, quota, memory = (
        path_of(cgroup, file).read_text()
        for file in ("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "memory/memory.limit_in_bytes")
    )
    return int(shares) == limits.shares and number(quota) == limits.quota and same_pages(number(memory), limits.memory)


def in_force(cgroup: str) -> Limits | None:
    """Return the shares, quota and limit of memory that a cgroup has now (of v2 the weight, as shares of none); None where
    there is no such cgroup."""
    try:
        if is_v2():
            quota, _, _ = path_of(cgroup, "cpu.max").read_text().partition(" ")
            return Limits(quota=number(quota), memory=number(path_of(cgroup, "memory.max").read_text()))
        shares, quota, memory = (
            path_of(cgroup, file).read_text()
            for file in ("cpu/cpu.shares", "cpu/cpu.cfs_quota_us", "memory/memory.limit_in_bytes")
        )
        return Limits(int(shares), number(quota), memory=number(memory))
    except (OSError, ValueError):
        return None


def cpus_of(cgroup: str) -> str:
    """Return the CPUs that a cgroup may use. Raises ``OSError`` where there is no such cgroup."""
    return path_of(cgroup, "cpuset.cpus" if is_v2() else "cpuset/cpuset.cpus").read_text()


def number(text: str) -> int:
    """Return a limit as the kernel says it; 0 for none."""
    text = text.strip()
    value = 0 if text == "max" else int(text)
    return 0 if value < 0 or value > WITHOUT_LIMIT else value


def same_pages(one: int, other: int) -> bool:
    return one // PAGE_BYTES == other // PAGE_BYTES
