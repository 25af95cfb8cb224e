"""Logs of real pods: shown to people through the API, by the cluster's name and by any kubeconfig."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson

from .eventually import eventually
from .space import SAMPAN, Space, pod

TRACE = 'Traceback (most recent call last):\\n  File "a.py", line 1, in f\\n    g()\\nValueError: x\\n'
PLAIN = "2026-11-30 10:00:00 INFO order $i taken"
SCRIPT = (
    f"i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo {PLAIN}; done; sleep 0.3; printf '{TRACE}' >&2; sleep 0.3; "
    """echo '{"level":"warn","ms":70}'"""
)
"""The pauses keep both streams in this order: the API gives one text of them."""


def test_records_of_many_pods(space: Space, tmp_path: Path) -> None:
    space.apply(*(pod(f"shop-{number}", f"{SCRIPT}; exec sleep 1000") for number in range(2)))
    space.ready("shop-0")
    space.ready("shop-1")
    word = [SAMPAN, "logs", "show", "-n", space.name]
    ours = ["--name", space.cluster.name]
    anywhere = ["--kubeconfig", str(space.cluster.settings.kubeconfig("admin"))]

    def show(*words: str) -> list[str]:
        done = subprocess.run([*word, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    eventually("all is written", lambda: len(show(*ours, "shop-1")) == 25)
    traces = [orjson.loads(line) for line in show(*anywhere, "--grep", "^Traceback", "-o", "json")]
    assert {(found["pod"], found["lines"]) for found in traces} == {("shop-0", 4), ("shop-1", 4)}
    assert show(*ours, "-l", "app=shop-1", "--field", "ms=70") == ['{"level":"warn","ms":70}']
    assert len(show(*ours, "--level", "warn", "--tail=-1")) == 2
    assert show(*ours, "shop-0", "--tail=1", "--grep", "taken|warn") == ['{"level":"warn","ms":70}']

    with following([*word, *ours, "-f", "--grep", "taken|Value", "--since=1h"], tmp_path / "followed") as followed:
        eventually("what is there", lambda: followed.read_text().count("taken") == 40)
        space.apply(pod("late", f"{SCRIPT}; sleep 1; echo last words are taken", {"restartPolicy": "Never"}))
        eventually("what comes", lambda: f"{space.name}/late/main last words are taken\n" in followed.read_text())
        text = followed.read_text()
        assert text.count(f"{space.name}/late/main 2026") == 20
        assert text.count("/main Traceback (most recent call last):\n    File") == 3


@contextmanager
def following(words: list[str], into: Path) -> Iterator[Path]:
    with into.open("w") as file, subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            yield into
        finally:
            process.terminate()
            assert process.wait(20) == 0
