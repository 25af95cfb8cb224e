"""Bytes of log files in, lines with their time and stream out.

``formats.py`` names the formats; one file each. A format is a function ``lines(chunk) -> list[Line]`` over whole lines of
a file. ``file.py`` reads one file through every rotation, ``following.py`` all of them, ``ledger.py`` keeps where they are.
"""

from __future__ import annotations
