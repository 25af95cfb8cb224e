"""Records of a stream in, records out: parsed, mapped, filtered, sampled, redacted, routed.

A configuration names steps in their order; each is one pure function over a ``Draft`` (``draft.py``), one file, one entry in
``steps.py``. What of a step is known of a stream already (its namespace, its labels) is decided once for the stream, so
that a record meets only the steps that may change it. Begin with ``pipeline.py``.
"""

from __future__ import annotations
