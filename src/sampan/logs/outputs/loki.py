"""Loki's push, as JSON with gzip: a stream for each set of labels, the rest as structured metadata.

Loki takes a record of the same time and text once, so what is sent again is not double; records that have no time of their
own get times one after another, so that equal ones stay apart. Of a request with entries that it does not take (too old, too
far behind, too long) Loki keeps the others, and says how many it has ignored.
Source: Grafana Loki's reference, "Ingest logs" (``POST /loki/api/v1/push``, its answers in "Request validation and rate
limit errors").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson

from sampan.logs.log_record import Batch, Delivery, Labels, LogRecord, log_record
from sampan.logs.outputs import http_client
from sampan.logs.outputs.batches import ids_of
from sampan.logs.outputs.dividing import divided
from sampan.logs.outputs.http_client import HttpClient
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Output
from sampan.logs.outputs.patterns import Pattern
from sampan.logs.outputs.per_stream import PerStream
from sampan.logs.outputs.sending import TAKEN, Sender, Verdict
from sampan.logs.resource import Value
from sampan.logs.severity import NAMES

BATCH_BYTES = 1 << 20
LINE_BYTES = 256 << 10
"""What Loki takes of a line if nobody says otherwise."""
PATH = "/loki/api/v1/push"
LABELS = {
    "service_name": "{resource.service.name|unknown_service}",
    "namespace": "{namespace}",
    "container": "{container}",
    "node": "{node}",
    "stream": "{stream}",
}
"""Few values each; pods come and go, and are structured metadata."""
NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
WRONG = re.compile(r"[^a-zA-Z0-9_]")
STREAM_ATTRIBUTES = frozenset({"log.file.path", "log.iostream"})
LEVELS = tuple(name.rstrip("234").lower() for name in NAMES)
IGNORED = re.compile(rb"total ignored: (\d+) out of (\d+)")


class Loki(Sender):
    def __init__(
        self,
        name: str,
        client: HttpClient,
        labels: dict[str, Pattern],
        tenant: str = "",
        structured_metadata: bool = True,
        batch_bytes: int = BATCH_BYTES,
        line_bytes: int = LINE_BYTES,
    ) -> None:
        self._line_bytes = line_bytes
        self.name, self._client, self._labels = name, client, labels
        self._headers = {"Content-Type": "application/json", **({"X-Scope-OrgID": tenant} if tenant else {})}
        self._metadata, self._batch_bytes = structured_metadata, batch_bytes
        self._of_stream = PerStream(stream_metadata)

    async def _send(self, part: Batch) -> Verdict:
        answer = await self._client.post(self.body(part), self._headers, PATH)
        if answer.status == 400 and (ignored := IGNORED.search(answer.body)) is not None:
            return Verdict(refused=min(int(ignored[1]), len(part)), message=f"{self._client.url}: {answer.said}")
        self._client.judge(answer)
        return TAKEN

    def body(self, batch: Batch) -> bytes:
        streams: dict[tuple[str, ...], tuple[list[list[Any]], dict[str, int]]] = {}
        for delivery, identity in self._lines(batch):
            key = tuple(pattern(delivery) for pattern in self._labels.values())
            values, last = streams.setdefault(key, ([], {}))
            record = log_record(delivery)
            time = record.time_unix_nano or max(record.observed_time_unix_nano, last.get("time", 0) + 1)
            if not record.time_unix_nano:
                last["time"] = time
            value: list[Any] = [str(time), record.body]
            if self._metadata:
                value.append(metadata_of(self._of_stream(delivery[0]), record, identity))
            values.append(value)
        names = tuple(self._labels)
        found = [
            {
                "stream": {name: value for name, value in zip(names, key, strict=True) if value} or {"job": "sampan"},
                "values": values,
            }
            for key, (values, _) in streams.items()
        ]
        return orjson.dumps({"streams": found})

    def _lines(self, batch: Batch) -> Iterator[tuple[Delivery, str]]:
        """Yield the records with their ids; one that is longer than Loki takes in parts."""
        ids = ids_of(batch) or ("",) * len(batch)
        for delivery, identity in zip(batch, ids, strict=True):
            if len(delivery[1].text) <= self._line_bytes:
                yield delivery, identity
                continue
            for part in divided(delivery, lambda one: len(one[1].text) <= self._line_bytes, identity):
                yield part, f"{identity}.{part[1].part}" if identity else ""

    async def close(self) -> None:
        await self._client.close()


def stream_metadata(labels: Labels) -> dict[str, str]:
    """Return what the records of a stream have beside its labels in Loki."""
    of = labels.values
    found: dict[str, str] = {name: of[name] for name in ("pod", "pod_uid", "restart", "image", "file") if of.get(name)}
    return found | {WRONG.sub("_", name): value for name, value in of.items() if name.startswith("labels.") and value}


def metadata_of(of_stream: dict[str, str], record: LogRecord, identity: str) -> dict[str, str]:
    """Return a record's structured metadata. Loki wants texts."""
    found = dict(of_stream)
    for name, value in record.attributes.items():
        if name not in STREAM_ATTRIBUTES and value not in (None, ""):
            found[WRONG.sub("_", name)] = text_of(value)
    if record.severity_number:
        found["detected_level"] = LEVELS[record.severity_number]
        found["severity_text"] = record.severity_text
    if record.trace_id:
        found["trace_id"] = record.trace_id.hex()
    if record.span_id:
        found["span_id"] = record.span_id.hex()
    if record.event_name:
        found["event_name"] = record.event_name
    if identity:
        found["log_record_uid"] = identity
    return found


def text_of(value: Value) -> str:
    return value if isinstance(value, str) else orjson.dumps(value, default=str).decode()


def labels_of(options: Options) -> dict[str, Pattern]:
    """Return the labels of ``labels``: names, or patterns by name. Raises ``OptionError``."""
    place = options.place("labels")

    def read(value: Any) -> dict[str, str] | None:
        if isinstance(value, dict):
            return {str(name): str(text) for name, text in value.items()}
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if isinstance(value, list) and all(isinstance(name, str) for name in value):
            pairs = (name.partition("=") for name in value)
            return {WRONG.sub("_", name): text if equal else f"{{{name}}}" for name, equal, text in pairs}
        return None

    found = options.take("labels", LABELS, read, "names of labels, or patterns by their names,")
    for name in found:
        if NAME.fullmatch(name) is None:
            raise OptionError(place, f"{name!r} is no name of a label of Loki")
    return {name: Pattern(text, f"{place}.{name}") for name, text in found.items()}


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    return Loki(
        name,
        http_client.client_of(options),
        labels_of(options),
        options.text("tenant"),
        options.flag("structured_metadata", True),
        options.size("batch_bytes", BATCH_BYTES),
        options.size("line_bytes", LINE_BYTES, least=1024),
    )
