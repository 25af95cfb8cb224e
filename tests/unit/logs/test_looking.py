"""``sampan logs show`` on files, and what of records is looked for and how they look."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gzip
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest

from sampan.cli import reaching
from sampan.cli.logs import show as show_verb
from sampan.logs.joining import Record
from sampan.logs.log_record import Labels
from sampan.logs.looking import containers
from sampan.logs.looking.containers import Choice, instances
from sampan.logs.looking.showing import Showing
from sampan.logs.looking.wanted import Asked, Wanted
from sampan.logs.outputs.options import OptionError
from sampan.logs.timestamps import rfc3339

LABELS = Labels({"namespace": "shop", "pod": "web", "container": "main", "labels.app": "web"})
TRACE = b'ERROR no order\nTraceback (most recent call last):\n  File "a.py", line 1, in f\nValueError: 7'


def record(text: bytes, time: bytes = b"2026-11-30T10:00:00.5Z") -> Record:
    return Record(time, text, text.count(b"\n") + 1, "", "next")


@pytest.mark.parametrize(
    ("asked", "text", "there"),
    [
        (Asked(), b"anything", True),
        (Asked(level="warn"), b"2026-11-30 INFO fine", False),
        (Asked(level="warn"), TRACE, True),
        (Asked(level="warn"), b'{"level":"error","msg":"x"}', True),
        (Asked(level="warn"), b"says nothing", False),
        (Asked(words=("order", "Value")), TRACE, True),
        (Asked(words=("order", "^Value")), TRACE, False),
        (Asked(fields=(("http.status", "500"),)), b'{"msg":"x","http":{"status":500}}', True),
        (Asked(fields=(("status", "500"),)), b"level=info status=200 msg=x", False),
        (Asked(fields=(("status", "200"),)), b"level=info status=200 msg=x", True),
        (Asked(expression="attributes.status >= 500 && labels.app == 'web'"), b'{"status":503}', True),
        (Asked(expression="attributes.status >= 500"), b'{"status":200}', False),
        (Asked(since=rfc3339(b"2026-11-30T10:00:00.6Z")), b"x", False),
        (Asked(since=rfc3339(b"2026-11-30T10:00:00.4Z"), until=rfc3339(b"2026-11-30T10:00:01Z")), b"x", True),
        (Asked(until=rfc3339(b"2026-11-30T10:00:00.4Z")), b"x", False),
    ],
)
def test_what_is_looked_for(asked: Asked, text: bytes, there: bool) -> None:
    found = Wanted(asked).found(LABELS, record(text))
    assert (found is not None) is there
    if found is not None:
        assert found.delivery[1].text == text, "it is shown as it was written"


@pytest.mark.parametrize("asked", [Asked(level="loud"), Asked(words=("(",)), Asked(expression="1 +")])
def test_what_cannot_be_asked(asked: Asked) -> None:
    with pytest.raises(OptionError):
        Wanted(asked)


def shown(text: bytes, **options: bool) -> bytes:
    out: list[bytes] = []
    found = Wanted(Asked()).found(LABELS, record(text))
    assert found is not None
    given = {"as_json": False, "colour": False, "prefix": True, "times": False, **options}
    Showing(out.append, **given).show(found)
    return b"".join(out)


def test_how_it_looks() -> None:
    assert shown(b"one\n  two") == b"shop/web/main one\n    two\n"
    assert shown(b"a\x1b[2Jb\x07", prefix=False) == b"a?[2Jb?\n", "no program of a pod's says what the terminal does"
    assert shown(b"x", times=True, prefix=False) == b"2026-11-30T10:00:00.500000000Z x\n"
    assert shown(b"ERROR x", colour=True, prefix=False) == b"\x1b[31mERROR x\x1b[0m\n"
    assert b"\x1b[" in shown(b"x", colour=True)
    own = b"\x1b[1;32mok\x1b]52;c;aGk=\x07 \x1b[2J"
    assert shown(own, colour=True, prefix=False) == b"\x1b[1;32mok?]52;c;aGk=? ?[2J\x1b[0m\n"
    as_json = orjson.loads(shown(b'{"level":"warn","msg":"m","a":1}', as_json=True))
    assert (as_json["level"], as_json["attributes"], as_json["pod"]) == ("warn", {"a": 1}, "web")


def test_which_containers_are_chosen() -> None:
    running, waiting = {"running": {}}, {"waiting": {}}
    statuses = [{"name": "main", "state": running, "restartCount": 2}, {"name": "slow", "state": waiting}]
    ended = {"name": "first", "state": {"terminated": {}}, "lastState": {"terminated": {}}, "restartCount": 1}
    pod = {
        "metadata": {"namespace": "n", "name": "p", "uid": "u", "labels": {"app": "x"}},
        "status": {"containerStatuses": statuses, "initContainerStatuses": [ended]},
    }
    names = lambda choice: [(found.container, found.restart) for found in instances(pod, choice)]  # noqa: E731
    assert names(Choice(None)) == [("first", 1), ("main", 2)]
    assert names(Choice(None, container="main")) == [("main", 2)]
    assert names(Choice(None, previous=True)) == [("first", 1)]
    assert names(Choice(None, names=frozenset({"other"}))) == []


def show(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sampan.cli.main", "logs", "show", *words], capture_output=True, text=True
    )


class Chatty:
    """Containers of which a record comes, shown by a timer as one after which nothing has come."""

    def __init__(self, client: object, choice: Choice) -> None:
        pass

    async def chosen(self) -> dict[object, Labels]:
        return {}

    async def follow(self, show: Callable[[Labels, Record], None]) -> None:
        asyncio.get_running_loop().call_later(0, show, Labels({"pod": "p"}), record(b"INFO a"))
        async with asyncio.timeout(60):
            await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def no_api(options: argparse.Namespace) -> AsyncIterator[None]:
    yield None


def test_following_ends_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = argparse.ArgumentParser()
    show_verb.arguments(parser)
    monkeypatch.setattr(containers, "Containers", Chatty)
    monkeypatch.setattr(reaching, "api", no_api)
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as out:
        monkeypatch.setattr(sys, "stdout", out)
        assert show_verb.run(parser.parse_args(["-A", "-f"])) == 0


def test_files_with_what_rotation_made_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "shop_web_u1" / "main"
    folder.mkdir(parents=True)
    lines = TRACE.decode().split("\n")
    entry = "2026-11-30T10:00:0{}Z stderr F {}\n".format
    (folder / "0.log.1.gz").write_bytes(gzip.compress("".join(entry(1, line) for line in lines).encode()))
    (folder / "0.log").write_text(entry(2, "INFO later") + entry(3, 'level=warn msg="slow order" ms=70'))
    everything = show("--path", str(tmp_path))
    assert everything.returncode == 0, everything.stderr
    assert everything.stdout.startswith("shop/web/main ERROR no order\n  Traceback (most recent call last):\n    File")
    assert show("--path", str(tmp_path), "--grep", "order", "--level", "error", "-o", "json").stdout.count("\n") == 1
    assert show("--path", str(tmp_path), "--field", "ms=70").stdout.endswith('level=warn msg="slow order" ms=70\n')
    nothing = show("--path", str(tmp_path), "--grep", "nowhere")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    for words, why in {
        ("--path", "x", "-f"): "files are not followed here",
        ("--path", "x", "pod"): "a pod is of pods, --path is of files",
        ("--path", "x", "--since", "soon"): "15m, 6h, 2d or a time",
        ("--path", "x", "--level", "loud"): "a level such as warn is wanted",
        ("-p", "-f"): "nothing more comes",
        ("--path", "x", "--field", "a"): "NAME=VALUE is wanted",
    }.items():
        refused = show(*words)
        assert (refused.returncode, why in refused.stderr) == (1, True), refused.stderr
