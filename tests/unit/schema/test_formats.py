"""String formats of custom resources, held to what a generic Kubernetes API server says (``scripts/format_answers.py``)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.schema.formats import format_check

ANSWERS: dict[str, dict[str, bool]] = json.loads((Path(__file__).parent / "format_answers.json").read_text())


@pytest.mark.parametrize("name", ANSWERS)
def test_a_format_accepts_what_kubernetes_accepts(name: str) -> None:
    check = format_check(name)
    assert (check is None) is (name == "unknown")
    for value, accepted in ANSWERS[name].items():
        assert (check is None or check(value)) is accepted, value
    assert format_check("date-time") is format_check("datetime")
