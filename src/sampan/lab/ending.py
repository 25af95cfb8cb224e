"""The end of a laboratory, waited for."""

from __future__ import annotations

import contextlib
import os
import select

from sampan.lab import calls
from sampan.lab.errors import LabError

SECONDS = 30


def end(name: str) -> None:
    """End a laboratory; return when its keeper and its programs are gone. Raises ``LabError`` when none of the name runs."""
    status, _ = calls.call(name, {"ask": "identity"})
    with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
        keeper = os.pidfd_open(status["pid"])
        try:
            calls.call(name, {"ask": "down"})
            if not select.select([keeper], [], [], SECONDS)[0]:
                raise LabError(f"the keeper {status['pid']} of laboratory {name!r} does not end", "kill -9 ends it")
        finally:
            os.close(keeper)
