"""Of which hooks it is shown that they are quick, and of which not: they may sleep, count, or search as long as they like."""

from __future__ import annotations

import importlib
import itertools
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sampan.gateway.plugins.quick import reason

EXAMPLES = Path(__file__).parents[3] / "examples" / "plugins"
NUMBERS = itertools.count()
Made = Callable[..., str]


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    """The reason of a plugin: its text or a directory, and the settings of its factory."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def made(plugin: str | Path, settings: Any = None) -> str:
        package = f"quick_plugin_{next(NUMBERS)}"
        folder = tmp_path / package
        if isinstance(plugin, Path):
            shutil.copytree(plugin, folder)
        else:
            folder.mkdir()
            (folder / "plugin.py").write_text(plugin)
        (folder / "__init__.py").write_text("")
        importlib.invalidate_caches()
        module = importlib.import_module(f"{package}.plugin")
        function = module.request if settings is None else module.make(settings)
        try:
            return reason(function, package)
        finally:
            for name in [name for name in sys.modules if name.partition(".")[0] == package]:
                del sys.modules[name]

    return made


@pytest.mark.parametrize(
    ("name", "settings", "slow"),
    [
        ("hmac", {"keys": {"ann": "secret"}, "maxAgeSeconds": 60}, ""),
        ("canary", {"percent": 5, "salt": "x", "userHeader": "x-user"}, ""),
        ("geo", {"table": "ranges.csv", "unknown": "?", "header": "x-country"}, ""),
        ("ab", {"variants": {"a": 1}, "cookie": "c", "days": 1}, "line 14: SimpleCookie is not known to be quick"),
    ],
)
def test_the_examples(made: Made, name: str, settings: Any, slow: str) -> None:
    assert made(EXAMPLES / name, settings) == slow


@pytest.mark.parametrize(
    "body",
    [
        "request.response_headers['x-bench'] = 'yes'",
        "return request.respond(403, f'no {request.path:>10}\\n') if any(p in request.path for p in ['a']) else None",
        "request.headers['x-all'] = str(len(dict(request.headers)))",
        "n = 0\n    for name in request.headers:\n        n += len(name)\n    request.headers['n'] = str(n)",
        "try:\n        int(request.path)\n    except ValueError:\n        return request.respond(400, 'bad')",
        "a, b, c = request.path.partition('?')\n    if a in ('/x', '/y'):\n        request.headers['q'] = c or 'none'",
        "request.headers['x-word'] = request.settings['word'].upper()",
        "raise ValueError('on purpose')",
        "return {'status': 200}",
    ],
)
def test_what_ends_soon(made: Made, body: str) -> None:
    assert made(f"def request(request):\n    {body}\n") == ""


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("while True: pass", "while is not known to end"),
        ("time.sleep(3)", "time.sleep is not known"),
        ("print('x')", "print is not known"),
        ("open('/etc/hosts').read()", "open is not known"),
        ("socket.create_connection(('a', 1))", "socket.create_connection is not known"),
        ("if EXPRESSION.match(request.path): return request.respond(403)", "EXPRESSION.match cannot be followed"),
        ("for a in request.headers:\n        for b in request.headers: pass", "a loop in a loop"),
        ("[a for a in request.headers if any(b for b in request.headers)]", "a loop in a loop"),
        ("for c in request.path: pass", "a loop over what is neither"),
        ("for part in request.path.split('/'): pass", "a loop over what is neither"),
        ("for n in itertools.count(): pass", "itertools.count is not known"),
        ("for n in range(10**9): pass", "range is not known"),
        ("for n in LARGE: pass", "a loop over what is neither"),
        ("if request.path in LARGE: pass", "a search in a large table"),
        ("text = 'a'\n    for name in request.headers:\n        text = text + text", "grows in a loop"),
        ("n = 2\n    for name in request.headers:\n        n = n * n", "grows in a loop"),
        ("text = 'a'\n    for name in request.headers:\n        text = twice(text)", "grows in a loop"),
        ("text = 'a'\n    for name in request.headers:\n        text += text", "grows in a loop"),
        ("request.headers['a'] = 'b' * 10**9", "a product that is not of numbers"),
        ("n = 9 ** int(request.path)", "Pow can take"),
        ("n = 1 << int(request.path)", "LShift can take"),
        ("f'{request.path:9999999999}'", "a width that is not small"),
        ("'%9999999999s' % request.path", "% with a format"),
        ("request.path.encode('idna')", "a coding that is not known"),
        ("request.path.replace('', request.path)", ".replace() with what the source does not say"),
        ("request.path.join(['a', 'b'])", "a separator that the source does not say"),
        ("KEPT.append(request.path)", "it changes what is no collection of its own"),
        ("return request(request)", "cannot be followed"),
        ("recursive(3)", "recursive calls itself"),
        ("decorated()", "decorated is not known"),
        ("SMALL.method()", "SMALL.method cannot be followed"),
        ("random.choices(['a'], k=10**9)", "a number of choices"),
        ("eval('1')", "eval is not known"),
        ("getattr(time, 'sleep')(3)", "cannot be followed"),
        ("urllib.parse.urlsplit(request.path)", "urllib.parse.urlsplit of text that may be long"),
        ("int.from_bytes(request.path.encode(), 'big') % 7", "a number as long as a text is"),
        ("round(1.5, int(request.path))", "round to what the source does not say"),
        ("sum(json.loads(request.path), [])", "sum from a beginning"),
        ("json.dumps(json.loads(request.path), indent=2)", "json.dumps with indent"),
        ("for n in KEPT: json.loads(request.path)", "a document is gone over for each of many"),
        ("for n in KEPT.get('a', request.path.split()): pass", "a loop over what is neither"),
        ("words = KEPT\n    words += request.path.split()", "it changes what is no collection of its own"),
        ("for w in KEPT: pass\n    w.append(1)", "it changes what is no collection of its own"),
        ("n = 1\n    for name in request.headers:\n        n += n", "grows in a loop"),
        ("h = request.headers\n    for n in KEPT:\n        h['a'] = h['a'] + h['a']", "grows in a loop"),
        ("yield request", "awaits or yields"),
        ("with LOCK: pass", "with is not known to end"),
        ("import time as t", "import is not known to end"),
        ("f = lambda: 1", "lambda is not known to end"),
    ],
)
def test_what_may_not(made: Made, body: str, why: str) -> None:
    above = """
import functools, itertools, json, random, re, socket, threading, time, urllib.parse

class Small:
    def method(self): pass

EXPRESSION, LARGE, KEPT, SMALL, LOCK = re.compile("(a+)+$"), list(range(5000)), [], Small(), threading.Lock()

def twice(text):
    return text + text

def recursive(n):
    return recursive(n)

@functools.cache
def decorated():
    pass

"""
    assert why in made(f"{above}def request(request):\n    {body}\n")


@pytest.mark.parametrize(
    "plugin",
    [
        "async def request(request):\n    pass\n",
        "class Hook:\n    def __call__(self, request): pass\nrequest = Hook()\n",
        "import functools\nrequest = functools.partial(print)\n",
        "request = lambda request: None\n",
        "exec('def request(request): pass')\n",
    ],
)
def test_what_is_no_plain_function(made: Made, plugin: str) -> None:
    assert made(plugin)
