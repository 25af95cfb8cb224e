"""Sampan: a Kubernetes-compatible cloud-native platform in one Python package.

Begin with ``docs/index.md`` for the whole picture; every folder here is one room of it, and each room's
``__init__`` says in ten lines what comes in, what goes out and where to begin reading.
"""

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from sampan.testing.cluster import Cluster as Cluster


def __getattr__(name: str) -> Any:
    """``sampan.Cluster``, imported when it is asked for: no other room pays for it."""
    if name == "Cluster":
        from sampan.testing.cluster import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
