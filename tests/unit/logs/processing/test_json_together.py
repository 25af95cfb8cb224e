"""JSON lines that are parsed many at once come out as those that are parsed one by one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.logs.account import Account
from sampan.logs.configuration import configuration_of
from sampan.logs.joining import Run
from sampan.logs.joining.stretch import Framing
from sampan.logs.log_record import Labels
from sampan.logs.outputs.output import json_line
from sampan.logs.processing.draft import Many
from sampan.logs.processing.pipeline import Pipeline
from tests.unit.logs.files import Bench

PLAIN, CRI = Framing(b""), Framing(b" stdout F ")
LABELS = Labels({"file": "/a 100%.log", "namespace": "shop"})
TIMES = st.sampled_from(
    ["2026-11-30T10:00:00Z", "2026-11-30T10:00:00.123Z", "2024-02-29T23:59:59.999999999Z", "2026-02-30T10:00:00Z",
     "2026-11-30T24:00:00Z", "1970-01-01T00:00:00Z", "2026-11-30 10:00:00,5", "2026-11-30T10:00:00+02:00", "now", "",
     "2300-01-01T00:00:00Z", 1796032805, 1796032805123, 1796032805.5, None]
)  # fmt: skip
LEVELS = st.sampled_from(["info", "WARN", "Error", "", "nonsense", "ünder", 'a"b', 30, 3, None, True, "50"])
TRACES = st.sampled_from(
    ["0af7651916cd43dd8448eb211c80319c", "0" * 32, "0AF7651916CD43DD8448EB211C80319C", "b7ad6b7169203331", 7]
)
SCALARS = st.one_of(
    st.text(max_size=8), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), st.booleans(),
    st.none(), st.sampled_from(["a\nb", "\\", '"', "/", "\x7f", "\ud800", "é", "💶", "\u2028", 10**17, -0.0, 1e300, 0.1]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "time": TIMES, "ts": TIMES, "level": LEVELS, "severity": LEVELS, "msg": st.one_of(st.text(max_size=12), VALUES),
    "message": st.text(max_size=12), "event": VALUES, "trace_id": TRACES, "span_id": TRACES, "traceparent": SCALARS,
    "user": VALUES, "n": SCALARS, "a.b": VALUES, 'q"': SCALARS, "é": SCALARS, "response_code": SCALARS,
    "response_flags": SCALARS, "%b": SCALARS,
}  # fmt: skip
JUNK = st.sampled_from(
    [
        b"",
        b"INFO plain",
        b"{",
        b'{"msg":"a"} x',
        b'{"msg":"a","msg":"b"}',
        b"[1]",
        b'{"msg":"\xff"}',
        b'{"msg":"\\u00e9"}',
    ]
)


@st.composite
def written(draw: st.DrawFn, keys: list[str]) -> bytes:
    values = {key: draw(FIELDS[key]) for key in keys}
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (",  ", " : ")]))
    text = json.dumps(values, separators=separators, ensure_ascii=draw(st.booleans()))
    return text.encode("utf-8", "surrogatepass")


WORDS = st.text(alphabet='ab "\\/\n\té💶{}[],:%', max_size=10)
USUAL: dict[str, st.SearchStrategy[Any]] = {
    "time": st.sampled_from(["2026-11-30T10:00:00.123Z", "2025-01-31T23:59:59.999Z"]),
    "level": st.sampled_from(["info", "WARN", "other"]),
    "msg": WORDS,
    "trace_id": st.sampled_from(["0af7651916cd43dd8448eb211c80319c", "1bf7651916cd43dd8448eb211c80319c"]),
    "user": st.one_of(WORDS, st.integers(-5, 10**14), st.lists(WORDS, max_size=2), st.dictionaries(WORDS, WORDS, max_size=2)),
    "n": st.one_of(st.integers(-5, 5), st.sampled_from([0.5, -1.25, 0.1, None, True])),
    "a.b": WORDS,
}  # fmt: skip


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Lines of few shapes, most of them with values as they are written most."""
    usual = st.lists(st.sampled_from(sorted(set(USUAL) - {"msg"})), max_size=5, unique=True)
    shapes = draw(st.lists(usual, min_size=1, max_size=3))
    places = [draw(st.integers(0, len(shape))) for shape in shapes]
    for shape, place in zip(shapes, places, strict=True):
        shape.insert(place, "msg")
    spaced = draw(st.booleans())
    found: list[bytes] = []
    for _ in range(draw(st.integers(1, 6))):
        kind = draw(st.integers(0, 7))
        keys = draw(st.sampled_from(shapes))
        if kind == 0:
            found.append(draw(JUNK))
        elif kind == 1:
            found.append(
                draw(written(draw(st.lists(st.sampled_from(sorted(FIELDS)), min_size=1, max_size=6, unique=True))))
            )
        elif kind == 2:
            found.append(draw(written(keys)))
        else:
            for _ in range(draw(st.integers(4, 6))):
                values = {key: draw(USUAL[key]) for key in keys}
                text = json.dumps(values, separators=(", ", ": ") if spaced else (",", ":"), ensure_ascii=False)
                found.append(text.encode())
    return found


