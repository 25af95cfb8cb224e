"""The table of conformance behaviours of the network names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "conformance-network.md"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
BEHAVIOURS = 45
"""How many the list has that the table was made from."""


def test_every_behaviour_is_shown_by_a_test_that_exists() -> None:
    rows = [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "shown by" not in line]
    assert len(set(rows)) == len(rows) == BEHAVIOURS
    for row in rows:
        found = NAMED.findall(row)
        assert found, f"no test is named: {row}"
        for file, name in found:
            path = TESTS / file
            assert path.exists() and re.search(rf"^(async )?def {name}\(", path.read_text(), re.M), f"{file}::{name}"
