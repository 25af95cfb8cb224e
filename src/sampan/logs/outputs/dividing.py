"""A record that is larger than an output takes, in parts: nothing is cut off."""

from __future__ import annotations

from collections.abc import Callable

from sampan.logs.log_record import Delivery

SMALLEST = 256
"""Bytes of a text that is not divided any further: what makes it too large then is not the text."""


def divided(delivery: Delivery, fits: Callable[[Delivery], bool], identity: str = "") -> list[Delivery]:
    """Return a record, or the parts of it that fit, with one ``id`` and numbers from 0 on. The id of what is a part already
    is that one's with its number; without either it is ``identity``. What cannot be divided is returned as it is."""
    if fits(delivery):
        return [delivery]
    labels, record, observed, fields = delivery
    name = f"{record.id}.{record.part}" if record.id else identity or record.time.decode("utf-8", "replace")
    found: list[Delivery] = []
    waiting = [record.text]
    while waiting:
        text = waiting.pop()
        part: Delivery = (labels, record._replace(text=text, id=name, part=len(found)), observed, fields)
        if fits(part) or len(text) <= SMALLEST:
            found.append(part)
        else:
            middle = middle_of(text)
            waiting += [text[middle:], text[:middle]]
    return found


def middle_of(text: bytes) -> int:
    """Return where a text is divided: near its middle, after a line's end if there is one, never within a character."""
    half = len(text) // 2
    line = text.rfind(b"\n", half // 2, half)
    if line > 0:
        return line + 1
    at = half
    while at > half - 4 and text[at] & 0xC0 == 0x80:
        at -= 1
    return at
