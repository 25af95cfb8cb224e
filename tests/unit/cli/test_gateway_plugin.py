"""``sampan gateway plugin``: skeletons that work, examples that do what is recorded, a foreground that reloads."""

from __future__ import annotations

import http.client
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples" / "plugins"
SAMPAN = [sys.executable, "-m", "sampan.cli.main", "gateway", "plugin"]


def sampan(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*SAMPAN, *words], capture_output=True, text=True, timeout=60)


def test_the_examples_do_what_is_recorded() -> None:
    without = {"waf"} if importlib.util.find_spec("libmodsecurity") is None else set()  # which has no wheel everywhere
    folders = [folder for folder in sorted(EXAMPLES.iterdir()) if folder.is_dir() and folder.name not in without]
    done = sampan("test", *map(str, folders))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("\nok ") >= 20


@pytest.mark.parametrize("kind", ["hook", "asgi", "processor"])
def test_a_new_plugin_works_and_a_wrong_expectation_is_told(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "My Plugin"
    assert sampan("new", str(folder), "--kind", kind).returncode == 0
    assert sampan("test", str(folder)).returncode == 0
    done = sampan("test", str(folder), "--settings", '{"value": "no"}')
    assert done.returncode == 1
    assert "headers.x-my-plugin: 'yes' expected, not 'no'" in done.stdout
    done = sampan("test", str(folder), "--settings", '{"vale": "no"}')
    assert done.returncode == 2 and "spec.settings.vale: " in done.stderr
    assert "not empty" in sampan("new", str(folder)).stderr


def get(port: int) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/a?b=c")
    answer = connection.getresponse()
    answer.read()
    return answer


def test_the_foreground_loads_again_and_keeps_what_works(tmp_path: Path) -> None:
    folder = tmp_path / "mark"
    assert sampan("new", str(folder)).returncode == 0
    process = subprocess.Popen(
        [*SAMPAN, "run", str(folder), "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert process.stdout is not None
    try:
        assert "serves" in process.stdout.readline()
        port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
        assert get(port).headers["x-mark"] == "yes"
        code = (folder / "plugin.py").read_text()
        (folder / "plugin.py").write_text(code.replace("= value", "= 'edited'"))
        assert "serves" in process.stdout.readline()
        assert get(port).headers["x-mark"] == "edited"
        (folder / "plugin.py").write_text("def make(\n")
        while "the version before serves on" not in process.stdout.readline():
            assert process.poll() is None
        assert get(port).headers["x-mark"] == "edited"
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(60) == 0
