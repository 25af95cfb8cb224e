"""Rules out of Filebeat's configurations: ``multiline`` of inputs (``multiline.pattern`` too) and of their ``parsers``.

Source: Filebeat's reference, "Manage multiline messages".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.logs.rules.rule import Rule, rule_of


def rules_of_inputs(inputs: list[Any]) -> Iterator[Rule]:
    """Yield the rule of each input that has one, for the input's paths. Raises ``RuleError``."""
    for number, given in enumerate(inputs):
        one = given if isinstance(given, Mapping) else {}
        blocks = [parser["multiline"] for parser in one.get("parsers") or () if "multiline" in parser]
        dotted = {key.removeprefix("multiline."): value for key, value in one.items() if key.startswith("multiline.")}
        block = next((block for block in [*blocks, one.get("multiline"), dotted] if block), None)
        if block:
            if "max_bytes" in one:  # Filebeat cuts there, here it goes on in parts
                block = {"max_bytes": one["max_bytes"], **block}
            name = str(one.get("id") or f"input-{number}")
            for path in one.get("paths") or [""]:
                yield rule_of(name, block, f"filebeat.inputs[{number}].multiline", str(path))
