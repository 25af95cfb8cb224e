"""Mapping, filters, sampling, routes, what pods ask for, and configurations that cannot be."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import pytest
import yaml

from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Record
from sampan.logs.log_record import Labels
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.processing.draft import Draft, ForStream, Tally, everywhere
from sampan.logs.processing.pipeline import routed
from sampan.logs.processing.sampling import by_rate, by_ratio
from sampan.logs.processing.steps import KINDS, Kind
from tests.unit.logs.processing.drafts import take

POD = {
    "namespace": "shop",
    "pod": "web-1",
    "container": "main",
    "labels.app": "web",
    "labels.tier": "front",
    "file": "/a.log",
}


@pytest.mark.parametrize(
    ("change", "text", "attributes"),
    [
        ("set: {env: prod, n: 1}", "x", {"a": {"b": 1, "c": 2}, "d.e": 3, "env": "prod", "n": 1}),
        (
            "set: {who: {expression: 'stream.namespace + \"/\" + stream.pod'}}",
            "x",
            {"a": {"b": 1, "c": 2}, "d.e": 3, "who": "shop/web-1"},
        ),
        ("rename: {a.b: x.y, d.e: d}", "x", {"a": {"c": 2}, "x.y": 1, "d": 3}),
        ("move: {text: a, a.b: text}", "1", {"a": "x", "d.e": 3}),
        ("move: {d.e: time}", "x", {"a": {"b": 1, "c": 2}, "d.e": 3}),
        ("move: {namespace: k8s, d.e: severity}", "x", {"a": {"b": 1, "c": 2}, "k8s": "shop"}),
        ("drop: [a.b, a.c, nothing, 'd.*']", "x", {}),
        ("set: {text: new}", "new", {"a": {"b": 1, "c": 2}, "d.e": 3}),
        ("set: {z: {expression: 'attributes.nothing'}}", "x", {"a": {"b": 1, "c": 2}, "d.e": 3}),
    ],
)
def test_maps(change: str, text: str, attributes: dict[str, Any]) -> None:
    config = f"processing: [{{parse: json}}, {{map: {{{change}}}}}]"
    taken = take(config, '{"msg":"x","a":{"b":1,"c":2},"d.e":3}', labels=POD)
    if change == "move: {text: a, a.b: text}":  # an attribute that is written over takes what was below it with it
        attributes, text = {"a": "x", "d.e": 3}, ""
    assert (taken.texts, taken.fields[0].attributes) == ([text], attributes)


CONDITIONS = [
    ("namespace: shop", True), ("namespace: [other, 'sh*']", True), ("namespace: other", False), ("pod: 'web-?'", True),
    ("container: side", False), ("labels: 'app=web,tier!=back'", True), ("labels: 'app in (a, b)'", False),
    ("path: '/*.log'", True), ("level: warn", True), ("level: error", False), ("matches: 'or.er \\d+'", True),
    ("matches: '^order$'", False), ("expression: 'severity == 13 && text.contains(\"17\")'", True),
    ("expression: 'attributes.missing == 1'", False), ("expression: 'labels.app == \"web\"'", True),
    ("namespace: shop, level: error", False), ("namespace: shop, level: info", True),
]  # fmt: skip


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
@pytest.mark.parametrize("word", ["drop", "keep"])
def test_filters(condition: str, holds: bool, word: str) -> None:
    taken = take(f"processing: [{{filter: {{{word}: {{{condition}}}}}}}]", "WARN order 17", labels=POD)
    kept = holds == (word == "keep")
    assert taken.texts == ["WARN order 17"] * kept
    assert taken.account.dropped == Counter() if kept else Counter(filtered=1)
    assert taken.account.dropped_bytes == Counter() if kept else Counter(filtered=13)


@pytest.mark.parametrize(("condition", "holds"), CONDITIONS)
def test_steps_with_a_condition(condition: str, holds: bool) -> None:
    taken = take(f"processing: [{{map: {{set: {{text: y}}}}, where: {{{condition}}}}}]", "WARN order 17", labels=POD)
    assert taken.texts == ["y" if holds else "WARN order 17"]


def test_records_without_a_level_are_kept() -> None:
    config = "processing: [{filter: {keep: {level: error}}}]"
    assert take(config, "INFO a", "b", "ERROR c", "FATAL d").texts == ["b", "ERROR c", "FATAL d"]
    config = "processing: [{filter: {drop: {level: error}}}]"
    assert take(config, "INFO a", "b", "ERROR c").texts == ["INFO a", "b"]


def test_a_stream_without_steps_has_no_fields() -> None:
    config = "processing: [{redact: {}, where: {namespace: other}}, {filter: {drop: {pod: b}}}]"
    assert take(config, "password=abc", labels=POD).found[0][3] is None


def draft(text: str = "", trace: str = "", **labels: str) -> Draft:
    made = Draft(Labels(labels), Record(b"", text.encode(), 1, "", "next"), 0)
    made.trace_id = trace
    return made


def test_a_share_of_traces_is_the_same_everywhere() -> None:
    keeps, also = by_ratio(0.25, ("trace_id",)), by_ratio(0.5, ("trace_id",))
    traces = [f"{number * 0x9E3779B97F4A7C15 % 2**128:032x}" for number in range(1, 4001)]
    kept = [trace for trace in traces if keeps(draft(trace=trace))]
    assert 800 < len(kept) < 1200
    assert all(keeps(draft(trace=trace)) and also(draft(trace=trace)) for trace in kept)
    # as OpenTelemetry's tracers: the last 56 bits against a threshold
    assert all(int(trace[-14:], 16) >= 0.75 * 2**56 for trace in kept)


def test_a_share_by_other_keys_and_by_chance() -> None:
    keeps = by_ratio(0.5, ("pod", "attributes.user"))
    kept = {pod: keeps(draft(pod=pod)) for pod in map(str, range(400))}
    assert all(keeps(draft(pod=pod)) == was for pod, was in kept.items())
    assert 140 < sum(kept.values()) < 260
    chances = iter([0.1, 0.6, 0.49])
    by_chance = by_ratio(0.5, ("trace_id",), lambda: next(chances))
    assert [by_chance(draft()) for _ in range(3)] == [True, False, True]
    assert not by_ratio(0.0, ())(draft()) and by_ratio(1.0, ("text",))(draft("x"))


def test_a_rate_of_each_key() -> None:
    now = [0.0]
    keeps = by_rate(2, 3, ("pod",), lambda: now[0])
    assert [keeps(draft(pod="a")) for _ in range(5)] == [True, True, True, False, False]
    assert keeps(draft(pod="b"))
    now[0] = 0.5
    assert [keeps(draft(pod="a")) for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [keeps(draft(pod="a")) for _ in range(4)] == [True, True, True, False]


def test_what_is_sampled_is_told_by_the_next() -> None:
    config = "processing: [{sample: {rate: 0, burst: 2, always: {level: error}}}]"
    taken = take(config, "a", "b", "c", "d", "ERROR e")
    assert taken.texts == ["a", "b", "ERROR e"]
    assert taken.account.dropped == {"sampled": 2}
    config = "processing: [{sample: {ratio: 0.5, by: text}}]"
    taken = take(config, *map(str, range(100)))
    told = sum(fields.attributes.get("sampan.sampled", 0) for fields in taken.fields)
    last = max(int(text) for text in taken.texts)
    assert told == last + 1 - len(taken.found)
    assert taken.account.dropped["sampled"] + len(taken.found) == 100


ROUTES = """
outputs: [{name: archive}, {name: pager}, {name: debug}]
processing:
- route: archive
- route: {outputs: [pager], add: true}
  where: {level: error}
