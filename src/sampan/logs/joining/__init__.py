"""Lines of one stream in, records out: a stack trace, a JSON object over several lines, an indented rest are one record.

``Joiner`` holds the state of one stream. What it knows of languages stands in ``languages/``, one file each, as data; what it
finds out about a stream by itself in ``learning.py``; many lines at once in ``stretch.py``.
"""

from __future__ import annotations

from sampan.logs.joining.joiner import Joiner, Limits
from sampan.logs.joining.record import Record
from sampan.logs.joining.stretch import Framing, Run

__all__ = ["Framing", "Joiner", "Limits", "Record", "Run"]
