"""``sampan status``: each part with its pid, memory, health and last error."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.cluster.settings import Settings

SUMMARY = "show each part: pid, memory, health, last error"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    settings = lifecycle.load(options.name)
    status = lifecycle.ask(settings, "status")
    if status is None:
        print(f"cluster {settings.name} is stopped; `sampan up --name {settings.name}` continues it")
        return 1
    print(f"cluster {status['name']}  https://127.0.0.1:{settings.api_port}  up {status['seconds']:.0f} s")
    print(f"store   {settings.store_url or settings.store_path}{store_size(settings)}")
    print(f"{'PART':12} {'PID':>7} {'MEMORY':>9} {'STATE':19} {'READY AFTER':>11} {'RESTARTS':>8}  LAST ERROR")
    rows = [{"part": "supervisor", "pid": status["pid"], "state": "ready", "restarts": 0}, *status["parts"]]
    total, known = 0, set()
    for row in rows:
        memory = pss_bytes(row["pid"])
        total += memory
        known.add(row["pid"])
        after = f"{row['ready_after']:.2f} s" if row.get("ready_after") is not None else ""
        print(
            f"{row['part']:12} {row['pid'] or '-':>7} {memory / 1e6:>6.1f} MB {row['state']:19} {after:>11} "
            f"{row['restarts']:>8}  {row.get('last_error', '')}".rstrip()
        )
    others = others_of(settings.cgroup + "/system") - known
    for name, pids in sorted(by_name(others).items()):
        memory = sum(pss_bytes(pid) for pid in pids)
        total += memory
        label = name if len(pids) == 1 else f"{name} x{len(pids)}"
        print(f"{label[:20]:20} {memory / 1e6:>8.1f} MB")
    print(f"{'all':20} {total / 1e6:>8.1f} MB")
    return 0 if all(row["state"] == "ready" for row in rows) else 1


def store_size(settings: Settings) -> str:
    """Return how large the database file is, its log included."""
    if settings.store_url:
        return ""
    files = (settings.store_path, settings.store_path.with_name(settings.store_path.name + "-wal"))
    return f"  {sum(file.stat().st_size for file in files if file.exists()) / 1e6:.1f} MB"


def pss_bytes(pid: int | None) -> int:
    """Return the proportional memory of a process, 0 when there is none or it may not be looked at."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        return 0
    return 0


def others_of(cgroup: str) -> set[int]:
    from sampan.cluster import cgroups

    return cgroups.members(cgroup) if os.geteuid() == 0 else set()


def by_name(pids: set[int]) -> dict[str, list[int]]:
    """Return the pids by the name of their program."""
    named: dict[str, list[int]] = {}
    for pid in pids:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
        except OSError:
            continue
        named.setdefault(name, []).append(pid)
    return named