def pipeline_of(format: str = "json") -> Pipeline:
    return configuration_of({"processing": [{"parse": format}]}).pipeline


def one_by_one(pipeline: Pipeline, run: Run, account: Account) -> list[Any]:
    found = pipeline.process(LABELS, run.records(), 7, account)
    return [json.loads(json_line(delivery)) for delivery in found]


@settings(max_examples=150, deadline=None)
@given(streams(), st.sampled_from([PLAIN, CRI]), st.sampled_from(["json", "auto"]), st.booleans())
def test_both_ways_say_the_same(lines: list[bytes], framing: Framing, format: str, carriage: bool) -> None:
    head = b"2026-11-30T10:00:00.5Z" + framing.head if framing.head else b""
    lines = [line.replace(b"\n", b"") for line in lines]
    raw = b"".join(head + line + (b"\r\n" if carriage else b"\n") for line in lines)
    run = Run(raw, framing)
    single, many = pipeline_of(format), pipeline_of(format)
    expected = one_by_one(single, run, Account())
    shown: list[Any] = []
    count = 0
    raws: list[bytes] = []
    for part in many.together(LABELS, run) or ():
        raws.append((part.run if isinstance(part, Many) else part).raw)
        if isinstance(part, Many):
            shown += map(json.loads, part.json.splitlines())
            assert part.json.count(b"\n") == part.run.lines
            assert part.text_bytes == sum(map(len, part.run.entries[1]))
        else:
            shown += one_by_one(many, part, Account())
        count += (part.run if isinstance(part, Many) else part).lines
    assert b"".join(raws) == raw
    assert [json.dumps(each) for each in shown] == [json.dumps(each) for each in expected]
    assert count == len(lines)
    assert many.steps[0].tally == single.steps[0].tally


PRIVATE = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEow", "QUJD", "-----END RSA PRIVATE KEY-----"]
SECRETS = st.sampled_from(
    ["password=hunter2", 'token: "two words"', "ghp_" + "a1B2" * 9, "4111111111111111", 4111111111111111,
     "Bearer abcdef0123456789xyz", "password\t=\tx123", "postgres://shop:p@ss@db:5432/x", "a@b.org", "fine", *PRIVATE]
)  # fmt: skip
KEYS = st.sampled_from(
    ["msg", "user", "password", "x-api-key", "dbPassword", "http.authorization", "author", "cookie", "cookies", "n"]
)


