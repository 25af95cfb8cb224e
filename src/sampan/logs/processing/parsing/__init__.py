"""``parse``: fields out of a record's text. One format one file, each ``parse(draft, lift) -> bool``; see ``formats.py``.

    - parse: auto
    - parse: {format: regex, pattern: '(?P<time>\\S+) (?P<level>\\w+) (?P<message>.*)', timezone: Europe/Berlin}

What is known by its name (``lifting.py``) becomes the record's time, level, text and trace; the rest are attributes. A text
that is not in the format stays as it is, and is counted.
"""

from __future__ import annotations

from sampan.logs.processing.parsing.step import make

__all__ = ["make"]
