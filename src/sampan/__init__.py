"""Sampan: a Kubernetes-compatible cloud-native platform in one Python package.

Begin with ``docs/index.md`` for the whole picture; every folder here is one room of it, and each room's
``__init__`` says in ten lines what comes in, what goes out and where to begin reading.
"""

from __future__ import annotations

__version__ = "0.1.0"

TYPE_CHECKING = False  # typing is a good part of what a supervisor would have imported
if TYPE_CHECKING:
    from typing import Any

    from sampan.testing.cluster import Cluster as Cluster


def __getattr__(name: str) -> Any:
    """``sampan.Cluster``, imported when it is asked for: no other room pays for it."""
    if name == "Cluster":
        from sampan.testing.cluster import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
