"""``filter``: records that go no further. ``drop`` and ``keep`` are conditions; what is dropped is counted. A
record without a level is kept by ``keep: {level: …}``.

    - filter: {drop: {namespace: kube-system, expression: 'severity < 13'}}
    - filter: {keep: {level: info}}
"""

from __future__ import annotations

from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.conditions import condition
from sampan.logs.processing.draft import ForStream, Step, Tally

FILTERED = "filtered"


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    words = [word for word in ("drop", "keep") if word in options]
    if len(words) != 1:
        raise OptionError(options.field, "either drop or keep is wanted")
    drops = words[0] == "drop"
    when = condition(options.inner(words[0]), tally, without_level=not drops)

    def for_stream(labels: Labels) -> Step | None:
        holds = when.resolve(labels)
        if isinstance(holds, bool):
            return (lambda draft: FILTERED) if holds == drops else None
        return lambda draft: FILTERED if holds(draft) == drops else ""

    return for_stream
