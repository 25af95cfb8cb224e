"""Records as messages of syslog. Pure.

A record of several lines is one message, with its line ends. One that is longer than the receiver takes goes in parts, which
tell so in their structured data: nothing is cut off. What is no UTF-8 is replaced.
Source: RFC 5424 (message), RFC 6587 3.4.1 and RFC 5425 4.3 (octet counting), RFC 5612 (enterprise number for documentation).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache

from sampan.logs.log_record import Delivery, LogRecord, log_record
from sampan.logs.outputs.per_stream import PerStream
from sampan.logs.resource import Value
from sampan.logs.timestamps import written

FACILITIES = (
    *("kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp"),
    *("ntp", "audit", "alert", "clock", *(f"local{number}" for number in range(8))),
)
ENTERPRISE = "32473"
"""The number that RFC 5612 keeps for examples: without one of one's own, what is private may be called after it."""
BOM = b"\xef\xbb\xbf"
NOT_NAME = re.compile(r"[^!-~]")
ESCAPED = re.compile(r'(["\\\]])')
ESCAPE = r"\\\1"
INFORMATIONAL = 6


def severity_of(number: int) -> int:
    """Return syslog's severity of OpenTelemetry's (the log data model, appendix B): 0 where nothing is worse, 6 where nothing
    is known."""
    for least, severity in ((22, 0), (21, 1), (18, 2), (17, 3), (13, 4), (10, 5), (9, 6), (1, 7)):
        if number >= least:
            return severity
    return INFORMATIONAL


@lru_cache(2000)
def name_of(value: str, longest: int) -> str:
    """Return a field of the header: printable ASCII without spaces, ``-`` where there is none."""
    return NOT_NAME.sub("_", value)[:longest] or "-"


class Messages:
    """How records are written: ``facility`` by its number, ``hostname`` where the record's node is not known."""

    def __init__(
        self, facility: int, hostname: str, enterprise: str = ENTERPRISE, most_bytes: int = 8192, *, bom: bool = True
    ) -> None:
        self._facility, self._hostname, self._most = facility, hostname, most_bytes
        self._bom = BOM if bom else b""
        self._of_stream = PerStream(lambda labels: element(self._stream, stream_of(labels.values)))
        self._stream, self._record = f"kubernetes@{enterprise}", f"record@{enterprise}"

    def of(self, delivery: Delivery, identity: str = "") -> Iterator[bytes]:
        """Yield the message of a record, or its parts."""
        record = log_record(delivery)
        labels = delivery[0].values
        head = self._head(record, labels)
        stream = self._of_stream(delivery[0])
        told = told_of(record, identity)
        text = record.body.encode()
        whole = b" ".join((head, (stream + element(self._record, told) or "-").encode(), self._bom + text))
        if len(whole) <= self._most:
            yield whole
            return
        room = max(self._most - len(head) - len(stream) - len(element(self._record, {**told, "part": "99999"})) - 8, 64)
        for number, piece in enumerate(pieces_of(text, room) if text else (b"",), 1):
            data = stream + element(self._record, {**told, "part": str(number)})
            yield b" ".join((head, data.encode(), self._bom + piece))

    def _head(self, record: LogRecord, labels: Mapping[str, str]) -> bytes:
        time = written(record.time_unix_nano or record.observed_time_unix_nano)
        service = str(record.resource.get("service.name") or labels.get("container") or "")
        host = name_of(labels.get("node") or self._hostname, 255)
        fields = (
            f"<{self._facility * 8 + severity_of(record.severity_number)}>1",
            f"{time[:26]}Z",
            host,
            name_of(service, 48),
            name_of(labels.get("pod", ""), 128),
            name_of(record.event_name or labels.get("stream", ""), 32),
        )
        return " ".join(fields).encode()


def stream_of(labels: Mapping[str, str]) -> dict[str, str]:
    names = ("namespace", "pod", "pod_uid", "container", "restart", "node", "file")
    more = {name: value for name, value in labels.items() if name.startswith("labels.")}
    return {name: labels[name] for name in names if name in labels} | more


def told_of(record: LogRecord, identity: str) -> dict[str, Value]:
    attributes = {
        name: value for name, value in record.attributes.items() if name not in ("log.file.path", "log.iostream")
    }
    ids = {"id": identity, "trace_id": record.trace_id.hex(), "span_id": record.span_id.hex()}
    return {name: value for name, value in ids.items() if value} | attributes


def element(name: str, parameters: Mapping[str, Value]) -> str:
    """Return an element of structured data, ``""`` of no parameters."""
    found = " ".join(
        f'{parameter_name(key)}="{ESCAPED.sub(ESCAPE, str(value))}"'
        for key, value in parameters.items()
        if value is not None
    )
    return f"[{name} {found}]" if found else ""


@lru_cache(2000)
def parameter_name(name: str) -> str:
    return re.sub(r'[^!-~]|[="\]]', "_", name)[:32]


def pieces_of(text: bytes, most_bytes: int) -> Iterator[bytes]:
    """Yield a text of UTF-8 in pieces that are UTF-8, after a line's end where there is one."""
    start = 0
    while start < len(text):
        end = start + most_bytes
        if end < len(text):
            line = text.rfind(b"\n", start + most_bytes // 2, end)
            if line >= 0:
                end = line + 1
            while text[end] & 0xC0 == 0x80:
                end -= 1
        yield text[start:end]
        start = end


def counted(message: bytes) -> bytes:
    """Return a frame of octet counting."""
    return b"%d %b" % (len(message), message)
