"""Clusters for tests: a fresh one in milliseconds, forked from a warm process; a pytest plugin on top.

In comes what a cluster is to be (``spec.py``), out goes a running one with a kubeconfig for any client (``running.py``).
``warm.py`` is the process that forks, ``snapshots.py`` what it forks, ``pool.py`` the way to it; ``handle.py`` is what a
test does with a cluster, ``cluster.py`` the same as ``sampan.Cluster``, ``plugin.py`` the same as fixtures; ``envtest.py``
stands in for envtest's binaries. Begin with ``cluster.py``, then ``warm.py``.
"""

from sampan.testing.spec import ClusterError, ClusterSpec

__all__ = ["ClusterError", "ClusterSpec"]
