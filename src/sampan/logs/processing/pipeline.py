"""The steps of a configuration, put together for each stream.

``steps_of(labels)`` is asked once for a stream and kept; ``process`` takes a stream's records through its steps. A stream
without steps has its records go on as they came.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from sampan.logs.account import Account, bytes_of
from sampan.logs.faults import place_of
from sampan.logs.joining import Record, Run
from sampan.logs.joining.cutting import CutAt, whole_characters
from sampan.logs.log_record import Batch, Delivery, Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing import wishes
from sampan.logs.processing.conditions import condition, guarded
from sampan.logs.processing.draft import Cutting, Draft, ForStream, Many, Passing, Step, Tally, Together
from sampan.logs.processing.steps import KINDS

logger = logging.getLogger("sampan.logs")

MANY_FAULTS = 100
FEW_LINES = 64
"""Among so many lines nobody looks for which of them it is that a step has something to do with."""
UNREDACTED = b"[redacted: this record could not be looked through]"
UNROUTED = "unrouted"
"""Why a record goes to no output: its route has none."""


class Configured(NamedTuple):
    """A step of the configuration, and what it has counted."""

    field: str
    kind: str
    step: ForStream
    tally: Tally
    outputs: tuple[str, ...] = ()
    """Which it names."""
    cut_at: CutAt | None = None


class Pipeline:
    def __init__(
        self,
        steps: Sequence[Configured] = (),
        *,
        may_ask: frozenset[str] = frozenset(),
    ) -> None:
        """``may_ask``: which annotations of pods count."""
        self.steps, self._may_ask = tuple(steps), may_ask
        self._outputs: frozenset[str] | None = None
        self._of: WeakKeyDictionary[Labels, tuple[Step, ...]] = WeakKeyDictionary()
        self._said: set[tuple[str, str]] = set()
        self.routes = any(step.kind == "route" for step in steps)
        """Whether outputs may get different records."""
        self.asked = Tally()
        """What steps count that pods have asked for."""

    def check_outputs(self, names: Iterable[str]) -> None:
        """Take which outputs there are. Raises ``OptionError`` for a step that names another one."""
        self._outputs = frozenset(names)
        for step in self.steps:
            known(step.outputs, self._outputs, f"{step.field}.{step.kind}.outputs")

    @property
    def cut_at(self) -> CutAt | None:
        """Where records that are over their limits may be cut; None where no step minds."""
        each = [step.cut_at for step in self.steps if step.cut_at is not None]
        return of_all(each) if each else None

    def steps_of(self, labels: Labels) -> tuple[Step, ...]:
        """Return the steps that the records of a stream go through."""
        found = self._of.get(labels)
        if found is None:
            first, last = self._wishes(labels, wishes.FIRST), self._wishes(labels, wishes.LAST)
            chosen = (*first, *(each.step for each in self.steps), *last)
            found = self._of[labels] = tuple(step for make in chosen if (step := make(labels)) is not None)
        return found

    def _wishes(self, labels: Labels, kinds: Mapping[str, wishes.Make]) -> list[ForStream]:
        wanted: list[ForStream] = []
        for name, value in labels.wishes.items():
            if name not in kinds or name not in self._may_ask:
                continue
            try:
                if name == "outputs" and self._outputs is not None:
                    known(value.replace(" ", "").split(","), self._outputs, f"{wishes.PREFIX}{name}")
                step = kinds[name](value, f"{wishes.PREFIX}{name}", self.asked)
            except OptionError as error:
                self._say(labels, error)
                continue
            self.routes = self.routes or name == "outputs"
            wanted += [step] if step is not None else []
        return wanted

    def _say(self, labels: Labels, error: OptionError) -> None:
        whose = "/".join(labels.values.get(part, "") for part in ("namespace", "pod"))
        if (whose, str(error)) not in self._said and len(self._said) < 10_000:
            self._said.add((whose, str(error)))
            logger.warning("pod %s asks for what cannot be: %s", whose, error)

    def passes(self, labels: Labels, raw: bytes) -> bool:
        """Whether all steps of a stream would leave lines as they are: then nobody need take them apart."""
        return all(isinstance(step, Passing) and step.passes(raw) for step in self.steps_of(labels))

    def together(self, labels: Labels, run: Run) -> Iterator[Many | Run] | None:
        """Return what the steps of a stream make of many lines of a run at once, and what they have to take one by one: that
        has to be done before the next is asked for. None where they take all so."""
        first, *others = self.steps_of(labels) or (None,)
        looks = [step.passes_json for step in others if isinstance(step, Passing)]
        return parts(first, looks, run) if isinstance(first, Together) and len(looks) == len(others) else None

    def process(self, labels: Labels, records: Iterable[Record], observed: int, account: Account) -> list[Delivery]:
        """Return what goes on of the records of a stream; what does not is counted in ``account``."""
        steps = self.steps_of(labels)
        if not steps:
            return [(labels, record, observed, None) for record in records]
        found: list[Delivery] = []
        for record in records:
            draft = Draft(labels, record, observed)
            reason = through(steps, draft)
            if reason:
                account.dropped[reason] += 1
                account.dropped_bytes[reason] += bytes_of(record)
            else:
                found.append((labels, draft.done(), observed, draft))
        return found


def parts(step: Together, looks: Sequence[Callable[[bytes], bool]], run: Run) -> Iterator[Many | Run]:
    """Yield what the first step of some makes of a run where the others have nothing to do."""
    waiting = [run]
    while waiting:
        part = waiting.pop()
        if all(look(part.raw) for look in looks):
            yield from step.together(part)
        elif part.lines <= FEW_LINES:
            yield part
        else:
            waiting += reversed(part.halves())


def of_all(each: Sequence[CutAt]) -> CutAt:
    """Return what finds a place that all agree with, and that is within no character."""

    def cut_at(text: bytes, at: int) -> int:
        place, before = at, -1
        while place != before:
            before = place
            for agreed in (whole_characters, *each):
                place = agreed(text, place)
        return place or at

    return cut_at


NOTHING = Pipeline()
"""No steps."""


def routed(batch: Batch, output: str) -> list[Delivery]:
    """Return what of a batch is for an output."""
    return [
        delivery
        for delivery in batch
        if (fields := delivery[3]) is None or fields.outputs is None or output in fields.outputs
    ]


def through(steps: tuple[Step, ...], draft: Draft) -> str:
    for step in steps:
        reason = step(draft)
        if reason:
            return reason
    return UNROUTED if draft.outputs is not None and not draft.outputs else ""


def known(names: Iterable[str], outputs: frozenset[str], field: str) -> None:
    """Raises ``OptionError`` for a name that no output has."""
    for name in names:
        if name and name not in outputs:
            raise OptionError(field, f"there is no output {name!r}; there are {', '.join(sorted(outputs)) or 'none'}")


def configured(given: Any, field: str = "processing") -> list[Configured]:
    """Return the steps of a configuration's list. Raises ``OptionError``."""
    if given is None:
        return []
    if not isinstance(given, list):
        raise OptionError(field, f"a list of steps is wanted, not {given!r}")
    return [one(each, f"{field}[{number}]") for number, each in enumerate(given)]


