"""One entry of a log file: ``(time, stream, tag, content)``.

``time`` is as the file has it, ``b""`` where it has none; ``tag`` is ``b"P"`` where the line goes on in the next entry of its
stream, else ``b"F"``; ``content`` is without its newline.
"""

from __future__ import annotations

Line = tuple[bytes, bytes, bytes, bytes]
