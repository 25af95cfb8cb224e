"""JSON objects of a stream, a line each, many at once: from lines of the file to lines of ``json:`` outputs.

Most streams write objects with the same keys in the same order. For such a shape there is one expression that matches its
lines and a template of what becomes of them; no Python runs for a value, and a value that goes on as it is is not decoded.
What a line has to look like is told narrowly: every other line (another shape, a time in another form, escapes by number) is
parsed by itself (``json_object.py``), and both ways say the same. Source: RFC 8259; ADR 90.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import orjson

from sampan.logs.joining import Run
from sampan.logs.joining.stretch import Framing
from sampan.logs.processing.draft import Many
from sampan.logs.processing.parsing import envoy
from sampan.logs.processing.parsing.lifting import SPAN_ID, TRACE_ID, TRACEPARENT, Lift
from sampan.logs.severity import number_of

TEXT = rb'[^"\\\x00-\x1f]*+(?:\\["\\/bfnrt][^"\\\x00-\x1f]*+)*+'
STRING = rb'"%b"' % TEXT
SCALAR = rb"(?:%b|-?+(?:0|[1-9]\d{0,14}+)(?:\.\d{1,15}+)?+|true|false|null)" % STRING
ARRAY = rb"\[(?:%b(?: ?+, ?+%b)*+)?+\]" % (SCALAR, SCALAR)
OBJECT = rb"\{(?:%b ?+: ?+%b(?: ?+, ?+%b ?+: ?+%b)*+)?+\}" % (STRING, SCALAR, STRING, SCALAR)
VALUE = rb"(?:%b|%b|%b)" % (SCALAR, ARRAY, OBJECT)
"""What goes on as it is: none of it would be written in a way that says something else."""
DAY = rb"(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
TIME = rb"(?:19[89]\d|20\d\d|21\d\d)-%b" % DAY + rb"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d"
FRACTION = re.compile(r"\.(\d{1,9})Z\Z")
LEVEL = rb'[^"\\\x00-\x1f\x7f-\xff]{1,40}+'
COMMA = rb" ?+, ?+"
FEW_LINES = 4
MOST_SHAPES, MOST_LEVELS, DEPTH = 64, 1000, 3
SKIPPED = 64
"""So many runs of a stream that has no shape are not looked at."""


class Levels(dict[bytes, bytes]):
    """Of a level, what an output line has of it."""

    def __missing__(self, level: bytes) -> bytes:
        word = level.decode()
        number = number_of(word)
        made = (b',"severity":%d' % number if number else b"") + b',"level":' + orjson.dumps(word)
        if len(self) < MOST_LEVELS:
            self[level] = made
        return made


class Shape:
    """Lines of objects with certain keys. Raises ``ValueError`` for a line whose like must be parsed by themselves."""

    def __init__(self, line: bytes, values: dict[str, object], framing: Framing, lift: Lift) -> None:
        if values.keys() >= envoy.KNOWN_BY or any(name in values for name in TRACEPARENT):
            raise ValueError(line)
        names = lift.names
        roles = {
            "time": names.time,
            "level": names.level,
            "text": names.message,
            "trace_id": TRACE_ID,
            "span_id": SPAN_ID,
        }
        role_of: dict[str, str] = {}
        for role, known in roles.items():
            name = next((name for name in known if name in values), None)
            if name is not None:
                if name in role_of or not isinstance(values[name], str):
                    raise ValueError(line)
                role_of[name] = role
        if "text" not in role_of.values():
            raise ValueError(line)
        self._at: dict[str, int] = {}
        """Of a role, its group."""
        self._attributes: list[int] = []
        self._pad = b""
        self._groups = 0
        self._framed = bool(framing.head)
        self._pattern = re.compile(b"".join(self._parts(values, role_of, framing)))
        self.split = self._pattern.split
        if self._pattern.fullmatch(b"0" * self._framed + framing.head + line + b"\n") is None:
            raise ValueError(line)

    def _parts(self, values: dict[str, object], role_of: dict[str, str], framing: Framing) -> Iterator[bytes]:
        yield rb"(?m)^"
        if self._framed:
            yield self._group("head", rb"[0-9TZ:.+-]++") + re.escape(framing.head)
        yield rb"\{ ?+"
        comma = b""
        for is_attribute, fields in groupby(values.items(), key=lambda field: field[0] not in role_of):
            if is_attribute:  # what stands side by side goes on side by side
                self._groups += 1
                self._attributes.append(self._groups)
                yield comma + b"(" + COMMA.join(name_of(name) + VALUE for name, _ in fields) + b")"
            else:
                yield comma + COMMA.join(name_of(name) + self._lifted(role_of[name], value) for name, value in fields)
            comma = COMMA
        yield rb" ?+\}\n" if self._framed else rb" ?+\}\r?+\n"

    def _group(self, role: str, pattern: bytes) -> bytes:
        self._groups += 1
        self._at[role] = self._groups
        return b"(%b)" % pattern

    def _lifted(self, role: str, value: object) -> bytes:
        if role == "time":
            found = FRACTION.search(str(value))
            digits = len(found[1]) if found is not None else 0
            self._pad = b"0" * (9 - digits) if digits else b".000000000"
            return b'"' + self._group(role, TIME + (rb"\.\d{%d}" % digits if digits else b"")) + b'Z"'
        if role == "level":
            return b'"' + self._group(role, LEVEL) + b'"'
        if role == "text":
            return b'"' + self._group(role, TEXT) + b'"'
        size = 32 if role == "trace_id" else 16
        return b'"' + self._group(role, rb"(?!0{%d})[0-9a-f]{%d}" % (size, size)) + b'"'

    def made(self, parts: Sequence[bytes], levels: Levels, rest: bytes) -> tuple[bytes, int]:
        """Return the output's lines of some matches, as ``split`` has them (their groups, ``b""`` before and between), and
        how many bytes the times before them have. ``rest`` is what stands at the end of each output line."""
        step, at = self.step, self._at
        columns: list[Sequence[bytes]] = []
        template = b'{"time":"'
        if "time" in at:
            template += b"%b" + self._pad + b"Z"
            columns.append(parts[at["time"] :: step])
        elif self._framed:
            template += b"%b"
            columns.append(parts[at["head"] :: step])
        template += b'","text":"%b"'
        columns.append(parts[at["text"] :: step])
        if "level" in at:
            template += b"%b"
            columns.append(list(map(levels.__getitem__, parts[at["level"] :: step])))
        for role in ("trace_id", "span_id"):
            if role in at:
                template += b',"%b":"%%b"' % role.encode()
                columns.append(parts[at[role] :: step])
        if self._attributes:
            template += b',"attributes":{' + b",".join([b"%b"] * len(self._attributes)) + b"}"
            columns += [parts[number::step] for number in self._attributes]
        template += rest.replace(b"%", b"%%")
        heads = sum(map(len, parts[at["head"] :: step])) if self._framed else 0
        return b"".join(map(template.__mod__, zip(*columns, strict=True))), heads

    @property
    def step(self) -> int:
        """How many parts ``split`` makes of a line."""
        return self._groups + 1


class Shapes:
    """The shapes of all streams."""

    def __init__(self, lift: Lift) -> None:
        self._lift, self.levels = lift, Levels()
        self._known: dict[tuple[bytes, tuple[str, ...]], Shape | None] = {}

    def shape_of(self, run: Run) -> Shape | None:
        """Return the shape of a run's first line, None where that has to be parsed by itself."""
        _, line = run.framing.entry(run.raw[: run.raw.index(b"\n")])
        if line[:1] != b"{":
            return None
        try:
            values = orjson.loads(line)
        except orjson.JSONDecodeError:
            return None
        key = (run.framing.head, tuple(values))
        if key not in self._known:
            if len(self._known) >= MOST_SHAPES:
                return None
            try:
                self._known[key] = Shape(line, values, run.framing, self._lift)
            except ValueError:
                self._known[key] = None
        return self._known[key]


