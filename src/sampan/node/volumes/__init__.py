"""The volumes of a pod: made ready on this node, kept up to date, handed to containers, removed without a trace.

In comes an entry of ``spec.volumes`` (``kinds.volume_of``), out a ``Mounted``: where it is, and what containers may do with
it. Begin with ``volume.py`` (what a kind is), then ``kinds.py`` (which there are), ``container_mounts.py`` (what a container
gets) and ``removal.py`` (the end).
"""

from sampan.node.volumes.volume import Mounted, Volume, VolumeError

__all__ = ["Mounted", "Volume", "VolumeError"]
