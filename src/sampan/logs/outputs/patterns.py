"""Names made of a record: ``logs-{namespace}-{time:%Y.%m.%d}`` for an index, a topic, a label. Pure.

``{NAME}`` is a label of the stream (``namespace``, ``labels.app`` …), ``{resource.NAME}`` and ``{attributes.NAME}`` are what
OpenTelemetry's record has, ``{time:FORMAT}`` its time in UTC; ``{NAME|OTHER}`` is OTHER where there is none.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from sampan.logs.log_record import Delivery, time_of_delivery
from sampan.logs.outputs.options import OptionError, Options

PART = re.compile(r"\{([^{}]*)\}")
NAME = re.compile(r"[A-Za-z_@][\w@./-]*")
Make = Callable[[Delivery], str]


class Pattern:
    """Call it with a delivery for the name of it. ``clean`` makes of each value in it what may stand in a name."""

    def __init__(self, text: str, field: str = "pattern", clean: Callable[[str], str] = str) -> None:
        """Raises ``OptionError``."""
        self.text = text
        self._parts: list[str | Make] = []
        for number, part in enumerate(PART.split(text)):
            if number % 2:
                self._parts.append(made_of(part, field, clean))
            elif "{" in part or "}" in part:
                raise OptionError(field, f"{text!r}: a brace is alone; {{namespace}} is a label")
            elif part:
                self._parts.append(part)
        self._stream = all(isinstance(part, str) or getattr(part, "of_stream", False) for part in self._parts)
        self._known: tuple[object, str] = (None, "")

    def __call__(self, delivery: Delivery) -> str:
        if self._stream and self._known[0] is delivery[0]:
            return self._known[1]
        found = "".join(part if isinstance(part, str) else part(delivery) for part in self._parts)
        if self._stream:
            self._known = (delivery[0], found)
        return found


class OfStream:
    """The value of a label."""

    of_stream = True

    def __init__(self, name: str, otherwise: str, clean: Callable[[str], str]) -> None:
        self._name, self._otherwise, self._clean = name, otherwise, clean

    def __call__(self, delivery: Delivery) -> str:
        labels = delivery[0]
        value = (
            labels.resource.get(self._name.removeprefix("resource."))
            if self._name.startswith("resource.") and self._name not in labels.values
            else labels.values.get(self._name)
        )
        return self._clean(str(value)) if value not in (None, "") else self._otherwise


def made_of(part: str, field: str, clean: Callable[[str], str]) -> Make:
    """Return what makes the text of one ``{…}``. Raises ``OptionError``."""
    name, _, otherwise = part.partition("|")
    if name.startswith("time:"):
        format = part.removeprefix("time:")

        def moment(delivery: Delivery) -> str:
            return time.strftime(format, time.gmtime((time_of_delivery(delivery) or delivery[2]) // 10**9))

        return moment
    if NAME.fullmatch(name) is None:
        raise OptionError(field, f"{{{part}}} is no name of a label, and no time:FORMAT")
    if not name.startswith("attributes."):
        return OfStream(name, otherwise, clean)
    attribute = name.removeprefix("attributes.")

    def attributed(delivery: Delivery) -> str:
        fields = delivery[3]
        value = fields.attributes.get(attribute) if fields is not None else None
        return clean(str(value)) if value not in (None, "") else otherwise

    return attributed


def pattern_of(options: Options, name: str, default: str, clean: Callable[[str], str] = str) -> Pattern:
    """Raises ``OptionError``."""
    return Pattern(options.text(name, default), options.place(name), clean)
