"""Every format: what becomes a field, and that nothing is lost of what does not."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.log_record import Fields, log_record
from sampan.logs.outputs.output import json_line
from sampan.logs.processing.parsing.logfmt import pairs
from sampan.logs.timestamps import written
from tests.unit.logs.processing.drafts import take

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
ENVOY = (
    '[2026-11-30T10:00:05.123Z] "GET /a?b=c HTTP/1.1" 503 UF,URX 7 135 4 - "10.0.0.1, 10.1.1.1" "curl/8" "7f-1" '
    '"shop.example:8080" "10.1.2.3:80"'
)
ISTIO = (
    '[2026-11-30T10:00:05.123Z] "GET /a HTTP/2" 200 - via_upstream - "-" 0 135 4 3 "-" "curl/8" "7f-1" "shop" '
    '"10.1.2.3:80" inbound|80|| 127.0.0.1:1 10.0.0.1:80 10.0.0.2:1 outbound_.80 default'
)
ENVOY_JSON = {
    "start_time": "2026-11-30T10:00:05.123Z", "method": "GET", "path": "/a?b=c", "response_code": 503,
    "response_flags": "UF,URX", "authority": "[fd00::1]:8080", "route_name": None, "duration": 4,
}  # fmt: skip


def parsed(text: str, **options: Any) -> tuple[str, str, int, dict[str, Any], Fields]:
    """Return time, text, severity, attributes and all fields of a text that is parsed."""
    taken = take({"processing": [{"parse": options or {}}]}, text)
    [fields] = taken.fields
    time = written(fields.time_unix_nano)[11:23] if fields.time_unix_nano else ""
    return time, taken.texts[0], fields.severity_number, fields.attributes, fields


@pytest.mark.parametrize(
    ("text", "time", "message", "severity", "attributes"),
    [
        ('{"ts":1796032805.5,"level":"warn","msg":"a\\nb","n":{"k":[]}}', "10:00:05.500", "a\nb", 13, {"n": {"k": []}}),
        ('{"level":30,"time":1796032805500,"msg":"pino"}', "10:00:05.500", "pino", 9, {}),
        ('{"@timestamp":"2026-11-30T10:00:05Z","log.level":"error","message":"ecs"}', "10:00:05.000", "ecs", 17, {}),
        ('{"event":"structlog","time":"no time","level":"loud"}', "", "structlog", 0, {"time": "no time"}),
        ('{"message":{"a":1},"msg":"b"}', "", "b", 0, {"message": {"a": 1}}),
        ('{"level":"info"}', "", '{"level":"info"}', 9, {}),
        ('{"msg":"x"}\njava.lang.Error: y\n\tat z', "", "x\njava.lang.Error: y\n\tat z", 0, {}),
        ('{"no":"message"}\nrest', "", '{"no":"message"}\nrest', 0, {"no": "message"}),
        ('{\n  "msg": "pretty"\n}', "", "pretty", 0, {}),
        ('{"broken": ', "", '{"broken": ', 0, {}),
        ('ts=2026-11-30T10:00:05Z level=error msg="a \\"b\\" c" n=1', "10:00:05.000", 'a "b" c', 17, {"n": "1"}),
        ("level=info msg=x\n  more", "", "x\n  more", 9, {}),
        ("a=1 a=2 a=3 b=", "", "a=1 a=2 a=3 b=", 0, {"a": ["1", "2", "3"], "b": ""}),
        ("x=1 failed to do it", "", "x=1 failed to do it", 0, {}),
        ("2026-11-30 10:00:05,123 ERROR [main] x", "10:00:05.123", "2026-11-30 10:00:05,123 ERROR [main] x", 17, {}),
        ("nothing is known", "", "nothing is known", 0, {}),
        ("", "", "", 0, {}),
        (
            'E1130 10:00:05.123456    7 a.go:116] "Pod \\"x\\"" pod="ns/p" err="no" msg="m"', "10:00:05.123", 'Pod "x"', 17,
            {"pod": "ns/p", "err": "no", "msg": "m", "code.file.path": "a.go", "code.line.number": 116, "thread.id": 7},
        ),
        (
            "W1130 10:00:05.123456 7 b.go:1] plain\ngoroutine 1", "10:00:05.123", "plain\ngoroutine 1", 13,
            {"code.file.path": "b.go", "code.line.number": 1, "thread.id": 7},
        ),
        (
            ENVOY, "10:00:05.123", ENVOY, 0,
            {
                "http.request.method": "GET", "url.path": "/a", "url.query": "b=c", "network.protocol.name": "http",
                "network.protocol.version": "1.1", "http.response.status_code": 503, "envoy.response_flags": "UF,URX",
                "http.request.body.size": 7, "http.response.body.size": 135, "envoy.duration_ms": 4,
                "client.address": "10.0.0.1", "envoy.x_forwarded_for": "10.0.0.1, 10.1.1.1",
                "user_agent.original": "curl/8", "envoy.request_id": "7f-1", "server.address": "shop.example",
                "server.port": 8080, "envoy.upstream_host": "10.1.2.3:80",
            },
        ),
        (
            orjson.dumps(ENVOY_JSON).decode(), "10:00:05.123", orjson.dumps(ENVOY_JSON).decode(), 0,
            {
                "http.request.method": "GET", "url.path": "/a", "url.query": "b=c", "http.response.status_code": 503,
                "envoy.response_flags": "UF,URX", "server.address": "[fd00::1]", "server.port": 8080,
                "envoy.duration_ms": 4,
            },
        ),
    ],
)  # fmt: skip
def test_the_format_is_found(text: str, time: str, message: str, severity: int, attributes: dict[str, Any]) -> None:
    assert parsed(text)[:4] == (time, message, severity, attributes)


@pytest.mark.parametrize("digits", ["9" * 30, "9" * 5000])
@pytest.mark.parametrize(
    "line",
    [
        "I1130 10:00:00.000000 {} f.go:12] hello",
        "I1130 10:00:00.000000 1 f.go:{}] hello",
        '[2026-11-30T10:00:00.000Z] "GET / HTTP/1.1" 200 - {} 1 5 4 "-" "c" "r" "h" "10.0.0.1:80"',
        '[2026-11-30T10:00:00.000Z] "GET / HTTP/1.1" 200 - 1 1 5 4 "-" "c" "r" "h:{}" "10.0.0.1:80"',
    ],
)
def test_a_number_that_no_output_takes_is_a_text(line: str, digits: str) -> None:
    """One such line of any pod would end the agent, again and again."""
    taken = take({"processing": [{"parse": "auto"}]}, line.replace("{}", digits))
    assert taken.pipeline.steps[0].tally == {"parsed": 1}
    assert digits in orjson.loads(json_line(taken.found[0]))["attributes"].values()


def test_istios_line_is_read_too() -> None:
    attributes = parsed(ISTIO, format="envoy")[3]
    assert (attributes["http.response.status_code"], attributes["server.address"]) == (200, "shop")
    assert attributes["envoy.response_code_details"] == "via_upstream"


@pytest.mark.parametrize(
    "values",
    [
        {"trace_id": TRACE, "span_id": SPAN},
        {"traceparent": f"00-{TRACE}-{SPAN}-01"},
        {"traceId": TRACE.upper(), "spanID": SPAN},
    ],
)
def test_the_trace_of_a_record(values: dict[str, str]) -> None:
    *_, attributes, fields = parsed(orjson.dumps({"msg": "x", **values}).decode())
    assert (fields.trace_id, fields.span_id, attributes) == (TRACE, SPAN, {})
    assert fields.flags == ("traceparent" in values)


@pytest.mark.parametrize("trace", ["0" * 32, "12", 7, "x" * 32, None])
def test_what_is_no_trace_stays_an_attribute(trace: Any) -> None:
    *_, attributes, fields = parsed(orjson.dumps({"trace_id": trace}).decode())
    assert (fields.trace_id, attributes) == ("", {"trace_id": trace})


def test_a_pattern_of_the_users() -> None:
    pattern = r"^(?P<time>\S+ \S+) (?P<level>\w+) (?P<user>\w+)?: (?P<message>.*)"
    options = {"format": "regex", "pattern": pattern, "timezone": "Europe/Berlin", "time_format": "%d.%m.%Y %H:%M:%S"}
    time, text, severity, attributes, _ = parsed("30.11.2026 11:00:05 WARN bob: hello", **options)
    assert (time, text, severity, attributes) == ("10:00:05.000", "hello", 13, {"user": "bob"})
    taken = take({"processing": [{"parse": options}]}, "30.11.2026 11:00:05 INFO : x", "no match", b"\xff")
    assert taken.texts[:2] == ["x", "no match"]
    assert taken.pipeline.steps[0].tally == {"parsed": 1, "unparsed": 2}


def test_fields_under_other_names_and_the_original() -> None:
    options = {
        "format": "json",
        "time_field": "when",
        "level_field": "prio",
        "message_field": "txt",
        "keep_original": True,
    }
    original = '{"when":"2026-11-30T10:00:05Z","prio":4,"txt":"x","msg":"kept"}'
    assert parsed(original, **options)[:4] == (
        "10:00:05.000", "x", 13, {"msg": "kept", "log.record.original": original},
    )  # fmt: skip


@given(
    st.dictionaries(st.text(max_size=8), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8))
)
def test_json_loses_nothing(values: dict[str, Any]) -> None:
    taken = take({"processing": [{"parse": "json"}]}, orjson.dumps(values))
    [fields] = taken.fields
    assert fields.attributes.items() <= values.items()
    lifted = values.keys() - fields.attributes.keys()
    assert len(lifted) == bool(fields.time_unix_nano) + bool(fields.severity_text) + (taken.texts[0] in values.values())


@given(st.binary(max_size=200) | st.text('abc="\\ \n{}[]:,IWEF0123456789-T.Z', max_size=60).map(str.encode))
def test_no_text_breaks_a_parser(text: bytes) -> None:
    for format in ("auto", "json", "logfmt", "klog", "envoy"):
        [delivery] = take({"processing": [{"parse": format}]}, text).found
        assert orjson.loads(json_line(delivery)) and log_record(delivery)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":' * 300 + "1" + "}" * 300, "[" * 300 + "]" * 300, '{"a":' + "[" * 150 + "]" * 150 + "}",
        'a="\\ud83d" b="\\udc00x"',
        '{"a":18446744073709551615,"b":123456789012345678901234567890,"ts":1e300}', '{"level":NaN}', '{"ts":-1,"level":-1}',
        '{"trace_id":{"a":1},"level":[],"time":{}}', '{"":""}', '{"a":"\\ud83d\\ude00"}',
        '{"time":true,"level":true,"msg":true}',
    ],
)  # fmt: skip
def test_what_an_output_could_stumble_over(text: str) -> None:
    for steps in (
        [{"parse": "auto"}],
        [{"parse": "auto"}, {"redact": {}}, {"map": {"set": {"x": {"expression": "attributes"}}}}],
    ):
        [delivery] = take({"processing": steps}, text).found
        assert orjson.loads(json_line(delivery)) and log_record(delivery)


def test_escapes_of_two_halves_are_one_character() -> None:
    assert pairs('a="\\ud83d\\ude00" b="\\ud83d"') == {"a": "\U0001f600", "b": "\ufffd"}


WORD = st.text("abcdefghij._-0123456789", min_size=1, max_size=6)


@given(st.dictionaries(WORD, st.text('ab "=\\\n\tü', max_size=8), min_size=1))
def test_logfmt_reads_what_was_quoted(values: dict[str, str]) -> None:
    def quoted(text: str) -> str:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
        return f'"{escaped}"'

    assert pairs(" ".join(f"{key}={quoted(value)}" for key, value in values.items())) == values