@st.composite
def secretive(draw: st.DrawFn) -> list[bytes]:
    """Many lines of one shape, with a secret in some of them, or a key that goes on over several."""
    keys = ["time", *draw(st.lists(KEYS, max_size=3, unique=True).filter(lambda keys: "msg" not in keys)), "msg"]
    found = []
    for _ in range(draw(st.integers(1, 6))):
        for _ in range(draw(st.integers(1, 60))):
            found.append(dict.fromkeys(keys, "ok") | {"time": "2026-11-30T10:00:00.123Z"})
        kind = draw(st.integers(0, 3))
        if kind == 0:
            found += [dict.fromkeys(keys, "ok") | {"msg": line} for line in PRIVATE[: draw(st.integers(1, 4))]]
        elif kind == 1:
            found.append(dict.fromkeys(keys, "ok") | {draw(st.sampled_from(keys)): draw(SECRETS)})
        elif kind == 2:
            found.append(dict.fromkeys(keys, "ok") | {"msg": {draw(KEYS): draw(SECRETS)}})
    return [json.dumps(each, separators=(",", ":")).encode() for each in found]


@settings(max_examples=80, deadline=None)
@given(secretive(), st.sampled_from([{}, {"secrets": ["default", "email"]}, {"attributes": False}]))
def test_no_secret_goes_by_with_the_others(lines: list[bytes], options: dict[str, Any]) -> None:
    run = Run(b"".join(line + b"\n" for line in lines), PLAIN)
    single, many = (
        configuration_of({"processing": [{"parse": "json"}, {"redact": options}]}).pipeline for _ in range(2)
    )
    expected = one_by_one(single, run, Account())
    shown: list[Any] = []
    for part in many.together(LABELS, run) or ():
        shown += (
            map(json.loads, part.json.splitlines()) if isinstance(part, Many) else one_by_one(many, part, Account())
        )
    assert shown == expected
    assert [step.tally for step in many.steps] == [step.tally for step in single.steps]


OBJECT = (
    b'{"time":"2026-11-30T10:00:%02d.%03dZ","level":"%b","msg":"order %d \\"taken\\"","user":{"name":"b\xc3\xb6b"},'
    b'"n":%d}'
)
OTHER = b'{"severity": "WARN", "message": "no time", "tags": ["a", 1.50, null]}'


def objects(count: int) -> list[bytes]:
    each = [OBJECT % (n % 60, n % 1000, (b"info", b"warn")[n % 7 == 0], n, n) for n in range(count)]
    for at in range(50, count, 97):
        each[at] = OTHER
    each[count // 2] = b'{"time":"yesterday","level":"info","msg":"other time","user":{"name":"x"},"n":1}'
    return each


@pytest.mark.parametrize("format", ["plain", "cri"])
async def test_the_agent_takes_them_together(tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    real = Pipeline.process
    monkeypatch.setattr(
        Pipeline,
        "process",
        lambda self, labels, records, *more: (taken.append(len(records)), real(self, labels, records, *more))[1],
    )
    head = b"2026-11-30T10:00:00.5Z stdout F " if format == "cri" else b""
    found, accounts = [], []
    for together in (True, False):
        home = tmp_path / str(together)
        home.mkdir()
        bench = Bench(home)
        bench.agent.pipeline = pipeline_of()
        assert bench.agent._as_json
        bench.agent._as_json = together
        (bench.logs / "0.log").write_bytes(b"".join(head + line + b"\n" for line in objects(8000)))
        await bench.turn()
        [file] = bench.agent.following.files.values()
        assert file.account.missing(file.assembler.held_bytes) == 0
        accounts.append(file.account)
        taken_together = sum(taken)
        taken.clear()
        await bench.agent.stop()
        found.append([json.loads(line) | {"file": ""} for line in bench.out.read_bytes().splitlines()])
        accounts.append(bench.agent.pipeline.steps[0].tally)
        if together:
            assert taken_together < 4000  # the first chunk: nothing is learned yet
    assert found[0] == found[1]
    assert accounts[:2] == accounts[2:]
    assert len(found[0]) == 8000
