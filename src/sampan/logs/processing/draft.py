"""A record in the hands of the steps, and what a step is.

A kind of step is ``make(options, tally) -> ForStream``; that is asked once for each stream and returns the ``Step``, or None
where the stream has nothing to do with it. A step changes the draft and returns ``""``, or why the record goes no further.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from sampan.logs.joining import Record, Run
from sampan.logs.joining.cutting import CutAt
from sampan.logs.joining.record import new_record
from sampan.logs.log_record import Fields, Labels


class Draft(Fields):
    """``text`` is what the record's text will be."""

    __slots__ = ("labels", "observed", "record", "text")

    def __init__(self, labels: Labels, record: Record, observed: int) -> None:
        # what Fields begins with, without a call: there is one for each record
        self.attributes = {}
        self.severity_number, self.severity_text, self.time_unix_nano = 0, "", 0
        self.trace_id = self.span_id = self.event_name = ""
        self.flags, self.outputs = 0, None
        self.labels, self.record, self.observed = labels, record, observed
        self.text = record.text

    def done(self) -> Record:
        """Return the record with its new text; nothing of the old one is left here."""
        record = self.record
        if self.text is not record.text:
            record = self.record = new_record(Record, (record[0], self.text, *record[2:]))
        return record


Step = Callable[[Draft], str]


class Passing:
    """A step that can tell of many lines at once, as they stand in their file, that it would leave each as it is: ``passes``
    where they are texts, ``passes_json`` where they are objects that have been parsed."""

    __slots__ = ("passes", "passes_json", "run")

    def __init__(self, run: Step, passes: Callable[[bytes], bool], passes_json: Callable[[bytes], bool]) -> None:
        self.run, self.passes, self.passes_json = run, passes, passes_json

    def __call__(self, draft: Draft) -> str:
        return self.run(draft)


class Together:
    """A step that can take many lines at once, as they stand in their file, to lines of ``json:`` outputs, if no other has
    something to do. ``together`` returns them, and runs of lines that it must take one by one, in their order."""

    __slots__ = ("run", "together")

    def __init__(self, run: Step, together: Callable[[Run], list[Many | Run]]) -> None:
        self.run, self.together = run, together

    def __call__(self, draft: Draft) -> str:
        return self.run(draft)


class Many:
    """Lines of a file that were taken together."""

    __slots__ = ("json", "run", "text_bytes")

    def __init__(self, run: Run, json: bytes, text_bytes: int) -> None:
        """``json``: as ``json_line`` has them. ``text_bytes``: of the run's texts."""
        self.run, self.json, self.text_bytes = run, json, text_bytes


ForStream = Callable[[Labels], Step | None]


class Cutting:
    """A kind of step that minds where a record which is over its limits is cut."""

    def __init__(self, for_stream: ForStream, cut_at: CutAt) -> None:
        self._for_stream, self.cut_at = for_stream, cut_at

    def __call__(self, labels: Labels) -> Step | None:
        return self._for_stream(labels)


Tally = Counter[str]
"""What a step counts of its work, by words of its own. Never of what it has found."""


def everywhere(step: Step) -> ForStream:
    """A step that is the same for every stream."""
    return lambda labels: step
