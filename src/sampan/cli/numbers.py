"""Numbers on the command line that must be more than nothing: what ``type=`` of an argument reads them with."""

from __future__ import annotations

import argparse
import math


def whole(text: str, most: int = 0) -> int:
    """Return a number from 1 (to ``most``, if that is given). Raises ``ArgumentTypeError``."""
    if text.isascii() and text.isdecimal() and int(text) > 0 and (not most or int(text) <= most):
        return int(text)
    raise argparse.ArgumentTypeError(f"must be a whole number {f'from 1 to {most}' if most else 'from 1'}, is {text!r}")


def positive(text: str) -> float:
    """Return a number above 0, seconds for instance. Raises ``ArgumentTypeError``."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number <= 1e9:
        raise argparse.ArgumentTypeError(f"must be a number above 0, is {text!r}")
    return number
