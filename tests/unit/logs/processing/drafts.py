"""Records of a test, taken through the steps of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

import yaml

from sampan.logs.account import Account
from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Record
from sampan.logs.log_record import NO_WISHES, Delivery, Fields, Labels
from sampan.logs.processing.pipeline import Pipeline

OBSERVED = int(datetime(2026, 11, 30, 10, 1, tzinfo=UTC).timestamp()) * 10**9


class Taken(NamedTuple):
    found: list[Delivery]
    account: Account
    pipeline: Pipeline

    @property
    def texts(self) -> list[str]:
        return [delivery[1].text.decode("utf-8", "surrogateescape") for delivery in self.found]

    @property
    def fields(self) -> list[Fields]:
        return [fields for _, _, _, fields in self.found if fields is not None]


def take(
    config: str | dict[str, Any],
    *texts: str | bytes,
    labels: Mapping[str, str] = NO_WISHES,
    wishes: Mapping[str, str] = NO_WISHES,
) -> Taken:
    """Take texts as the records of one stream through a configuration of YAML."""
    pipeline = configuration_of(yaml.safe_load(config) if isinstance(config, str) else config).pipeline
    account = Account()
    records = [
        Record(b"2026-11-30T10:00:00Z", text.encode() if isinstance(text, str) else text, 1, "", "next")
        for text in texts
    ]
    records = [record._replace(lines=record.text.count(b"\n") + 1) for record in records]
    return Taken(pipeline.process(Labels(labels, wishes), records, OBSERVED, account), account, pipeline)
