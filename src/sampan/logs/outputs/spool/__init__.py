"""A queue on disk before an output that may be down: records wait there, the other outputs go on, and nothing is dropped.

``spooled.py`` is the output that writes into the queue and sends from it; ``segments.py`` are the files, ``packing.py`` what
stands in them.
"""

from __future__ import annotations

from sampan.logs.outputs.spool.segments import Damaged, Segments, SpoolError
from sampan.logs.outputs.spool.spooled import Spooled

__all__ = ["Damaged", "Segments", "SpoolError", "Spooled"]
