"""Elasticsearch and OpenSearch by ``_bulk``: ``create`` with an ``_id`` that stays, so that what is sent again is not double.

Every item is answered for itself: 409 is one that is there already; 429, 5xx, and what tells of the index (401, 403, 404) go
again; another one is refused, with its reason. ``index`` is a pattern, of an index or of a data stream (``create`` does for
both).
Source: Elasticsearch's and OpenSearch's reference, "Bulk API"; the Elastic Common Schema 8.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson

from sampan.logs.log_record import Batch, Labels, LogRecord, log_record
from sampan.logs.outputs import http_client
from sampan.logs.outputs.batches import ids_of, only
from sampan.logs.outputs.http_client import Answer, HttpClient
from sampan.logs.outputs.options import Options
from sampan.logs.outputs.output import Output, Undelivered
from sampan.logs.outputs.patterns import Pattern, pattern_of
from sampan.logs.outputs.per_stream import PerStream
from sampan.logs.outputs.sending import Sender, Verdict
from sampan.logs.timestamps import written

BATCH_BYTES = 4 << 20
INDEX = "logs-sampan-{namespace|default}"
"""Elasticsearch has a template for ``logs-*-*``: a data stream."""
WRONG = re.compile(r'[\\/*?"<>| ,#:A-Z]')
LONGEST = 255
AGAIN = frozenset({401, 403, 404, 408, 429})
ANSWERED = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason,items.*.error.caused_by.reason"
POD_LABEL = "labels."
STREAM_ATTRIBUTES = frozenset({"log.file.path", "log.iostream"})
OfStream = Callable[[Labels], dict[str, Any]]
OfRecord = Callable[[LogRecord], dict[str, Any]]


def ecs_stream(labels: Labels) -> dict[str, Any]:
    """Return what a stream's records have in the Elastic Common Schema, as Filebeat has it of Kubernetes."""
    values, resource = labels.values, labels.resource
    kubernetes = {
        "namespace": values.get("namespace"),
        "pod": some({"name": values.get("pod"), "uid": values.get("pod_uid")}),
        "container": some({"name": values.get("container"), "restart": values.get("restart")}),
        "node": some({"name": values.get("node")}),
        "labels": {
            dedotted(name.removeprefix(POD_LABEL)): value
            for name, value in values.items()
            if name.startswith(POD_LABEL)
        },
    }
    return {
        "stream": values.get("stream"),
        "log.file.path": values.get("file"),
        "kubernetes": some(kubernetes),
        "container": some({"image": some({"name": values.get("image")})}),
        "service": some({"name": resource.get("service.name"), "version": resource.get("service.version")}),
    }


def ecs_record(record: LogRecord) -> dict[str, Any]:
    attributes = {name: value for name, value in record.attributes.items() if name not in STREAM_ATTRIBUTES}
    return {
        "@timestamp": moment(record),
        "message": record.body,
        "log.level": record.severity_text.lower(),
        "event.created": written(record.observed_time_unix_nano),
        "event.action": record.event_name,
        "trace.id": record.trace_id.hex(),
        "span.id": record.span_id.hex(),
        "attributes": attributes,
    }


def otel_stream(labels: Labels) -> dict[str, Any]:
    """Return a stream's resource as OpenTelemetry's log data model has it."""
    return {"resource": some({"attributes": {label_dedotted(name): value for name, value in labels.resource.items()}})}


def otel_record(record: LogRecord) -> dict[str, Any]:
    return {
        "@timestamp": moment(record),
        "observed_timestamp": written(record.observed_time_unix_nano),
        "body": {"text": record.body},
        "severity_number": record.severity_number,
        "severity_text": record.severity_text,
        "trace_id": record.trace_id.hex(),
        "span_id": record.span_id.hex(),
        "event_name": record.event_name,
        "attributes": record.attributes,
    }


MAPPINGS: dict[str, tuple[OfStream, OfRecord]] = {"ecs": (ecs_stream, ecs_record), "otel": (otel_stream, otel_record)}


def some(values: dict[str, Any]) -> dict[str, Any]:
    """Return what has a value."""
    return {name: value for name, value in values.items() if value not in (None, "", 0) and value != {}}


