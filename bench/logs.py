"""Logs, beside Fluent Bit on the same files: megabytes per second of CPU from files to a file, joined and of single lines;
the time from a line's write to the output at 10,000 lines a second; memory with 1,000 files; records that are split.

The files: 100 MB of CRI lines, one record in twenty a trace of Java or Python among plain lines (or none). Records are split
or not over the corpus of the tests, each trace between plain lines, both streams at once.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.peers import fluent_bit
from bench.processes import cpu_seconds, pss_kib, running
from bench.table import Row

MEGABYTES = int(os.environ.get("SAMPAN_BENCH_LOGS_MB", "100"))
CORPUS = Path(__file__).parent.parent / "tests" / "unit" / "logs" / "corpus"
TRACES = ("java-cause", "java-log4j", "python-3.11-chain", "python-3.8-during", "python-3.13-plain")
PEERS_LANGUAGES = ("java", "python", "go", "ruby")
ONE_IN = 20
FILES, LINES_A_FILE = 1000, 50
LINES_A_SECOND, SECONDS = 10_000, 5
PLAIN = b"2026-11-30 10:00:%02d,%03d INFO  [main] c.e.Shop - order %d taken"
OBJECT = (
    b'{"time":"2026-11-30T10:%02d:%02d.%03dZ","level":"info","msg":"order %d taken","user":"bob","n":%d,'
    b'"trace_id":"0af7651916cd43dd8448eb211c80319c"}\n'
)
Start = Callable[[str], object]


def rows() -> Iterator[Row]:
    name = "Fluent Bit" if fluent_bit.binary() else "not installed"
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        home = Path(directory)
        log = home / "0.log"
        for work, traces, aim in (
            ("traces joined, CRI to a file", True, ">= 40; 100"),
            ("single lines, CRI to a file", False, ">= 1.5x"),
        ):
            size = write(log, traces)
            ours = max(size / once(home, log, number) for number in range(2))
            peer = size / peer_cpu(home, log, traces) if fluent_bit.binary() else None
            yield Row(work, ours, "MB per CPU second", peer, name, aim)
        log.unlink()
        yield parsed(home, name)
        with ours_running(home, "pods") as _:
            ours = latency(home, home / "ours")
        peer = None
        if fluent_bit.binary():
            with fluent_bit.running(home, f"{home}/pods/*.log", joined=True, flush_seconds=0.1):
                peer = latency(home, home / "theirs")
        yield Row("write to output, p99, 10,000 lines/s", ours, "ms", peer, f"{name}, flush 0.1 s", "lower")
        many(home / "many")
        with ours_running(home, "many") as process:
            ours = memory(process.pid, home / "ours")
        peer = None
        if fluent_bit.binary():
            with fluent_bit.running(home, f"{home}/many/*.log", joined=True) as process:
                peer = memory(process.pid, home / "theirs")
        yield Row(f"memory with {FILES:,} open files", ours, "MB", peer, name, "<= 1.5x")
        yield from split(home, name)


def write(path: Path, traces: bool, megabytes: int = MEGABYTES) -> float:
    """Write the file; return its size in megabytes."""
    texts = [(CORPUS / f"{name}.log").read_bytes().rstrip(b"\n").split(b"\n") for name in TRACES]
    size = number = 0
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            number += 1
            lines = [PLAIN % (number % 60, number % 1000, number)]
            if traces and number % ONE_IN == 0:
                lines = texts[number // ONE_IN % len(texts)]
            stamp = b"2026-11-30T10:%02d:%02d.%09dZ" % (number // 60 % 60, number % 60, number)
            size += file.write(b"".join(b"%b stdout F %b\n" % (stamp, line) for line in lines))
    return size / 1_000_000


def parsed(home: Path, name: str) -> Row:
    """Return the row of JSON that is parsed: time, level, text and trace by their names, the rest as attributes."""
    log, config = home / "objects.log", home / "parsed.yaml"
    config.write_text("processing: [{parse: json}]\n")
    with log.open("wb") as file:
        size = 0
        for number in range(MEGABYTES * 1_000_000 // len(OBJECT % (0, 0, 0, 0, 0))):
            minute, second = divmod(number, 60)
            size += file.write(OBJECT % (minute % 60, second, number % 1000, number, number))
    ours = max(size / once(home, log, number, "--config", str(config)) for number in range(2)) / 1_000_000
    peer = None
    if fluent_bit.binary():
        peer = size / peer_cpu(home, log, False, parser="json") / 1_000_000
    log.unlink()
    return Row("JSON parsed, a plain file to a file", ours, "MB per CPU second", peer, name, "")


def word(home: Path, path: Path, number: object) -> list[str]:
    (home / "ours").unlink(missing_ok=True)
    found = [sys.executable, "-m", "sampan.cli.main", "logs", "agent", "--path", str(path)]
    return [*found, "--state", str(home / f"state-{number}-{time.monotonic_ns()}"), "--output", f"json:{home / 'ours'}"]


def once(home: Path, log: Path, number: object, *more: str) -> float:
    """Return the CPU seconds of the agent, its start included."""
    return cpu_of([*word(home, log, number), "--once", *more])


def cpu_of(words: list[str]) -> float:
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"the agent ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


@contextmanager
def ours_running(home: Path, folder: str) -> Iterator[subprocess.Popen[bytes]]:
    (home / folder).mkdir(exist_ok=True)
    with running(word(home, home / folder, folder)) as process:
        yield process


def peer_cpu(home: Path, log: Path, traces: bool, parser: str = "") -> float:
    """Return the CPU seconds until its output grows no more."""
    with fluent_bit.running(home, str(log), joined=traces, parser=parser) as process:
        fluent_bit.until_quiet(home / "theirs")
        return cpu_seconds(process.pid)


def latency(home: Path, out: Path) -> float:
    """Write lines at an even pace; return the 99th percentile of the milliseconds until each stands in the output."""
    log = home / "pods" / "0.log"
    log.parent.mkdir(exist_ok=True)
    log.write_bytes(b"")
    time.sleep(3)  # both know the file
    seen: dict[int, int] = {}
    done = threading.Event()

    def watch() -> None:
        rest = b""
        while not out.exists() and not done.is_set():
            time.sleep(0.001)
        with out.open("rb") as file:
            while not done.is_set():
                data = file.read()
                now = time.monotonic_ns()
                if not data:
                    time.sleep(0.001)
                    continue
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    at = line.find(b"order ")
                    seen[int(line[at + 6 : line.find(b" ", at + 6)])] = now

    watcher = threading.Thread(target=watch)
    watcher.start()
    written: list[int] = []
    begin = time.monotonic()
    with log.open("ab", buffering=0) as file:
        for batch in range(SECONDS * 100):
            lines = LINES_A_SECOND // 100
            numbers = range(batch * lines, (batch + 1) * lines)
            entry = b"2026-11-30T10:00:00.000000000Z stdout F "
            file.write(b"".join(entry + PLAIN % (number % 60, number % 1000, number) + b"\n" for number in numbers))
            written += [time.monotonic_ns()] * lines
            time.sleep(max(0.0, begin + (batch + 1) / 100 - time.monotonic()))
    time.sleep(4)
    done.set()
    watcher.join()
    log.unlink()
    missing = len(written) - 1 - len(seen.keys() & set(range(len(written) - 1)))
    if missing:
        print(f"    {out.name}: {missing} lines are not there", file=sys.stderr)
    times = sorted(seen[number] - written[number] for number in range(len(written)) if number in seen)
    return times[len(times) * 99 // 100] / 1e6


def many(folder: Path) -> None:
    folder.mkdir()
    for number in range(FILES):
        entry = b"2026-11-30T10:00:00.000000000Z stdout F "
        lines = (entry + PLAIN % (line, line, number * LINES_A_FILE + line) + b"\n" for line in range(LINES_A_FILE))
        (folder / f"{number}.log").write_bytes(b"".join(lines))


def memory(pid: int, out: Path) -> float:
    """Return megabytes of memory of its own, when all is read and held open."""
    fluent_bit.until_quiet(out)
    return pss_kib(pid) / 1000


def split(home: Path, name: str) -> Iterator[Row]:
    """Count traces of the corpus that do not come out as one record: of all languages by us, of the peer's by both."""
    folder = home / "corpus"
    folder.mkdir()
    records = corpus(folder)
    ours = {
        text_of(line, "text")
        for line in output(lambda: once(home, folder, "corpus"), home / "ours").split(b"\n")
        if line
    }
    every = {trace for traces in records.values() for trace in traces}
    theirs_too = {trace for language in PEERS_LANGUAGES for trace in records.get(language, ())}
    yield Row(f"records split, {len(every)} traces of all languages", len(every - ours), "traces", None, "", "0")
    if not fluent_bit.binary():
        return
    with fluent_bit.running(home, f"{folder}/*.log", joined=True):
        fluent_bit.until_quiet(home / "theirs")
        theirs = {text_of(line, "log") for line in (home / "theirs").read_bytes().split(b"\n") if line}
    work = f"records split, {len(theirs_too)} of {', '.join(PEERS_LANGUAGES)}"
    yield Row(work, len(theirs_too - ours), "traces", len(theirs_too - theirs), name, "0")


