"""Lines of one stream in, records out: a stack trace, a JSON object over several lines, an indented rest are one record.

``Joiner`` holds the state of one stream. What it knows of languages stands in ``languages/``, one file each, as data; what it
finds out about a stream by itself in ``learning.py``; many lines at once in ``striding.py``.
"""

from __future__ import annotations

from sampan.logs.joining.joiner import Limits, LineJoiner
from sampan.logs.joining.record import Record
from sampan.logs.joining.stretch import Framing, Run
from sampan.logs.joining.striding import Joiner

__all__ = ["Framing", "Joiner", "Limits", "LineJoiner", "Record", "Run"]
