"""Where the kubelet's folder is, as drivers see it.

A driver made for Kubernetes runs in a pod that has ``/var/lib/kubelet`` from its host, and gets paths below it. Here that
folder is the cluster's own: a hostPath below ``/var/lib/kubelet`` means it, and paths are told to such a driver in its words.
"""

from __future__ import annotations

from pathlib import Path

USUAL = Path("/var/lib/kubelet")


def here(path: Path, kubelet_dir: Path) -> Path:
    """Return a path below ``/var/lib/kubelet`` as what it is on this node; others as they are."""
    return kubelet_dir / path.relative_to(USUAL) if path.is_relative_to(USUAL) else path


def seen(path: Path, kubelet_dir: Path) -> Path:
    """Return a path of the kubelet's folder below ``/var/lib/kubelet``."""
    return USUAL / path.relative_to(kubelet_dir) if path.is_relative_to(kubelet_dir) else path
