"""Rules of users: which lines are one record, where what is built in does not know it.

``rule.py`` has the kinds, ``joiner.py`` applies one, ``file.py`` reads a file of them; ``filebeat.py`` and
``fluent_bit.py`` read those of others. Patterns are RE2: linear in the line's length, whatever they are.
"""

from __future__ import annotations
