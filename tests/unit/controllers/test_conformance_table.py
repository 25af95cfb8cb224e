"""The table of conformance behaviours names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).resolve().parents[2]
PAGE = TESTS.parent / "docs" / "conformance-apps-scheduling.md"
NAMED = re.compile(r"`([\w/]+\.py)::(test_\w+)`")


def rows() -> list[str]:
    return [line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "shown by" not in line]


def test_every_behaviour_is_shown_by_a_test_that_exists() -> None:
    missing = []
    for row in rows():
        found = NAMED.findall(row)
        assert found, f"no test is named: {row}"
        for file, name in found:
            path = TESTS / file
            if not path.exists() or not re.search(rf"^(async )?def {name}\(", path.read_text(), re.M):
                missing.append(f"{file}::{name}")
    assert not missing
    # the list that it was made from has 54 behaviours of apps and 11 of scheduling
    assert len(rows()) == len(set(rows())) == 65
