"""Sampan: a Kubernetes-compatible cloud-native platform in one Python package.

Begin with ``docs/index.md`` for the whole picture; every folder here is one room of it, and each room's
``__init__`` says in ten lines what comes in, what goes out and where to begin reading.
"""

__version__ = "0.1.0"