def dedotted(name: str) -> str:
    """Return a label's name without dots: ``app`` beside ``app.kubernetes.io/name`` is a text and an object, which no index
    can have."""
    return name.replace(".", "_")


def label_dedotted(name: str) -> str:
    prefix = "k8s.pod.label."
    return prefix + dedotted(name.removeprefix(prefix)) if name.startswith(prefix) else name


def moment(record: LogRecord) -> str:
    return written(record.time_unix_nano or record.observed_time_unix_nano)


def index_part(value: str) -> str:
    """Return a value as it may stand in the name of an index."""
    return WRONG.sub(lambda found: found[0].lower() if found[0].isalpha() else "-", value)


class Elasticsearch(Sender):
    def __init__(
        self,
        name: str,
        client: HttpClient,
        index: Pattern,
        mapping: str = "ecs",
        pipeline: str = "",
        batch_bytes: int = BATCH_BYTES,
    ) -> None:
        self.name, self._client, self._index = name, client, index
        of_stream, self._of_record = MAPPINGS[mapping]
        self._stream = PerStream(lambda labels: orjson.dumps(some(of_stream(labels)))[1:])
        self._path = f"/_bulk?{ANSWERED}" + (f"&pipeline={quote(pipeline)}" if pipeline else "")
        self._batch_bytes = batch_bytes

    async def _send(self, part: Batch) -> Verdict:
        headers = {"Content-Type": "application/x-ndjson"}
        answer = await self._client.post(self.body(part), headers, self._path)
        self._client.judge(answer)
        return verdict(part, answer, self._client.url)

    def body(self, batch: Batch) -> bytes:
        ids = ids_of(batch)
        lines = []
        for number, delivery in enumerate(batch):
            action = {"_index": self._index(delivery)[:LONGEST]}
            if ids is not None:
                action["_id"] = ids[number]
            record = orjson.dumps(some(self._of_record(log_record(delivery))), default=str)
            stream = self._stream(delivery[0])
            lines += [orjson.dumps({"create": action}), record[:-1] + b"," + stream if stream != b"}" else record]
        return b"\n".join([*lines, b""])

    async def close(self) -> None:
        await self._client.close()


def verdict(part: Batch, answer: Answer, url: str) -> Verdict:
    """Return what became of every item. Raises ``Undelivered`` where the answer is not one of ``_bulk``."""
    try:
        said = orjson.loads(answer.body or b"{}")
        if not said.get("errors"):
            return Verdict()
        items = [next(iter(item.values())) for item in said["items"]]
        statuses = [int(item.get("status", 200)) for item in items]
    except (ValueError, TypeError, AttributeError, KeyError, StopIteration) as error:
        raise Undelivered(f"{url}: this is no answer of _bulk: {answer.said}") from error
    if len(items) != len(part):
        raise Undelivered(f"{url}: {len(items)} items are answered of {len(part)}")
    again = [number for number, status in enumerate(statuses) if goes_again(status)]
    refused = [item for item, status in zip(items, statuses, strict=True) if is_refused(status)]
    spoken = refused or [items[number] for number in again]
    message = f"{url}: {reason_of(spoken[0])}" if spoken else ""
    return Verdict(only(part, again) if again else (), len(refused), message, answer.retry_after)


def goes_again(status: int) -> bool:
    return status in AGAIN or status >= 500


def is_refused(status: int) -> bool:
    return status >= 400 and status != 409 and not goes_again(status)


def reason_of(item: dict[str, Any]) -> str:
    error = item.get("error") or {}
    if not isinstance(error, dict):
        return f"{item.get('status')} {error}"
    cause = (error.get("caused_by") or {}).get("reason")
    return " ".join(
        filter(None, (str(item.get("status")), error.get("type"), error.get("reason"), cause and f"({cause})"))
    )


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    return Elasticsearch(
        name,
        http_client.client_of(options),
        pattern_of(options, "index", INDEX, index_part),
        options.one_of("mapping", MAPPINGS, "ecs"),
        options.text("pipeline"),
        options.size("batch_bytes", BATCH_BYTES),
    )
