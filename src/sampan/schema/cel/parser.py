"""Tokens as a syntax tree: recursive descent by precedence, with the messages of cel-go's parser.

The grammar is the CEL specification's with the optional syntax. Nothing recurses deeper than ``MAX_DEPTH``; ``&&`` and
``||`` chains become balanced trees. Macros are expanded as they are met (``macros.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sampan.schema.cel.errors import CompileError, Issue
from sampan.schema.cel.lexer import BadEscape, Token, tokens, unquote, unquote_bytes
from sampan.schema.cel.nodes import Call, Entry, Ident, ListNode, Literal, MapNode, Node, Select, Struct
from sampan.schema.cel.values import MAX_INT, MIN_INT, Uint

MAX_DEPTH = 250
"""cel-go's recursion limit."""

MAX_RECOVERIES = 30
"""How often cel-go goes on after a syntax error."""

MAX_CHARACTERS = 100_000

Macro = Callable[[int, Node | None, list[Node]], Node | None]
"""``(position, target, arguments) -> expansion``; None: no macro after all. Raises ``MacroError``."""

RESERVED = frozenset(
    (
        "as", "break", "const", "continue", "else", "false", "for", "function", "if", "import", "in", "let", "loop",
        "package", "namespace", "null", "return", "true", "var", "void", "while",
    )
)  # fmt: skip
BINARY = {
    "<": 1, "<=": 1, ">=": 1, ">": 1, "==": 1, "!=": 1, "in": 1, "+": 2, "-": 2, "*": 3, "/": 3, "%": 3,
}  # fmt: skip
OPERATORS = {name: "@in" if name == "in" else f"_{name}_" for name in BINARY}
STARTS = (
    "'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER"
)
BEGINNERS = frozenset(
    ("[", "{", "(", ".", "-", "!", "true", "false", "null", "float", "int", "uint", "string", "bytes", "name")
)


