"""Of which processors it is shown that their methods are quick, and of which not, however long a body is and however deep."""

from __future__ import annotations

import importlib
import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.quick import reason_of_processor

CASES = Path(__file__).parent / "quick_cases"
EXAMPLES = Path(__file__).parents[3] / "examples" / "plugins"
NUMBERS = itertools.count()
PHASES = ("request_headers", "response_headers", "request_content", "response_content", "response_body")
Made = Callable[..., str]
ABOVE = """
import functools, hashlib, hmac, json, re, time, urllib.parse

WORDS = ("a", "b")
FIELDS = [str(number) for number in range(100)]

def plain(text):
    return text.decode()

def doubled(value):
    return {"a": value, "b": value}
"""
MORE = {
    "remove": "frozenset({'password', 'token'})",
    "few": "['a', 'b']",
    "many": "[str(n) for n in range(100)]",
    "large": "set(range(5000))",
    "rename": "{'a': 'b'}",
    "masks": "{'card': '****'}",
    "nested": "{'a': {'b': [1] * 500}}",
    "page": "'x' * 100000",
    "mask": "'***'",
    "seconds": "5",
    "nothing": "None",
    "pattern": "re.compile('a+')",
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The reason of a processor: a module's text with a class ``Plugin``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(text: str) -> str:
        package = f"quick_processor_{next(NUMBERS)}"
        folder = tmp_path / package
        folder.mkdir()
        (folder / "plugin.py").write_text(text)
        (folder / "__init__.py").write_text("")
        importlib.invalidate_caches()
        processor = importlib.import_module(f"{package}.plugin").Plugin()
        try:
            return reason_of_processor(processor, [name for name in PHASES if hasattr(processor, name)], package)
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]

    return made


def plugin(*methods: str, above: str = "", of: str = "") -> str:
    """A plugin's text: its methods, and attributes to work with."""
    begins = "\n".join([f"        self.{name} = {value}" for name, value in MORE.items()])
    inside = "\n".join([textwrap.indent(textwrap.dedent(method), "    ") for method in methods])
    return f"{ABOVE}{above}\nclass Plugin{of}:\n    def __init__(self):\n{begins}\n\n{inside}\n"


def cases(name: str) -> list[tuple[str, str]]:
    """The cases of a file, one a paragraph, and of each why it is refused: the comment above it and the next ones. First
    come those that are shown to be quick."""
    found, why = [], ""
    for case in (CASES / f"{name}.txt").read_text().strip().split("\n\n"):
        if case.startswith("# "):
            why, _, case = case[2:].partition("\n")
        found.append((case, why))
    return found


def of_content(body: str) -> str:
    """A plugin with a method for the answer's content, and what is below ``---``."""
    first, *others = body.split("\n---\n")
    return plugin("def response_content(self, exchange, content):\n" + textwrap.indent(first, "    "), *others)


def of_each(body: str) -> str:
    """A plugin with a function for each object, as pairs or as a dictionary."""
    hook, name = ("object_pairs_hook", "pairs") if "pairs" in body else ("object_hook", "found")
    loads = f"return json.dumps(json.loads(content, {hook}=self.kept)).encode()"
    return of_content(f"{loads}\n---\ndef kept(self, {name}):\n" + textwrap.indent(body, "    "))


def check(reason: str, why: str) -> None:
    assert why in reason if why else not reason


@pytest.mark.parametrize(("case", "why"), cases("objects"))
def test_what_is_done_for_each_object(made: Made, case: str, why: str) -> None:
    check(made(of_each(case)), why)


@pytest.mark.parametrize(("case", "why"), cases("bodies"))
def test_what_is_done_to_a_body(made: Made, case: str, why: str) -> None:
    check(made(of_content(case)), why)


@pytest.mark.parametrize(("case", "why"), cases("methods"))
def test_what_the_methods_are(made: Made, case: str, why: str) -> None:
    check(made(plugin(*case.split("\n---\n"))), why)


def test_the_example_takes_fields_out(made: Made) -> None:
    example = (EXAMPLES / "body" / "plugin.py").read_text()
    assert made(f"{example}\n\ndef Plugin(): return Rewrite(remove=['password'])\n") == ""


@pytest.mark.parametrize("case", [case for case, why in cases("objects") if not why])
def test_a_document_stays_as_long_as_it_is_however_deep(case: str) -> None:
    found: dict[str, Any] = {}
    exec(of_each(case), found)
    deep = b'{"a":' * 100 + b'{"b": "x", "c": 1}' + b"}" * 100
    for document in (deep, b"[" + b",".join([b'{"a": {"b": {}}, "c": []}'] * 100) + b"]"):
        assert len(found["Plugin"]().response_content(None, document)) < 10 * len(document)


def test_what_a_class_may_not_be(made: Made) -> None:
    headers = "def response_headers(self, exchange): pass"
    assert made(plugin(headers, of="(dict)")) == "builtins.dict is no plain class of the plugin"
    assert "is no plain class" in made(plugin(headers, of="(metaclass=abc.ABCMeta)", above="import abc\n"))
    inherited = f"class First:\n    {headers}\n"
    assert made(plugin(above=inherited, of="(First)")) == ""
    assert made(plugin("response_headers = First.response_headers", above=inherited)) == ""


def test_what_streams(made: Made) -> None:
    text = plugin("async def response_body(self, exchange, chunks):\n    async for chunk in chunks: yield chunk")
    assert made(text) == "response_body streams"


def test_the_loops_of_a_processor_without_bodies_are_those_of_a_hook(made: Made) -> None:
    loop = "for word in self.many:\n        if word in exchange.request.path: return exchange.respond(403)"
    headers = f"def request_headers(self, exchange):\n    {loop}"
    assert made(plugin(headers)) == ""
    content = "def request_content(self, exchange, content): pass"
    assert "request_headers, line" in made(plugin(headers, content))