def output(work: Callable[[], object], out: Path) -> bytes:
    work()
    return out.read_bytes()


def text_of(line: bytes, key: str) -> str:
    return str(json.loads(line[line.find(b"{") :]).get(key, "")).rstrip("\n")


def corpus(folder: Path) -> dict[str, list[str]]:
    """Write every trace between plain lines into one file, half of them on each stream, mixed; return them by language."""
    traces: dict[str, list[str]] = {}
    streams: dict[str, list[str]] = {"stdout": [], "stderr": []}
    for number, file in enumerate(sorted(CORPUS.glob("*.log"))):
        text = file.read_text(errors="replace").removesuffix("\n")
        traces.setdefault(file.stem.partition("-")[0], []).append(text)
        into = streams[("stdout", "stderr")[number % 2]]
        into += [PLAIN.decode() % (line, line, line) for line in range(3 if number > 1 else 20)]
        into += text.split("\n")
    chance, at = random.Random(8), 0
    with (folder / "0.log").open("w") as log:
        while any(streams.values()):
            stream = chance.choice([name for name, lines in streams.items() if lines])
            count = chance.randint(1, 8)
            for line in streams[stream][:count]:
                at += 20_000
                log.write(f"2026-11-30T10:{at // 60_000_000_000:02}:00.{at % 1_000_000_000:09}Z {stream} F {line}\n")
            del streams[stream][:count]
    return traces
