"""The table of conformance behaviours of nodes and volumes names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "conformance-node-storage.md"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
BEHAVIOURS = {"[sig-node]": 103, "[sig-storage]": 90}
"""How many the list has that the table was made from."""


def rows() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            below = found.setdefault(line.removeprefix("## "), [])
        elif line.startswith("| ") and "shown by" not in line:
            below.append(line)
    return found


def test_every_behaviour_is_shown_by_a_test_that_exists() -> None:
    assert {group: len(set(lines)) for group, lines in rows().items()} == BEHAVIOURS
    for row in (row for lines in rows().values() for row in lines):
        found = NAMED.findall(row)
        assert found, f"no test is named: {row}"
        for file, name in found:
            path = TESTS / file
            assert path.exists() and re.search(rf"^(async )?def {name}\(", path.read_text(), re.M), f"{file}::{name}"
