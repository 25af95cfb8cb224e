"""Records out. An output takes a batch and returns when it has it for good; until then nothing more is read.

``named.py`` makes them of their addresses, one file each: ``files.py`` (JSON lines or text; ``-`` is stdout), ``index.py``
(SQLite, searched by its words), ``http.py``. ``output.py`` is the seam; ``delivering.py`` tries again.
"""

from __future__ import annotations