class OfStream:
    """``parse`` takes the runs of one stream. ``rest``: what stands at the end of each output line."""

    def __init__(self, shapes: Shapes, rest: bytes) -> None:
        self._shapes, self._rest = shapes, rest
        self._last: Shape | None = None
        self._skips = 0

    def parse(self, run: Run) -> list[Many | Run]:
        """Return a run as what was parsed of it together, and runs of lines that are to be parsed by themselves, in order."""
        if self._skips:
            self._skips -= 1
            return [run]
        found: list[Many | Run] = [run]
        if is_utf8(run.raw):
            found = self._parse(run, self._last, DEPTH)
        if sum(item.run.lines for item in found if isinstance(item, Many)) * 2 < run.lines:
            self._skips, self._last = SKIPPED, None
        return found

    def _parse(self, run: Run, shape: Shape | None, depth: int) -> list[Many | Run]:
        shape = (shape or self._shapes.shape_of(run)) if run.lines >= FEW_LINES else None
        if shape is None:
            return [run]
        self._last = shape
        step, parts = shape.step, shape.split(run.raw)
        if not any(parts[::step]):
            return [self._many(run, shape, parts)]
        found: list[Many | Run] = []
        lines = [line + b"\n" for line in run.raw.split(b"\n")[:-1]]
        line = begin = 0
        for at in [*(number for number in range(0, len(parts), step) if parts[number]), len(parts)]:
            count = (at - begin) // step if at < len(parts) else (len(parts) - begin) // step
            if count:
                raw = b"".join(lines[line : line + count])
                found.append(self._many(Run(raw, run.framing), shape, [b"", *parts[begin + 1 : begin + count * step]]))
                line += count
            if at < len(parts):
                other = Run(parts[at], run.framing)
                found += self._parse(other, None, depth - 1) if depth else [other]
                line += other.lines
                begin = at
        return found

    def _many(self, run: Run, shape: Shape, parts: Sequence[bytes]) -> Many:
        json, heads = shape.made(parts, self._shapes.levels, self._rest)
        around = heads + run.lines * (len(run.framing.head) + 1)
        if not run.framing.head:
            around += run.raw.count(b"\r\n")
        return Many(run, json, len(run.raw) - around)


def name_of(key: str) -> bytes:
    return re.escape(orjson.dumps(key)) + rb" ?+: ?+"


def is_utf8(raw: bytes) -> bool:
    if raw.isascii():
        return True
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True
