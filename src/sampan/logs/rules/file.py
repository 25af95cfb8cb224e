"""A file of rules: ours, Fluent Bit's or Fluentd's (both forms of each) or Filebeat's; and which rule a log file has.

Ours is YAML: ``rules``, each with ``name``, ``path`` (a pattern of file names; without one it is asked for by name) and
``multiline``.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import yaml

from sampan.logs.assembling import Joins
from sampan.logs.joining import Joiner
from sampan.logs.joining.cutting import CutAt
from sampan.logs.pod_paths import link_of
from sampan.logs.rules import fluentd
from sampan.logs.rules.filebeat import rules_of_inputs
from sampan.logs.rules.fluent_bit import rule_of_parser, sections
from sampan.logs.rules.joiner import RuleJoiner
from sampan.logs.rules.rule import Rule, RuleError, rule_of
from sampan.logs.rules.traces import TracesJoiner


def read_rules(path: Path) -> list[Rule]:
    """Return the rules of a file. Raises ``OSError``, ``RuleError``."""
    return parse_rules(path.read_text())


def parse_rules(text: str) -> list[Rule]:
    if "[multiline_parser]" in text.lower():
        return [rule_of_parser(parser, f"MULTILINE_PARSER {parser.get('name', '')}") for parser in sections(text)]
    if fluentd.CLASSIC.search(text):
        return list(fluentd.rules_of(fluentd.classic(text)))
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RuleError("file", f"this is no YAML: {error}") from error
    if not isinstance(content, dict):
        raise RuleError("file", "rules, multiline_parsers, filebeat.inputs or Fluentd's config are wanted")
    if isinstance(content.get("config"), list):
        return list(fluentd.rules_of(fluentd.of_yaml(content["config"])))
    inputs = content.get("filebeat.inputs") or (content.get("filebeat") or {}).get("inputs")
    if inputs:
        return list(rules_of_inputs(inputs))
    if content.get("multiline_parsers"):
        return [
            rule_of_parser(parser, f"multiline_parsers[{number}]")
            for number, parser in enumerate(content["multiline_parsers"])
        ]
    return [ours(one, f"rules[{number}]") for number, one in enumerate(content.get("rules") or ())]


def ours(one: Any, field: str) -> Rule:
    if not isinstance(one, dict) or not isinstance(one.get("multiline"), dict):
        raise RuleError(f"{field}.multiline", "options are wanted")
    unknown = set(one) - {"name", "path", "multiline"}
    if unknown:
        raise RuleError(f"{field}.{min(unknown)}", "there is no such field")
    if not isinstance(one.get("name"), str):
        raise RuleError(f"{field}.name", "a name is wanted")
    return rule_of(one["name"], one["multiline"], f"{field}.multiline", str(one.get("path", "")))


def joiner_of(rule: Rule) -> Joins:
    return TracesJoiner(rule) if rule.step is None else RuleJoiner(rule)


def joiner_for(rules: Iterable[Rule], path: str, name: str = "", cut_at: CutAt | None = None) -> Callable[[], Joins]:
    """Return what makes the joiners of a file: by the rule of that name, or the first for its path or
    for the kubelet's link to it, or what is built in. ``cut_at``: where a record over its limits may be cut."""
    paths = {path, link_of(path)}
    chosen = next(
        (
            rule
            for rule in rules
            if (
                rule.name == name if name else rule.path and any(fnmatch.fnmatchcase(each, rule.path) for each in paths)
            )
        ),
        None,
    )

    def make() -> Joins:
        joiner = Joiner() if chosen is None else joiner_of(chosen)
        joiner.cut_at = cut_at
        return joiner

    return make