class MacroError(Exception):
    """A macro with arguments it cannot take."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position


class _Stop(Exception):
    """The first syntax error: what follows it would only confuse."""


def parse(source: str, macros: Mapping[tuple[str, int, bool], Macro], optional_syntax: bool = True) -> Node:
    """Return the tree of an expression. ``macros`` by name, number of arguments and whether a method. Raises
    ``CompileError``."""
    if len(source) > MAX_CHARACTERS:
        text = f"expression code point size exceeds limit: size: {len(source)}, limit {MAX_CHARACTERS}"
        raise CompileError(source, [Issue(0, text)])
    parser = _Parser(source, macros, optional_syntax)
    try:
        node = parser.whole()
    except _Stop:
        raise CompileError(source, parser.issues) from None
    except RecursionError:
        raise CompileError(source, [_too_deep(0)]) from None
    if parser.issues:
        raise CompileError(source, parser.issues)
    return node


def _too_deep(position: int) -> Issue:
    return Issue(position, f"expression recursion limit exceeded: {MAX_DEPTH}")


class _Parser:
    def __init__(self, source: str, macros: Mapping[tuple[str, int, bool], Macro], optional_syntax: bool) -> None:
        self.issues: list[Issue] = []
        self.tokens = tokens(source, self.issues)
        self.at = 0
        self.depth = 0
        self.recoveries = 0
        self.macros = macros
        self.optional_syntax = optional_syntax

    # tokens

    @property
    def token(self) -> Token:
        return self.tokens[self.at]

    def following(self) -> Token:
        return self.tokens[min(self.at + 1, len(self.tokens) - 1)]

    def take(self) -> Token:
        token = self.tokens[self.at]
        self.at += token.kind != "<EOF>"
        return token

    def found(self, kind: str) -> Token | None:
        return self.take() if self.tokens[self.at].kind == kind else None

    def fail(self, message: str, token: Token | None = None) -> _Stop:
        self.issues.append(Issue((token or self.token).position, f"Syntax error: {message}"))
        return _Stop()

    def expect(self, kind: str) -> Token:
        found = self.found(kind)
        if found is None:
            token = self.token
            nested = kind == ")" and self.depth > 2
            if kind == ")" and token.kind == "<EOF>" and not nested:
                raise self.fail(f"missing ')' at '{token.text}'")
            raise self.fail(f"mismatched input '{token.text}' expecting '{kind}'")
        return found

    def close(self, kind: str) -> Token:
        """Take the end of a list or map, where a comma might stand as well."""
        found = self.found(kind)
        if found is None:
            word = "mismatched" if self.token.kind == "<EOF>" else "extraneous"
            raise self.fail(f"{word} input '{self.token.text}' expecting {{'{kind}', ','}}")
        return found

    def built(self, node: Node) -> Node:
        if node.depth > MAX_DEPTH:
            self.issues.append(_too_deep(node.position))
            raise _Stop
        return node

    def wrong(self, position: int, message: str) -> Node:
        """Note what is wrong without giving up; the node returned stands in for what cannot be."""
        self.issues.append(Issue(position, message))
        return Literal(position, None)

    # the grammar

    def whole(self) -> Node:
        node = self.expression()
        if self.token.kind != "<EOF>":
            word = "extraneous" if self.following().kind == "<EOF>" else "mismatched"
            raise self.fail(f"{word} input '{self.token.text}' expecting <EOF>")
        return node

    def expression(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            self.issues.append(_too_deep(self.token.position))
            raise _Stop
        node = self.logical("||")
        question = self.found("?")
        if question is not None:
            then = self.logical("||")
            self.expect(":")
            node = self.built(Call(question.position, "_?_:_", [node, then, self.expression()]))
        self.depth -= 1
        return node

    def logical(self, operator: str) -> Node:
        """``a || b || c`` (or ``&&``), balanced."""
        below = self.conjunction if operator == "||" else self.relation
        terms, places = [below()], []
        while (token := self.found(operator)) is not None:
            places.append(token.position)
            terms.append(below())
        return self.balanced(f"_{operator}_", terms, places, 0, len(places) - 1) if places else terms[0]

    def conjunction(self) -> Node:
        return self.logical("&&")

    def relation(self) -> Node:
        return self.binary(1)

    def balanced(self, function: str, terms: list[Node], places: list[int], low: int, high: int) -> Node:
        middle = (low + high + 1) // 2
        left = terms[middle] if middle == low else self.balanced(function, terms, places, low, middle - 1)
        right = terms[middle + 1] if middle == high else self.balanced(function, terms, places, middle + 1, high)
        return self.built(Call(places[middle], function, [left, right]))

    def binary(self, lowest: int) -> Node:
        left = self.unary()
        while (strength := BINARY.get(self.token.kind, 0)) >= lowest:
            token = self.take()
            right = self.binary(strength + 1)
            left = self.built(Call(token.position, OPERATORS[token.kind], [left, right]))
        return left

    def unary(self) -> Node:
        token = self.token
        if token.kind not in ("!", "-"):
            return self.member()
        if token.kind == "-" and self.tokens[self.at + 1].kind in ("int", "float"):
            self.take()
            return self.member(sign="-", start=token.position)
        count = 0
        while self.found(token.kind) is not None:
            count += 1
        if self.token.kind == "!" or (self.token.kind == "-" and self.tokens[self.at + 1].kind not in ("int", "float")):
            raise self.fail(f"no viable alternative at input '{token.text}{self.token.text}'")
        operand = self.unary() if self.token.kind == "-" else self.member()
        if count % 2 == 0:
            return operand
        return self.built(Call(token.position, f"{token.kind}_", [operand]))

    def member(self, sign: str = "", start: int = -1) -> Node:
        node = self.number(sign, start) if sign else self.primary()
        while True:
            token = self.token
            if token.kind == ".":
                node = self.built(self.selection(node))
            elif token.kind == "[":
                self.take()
                optional = self.question("unsupported syntax '[?'")
                index = self.expression()
                self.expect("]")
                node = self.built(Call(token.position, "_[?_]" if optional else "_[_]", [node, index]))
            else:
                return node

    def question(self, refusal: str) -> bool:
        token = self.found("?")
        if token is not None and not self.optional_syntax:
            self.wrong(token.position, refusal)
        return token is not None

    def selection(self, operand: Node) -> Node:
        dot = self.take()
        optional = self.question("unsupported syntax '.?'")
        name = self.token
        if name.kind == "escaped":
            self.take()
            field = name.text[1:-1]
        elif name.kind == "name":
            self.take()
            field = name.text
            if not optional and (opening := self.found("(")) is not None:
                return self.call(opening.position, field, operand, self.arguments())
        elif name.kind in ("true", "false", "null"):
            raise self.fail(f"mismatched input '{name.text}' expecting IDENTIFIER")
        else:
            text = "" if name.kind == "<EOF>" else name.text
            raise self.fail(f"no viable alternative at input '.{text}'")
        if optional:
            return Call(dot.position, "_?._", [operand, Literal(name.position, field)])
        return Select(dot.position, operand, field)

    def arguments(self) -> list[Node]:
        if self.found(")") is not None:
            return []
        if self.token.kind not in BEGINNERS:
            self.begin("'[', '{', '(', ')', '.', " + STARTS.partition("'.', ")[2])
        found = [self.expression()]
        while self.found(",") is not None:
            found.append(self.expression())
        self.expect(")")
        return found

    def call(self, position: int, name: str, target: Node | None, args: list[Node]) -> Node:
        macro = self.macros.get((name, len(args), target is not None))
        if macro is not None:
            try:
                expanded = macro(position, target, args)
            except MacroError as error:
                return self.wrong(error.position, str(error))
            if expanded is not None:
                return self.built(expanded)
        return self.built(Call(position, name, args, target))

    def begin(self, expected: str = STARTS) -> Node | None:
        """Refuse a token that begins no expression. Where the next one would do it is too much, and is left out; an operator
        may be right where an operand is missing: what stands in for that is returned."""
        token = self.token
        extra = token.kind != "<EOF>" and self.following().kind in BEGINNERS
        stop = self.fail(f"{'extraneous' if extra else 'mismatched'} input '{token.text}' expecting {{{expected}}}")
        self.recoveries += 1
        if self.recoveries > MAX_RECOVERIES:
            raise stop
        if extra:
            self.take()
            return None
        if token.kind not in BINARY:
            raise stop
        return Literal(token.position, None)

    def primary(self) -> Node:
        token = self.token
        if token.kind not in BEGINNERS:
            return self.begin() or self.unary()
        if token.kind == "(":
            self.take()
            node = self.expression()
            self.expect(")")
            return node
        if token.kind == "[":
            return self.list_literal()
        if token.kind == "{":
            self.take()
            return self.built(MapNode(token.position, self.entries(self.map_key)))
        if token.kind in ("name", "."):
            return self.name()
        return self.literal()

    def list_literal(self) -> Node:
        opening = self.take()
        elements: list[Node] = []
        optional: set[int] = set()
        if self.found(",") is None:
            while self.token.kind != "]":
                if self.question("unsupported syntax '?'"):
                    optional.add(len(elements))
                elements.append(self.expression())
                if self.found(",") is None:
                    break
        self.close("]")
        return self.built(ListNode(opening.position, elements, frozenset(optional)))

    def map_key(self) -> Node | str:
        return self.expression()

    def field_name(self) -> Node | str:
        token = self.take()
        if token.kind not in ("name", "escaped"):
            raise self.fail(
                f"mismatched input '{token.text}' expecting {{'}}', ',', '?', IDENTIFIER, ESC_IDENTIFIER}}", token
            )
        return token.text.strip("`")

    def entries(self, key: Callable[[], Node | str]) -> list[Entry]:
        found: list[Entry] = []
        if self.found(",") is None:
            while self.token.kind != "}":
                optional = self.question("unsupported syntax '?'")
                name = key()
                colon = self.expect(":")
                found.append(Entry(colon.position, name, self.expression(), optional))
                if self.found(",") is None:
                    break
        self.close("}")
        return found

    def name(self) -> Node:
        dot = self.found(".")
        first = self.token
        if first.kind != "name":
            text = "" if first.kind == "<EOF>" else first.text
            raise self.fail(f"no viable alternative at input '.{text}'")
        message = self.message_name()
        if message:
            opening = self.take()
            return self.built(Struct(opening.position, ("." if dot else "") + message, self.entries(self.field_name)))
        self.take()
        name = ("." if dot else "") + first.text
        opening_ = self.found("(")
        if opening_ is not None:
            args = self.arguments()
            if first.text in RESERVED:
                return self.wrong(first.position, f"reserved identifier: {first.text}")
            return self.call(opening_.position, name, None, args)
        if first.text in RESERVED:
            return self.wrong(first.position, f"reserved identifier: {first.text}")
        return Ident(first.position, name)

    def message_name(self) -> str:
        """Take ``A.b.C`` where a brace follows; else nothing."""
        at, names = self.at, []
        while self.tokens[at].kind == "name":
            names.append(self.tokens[at].text)
            at += 1
            if self.tokens[at].kind == "{":
                self.at = at
                return ".".join(names)
            if self.tokens[at].kind != ".":
                break
            at += 1
        return ""

    # literals

    def literal(self) -> Node:
        token = self.token
        if token.kind in ("int", "uint", "float"):
            return self.number("", token.position)
        self.take()
        if token.kind in ("true", "false", "null"):
            return Literal(token.position, {"true": True, "false": False, "null": None}[token.kind])
        try:
            value = unquote(token.text) if token.kind == "string" else unquote_bytes(token.text)
        except BadEscape as error:
            return self.wrong(token.position, str(error))
        return Literal(token.position, value)

    def number(self, sign: str, start: int) -> Node:
        token = self.take()
        if token.kind == "float":
            value = float(sign + token.text)
            if value in (float("inf"), float("-inf")):
                return self.wrong(start, "invalid double literal")
            return Literal(start, value)
        digits = token.text.rstrip("uU") if token.kind == "uint" else token.text
        number = (
            int(sign + digits.removeprefix("0x"), 16 if digits.startswith("0x") else 10)
            if len(digits) < 64
            else MAX_INT * 4
        )
        if token.kind == "uint":
            return Literal(start, Uint(number)) if number < 2**64 else self.wrong(start, "invalid uint literal")
        return Literal(start, number) if MIN_INT <= number <= MAX_INT else self.wrong(start, "invalid int literal")
