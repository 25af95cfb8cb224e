"""``sampan doctor``: what the host has and lacks, one line each, with the command that mends it."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from sampan.cli.up import PROGRAMS, which

SUMMARY = "show what this machine lacks for real pods, and how to mend it"
OPTIONAL = {"buildah": ("buildah", "`sampan image build`"), "busybox": ("busybox-static", "the tests' images")}
"""Program → package, and what needs it."""
Finding = tuple[bool, str, str, str]
"""``(well, what, state, how to mend)``"""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults()


def run(options: argparse.Namespace) -> int:
    found = list(findings())
    for well, what, state, mend in found:
        print(f"{'ok ' if well else 'BAD'}  {what:24} {state:44} {'' if well else mend}".rstrip())
    return 0 if all(well for well, *_ in found) else 1


def findings() -> Iterator[Finding]:
    yield sys.platform == "linux", "system", sys.platform, "use --pods=simulated"
    yield os.geteuid() == 0, "root", f"uid {os.geteuid()}", "sudo sampan up, or --pods=simulated"
    for program, package in PROGRAMS.items():
        path = which(program)
        yield path is not None, program, str(path or "missing"), f"apt-get install -y {package}"
    for program, (package, purpose) in OPTIONAL.items():
        path = which(program)
        yield True, program, str(path) if path else f"missing; {purpose}: apt-get install -y {package}", ""
    yield plugins()
    yield from kernel()
    yield from network()
    free = os.statvfs("/var/lib" if Path("/var/lib").exists() else "/")
    gigabytes = free.f_bavail * free.f_frsize / 1e9
    yield gigabytes > 1, "disk under /var/lib", f"{gigabytes:.1f} GB free", "free at least 1 GB"


def plugins() -> Finding:
    from sampan.gateway.envoy import libpython

    library = libpython()
    mend = f"apt-get install -y libpython{sysconfig.get_python_version()} (plugins of gateways in Python need it)"
    return library is not None, "libpython", str(library or "missing"), mend


def kernel() -> Iterator[Finding]:
    from sampan.cluster import cgroups
    from sampan.node.containerd import has_overlay

    roots = cgroups.hierarchies()
    version = "v2" if roots == [cgroups.ROOT] else f"v1 ({len(roots)} hierarchies)"
    yield bool(roots), "cgroups", version if roots else "not mounted", "mount cgroup v2 at /sys/fs/cgroup"
    overlay = has_overlay()
    yield overlay, "overlayfs", "there" if overlay else "not in /proc/filesystems", "modprobe overlay"


def network() -> Iterator[Finding]:
    if which("nft") and os.geteuid() == 0:
        done = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True)
        yield done.returncode == 0, "nftables", done.stderr.strip()[:44] or "usable", "modprobe nf_tables"
    else:
        yield True, "nftables", "not looked at (root is needed)", ""
    yield True, "IPv6", ipv6(), ""


def ipv6() -> str:
    """Return what clusters of ``--ip-family dual`` or ``ipv6`` can have here; one of IPv4 needs nothing of it."""
    from sampan.network.cluster_link import forwards_ipv6, ipv6_works
    from sampan.network.host_forwarding import SYSCTL_IPV6

    if not SYSCTL_IPV6.exists():
        return "the kernel has none: --ip-family ipv4 only"
    if not ipv6_works():
        return "switched off (net.ipv6.conf.*.disable_ipv6): --ip-family ipv4 only"
    return "usable" if forwards_ipv6() else "usable, pods do not reach the world by it (needs Linux 6.17)"
