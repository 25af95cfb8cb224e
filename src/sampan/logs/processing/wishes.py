"""What a pod may ask for its own records by annotations, as far as the configuration lets it (``annotations:``).

    logs.sampan.dev/parse: json             the format (after it the configuration's steps)
    logs.sampan.dev/level: warn             nothing below
    logs.sampan.dev/exclude: "true"         nothing at all
    logs.sampan.dev/sample: "0.1"           a share
    logs.sampan.dev/outputs: archive,loki   these outputs, instead of what the configuration says

With ``.CONTAINER`` after the name it is of one container. What cannot be is said, once for a pod, and is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sampan.logs.outputs.options import Options
from sampan.logs.processing import filtering, parsing, routing, sampling
from sampan.logs.processing.draft import ForStream, Tally

PREFIX = "logs.sampan.dev/"
Make = Callable[[str, str, Tally], ForStream | None]


def parse(value: str, field: str, tally: Tally) -> ForStream:
    return made(parsing.make, {"format": value}, field, tally)


def level(value: str, field: str, tally: Tally) -> ForStream:
    return made(filtering.make, {"keep": {"level": value}}, field, tally)


def exclude(value: str, field: str, tally: Tally) -> ForStream | None:
    excludes = Options({"exclude": value}, field).flag("exclude")
    return made(filtering.make, {"drop": {}}, field, tally) if excludes else None


def sample(value: str, field: str, tally: Tally) -> ForStream:
    return made(sampling.make, {"ratio": value}, field, tally)


def outputs(value: str, field: str, tally: Tally) -> ForStream:
    return made(routing.make, {"outputs": value}, field, tally)


def made(
    make: Callable[[Options, Tally], ForStream], values: Mapping[str, object], field: str, tally: Tally
) -> ForStream:
    options = Options(values, field)
    step = make(options, tally)
    options.done()
    return step


FIRST: dict[str, Make] = {"exclude": exclude, "parse": parse}
"""Before the configuration's steps."""
LAST: dict[str, Make] = {"level": level, "sample": sample, "outputs": outputs}
NAMES = (*FIRST, *LAST)


def of_container(annotations: Mapping[str, str], container: str) -> dict[str, str]:
    """Return what a pod's annotations ask for one of its containers, by ``NAMES``."""
    found: dict[str, str] = {}
    for name in NAMES:
        value = annotations.get(f"{PREFIX}{name}.{container}", annotations.get(f"{PREFIX}{name}"))
        if value is not None:
            found[name] = str(value)
    return found
