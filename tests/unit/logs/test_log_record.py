"""Records as OpenTelemetry's log data model has them: times in every form, levels, resource."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.joining import Record
from sampan.logs.log_record import Fields, Labels, log_record
from sampan.logs.outputs.output import json_line
from sampan.logs.severity import found_in, number_of
from sampan.logs.timestamps import by_format, of_number, rfc3339, time_of, written

AT = int(datetime(2026, 11, 30, 10, 0, 5, tzinfo=UTC).timestamp()) * 10**9
MILLI = 10**6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-30T10:00:05Z", AT),
        ("2026-11-30T12:00:05.123+02:00 x", AT + 123 * MILLI),
        ("2026-11-30 10:00:05,123 INFO", AT + 123 * MILLI),
        ("2026/11/30 10:00:05 main.go", AT),
        ("[2026-11-30T10:00:05.123Z] \"GET", AT + 123 * MILLI),
        ("30/Nov/2026:11:00:05 +0100", AT),
        ("Nov 30 10:00:05 host sshd", AT),
        ("Mon Nov 30 10:00:05 2026", AT),
        ("Mon, 30 Nov 2026 10:00:05 GMT", AT),
        ("I1130 10:00:05.123456       1 main.go:3] x", AT + 123456000),
        ("20261130T100005.5Z", AT + 500 * MILLI),
        (str(AT // 10**9), AT),
        (str(AT // 10**6 + 123), AT + 123 * MILLI),
        (str(AT // 10**3), AT),
        (str(AT), AT),
        ("1796032805.25", AT + 250 * MILLI),
        ("2026-13-30T10:00:05Z", 0),
        ("2026-02-30 10:00:05", 0),
        ("order 17 taken", 0),
        ("9999-12-31T23:59:59Z", 0),
        ("0001-01-01 00:00:00", 0),
        ("9999999999999999999", 0),
        ("2026-11-30T10:00:05.1234567891234Z", AT + 123456789),
        ("12345", 0),
        ("", 0),
    ],
)  # fmt: skip
def test_times_in_many_forms(text: str, expected: int) -> None:
    assert time_of(text, AT + 10**9) == expected


@pytest.mark.parametrize(
    "text", [b"9999-12-31T23:59:59Z", b"1969-12-31T23:59:59Z", b"2026-11-30T10:00:0xZ", b"2026-11-30T10:00Z"]
)
def test_what_no_64_bits_hold_is_not_known(text: bytes) -> None:
    assert rfc3339(text) == 0 and rfc3339(text[:-1] + b"+00:00") == 0


def test_a_time_without_a_year_is_near_to_when_it_was_read() -> None:
    new_year = int(datetime(2027, 1, 1, 0, 0, 1, tzinfo=UTC).timestamp()) * 10**9
    assert written(time_of("Dec 31 23:59:59 host x", new_year)) == "2026-12-31T23:59:59.000000000Z"
    assert written(time_of("Jan  1 00:00:00 host x", new_year - 5 * 10**9)) == "2027-01-01T00:00:00.000000000Z"
    assert written(time_of("I0229 10:00:00.000000 1 a.go:1] x", new_year)) == "2028-02-29T10:00:00.000000000Z"


def test_a_time_without_a_zone_is_of_the_zone_that_is_given() -> None:
    assert time_of("2026-11-30 11:00:05", AT, ZoneInfo("Europe/Berlin")) == AT
    assert by_format("%d.%m.%Y %H:%M:%S.%f", ZoneInfo("Europe/Berlin"))("30.11.2026 11:00:05.5") == AT + 500 * MILLI
    assert by_format("%d.%m.%Y")("no date") == 0


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)),
    st.integers(-14 * 60, 14 * 60),
    st.integers(0, 999_999_999),
)
def test_rfc3339_is_read_as_python_reads_it(moment: datetime, minutes: int, nanoseconds: int) -> None:
    here = moment.replace(microsecond=0, tzinfo=timezone(timedelta(minutes=minutes)))
    expected = int(here.timestamp()) * 10**9 + nanoseconds
    zone = here.isoformat()[19:]
    text = f"{here:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09}{zone}"
    assert rfc3339(text.encode()) == expected
    assert time_of(text, 0) == expected
    assert rfc3339(written(expected).encode()) == expected


@given(st.text(max_size=80) | st.from_regex(r"[\d:TZ.+-]{1,40}", fullmatch=True))
def test_wild_texts_are_no_times_and_no_errors(text: str) -> None:
    assert time_of(text, AT) >= -(2**63)
    rfc3339(text.encode())
    of_number(text)
    found_in(text.encode())
    number_of(text)


@pytest.mark.parametrize(
    ("level", "number"),
    [
        *(("info", 9), ("WARNING", 13), ("Error", 17), ("CRITICAL", 21), ("crit", 18), ("notice", 10), ("FINE", 6)),
        *((30, 9), (60, 21), ("50", 17), (3, 17), ("6", 9), (100, 0), ("loud", 0), (float("nan"), 0), ("", 0)),
    ],
)
def test_levels(level: str | int, number: int) -> None:
    assert number_of(level) == number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("E1130 10:00:05.123456 1 main.go:3] x", (17, "E")),
        ('{"ts":1,"level":"warn","msg":"ERROR"}', (13, "warn")),
        ("ts=1 level=debug msg=x", (5, "debug")),
        ("2026-11-30 10:00:05,123 INFO no ERROR here", (9, "INFO")),
        ("2026/11/30 10:00:05 [error] 7#7: open()", (17, "error")),
        ("[main] WARN c.e.Shop - x", (13, "WARN")),
        ("[nginx] all is well", (0, "")),
        ("NO-ERROR and ERRORS and x.ERROR", (0, "")),
        ("nothing\nERROR in the next line", (0, "")),
    ],
)
def test_the_level_at_the_beginning_of_a_record(text: str, expected: tuple[int, str]) -> None:
    assert found_in(text.encode()) == expected


POD = {
    "file": "/var/log/pods/shop_web-5d_u1/main/2.log", "stream": "stderr", "namespace": "shop", "pod": "web-5d-x",
    "pod_uid": "u1", "container": "main", "restart": "2", "node": "n1", "image": "registry:5000/shop:1.2@sha256:ab",
    "labels.app": "shop", "workload.replicaset": "web-5d", "workload.deployment": "web", "resource.team": "tea",
}  # fmt: skip


def test_a_record_in_the_data_model() -> None:
    labels = Labels(POD)
    record = Record(b"2026-11-30T10:00:05.5Z", b"ERROR \xff\n  at x", 2, "java", "next", "id", 1)
    found = log_record((labels, record, 77, None))
    assert found[:5] == (AT + 500 * MILLI, 77, 17, "ERROR", "ERROR \ufffd\n  at x")
    assert found.resource is labels.resource
    assert found.resource == {
        "k8s.namespace.name": "shop", "k8s.pod.name": "web-5d-x", "k8s.pod.uid": "u1", "k8s.container.name": "main",
        "k8s.node.name": "n1", "k8s.container.restart_count": 2, "k8s.pod.label.app": "shop",
        "k8s.replicaset.name": "web-5d", "k8s.deployment.name": "web", "container.image.name": "registry:5000/shop",
        "container.image.tags": ["1.2"], "service.name": "web", "service.namespace": "shop",
        "service.version": "1.2@sha256:ab", "service.instance.id": "shop.web-5d-x.main", "team": "tea",
    }  # fmt: skip
    assert found.attributes == {
        "log.file.path": POD["file"], "log.iostream": "stderr", "sampan.lines": 2, "sampan.rule": "java",
        "sampan.record.id": "id", "sampan.record.part": 1,
    }  # fmt: skip
    assert (found.trace_id, found.span_id, found.flags, found.event_name) == (b"", b"", 0, "")


def test_what_processing_found_comes_first() -> None:
    fields = Fields()
    fields.time_unix_nano, fields.severity_number, fields.severity_text = AT, 9, "info"
    fields.attributes, fields.trace_id, fields.span_id = {"user": {"id": 7}}, "ab" * 16, "cd" * 8
    delivery = (Labels({"file": "/a"}), Record(b"2020-01-01T00:00:00Z", b"ERROR?", 1, "", "next"), 1, fields)
    found = log_record(delivery)
    assert (found.time_unix_nano, found.severity_number, found.severity_text) == (AT, 9, "info")
    assert (found.trace_id, found.span_id) == (b"\xab" * 16, b"\xcd" * 8)
    assert found.attributes == {"log.file.path": "/a", "user": {"id": 7}}
    assert orjson.loads(json_line(delivery)) == {
        "time": "2026-11-30T10:00:05.000000000Z", "text": "ERROR?", "severity": 9, "level": "info",
        "trace_id": "ab" * 16, "span_id": "cd" * 8, "attributes": {"user": {"id": 7}}, "file": "/a",
    }  # fmt: skip


def test_the_time_of_a_plain_files_record_is_that_of_its_text() -> None:
    labels = Labels({"file": "/a"})
    assert re.match(
        "2026-11-30T10", written(log_record((labels, Record(b"", b"2026-11-30 10:00:05 x", 1, "", ""), AT, None))[0])
    )
    assert log_record((labels, Record(b"", b"no time", 1, "", ""), AT, None)).time_unix_nano == 0
    assert labels.resource == {}
