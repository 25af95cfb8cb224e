"""A JSON patch made in the text of a YAML document, so that comments, order and style of all else stay.

The parser tells where each node stands in the text; an operation cuts and inserts there, in the style of what is around it
(block or flow). Whoever calls compares the outcome with the patched object: ``edited`` gives None where the text came to say
something else, and the caller writes the object anew. Source: YAML 1.1 as PyYAML reads it, RFC 6902.
"""

from __future__ import annotations

from typing import Any

import yaml

from sampan.schema.json_diff import Operation


def edited(text: str, document: int, operations: list[Operation], expected: Any) -> str | None:
    """Return a file's text with operations made in one of its documents; None where that cannot be done so."""
    try:
        for operation in operations:
            text = one_edit(text, document, operation)
        found = list(yaml.safe_load_all(text))[document]
    except (LookupError, ValueError, AttributeError, yaml.YAMLError):
        return None
    return text if found == expected else None


def one_edit(text: str, document: int, operation: Operation) -> str:
    root = list(yaml.compose_all(text, Loader=yaml.SafeLoader))[document]
    keys = [key.replace("~1", "/").replace("~0", "~") for key in operation["path"].split("/")[1:]]
    parent: Any = root
    for key in keys[:-1]:
        parent = child(parent, key)
    verb, key = operation["op"], keys[-1]
    if verb == "replace":
        return replaced(text, child(parent, key), operation["value"])
    if verb == "remove":
        return without(text, parent, key)
    if isinstance(parent, yaml.MappingNode):
        return with_key(text, parent, key, operation["value"])
    return with_item(text, parent, operation["value"])


def child(node: yaml.Node, key: str) -> yaml.Node:
    if isinstance(node, yaml.MappingNode):
        values: dict[str, yaml.Node] = {name.value: value for name, value in node.value}
        return values[key]
    found: yaml.Node = node.value[int(key)]
    return found


def flow(value: Any) -> str:
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n...\n").strip())


def block(value: Any, indent: int) -> str:
    """Return a value as it follows ``key:`` in block style."""
    if not isinstance(value, (dict, list)) or not value:
        return f" {flow(value)}"
    lines = yaml.safe_dump(value, sort_keys=False, width=10_000).rstrip("\n").split("\n")
    return "".join(f"\n{' ' * (indent + 2)}{line}" for line in lines)


def end_of(text: str, node: Any) -> int:
    """Return where a node's own text ends: the parser's end of a block is where the next thing begins."""
    if isinstance(node, yaml.ScalarNode):
        end = node.end_mark.index
        return len(text[:end].rstrip("\n")) if node.style in ("|", ">") else int(end)
    if node.flow_style or not node.value:
        return int(node.end_mark.index)
    last = node.value[-1]
    return end_of(text, last[1] if isinstance(node, yaml.MappingNode) else last)


def line_end(text: str, at: int) -> int:
    """Return the end of the line, comments included."""
    found = text.find("\n", at)
    return len(text) if found < 0 else found


def line_start(text: str, at: int) -> int:
    return text.rfind("\n", 0, at) + 1


def replaced(text: str, node: yaml.Node, value: Any) -> str:
    return text[: node.start_mark.index] + flow(value) + text[end_of(text, node) :]


def with_key(text: str, parent: yaml.MappingNode, key: str, value: Any) -> str:
    if parent.flow_style or not parent.value:
        at = parent.end_mark.index - 1
        comma = ", " if parent.value else ""
        return text[:at].rstrip(" ") + f"{comma}{flow(key)}: {flow(value)}" + text[at:]
    indent = parent.value[0][0].start_mark.column
    at = line_end(text, end_of(text, parent))
    return text[:at] + f"\n{' ' * indent}{flow(key)}:{block(value, indent)}" + text[at:]


def with_item(text: str, parent: Any, value: Any) -> str:
    if parent.flow_style or not parent.value:
        at = parent.end_mark.index - 1
        comma = ", " if parent.value else ""
        return text[:at].rstrip(" ") + f"{comma}{flow(value)}" + text[at:]
    at = line_end(text, end_of(text, parent))
    return text[:at] + f"\n{' ' * parent.start_mark.column}- {flow(value)}" + text[at:]


def without(text: str, parent: Any, key: str) -> str:
    is_mapping = isinstance(parent, yaml.MappingNode)
    index = next(n for n, one in enumerate(parent.value) if one[0].value == key) if is_mapping else int(key)
    spans = [(one[0] if is_mapping else one, one[1] if is_mapping else one) for one in parent.value]
    first, last = spans[index]
    begin, end = first.start_mark.index, end_of(text, last)
    if len(spans) == 1:
        return text[: parent.start_mark.index] + ("{}" if is_mapping else "[]") + text[end_of(text, parent) :]
    if parent.flow_style:
        if index:
            return text[: end_of(text, spans[index - 1][1])] + text[end:]
        return text[:begin] + text[spans[1][0].start_mark.index :]
    if is_mapping and text[line_start(text, begin) : begin].strip():  # "- key: value": the dash stays
        return text[:begin] + text[spans[1][0].start_mark.index :]
    return text[: line_start(text, begin)] + text[min(line_end(text, end) + 1, len(text)) :]
