"""An expression's text as tokens. Source of the lexis: the CEL specification, "Syntax", and cel-go's grammar."""

from __future__ import annotations

import re
from typing import NamedTuple

from sampan.schema.cel.errors import Issue

_escape = r"\\(?:[abfnrtv\"'\\?`]|[0-3][0-7][0-7]|[xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})"
_string = (
    r'[rR]"""(?:.|\n)*?"""'
    r"|[rR]'''(?:.|\n)*?'''"
    r'|[rR]"[^"\n\r]*"'
    r"|[rR]'[^'\n\r]*'"
    rf'|"""(?:{_escape}|[^\\])*?"""'
    rf"|'''(?:{_escape}|[^\\])*?'''"
    rf'|"(?:{_escape}|[^\\"\n\r])*"'
    rf"|'(?:{_escape}|[^\\'\n\r])*'"
)
_token = re.compile(
    rf"""
      (?P<space>[\t\ \r\n\f]+|//[^\n]*)
    | (?P<bytes>[bB](?:{_string.replace(" ", "[ ]")}))
    | (?P<string>{_string})
    | (?P<float>[0-9]+\.[0-9]+(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+|\.[0-9]+(?:[eE][+-]?[0-9]+)?)
    | (?P<uint>0x[0-9a-fA-F]+[uU]|[0-9]+[uU])
    | (?P<int>0x[0-9a-fA-F]+|[0-9]+)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<escaped>`[A-Za-z0-9_./\- ]+`)
    | (?P<operator>==|!=|<=|>=|&&|\|\||[<>\[\]{{}}().,\-!?:+*/%])
    """,
    re.VERBOSE,
)
KEYWORDS = frozenset(("in", "true", "false", "null"))
_simple = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_escape_in_text = re.compile(
    r"\\(?:([0-3][0-7][0-7])|[xX]([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL
)


class Token(NamedTuple):
    """``kind`` is a group's name of the table above, the text itself of operators and keywords, or ``<EOF>``."""

    kind: str
    text: str
    position: int


def tokens(source: str, issues: list[Issue]) -> list[Token]:
    """Return the tokens with ``<EOF>`` at the end; what is no token becomes an issue and is skipped."""
    found: list[Token] = []
    position = 0
    while position < len(source):
        match = _token.match(source, position)
        if match is None:
            bad = _unrecognized(source, position)
            issues.append(Issue(position, f"Syntax error: token recognition error at: '{bad}'"))
            position += len(bad)
            continue
        kind, text = str(match.lastgroup), match[0]
        if kind == "operator" or text in KEYWORDS:
            kind = text
        if kind != "space":
            found.append(Token(kind, text, position))
        position = match.end()
    found.append(Token("<EOF>", "<EOF>", len(source)))
    return found


def _unrecognized(source: str, position: int) -> str:
    """Return how far the lexer reads before it gives up: an unfinished string to its bad place, else what cannot go on."""
    character = source[position]
    if character in "'\"":
        body = re.compile(rf"(?:{_escape}|[^\\{character}\n\r])*").match(source, position + 1)
        end = body.end() if body else position + 1
        return source[position : min(end + 2, len(source))] if source[end : end + 1] == "\\" else source[position:end]
    return source[position : position + 2] if character in "=&|" else character


class BadEscape(ValueError):
    """A string with an escape that its kind does not allow."""


def unquote(text: str) -> str:
    """Return the value of a string literal. Raises ``BadEscape``."""
    body, raw = _body(text)
    if raw or "\\" not in body:
        return body
    return _escape_in_text.sub(lambda match: chr(_code_point(match)) if not match[5] else _plain(match[5]), body)


def unquote_bytes(text: str) -> bytes:
    """Return the value of a bytes literal (``b'...'``): ``\\x`` and octal escapes are bytes. Raises ``BadEscape``."""
    body, raw = _body(text[1:])
    if raw:
        return body.encode()
    out = bytearray()
    position = 0
    for match in _escape_in_text.finditer(body):
        out += body[position : match.start()].encode()
        if match[3] or match[4]:
            raise BadEscape("unable to unescape string")
        out += bytes((_code_point(match),)) if not match[5] else _plain(match[5]).encode()
        position = match.end()
    return bytes(out + body[position:].encode())


def _body(text: str) -> tuple[str, bool]:
    raw = text[0] in "rR"
    text = text[1:] if raw else text
    width = 3 if text[:3] in ('"""', "'''") and len(text) >= 6 else 1
    return text[width:-width].replace("\r\n", "\n").replace("\r", "\n") if width == 3 else text[1:-1], raw


def _code_point(match: re.Match[str]) -> int:
    value = int(match[1], 8) if match[1] else int(match[2] or match[3] or match[4], 16)
    if 0xD800 <= value <= 0xDFFF or value > 0x10FFFF:
        raise BadEscape("invalid unicode code point")
    return value


def _plain(character: str) -> str:
    return _simple.get(character, character)
