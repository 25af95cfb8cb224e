"""The emulated Kubernetes version as a number, for what came or went with one."""

from __future__ import annotations


def minor(version: str) -> int:
    """Return 37 for ``1.37``."""
    return int(version.split(".")[1])
