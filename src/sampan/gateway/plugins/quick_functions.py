"""What a hook calls, and that it ends soon: the part of ``quick.py`` that looks at functions and methods."""

from __future__ import annotations

import ast
import hmac
import json
import random
import types
import urllib.parse
from abc import abstractmethod
from typing import Any

from sampan.gateway.plugins.quick_calls import (
    ANSWER,
    CALLED,
    CHEAP,
    CODECS,
    CONSTANT,
    DIGEST,
    DIGESTS,
    EXCHANGE,
    FIXED,
    GROW,
    HEADERS,
    KEPT,
    KEY,
    LISTED,
    LOOKS_UP,
    METHODS,
    MIXED,
    NUMBER,
    OF_DIGEST,
    OF_DUMPS,
    OF_HEADERS,
    OF_HOOKS,
    OWNED,
    PLAIN,
    REQUEST,
    SELF,
    SHORT,
    STATE,
    TABLE,
    TEXT,
    VALUE,
)
from sampan.gateway.plugins.quick_expressions import FEW, MANY, OF_COLLECTIONS, ONCE, joined, words_of
from sampan.gateway.plugins.quick_loops import Loops
from sampan.gateway.plugins.quick_values import NotShown, are_short, is_listed, is_start

OF_TEXTS = ("split", "splitlines", "rsplit", "partition", "parse_qsl")
"""What makes a collection of texts only: their hashes cannot be chosen by who sends them."""