- route: []
  where: {matches: '^quiet'}
"""


def test_routes() -> None:
    taken = take(ROUTES, "INFO a", "ERROR b", "quiet c")
    assert [delivery[1].text for delivery in routed(taken.found, "archive")] == [b"INFO a", b"ERROR b"]
    assert [delivery[1].text for delivery in routed(taken.found, "pager")] == [b"ERROR b"]
    assert routed(taken.found, "debug") == []
    assert taken.account.dropped == {"unrouted": 1}


@pytest.mark.parametrize(
    ("wishes", "texts"),
    [
        ({"exclude": "true"}, []),
        ({"exclude": "false"}, ["DEBUG a", "ERROR b", '{"msg":"c","level":"info"}']),
        ({"level": "warn"}, ["ERROR b", '{"msg":"c","level":"info"}'][:1]),
        ({"parse": "json"}, ["DEBUG a", "ERROR b", "c"]),
        ({"sample": "0"}, []),
        ({"outputs": "pager"}, ["DEBUG a", "ERROR b", '{"msg":"c","level":"info"}']),
    ],
)
def test_what_a_pod_asks_for(wishes: dict[str, str], texts: list[str]) -> None:
    taken = take("", "DEBUG a", "ERROR b", '{"msg":"c","level":"info"}', labels=POD, wishes=wishes)
    assert taken.texts == texts
    if "outputs" in wishes:
        assert taken.pipeline.routes and len(routed(taken.found, "pager")) == 3 and not routed(taken.found, "other")


def test_what_a_pod_may_not_ask_for(caplog: pytest.LogCaptureFixture) -> None:
    assert take("annotations: [level]", "a", labels=POD, wishes={"exclude": "true"}).texts == ["a"]
    assert take("annotations: []", "a", labels=POD, wishes={"exclude": "true"}).texts == ["a"]
    with caplog.at_level(logging.WARNING):
        assert take("", "a", labels=POD, wishes={"level": "loud", "parse": "xml"}).texts == ["a"]
    whose = "pod shop/web-1 asks for what cannot be: logs.sampan.dev"
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"{whose}/parse.format: one of auto, json, logfmt, klog, envoy, regex is wanted, not 'xml'",
        f"{whose}/level.keep.level: a level such as warn is wanted, not 'loud'",
    ]


@pytest.mark.parametrize("kind", ["parse", "redact"])
def test_a_fault_of_a_step_ends_in_it(
    kind: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def make(options: Options, tally: Tally) -> ForStream:
        def step(draft: Draft) -> str:
            if b"bad" in draft.text:
                raise ZeroDivisionError(draft.text)
            return ""

        return everywhere(step)

    monkeypatch.setitem(KINDS, kind, Kind(make))
    taken = take(
        f"processing: [{{{kind}: {{}}}}, {{filter: {{drop: {{matches: '^x'}}}}}}]",
        "a",
        "bad secret",
        "bad secret",
        "x",
        labels=POD,
    )
    kept = "bad secret" if kind == "parse" else "[redacted: this record could not be looked through]"
    assert taken.texts == ["a", kept, kept]
    assert taken.pipeline.steps[0].tally == {"failed": 2}
    [said] = [record.getMessage() for record in caplog.records]
    assert said.startswith(f"processing[0] ({kind}) fails at a record of /a.log: ZeroDivisionError at ")
    assert "secret" not in said


@pytest.mark.parametrize(
    ("config", "place"),
    [
        ("proccessing: []", "proccessing: there is no such field"),
        ("processing: {}", "processing: a list"),
        ("processing: [parse]", "processing[0]: a step"),
        ("processing: [{parse: {}, redact: {}}]", "processing[0]: one of"),
        ("processing: [{parze: {}}]", "processing[0]: one of"),
        ("processing: [{parse: {}, were: {}}]", "processing[0].were: there is no such option"),
        ("processing: [{parse: xml}]", "processing[0].parse.format: one of"),
        ("processing: [{parse: {format: regex}}]", "processing[0].parse.pattern: a pattern is wanted"),
        ("processing: [{parse: {format: regex, pattern: '('}}]", "processing[0].parse.pattern: '(' is no pattern of RE2"),
        ("processing: [{parse: {format: regex, pattern: 'x(?=y)(?P<a>b)'}}]", "processing[0].parse.pattern: "),
        ("processing: [{parse: {format: regex, pattern: 'x'}}]", "processing[0].parse.pattern: it has no named group"),
        ("processing: [{parse: {pattern: 'x'}}]", "processing[0].parse.pattern: the format auto has none"),
        ("processing: [{parse: {timezone: Nowhere/At_All}}]", "processing[0].parse.timezone: there is no time zone"),
        ("processing: [{parse: {time_format: '%H'}}]", "processing[0].parse.time_format: '%H' has no year"),
        ("processing: [{parse: {time_format: '%Q %Y'}}]", "processing[0].parse.time_format: "),
        ("processing: [{parse: {format: json, formt: x}}]", "processing[0].parse.formt: there is no such option"),
        ("processing: [{filter: {}}]", "processing[0].filter: either drop or keep"),
        ("processing: [{filter: {drop: {levle: info}}}]", "processing[0].filter.drop.levle: there is no such option"),
        ("processing: [{filter: {drop: {level: loud}}}]", "processing[0].filter.drop.level: a level"),
        ("processing: [{filter: {drop: {labels: 'a in'}}}]", "processing[0].filter.drop.labels: "),
        ("processing: [{filter: {drop: {expression: 'texd == 1'}}}]", "processing[0].filter.drop.expression: "),
        ("processing: [{filter: {drop: {expression: 'text'}}}]", "processing[0].filter.drop.expression: 'text' is a string"),
        ("processing: [{redact: {secrets: [emali]}}]", "processing[0].redact.secrets: one of default"),
        ("processing: [{redact: {patterns: {x: 'a*'}}}]", "processing[0].redact.patterns.x: 'a*' matches the empty text"),
        ("processing: [{sample: {}}]", "processing[0].sample: either ratio or rate"),
        ("processing: [{sample: 1.5}]", "processing[0].sample.ratio: from 0 to 1"),
        ("processing: [{sample: {rate: -1}}]", "processing[0].sample.rate: a number from 0"),
        ("processing: [{map: {}}]", "processing[0].map: one of set"),
        ("processing: [{map: {set: {severity: 99}}}]", "processing[0].map.set.severity: severity cannot be 99"),
        ("processing: [{map: {set: {namespace: x}}}]", "processing[0].map.set.namespace: what a stream is called"),
        ("processing: [{map: {rename: {text: a}}}]", "processing[0].map.rename.text: text is no attribute"),
        ("processing: [{map: {set: {a: {expr: x}}}}]", "processing[0].map.set.a: a value, or"),
        ("annotations: [levl]", "annotations: a list of"),
        ("rules: [{name: x}]", "rules[0].multiline"),
        ("outputs: {}", "outputs: a list"),
        ("paths: {a: 1}", "file.paths: a list"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(config: str, place: str) -> None:
    with pytest.raises(ValueError) as caught:
        configuration_of(yaml.safe_load(config))
    assert str(caught.value).startswith(place)


def test_a_route_to_no_output_is_refused() -> None:
    pipeline = configuration_of(yaml.safe_load("processing: [{route: [a, b]}]")).pipeline
    pipeline.check_outputs(["a", "b", "c"])
    with pytest.raises(OptionError, match=r"^processing\[0\].route.outputs: there is no output 'b'; there are a"):
        pipeline.check_outputs(["a"])
