"""``redact``: secrets replaced, in the text and in attributes. What was replaced is counted by its name, and shown nowhere.

    - redact: {}                                              # what is looked for by default (secrets.py)
    - redact: {secrets: [default, email], patterns: {customer: 'C-\\d{8}'}, replacement: '[redacted:NAME]'}

Of an own pattern the group ``secret`` is replaced, if it has one, else all of it. Values of attributes that are called
``password``, ``token``, ``authorization`` and the like are replaced whole.

``step.py`` reads the options, ``secrets.py`` says what secrets look like, ``keys.py`` has private keys over several records,
``attributes.py`` looks into objects.
"""

from __future__ import annotations

from sampan.logs.processing.redaction.step import make

__all__ = ["make"]
