"""Which kinds of steps there are: one file each, one entry here."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sampan.logs.outputs.options import Options
from sampan.logs.processing import filtering, mapping, parsing, redaction, routing, sampling
from sampan.logs.processing.draft import ForStream, Tally


class Kind(NamedTuple):
    make: Callable[[Options, Tally], ForStream]
    """Raises ``OptionError``."""
    short: str = ""
    """The option that a bare value stands for: ``parse: json`` is ``parse: {format: json}``."""


KINDS = {
    "parse": Kind(parsing.make, "format"),
    "map": Kind(mapping.make),
    "filter": Kind(filtering.make),
    "sample": Kind(sampling.make, "ratio"),
    "redact": Kind(redaction.make, "secrets"),
    "route": Kind(routing.make, "outputs"),
}
