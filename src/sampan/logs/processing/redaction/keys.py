"""Private keys that go on in the next records of their stream: printed line by line, or cut at a record's limits."""

from __future__ import annotations

import re

from sampan.logs.processing.draft import Draft, Step, Tally


class Keys:
    """A step for one stream: replaces what is left of a private key in the records after that where it began, until it ends
    or what comes is no line of one; then comes the step that it is made of."""

    def __init__(self, step: Step, replacement: bytes, tally: Tally) -> None:
        self._step, self._replacement, self._tally = step, replacement, tally
        self.goes_on = False

    def __call__(self, draft: Draft) -> str:
        text = draft.text
        if self.goes_on:
            size, self.goes_on = rest_of_key(text)
            if size:
                self._tally["private_key"] += 1
                draft.text = self._replacement + (b"\n" if text[size - 1] == 10 else b"") + text[size:]
        begin = text.rfind(BEGIN)
        if begin >= 0 and text.find(END, begin) < 0 and OPENED.search(text[begin:]) is not None:
            self.goes_on = True
        return self._step(draft)


BEGIN, END = b"-----BEGIN ", b"-----END "
OPENED = re.compile(rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
OF_KEY = re.compile(rb"(?:[A-Za-z0-9+/=]*|(?:Proc-Type|DEK-Info|Version|Comment|Hash): [^\n]*)[ \t\r]*(?:\n|$)")
END_OF_KEY = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")


def rest_of_key(text: bytes) -> tuple[int, bool]:
    """Return how much of a record is of a key that began before it, and whether the key may go on."""
    at = 0
    while at < len(text):
        found = END_OF_KEY.match(text, at)
        if found is not None:
            return found.end(), False
        found = OF_KEY.match(text, at)
        if found is None or found.end() == at:
            return at, False
        at = found.end()
    return at, True