def one(given: Any, field: str) -> Configured:
    if not isinstance(given, dict):
        raise OptionError(field, f"a step such as {{parse: auto}} is wanted, not {given!r}")
    kinds = [name for name in given if name in KINDS]
    if len(kinds) != 1:
        raise OptionError(field, f"one of {', '.join(KINDS)} is wanted, not {', '.join(map(str, given)) or 'nothing'}")
    [kind] = kinds
    unknown = set(given) - {kind, "where"}
    if unknown:
        raise OptionError(f"{field}.{min(map(str, unknown))}", f"there is no such option; there are {kind}, where")
    tally = Tally()
    value = given[kind]
    short = KINDS[kind].short
    if value is None:
        value = {}
    elif not isinstance(value, dict) and short:
        value = {short: value}
    options = Options(value, f"{field}.{kind}")
    step = KINDS[kind].make(options, tally)
    outputs = options.texts("outputs") if kind == "route" else ()
    cut_at = step.cut_at if isinstance(step, Cutting) else None
    options.done()
    if "where" in given:
        where = Options(given["where"] or {}, f"{field}.where")
        step = guarded(step, condition(where, tally))
        where.done()
    return Configured(field, kind, contained(step, field, kind, tally), tally, outputs, cut_at)


def contained(step: ForStream, field: str, kind: str, tally: Tally) -> ForStream:
    """Return a step whose own faults end in it: the record goes on as it was, or without its text where that may have had
    secrets. One record must not stop the others, nor come again for ever."""
    said: set[str] = set()

    def fault(error: Exception, labels: Labels) -> None:
        tally["failed"] += 1
        what = place_of(error)  # its message may have the record's secrets
        if what not in said and len(said) < MANY_FAULTS:
            said.add(what)
            logger.error("%s (%s) fails at a record of %s: %s", field, kind, labels.values.get("file", "-"), what)

    def for_stream(labels: Labels) -> Step | None:
        try:
            run = step(labels)
        except Exception as error:
            fault(error, labels)
            return unredacted if kind == "redact" else None
        if run is None:
            return None

        def safely(draft: Draft) -> str:
            try:
                return run(draft)
            except Exception as error:
                fault(error, labels)
                return unredacted(draft) if kind == "redact" else ""

        if isinstance(run, Together):
            together = run.together

            def together_safely(lines: Run) -> list[Many | Run]:
                try:
                    return together(lines)
                except Exception as error:
                    fault(error, labels)
                    return [lines]

            return Together(safely, together_safely)
        if not isinstance(run, Passing):
            return safely

        def guarded_look(look: Callable[[bytes], bool]) -> Callable[[bytes], bool]:
            def passes(raw: bytes) -> bool:
                try:
                    return look(raw)
                except Exception as error:
                    fault(error, labels)
                    return False

            return passes

        return Passing(safely, guarded_look(run.passes), guarded_look(run.passes_json))

    return for_stream


def unredacted(draft: Draft) -> str:
    """Take from a record what nobody has looked through."""
    draft.text, draft.attributes, draft.severity_text, draft.event_name = UNREDACTED, {}, "", ""
    return ""