class Calls(Loops):
    """The calls of one function."""

    @abstractmethod
    def follow_hook(self, called: types.FunctionType, kinds: list[str]) -> None:
        """See that a function can be called for each object of a document. Raises ``NotShown``."""

    def of_Call(self, one: ast.Call) -> str:
        if any(isinstance(argument, ast.Starred) for argument in one.args) or any(not key.arg for key in one.keywords):
            raise NotShown("arguments that cannot be counted", one)
        if isinstance(one.func, ast.Attribute):
            found = self.method(one, one.func)
            if found:
                return found
        called = self.live_of(one.func)
        if (called is getattr or called is hasattr) and one.args and self.kind(one.args[0]) == STATE:
            kinds = [self.plain(argument) for argument in one.args[1:]]
            if {OWNED, MIXED, LISTED} & set(kinds):
                return MIXED
            return VALUE if called is getattr and kinds else NUMBER
        plugins = self.plugins_own(called)
        if plugins is not None:
            if one.keywords:
                raise NotShown("a call that cannot be followed", one)
            function, first = plugins
            return self.follow(function, [*first, *[self.kind(argument) for argument in one.args]])
        if not is_listed(called):
            raise NotShown(f"{ast.unparse(one.func)} is not known to be quick", one)
        return self.listed(called, one)

    def plugins_own(self, called: Any) -> tuple[types.FunctionType, list[str]] | None:
        """Return a function of the plugin and what comes before its arguments; None where it is another's."""
        if isinstance(called, types.MethodType) and called.__self__ is self.around.processor is not None:
            function = called.__func__
            return (function, [SELF]) if isinstance(function, types.FunctionType) else None
        return (called, []) if isinstance(called, types.FunctionType) and called not in CALLED else None

    def listed(self, called: Any, one: ast.Call) -> str:
        """Return what a listed function returns. Raises ``NotShown``."""
        self.keywords(called, one)
        given = [*one.args, *[key.value for key in one.keywords if called is not json.loads]]
        kinds = [self.argument(argument, called) for argument in given]
        self.fits(called, one, kinds)
        if self.in_loop and called in (json.loads, json.dumps) and any(kind not in (*CHEAP, OWNED) for kind in kinds):
            raise NotShown("a document is gone over for each of many", one)
        if (
            self.turns in (FEW, MANY)
            and called not in CONSTANT
            and not all(kind in CHEAP or (kind == TABLE and called in LOOKS_UP) for kind in kinds)
        ):
            raise NotShown(f"{ast.unparse(one.func)} goes over a whole value for each of many", one)
        if called in KEPT and kinds and all(kind in (OWNED, LISTED) for kind in kinds):
            return joined(*kinds) if len(set(kinds)) == 1 else LISTED
        if called is hmac.digest:
            return SHORT
        return words_of(*kinds) if CALLED[called] == TEXT else CALLED[called]

    def keywords(self, called: Any, one: ast.Call) -> None:
        names = {str(key.arg) for key in one.keywords}
        if called is random.choices and names:
            raise NotShown("a number of choices", one)
        if called is json.dumps:
            for key in one.keywords:
                if key.arg not in OF_DUMPS and not (key.arg == "indent" and is_none(key.value)):
                    raise NotShown(f"json.dumps with {key.arg}", one)
        if called is json.loads:
            for key in one.keywords:
                if key.arg not in OF_HOOKS:
                    raise NotShown(f"json.loads with {key.arg}", one)
                self.hooked(key.value, OF_HOOKS[key.arg])

    def hooked(self, node: ast.expr, kind: str) -> None:
        """See that what is called for each object is quick. Raises ``NotShown``."""
        if self.turns != ONCE:
            raise NotShown("objects are gone over for each of many", node)
        live = self.live_of(node)
        plugins = self.plugins_own(live)
        if plugins is None and live is not dict:
            raise NotShown(f"{ast.unparse(node)} is not known to be quick", node)
        if plugins is not None:
            self.follow_hook(plugins[0], [*plugins[1], kind])

    def fits(self, called: Any, one: ast.Call, kinds: list[str]) -> None:
        """Refuse what takes longer than what it gets is long."""
        others = [*one.args[1:], *[key.value for key in one.keywords]]
        if called is round and not all(isinstance(argument, ast.Constant) for argument in others):
            raise NotShown("round to what the source does not say", one)  # 10 ** what a client likes
        if called is sum and others:
            raise NotShown("sum from a beginning", one)  # each list is copied
        if called in (urllib.parse.urlsplit, urllib.parse.urlparse) and kinds[:1] != [SHORT]:
            # a host in other letters is normalized: marks in a row are sorted by insertion
            raise NotShown(f"{ast.unparse(one.func)} of text that may be long (partition is soon done)", one)
        if called is random.getrandbits and not isinstance(one.args[0], ast.Constant):
            raise NotShown("a number of bits", one)
        is_long = called == int.from_bytes or (called is int and others)
        if is_long and not is_part(one) and not all(kind in (NUMBER, SHORT) for kind in kinds):
            raise NotShown("a number as long as a text is (of text[:16] it is not)", one)
        if self.around.is_strict and called in (set, frozenset, dict) and self.turns == ONCE:
            first = one.args[0] if one.args else None
            is_text = (
                isinstance(first, ast.Call) and isinstance(first.func, ast.Attribute) and first.func.attr in OF_TEXTS
            )
            if (first is None and called is set) or (not is_text and kinds):
                self.hashes(one, VALUE if first is None else kinds[0])

    def argument(self, node: ast.expr, called: Any) -> str:
        """Return what a listed function gets: values, or the name of an algorithm or a class. Raises ``NotShown``."""
        if isinstance(node, (ast.Name, ast.Attribute, ast.Tuple)) and (called is hmac.new or called is isinstance):
            parts = node.elts if isinstance(node, ast.Tuple) else [node]
            try:
                lives = [self.live_of(part) for part in parts]
            except NotShown:
                lives = [None]
            if (called is hmac.new and is_listed(lives[0]) and lives[0] in DIGESTS) or (
                called is isinstance and all(isinstance(live, type) for live in lives)
            ):
                return VALUE
        found = self.kind(node)
        fits = found in PLAIN or (found == TABLE and called in LOOKS_UP)
        if not fits and not (found == HEADERS and called in (len, dict, list, sorted, set, tuple, bool)):
            raise NotShown("it is handed on where it cannot be followed", node)
        return found

    def method(self, call: ast.Call, attribute: ast.Attribute) -> str:
        """Return what a method of the request or of a value returns, "" where it is a function of a module or a method of
        the processor."""
        try:
            owner = self.kind(attribute.value)
        except NotShown as problem:
            try:
                self.live_of(attribute)
            except NotShown as other:  # who is neither says why
                raise (problem if isinstance(attribute.value, ast.Call) else other) from None
            return ""
        if owner == SELF:
            return ""
        name = attribute.attr
        arguments = [*call.args, *[key.value for key in call.keywords]]
        if owner in (REQUEST, EXCHANGE) and name == "respond":
            for argument in arguments:
                self.plain(argument)
            return ANSWER
        known = {HEADERS: OF_HEADERS, DIGEST: OF_DIGEST, TABLE: {"get": TABLE}}.get(owner, METHODS)
        if name not in known or owner not in (*PLAIN, HEADERS, DIGEST, TABLE):
            raise NotShown(f".{name}() is not known to be quick", call)
        if name in FIXED and owner in PLAIN and not all(isinstance(argument, ast.Constant) for argument in arguments):
            raise NotShown(f".{name}() with what the source does not say", call)
        if name in ("encode", "decode") and not all(argument.value in CODECS for argument in arguments):  # type: ignore[attr-defined]
            raise NotShown("a coding that is not known to be quick", call)
        if name == "join" and not isinstance(attribute.value, ast.Constant):
            raise NotShown("a separator that the source does not say", call)
        if name in GROW and owner in (OWNED, MIXED, SHORT, TABLE):  # what is owned stays as it was measured
            raise NotShown("it changes what is no collection of its own", call)
        if name in GROW and self.in_loop and owner != HEADERS:
            raise NotShown("what grows in a loop", call)
        if name == "update" and owner == VALUE and not all(isinstance(argument, ast.Dict) for argument in call.args):
            self.hashes(call, VALUE)
        kinds = [SHORT if is_none(argument) else self.plain(argument) for argument in arguments]
        self.method_costs(call, name, owner, kinds)
        if owner == HEADERS and name in OF_COLLECTIONS and not self.in_loop:
            return LISTED  # Envoy lets no more than a hundred of them pass
        if owner in (OWNED, LISTED, MIXED) and name in KEPT:
            return self.kept(call, attribute, owner, kinds)
        if known[name] == TEXT and owner not in (HEADERS, DIGEST):
            return words_of(owner, *kinds)
        return known[name]

    def kept(self, call: ast.Call, attribute: ast.Attribute, owner: str, kinds: list[str]) -> str:
        """Return what is had of a collection of the plugin's own."""
        if attribute.attr != "get":
            return owner
        found = SHORT if are_short(self.collection(attribute.value)) else owner if owner != LISTED else VALUE
        if len(call.args) < 2 or is_empty(call.args[1]):
            return found
        return joined(found, kinds[1])

    def method_costs(self, call: ast.Call, name: str, owner: str, kinds: list[str]) -> None:
        """Refuse a method that goes over a whole value, where it is called for many."""
        if self.turns != MANY:
            return
        if name in ("startswith", "endswith"):
            handful = len(call.args) == 1 and kinds[0] == OWNED and self.is_handful(call.args[0])
            self.costs(call, *(() if handful else kinds))
        elif owner in (HEADERS, DIGEST):
            self.costs(call, *kinds)
        elif name in ("get", *OF_COLLECTIONS):
            pass
        elif name == "pop" and owner in (VALUE, MIXED):  # of a list it can be each that moves up
            if len(kinds) == 1 and kinds[0] not in (SHORT, KEY):
                self.costs(call, VALUE)
        else:
            self.costs(call, owner, *kinds)


def is_empty(node: ast.expr) -> bool:
    if isinstance(node, ast.Dict):
        return not node.keys
    return isinstance(node, ast.Constant) or (isinstance(node, (ast.List, ast.Tuple)) and not node.elts)


def is_part(call: ast.Call) -> bool:
    """Whether a function is called with a small part of something."""
    return bool(call.args) and isinstance(call.args[0], ast.Subscript) and is_start(call.args[0].slice)


def is_none(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is None
