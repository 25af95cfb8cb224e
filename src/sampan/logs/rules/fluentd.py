"""Rules out of Fluentd's configurations: the filter ``concat`` and the output ``detect_exceptions``, in both of its syntaxes.

A rule is for the paths of those ``tail`` sources whose tags its own pattern takes; without such a source it is asked for by
its name (``@id``, or the pattern of its tags). What cut lines need (``partial_key``, ``use_partial_…``) is built in.

Source: docs.fluentd.org, "Config File Syntax" (and YAML); fluent-plugin-concat and fluent-plugin-detect-exceptions, README.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.logs.outputs.options import bytes_of
from sampan.logs.rules.rule import Matches, Rule, RuleError, by_count, from_to, languages_of, pattern_of, seconds_of

SECTION = re.compile(r"^\s*<(/?)([a-z_]+)(?:\s+([^>]*?))?\s*>\s*(?:#.*)?$")
CLASSIC = re.compile(r"(?m)^\s*<(?:source|match|filter|label|worker)\b[^>]*>")
PARTIAL = (
    *("partial_key", "partial_value", "keep_partial_key", "use_partial_metadata", "keep_partial_metadata"),
    *("partial_metadata_format", "use_partial_cri_logtag", "partial_cri_logtag_key", "partial_cri_stream_key"),
)
HERE_ALREADY = frozenset(("key", "stream_identity_key", "use_first_timestamp", "timeout_label", *PARTIAL))
"""Of ``concat``: lines are joined as they are, each stream for itself, with the time of the first; none is an error."""
OF_ITS_OUTPUT = frozenset(("message", "stream", "remove_tag_prefix", "force_line_breaks", "join_separator"))
"""Of ``detect_exceptions``: where the line stands in its record, and where it goes."""
LANGUAGES = {
    "js": "javascript",
    "rails": "ruby",
    **{name: name for name in ("java", "javascript", "csharp", "python", "go", "ruby", "php", "rust", "dart")},
}


@dataclass
class Element:
    """A section, or its form in YAML."""

    name: str
    argument: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    elements: list[Element] = field(default_factory=list)

    def all(self) -> Iterator[Element]:
        """Yield the sections below, in their order."""
        for element in self.elements:
            yield element
            yield from element.all()

    @property
    def type(self) -> str:
        return str(self.options.get("@type") or self.options.get("type") or "")


def classic(text: str) -> Element:
    """Return what a configuration says. Raises ``RuleError``."""
    root = Element("ROOT")
    open_ones = [root]
    for number, line in enumerate(text.splitlines(), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        section = SECTION.match(line)
        if section is not None and section[1]:
            if len(open_ones) < 2 or open_ones[-1].name != section[2]:
                raise RuleError(f"line {number}", f"</{section[2]}> ends nothing")
            open_ones.pop()
        elif section is not None:
            element = Element(section[2], section[3] or "")
            open_ones[-1].elements.append(element)
            open_ones.append(element)
        elif content.startswith("@include"):
            raise RuleError(
                f"line {number}", "files are not included: give the whole configuration (fluentd --dry-run prints it)"
            )
        else:
            name, _, value = content.partition(" ")
            open_ones[-1].options[name] = unquoted(value.strip())
    if len(open_ones) > 1:
        raise RuleError(f"<{open_ones[-1].name}>", "it is not ended")
    return root


def unquoted(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == "'":
        return value[1:-1]
    if len(value) > 1 and value[0] == value[-1] == '"':
        return value[1:-1].replace('\\"', '"').replace("\\n", "\n").replace("\\\\", "\\")
    return value


def of_yaml(given: Iterable[Any]) -> Element:
    """Return what the list ``config`` says."""
    root = Element("ROOT")
    for one in given:
        for name, options in one.items() if isinstance(one, Mapping) else ():
            own = options if isinstance(options, Mapping) else {}
            element = Element(str(name), str(own.get("$tag") or own.get("$name") or ""))
            element.options = {
                key.replace("$", "@", 1): value for key, value in own.items() if key not in ("$tag", "$name", "config")
            }
            element.elements = of_yaml(own.get("config") or ()).elements
            root.elements.append(element)
    return root


def rules_of(root: Element) -> Iterator[Rule]:
    """Yield the rules of a configuration. Raises ``RuleError``."""
    tails = [element for element in root.all() if element.name == "source" and element.type == "tail"]
    whose: dict[str, str] = {}
    for element in root.all():
        make = {("filter", "concat"): concat, ("match", "detect_exceptions"): detect_exceptions}.get(
            (element.name, element.type)
        )
        if make is None:
            continue
        place = f"<{element.name} {element.argument}>".replace(" >", ">")
        name = str(element.options.get("@id") or element.argument or element.type)
        rule = make(element.options, name, place)
        if rule is None:
            continue
        for path in list(paths_of(tails, element.argument)) or [""]:
            if path and path in whose:
                raise RuleError(place, f"{path} has the rule of {whose[path]} already, and a file has one")
            whose[path] = place
            yield Rule(rule.name, rule.step, rule.max_lines, rule.timeout_seconds, path, rule.max_bytes, rule.languages)


def concat(options: Mapping[str, Any], name: str, place: str) -> Rule | None:
    """Return the rule of a ``concat``, None for one that joins cut lines only."""
    left = {
        key: value for key, value in options.items() if key[:1] != "@" and key != "type" and key not in HERE_ALREADY
    }
    timeout = seconds_of(left.pop("flush_interval", 60), f"{place} flush_interval")
    if str(left.pop("separator", "\n")) not in ("\n", "\\n", ""):
        raise RuleError(f"{place} separator", "lines are joined with line ends")
    limit = left.pop("buffer_limit", None)
    left.pop("buffer_overflow_method", None)
    most = (
        bytes_of(str(limit).upper().rstrip("B") + "i" if str(limit)[-1:].isalpha() else limit)
        if limit is not None
        else None
    )
    if limit is not None and not most:
        raise RuleError(f"{place} buffer_limit", f"a size is wanted, not {limit!r}")
    count = left.pop("n_lines", None)
    start, goes_on, end = (
        matches_of(left.pop(key, None), f"{place} {key}")
        for key in ("multiline_start_regexp", "continuous_line_regexp", "multiline_end_regexp")
    )
    if left:
        raise RuleError(f"{place} {next(iter(left))}", "there is no such option of concat")
    if count is not None:
        if start or goes_on or end or not str(count).isdigit() or not int(count):
            raise RuleError(f"{place} n_lines", "a number of lines is wanted, and no pattern beside it")
        step = by_count(int(count))
    elif start or goes_on or end:
        step = from_to(start or (lambda line: False), goes_on, end, any_begins=start is None)
    elif any(key in options for key in PARTIAL):
        return None
    else:
        raise RuleError(place, "n_lines, multiline_start_regexp or another pattern is wanted")
    return Rule(name, step, MANY_LINES, timeout or NEVER_SECONDS, max_bytes=most or 0)


MANY_LINES = 100_000
NEVER_SECONDS = 365 * 86400.0


def detect_exceptions(options: Mapping[str, Any], name: str, place: str) -> Rule:
    left = {
        key: value for key, value in options.items() if key[:1] != "@" and key != "type" and key not in OF_ITS_OUTPUT
    }
    given = left.pop("languages", "all")
    names = given if isinstance(given, list) else [part.strip(" \"'") for part in str(given).strip("[]").split(",")]
    unknown = [each for each in names if each not in LANGUAGES and each != "all"]
    if unknown:
        raise RuleError(f"{place} languages", f"one of all, {', '.join(LANGUAGES)} is wanted, not {unknown[0]!r}")
    languages = languages_of([LANGUAGES[each] for each in names if each != "all"] if "all" not in names else [], place)
    timeout = seconds_of(left.pop("multiline_flush_interval", 5), f"{place} multiline_flush_interval")
    limits = {key: str(left.pop(key, default)) for key, default in (("max_lines", 1000), ("max_bytes", 0))}
    for key, value in limits.items():
        if not value.isdigit():
            raise RuleError(f"{place} {key}", f"a number is wanted, not {value!r}")
    if left:
        raise RuleError(f"{place} {next(iter(left))}", "there is no such option of detect_exceptions")
    most = int(limits["max_lines"]) or MANY_LINES
    return Rule(name, None, most, timeout, max_bytes=int(limits["max_bytes"]), languages=languages)


def matches_of(given: Any, field: str) -> Matches | None:
    """Return what a pattern of Ruby's says: ``/…/``, with ``i`` or ``m`` after it."""
    if given is None:
        return None
    text, flags = str(given), ""
    found = re.fullmatch(r"/(.*)/([a-z]*)", text, re.DOTALL)
    if found is not None:
        text, flags = found.groups()
    if set(flags) - set("im"):
        raise RuleError(field, f"the flags {flags!r} are not known: i and m are")
    return pattern_of(field, f"(?{flags.replace('m', 's')}){text}" if flags else text)


def paths_of(tails: list[Element], patterns: str) -> Iterator[str]:
    """Yield the paths of the tail sources whose tags patterns take: ``a.*``, ``a.**``, ``a.{b,c}``, several."""
    for tail in tails:
        for path in str(tail.options.get("path", "")).split(","):
            tag = str(tail.options.get("tag", "")).replace("*", path.strip().strip("/").replace("/", "."))
            if path.strip() and any(tag_pattern(each).fullmatch(tag) for each in patterns.split()):
                yield path.strip()


def tag_pattern(text: str) -> re.Pattern[str]:
    parts: list[str] = []
    for token in re.findall(r"\*\*|\*|\{[^}]*\}|\.|[^*{.]+", text):
        if token == "**":
            if parts and parts[-1] == r"\.":
                parts[-1] = r"(?:\..*)?"
            else:
                parts.append(".*")
        elif token == "*":
            parts.append(r"[^.]*")
        elif token[0] == "{":
            parts.append(f"(?:{'|'.join(map(re.escape, token[1:-1].split(',')))})")
        else:
            parts.append(re.escape(token))
    return re.compile("".join(parts))
