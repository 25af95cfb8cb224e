"""Logs: read container logs and files, join what belongs together, deliver it.

Lines come in as bytes, in the order of their stream; records go out. ``joining`` is the heart: a ``Joiner`` for each
stream (pod uid, container, restart, stdout or stderr). Begin with ``joining/joiner.py``.
"""

from __future__ import annotations
