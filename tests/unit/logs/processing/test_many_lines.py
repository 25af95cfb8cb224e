"""Lines that go by many at once are redacted as if each had been looked at: those without a secret are not taken apart."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.account import Account
from sampan.logs.agent import Agent
from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Joiner
from sampan.logs.outputs.registry import output_named
from sampan.logs.processing.pipeline import Pipeline
from sampan.logs.reading import file as reading
from sampan.logs.reading.finding import Roots
from sampan.logs.reading.following import Following
from sampan.logs.reading.ledger import Ledger
from tests.unit.logs.processing.drafts import take

SECRETS = [
    "password=hunter22",
    "http://u:p1@h/",
    "4111 1111 1111 1111",
    "C-17",
    "-----BEGIN PRIVATE KEY----- abc",
    "token: none",
]
REDACT: list[dict[str, Any]] = [{"redact": {"patterns": {"customer": "C-\\d+"}}}]
ANCHORED: list[dict[str, Any]] = [{"redact": {"patterns": {"first": "^2026"}}}]


class Counting(Pipeline):
    """Counts the records that were taken apart."""

    taken = 0

    def process(self, labels: Any, records: Any, observed: int, account: Account) -> Any:
        self.taken += len(records)
        return super().process(labels, records, observed, account)


async def read(
    home: Path, lines: list[str], steps: list[dict[str, Any]], format: str
) -> tuple[list[str], int, Account]:
    log = home / "logs" / "0.log"
    log.parent.mkdir()
    before = "2026-11-30T10:00:00Z stdout F " if format == "cri" else ""
    log.write_text("".join(f"{before}{line}\n" for line in lines))
    configured = configuration_of({"processing": steps}).pipeline
    pipeline = Counting(configured.steps)
    ledger = Ledger(home / "state" / "positions.db")
    following = Following(Roots([str(log.parent)]), make_joiner=lambda _: Joiner, settling_seconds=0)
    agent = Agent(following, ledger, [output_named(f"json:{home}/out", home)], pipeline=pipeline)
    await agent.once()
    [file] = following.files.values()
    await agent.close()
    return (
        [orjson.loads(line)["text"] for line in (home / "out").read_bytes().splitlines()],
        pipeline.taken,
        file.account,
    )


@settings(max_examples=12, deadline=None)
@given(
    st.dictionaries(st.integers(0, 399), st.sampled_from(SECRETS), max_size=4), st.sampled_from(["cri", "plain"]),
    st.sampled_from([REDACT, ANCHORED]),
)  # fmt: skip
def test_what_is_redacted_is_the_same(secrets: dict[int, str], format: str, steps: list[dict[str, Any]]) -> None:
    lines = [
        f"2026-11-30 10:00:{number % 60:02} INFO order {number} {secrets.get(number, '')}" for number in range(400)
    ]
    with tempfile.TemporaryDirectory() as home, patch.object(reading, "CHUNK", 4096):
        texts, _, account = asyncio.run(read(Path(home), lines, steps, format))
    assert texts == take({"processing": steps}, *lines).texts
    assert account.missing(0) == 0


@pytest.mark.parametrize(
    ("steps", "all"), [(REDACT, False), (ANCHORED, True), ([*REDACT, {"filter": {"drop": {"namespace": "x"}}}], False)]
)
async def test_lines_without_a_secret_are_not_taken_apart(
    tmp_path: Path, steps: list[dict[str, Any]], all: bool
) -> None:
    lines = [f"2026-11-30 10:00:{number % 60:02} INFO order {number}" for number in range(5000)]
    with patch.object(reading, "CHUNK", 4096):  # from the second chunk on it is known how records begin
        _, taken, _ = await read(tmp_path, lines, steps, "cri")
    assert taken == 5000 if all else taken < 500
