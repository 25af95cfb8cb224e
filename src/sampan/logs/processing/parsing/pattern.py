"""A pattern of the user's, of RE2: its named groups are the fields. A group that has not matched is no field."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sampan.logs.processing.draft import Draft
from sampan.logs.processing.parsing.lifting import Lift
from sampan.logs.resource import Value


def parse_by(pattern: Any, groups: Iterable[tuple[str, int]], draft: Draft, lift: Lift) -> bool:
    found = pattern.search(draft.text)
    if found is None:
        return False
    values: dict[str, Value] = {
        name: value.decode("utf-8", "replace") for name, number in groups if (value := found[number]) is not None
    }
    lift(draft, values)
    return True
