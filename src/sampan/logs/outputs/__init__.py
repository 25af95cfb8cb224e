"""Records out. An output takes a batch and returns when it has it for good; until then nothing more is read.

``output.py`` is the seam; ``delivering.py`` tries again; ``sending.py`` cuts a batch into requests; ``spool/`` stands before
outputs that may be down. ``registry.py`` makes outputs of addresses and of a configuration, one file each: ``files.py`` (JSON
lines or text), ``index.py`` (SQLite, searched by its words), ``http.py``, ``otlp.py``, ``elasticsearch.py``, ``loki.py``,
``kafka.py``, ``syslog.py``. A new one is a file with ``make(name, options)`` and a line there.
"""

from __future__ import annotations
