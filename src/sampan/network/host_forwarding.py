"""Forwarding of the host, switched on for the interfaces packets enter by, and off again by the last cluster that needs it.

What was off before is noted in the cluster's folder (``<state>/forwarding``, ``<state>/force_forwarding``). A cluster that
goes while others need the switch hands its note to one of them: to one that will look at it, which neither a cluster
without pods does nor one that is leaving itself (``<state>/leaving``). Commands of different clusters take turns here.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sampan.network.families import IPV4, IPV6, Family

SYSCTL = Path("/proc/sys/net/ipv4/conf")
SYSCTL_IPV6 = Path("/proc/sys/net/ipv6/conf")
SWITCHES = ((IPV4, SYSCTL, "forwarding"), (IPV6, SYSCTL_IPV6, "force_forwarding"))
"""Family, where its interfaces are, and the name of the switch and of its note."""
LEAVING = "leaving"


def switch_on(state_dir: Path, families: Iterable[Family], link: str, outward: list[str]) -> None:
    """Switch forwarding on for the link, which goes with it, and for the interfaces that lead out, which is noted."""
    with _turn(state_dir):
        (state_dir / LEAVING).unlink(missing_ok=True)
        for family, interfaces, name in SWITCHES:
            if family not in families:
                continue
            changed = []
            for interface in sorted({link, *outward}):
                switch = interfaces / interface / name
                if switch.exists() and switch.read_text().strip() == "0":
                    switch.write_text("1")
                    if interface != link:
                        changed.append(interface)
            if changed:
                _note(state_dir / name, changed)


def restore(state_dir: Path) -> None:
    """Switch off what was switched on, or leave that to another cluster that still needs it."""
    if not state_dir.exists():
        return
    with _turn(state_dir):
        (state_dir / LEAVING).touch()
        others = [path for path in state_dir.parent.glob("*/cluster.json") if path.parent != state_dir]
        for family, interfaces, name in SWITCHES:
            note = state_dir / name
            if not note.exists():
                continue
            heirs = [path for path in others if is_heir(path, family)]
            if heirs:
                _note(heirs[0].parent / name, note.read_text().split())
            else:
                for interface in note.read_text().split():
                    switch = interfaces / interface / name
                    if switch.exists():
                        switch.write_text("0")
            note.unlink()


def is_heir(cluster: Path, family: Family) -> bool:
    """Whether a cluster, by its file, has pods with addresses of a family and stays; one that cannot be read may have."""
    if (cluster.parent / LEAVING).exists():
        return False
    try:
        settings = json.loads(cluster.read_text())
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True
    has_pods = settings.get("pods", "real") == "real"
    return has_pods and settings.get("ip_family", "ipv4") in ("dual", family.name.lower())


@contextmanager
def _turn(state_dir: Path) -> Iterator[None]:
    """Hold the lock of all clusters: the folder they are in, which leaves nothing behind."""
    folder = os.open(state_dir.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _note(path: Path, interfaces: list[str]) -> None:
    known = set(path.read_text().split()) if path.exists() else set()
    path.write_text("\n".join(sorted(known | set(interfaces))))
