"""Private keys that go on in the next records of their stream: printed line by line, or cut at a record's limits."""

from __future__ import annotations

import re

from sampan.logs.processing.draft import Draft, Step, Tally


def with_keys(step: Step, replacement: bytes, tally: Tally) -> Step:
    """Return a step for one stream, where a private key may go on in the next records: until it ends, or what comes is no
    line of one."""
    goes_on = False

    def redact_keys(draft: Draft) -> str:
        nonlocal goes_on
        text = draft.text
        if goes_on:
            size, goes_on = rest_of_key(text)
            if size:
                tally["private_key"] += 1
                draft.text = replacement + (b"\n" if text[size - 1] == 10 else b"") + text[size:]
        begin = text.rfind(BEGIN)
        if begin >= 0 and text.find(END, begin) < 0 and OPENED.search(text[begin:]) is not None:
            goes_on = True
        return step(draft)

    return redact_keys


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
