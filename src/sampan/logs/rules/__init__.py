"""Rules of users: which lines are one record, where what is built in does not know it.

``rule.py`` has the kinds, ``joiner.py`` applies one, ``file.py`` reads a file of them; ``filebeat.py``, ``fluent_bit.py`` and
``fluentd.py`` read those of others; ``traces.py`` is what is built in, of some languages only. Patterns are RE2: linear in
the line's length, whatever they are.
"""

from __future__ import annotations
