"""The step ``parse``: its options, and what it counts."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from functools import partial
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from sampan.logs.joining import Run
from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.draft import Draft, ForStream, Many, Step, Tally, Together, everywhere
from sampan.logs.processing.parsing.formats import FORMATS, Parse
from sampan.logs.processing.parsing.lifting import LEVEL, MESSAGE, TIME, Lift, Names
from sampan.logs.processing.parsing.many import OfStream, Shapes
from sampan.logs.processing.parsing.pattern import parse_by
from sampan.logs.processing.patterns import compiled, groups_of
from sampan.logs.timestamps import by_format


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    format = options.one_of("format", (*FORMATS, "regex"), "auto")
    zone = zone_of(options)
    time_format = format_of(options, zone) if "time_format" in options else None
    names = Names(
        names_of(options, "time_field", TIME),
        names_of(options, "level_field", LEVEL),
        names_of(options, "message_field", MESSAGE),
    )
    lift = Lift(names, zone, time_format, options.flag("keep_original"))
    step = step_of(parser_of(format, options), lift, tally)
    if format not in ("auto", "json") or lift.original or time_format is not None:
        return everywhere(step)
    shapes = Shapes(lift)

    def for_stream(labels: Labels) -> Step:
        of_stream = OfStream(shapes, labels.json + b"}\n")

        def together(run: Run) -> list[Many | Run]:
            found = of_stream.parse(run)
            tally["parsed"] += sum(item.run.lines for item in found if isinstance(item, Many))
            return found

        return Together(step, together)

    return for_stream


def parser_of(format: str, options: Options) -> Parse:
    if format != "regex":
        if "pattern" in options:
            raise OptionError(options.place("pattern"), f"the format {format} has none; regex has")
        return FORMATS[format]
    pattern = compiled(options.text("pattern"), options.place("pattern"))
    groups = tuple(groups_of(pattern).items())
    if not groups:
        raise OptionError(
            options.place("pattern"), "it has no named group, such as (?P<level>INFO|WARN), so nothing is parsed"
        )
    return partial(parse_by, pattern, groups)


def step_of(parse: Parse, lift: Lift, tally: Tally) -> Step:
    def step(draft: Draft) -> str:
        tally["parsed" if parse(draft, lift) else "unparsed"] += 1
        return ""

    return step


def format_of(options: Options, zone: tzinfo) -> Callable[[str], int]:
    """Return what reads times of a format of ``strptime``."""
    format = options.text("time_format")
    now = datetime.now(UTC)
    try:
        datetime.strptime(now.strftime(format), format)
    except ValueError as error:
        raise OptionError(options.place("time_format"), f"{format!r}: {error}") from error
    if not any(f"%{sign}" in format for sign in "Yycx"):
        raise OptionError(
            options.place("time_format"), f"{format!r} has no year; times without one are read without a format"
        )
    return by_format(format, zone)


def names_of(options: Options, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    return (*options.texts(name), *default) if name in options else default


def zone_of(options: Options) -> tzinfo:
    name = options.text("timezone", "UTC")
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise OptionError(options.place("timezone"), f"there is no time zone {name!r}") from error
