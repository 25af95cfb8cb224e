"""The table of conformance behaviours of the network names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")
PAGES = {"conformance-network.md": 45, "conformance-network-policy.md": 44}
"""How many behaviours the lists have that the tables were made from."""


@pytest.mark.parametrize(("page", "behaviours"), PAGES.items())
def test_every_behaviour_is_shown_by_a_test_that_exists(page: str, behaviours: int) -> None:
    rows = [
        line
        for line in (TESTS.parent / "docs" / page).read_text().splitlines()
        if line.startswith("| ") and "shown by" not in line
    ]
    assert len(set(rows)) == len(rows) == behaviours
    for row in rows:
        found = NAMED.findall(row)
        assert found, f"no test is named: {row}"
        for file, name in found:
            path = TESTS / file
            assert path.exists() and re.search(rf"^(async )?def {name}\(", path.read_text(), re.M), f"{file}::{name}"
