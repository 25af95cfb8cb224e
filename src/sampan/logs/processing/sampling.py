"""``sample``: some of many. What is left out is counted; the next record that is kept says how much (``sampan.sampled``).

    - sample: {ratio: 0.1}                           # one in ten, at random
    - sample: {ratio: 0.1, by: trace_id}             # all records of one trace in ten, the same traces on every node
    - sample: {rate: 100, burst: 500, by: [namespace, pod], always: {level: error}}    # records a second, for each pod

``by`` names what is compared: ``trace_id``, ``text``, a label of the stream, or ``attributes.NAME``.
"""

from __future__ import annotations

import random
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import blake2b

from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.conditions import Condition, condition
from sampan.logs.processing.draft import Draft, ForStream, Step, Tally, everywhere
from sampan.logs.processing.paths import reader

SAMPLED = "sampled"
MANY_KEYS = 10_000
TRACE_RANDOMNESS = 1 << 56
"""The last 56 bits of a trace's id are random (OpenTelemetry, "Consistent probability sampling")."""


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    by = options.texts("by")
    if ("ratio" in options) == ("rate" in options):
        raise OptionError(options.field, "either ratio or rate is wanted")
    always = condition(options.inner("always"), tally) if "always" in options else None
    if "ratio" in options:
        ratio = number(options, "ratio")
        if ratio > 1:
            raise OptionError(options.place("ratio"), f"from 0 to 1 is wanted, not {ratio:g}")
        keeps = by_ratio(ratio, by)
    else:
        rate = number(options, "rate")
        keeps = by_rate(rate, number(options, "burst") if "burst" in options else max(rate, 1.0), by)
    return for_stream_with(always, counted(keeps))


def number(options: Options, name: str) -> float:
    def read(value: object) -> float | None:
        try:
            found = float(str(value))
        except ValueError:
            return None
        return found if 0 <= found < float("inf") else None

    return options.take(name, 0.0, read, "a number from 0 on")


def for_stream_with(always: Condition | None, step: Step) -> ForStream:
    if always is None:
        return everywhere(step)

    def for_stream(labels: Labels) -> Step | None:
        holds = always.resolve(labels)
        if isinstance(holds, bool):
            return None if holds else step
        return lambda draft: "" if holds(draft) else step(draft)

    return for_stream


def counted(keeps: Callable[[Draft], bool]) -> Step:
    """Return the step; a record that is kept tells how many of its stream before it were not."""
    left_out: OrderedDict[Labels, int] = OrderedDict()

    def sample(draft: Draft) -> str:
        if keeps(draft):
            if left_out and (count := left_out.pop(draft.labels, 0)):
                draft.attributes["sampan.sampled"] = count
            return ""
        left_out[draft.labels] = left_out.get(draft.labels, 0) + 1
        if len(left_out) > MANY_KEYS:
            left_out.popitem(last=False)
        return SAMPLED

    return sample


def by_ratio(ratio: float, by: tuple[str, ...], chance: Callable[[], float] = random.random) -> Callable[[Draft], bool]:
    """Return what keeps a share of the records: at random, or of equal keys all or none. Without a key: at random."""
    key = key_of(by)
    threshold = round((1 - ratio) * TRACE_RANDOMNESS)
    traces = by == ("trace_id",)

    def keeps(draft: Draft) -> bool:
        value = key(draft)
        if not value:
            return chance() < ratio
        if traces:
            return int(value[-14:], 16) >= threshold
        return int.from_bytes(blake2b(value.encode("utf-8", "replace"), digest_size=7).digest(), "big") >= threshold

    return keeps


def by_rate(
    rate: float, burst: float, by: tuple[str, ...], clock: Callable[[], float] = time.monotonic
) -> Callable[[Draft], bool]:
    """Return what keeps so many records a second of each key, and ``burst`` at once."""
    key = key_of(by)
    buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def keeps(draft: Draft) -> bool:
        now, value = clock(), key(draft)
        left, at = buckets.get(value, (burst, now))
        left = min(burst, left + (now - at) * rate)
        kept = left >= 1
        buckets[value] = (left - kept, now)
        buckets.move_to_end(value)
        if len(buckets) > MANY_KEYS:
            buckets.popitem(last=False)
        return kept

    return keeps


def key_of(by: tuple[str, ...]) -> Callable[[Draft], str]:
    readers = [reader(name) for name in by]
    if len(readers) == 1:
        [only] = readers
        return lambda draft: str(only(draft) or "")
    return lambda draft: "\0".join(str(read(draft) or "") for read in readers) if readers else ""
