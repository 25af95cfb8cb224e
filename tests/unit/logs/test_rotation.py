"""A file is read to its end, once, whatever is done to its name: rename, copytruncate, links, gzip, restarts in between."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path

import pytest

from sampan.logs.reading.finding import Roots, is_rotated
from tests.unit.logs.files import Bench

LONG = [f"INFO line {number} of the one file that is here" for number in range(30)]
MORE = [f"INFO and {number} after it" for number in range(30, 40)]
LAST = ["INFO written after the rotation"]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def maybe_crash(bench: Bench, crashes: bool) -> None:
    if crashes:
        await bench.crash()


@pytest.mark.parametrize("crashes", [False, True])
async def test_a_rename_with_bytes_not_read_yet(bench: Bench, crashes: bool) -> None:
    bench.write("0.log", *LONG)
    await bench.turn()
    bench.write("0.log", *MORE)
    await maybe_crash(bench, crashes)
    (bench.logs / "0.log").rename(bench.logs / "0.log.20261130-100000")
    bench.write("0.log", *LAST)
    assert sorted(await bench.end()) == sorted(LONG + MORE + LAST)


@pytest.mark.parametrize("crashes", [False, True])
@pytest.mark.parametrize("seen", [False, True])
async def test_copytruncate(bench: Bench, crashes: bool, seen: bool) -> None:
    bench.write("a.log", *LONG)
    await bench.turn()
    bench.write("a.log", *MORE)
    shutil.copy(bench.logs / "a.log", bench.logs / "a.log.1")
    if seen:  # the copy is there, and nothing is truncated yet
        await bench.turn()
    await maybe_crash(bench, crashes)
    (bench.logs / "a.log").write_bytes(b"")
    bench.write("a.log", *LAST)
    assert sorted(await bench.end()) == sorted(LONG + MORE + LAST)


async def test_copytruncate_when_the_new_content_is_already_longer(bench: Bench) -> None:
    bench.write("a.log", *LONG)
    await bench.turn()
    longer = [f"INFO other content {number}" for number in range(100)]
    (bench.logs / "a.log").write_bytes(b"")
    bench.write("a.log", *longer)
    assert await bench.end() == LONG + longer


@pytest.mark.parametrize("crashes", [False, True])
async def test_the_kubelets_gz(bench: Bench, crashes: bool) -> None:
    bench.write("0.log", *LONG)
    await bench.turn()
    bench.write("0.log", *MORE)
    await maybe_crash(bench, crashes)
    rotated = bench.logs / "0.log.20261130-100000"
    (bench.logs / "0.log").rename(rotated)
    rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
    rotated.unlink()
    bench.write("0.log", *LAST)
    assert sorted(await bench.end()) == sorted(LONG + MORE + LAST)


async def test_a_gz_of_what_was_read_gives_nothing_again(bench: Bench) -> None:
    bench.write("0.log", *LONG)
    await bench.turn()
    rotated = bench.logs / "0.log.20261130-100000"
    (bench.logs / "0.log").rename(rotated)
    await bench.turn()
    rotated.with_name(rotated.name + ".gz").write_bytes(gzip.compress(rotated.read_bytes()))
    await bench.turn()
    rotated.unlink()
    await bench.turn()
    await bench.turn()
    assert await bench.end() == LONG


async def test_a_link_that_leads_elsewhere_now(bench: Bench, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).write_text("")
    link = bench.logs / "c.log"
    link.symlink_to(tmp_path / "one")
    bench.write("c.log", *LONG)
    await bench.turn()
    (tmp_path / "one").open("a").write("2026-11-30T10:00:00Z stdout F INFO late\n")
    link.unlink()
    link.symlink_to(tmp_path / "two")
    bench.write("c.log", *LAST)
    assert sorted(await bench.end()) == sorted([*LONG, "INFO late", *LAST])


async def test_a_file_deleted_while_it_is_read(tmp_path: Path) -> None:
    bench = Bench(tmp_path, linger_seconds=3600)
    bench.write("0.log", *LONG)
    await bench.turn()
    with (bench.logs / "0.log").open("a") as writer:
        (bench.logs / "0.log").unlink()
        await bench.turn()
        writer.write("2026-11-30T10:00:00Z stdout F INFO into the void\nno end")
        writer.flush()
        assert await bench.end() == [*LONG, "INFO into the void", "no end"]


async def test_an_inode_that_is_used_again_is_another_file(bench: Bench) -> None:
    bench.write("0.log", *LONG)
    await bench.turn()
    await bench.crash()
    content = "".join(f"2026-11-30T11:00:00Z stdout F {line}\n" for line in MORE * 10)
    (bench.logs / "0.log").write_text(content)  # same inode, longer, and it begins with something else
    assert await bench.end() == LONG + MORE * 10


async def test_what_is_held_of_a_file_that_goes_while_no_agent_runs(bench: Bench) -> None:
    bench.write("0.log", *LONG)
    await bench.turn()
    await bench.crash()
    (bench.logs / "0.log").unlink()
    assert await bench.end() == LONG


async def test_a_trace_over_a_crash_is_one_record(bench: Bench) -> None:
    trace = ["Traceback (most recent call last):", '  File "a.py", line 1, in <module>', "    f()", "ValueError: x"]
    bench.write("0.log", "INFO before", *trace[:2])
    await bench.turn()
    await bench.crash()
    bench.write("0.log", *trace[2:], "INFO after")
    assert await bench.end() == ["INFO before", "\n".join(trace), "INFO after"]


async def test_a_line_of_many_megabytes_comes_in_parts_that_are_all_of_it(bench: Bench) -> None:
    line = "".join(f"{number:07d}" for number in range(600_000))
    (bench.logs / "big.log").write_text(f"INFO a\n{line}\nINFO b\n")
    texts = await bench.end()
    assert (texts[0], "".join(texts[1:-1]), texts[-1]) == ("INFO a", line, "INFO b")
    assert len(texts) > 3


def test_a_pattern_may_be_of_folders(tmp_path: Path) -> None:
    for name in ("shop_web_1/main/0.log", "shop_web_1/main/0.txt", "other_x_2/main/0.log"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    roots = Roots([f"{tmp_path}/shop_*"])
    assert list(roots.files()) == [f"{tmp_path}/shop_web_1/main/0.log"]
    assert {f"{tmp_path}", f"{tmp_path}/shop_web_1", f"{tmp_path}/shop_web_1/main"} <= set(roots.folders())


@pytest.mark.parametrize(
    ("name", "of", "it_is"),
    [
        ("app.log.1", "app.log", True),
        ("app.log-20261130.gz", "app.log", True),
        ("app-20261130.log", "app.log", True),
        ("app.1.log", "app.log", True),
        ("syslog.1", "syslog", True),
        ("app.log", "app.log", False),
        ("app.py", "app.log", False),
        ("app.logs", "app.log", False),
        ("apps.log", "app.log", False),
        ("app.log.1.tmp", "app.log", False),
    ],
)
def test_which_names_rotation_gives(name: str, of: str, it_is: bool) -> None:
    assert is_rotated(name, of) is it_is


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_new_file_that_begins_as_the_one_before_is_no_copy_of_it(tmp_path: Path, restarts: bool) -> None:
    """A program with a long banner and no times, whose log is renamed when it starts anew."""
    bench = Bench(tmp_path)
    banner = "".join(f"banner, line {number}: {'*' * 40}\n" for number in range(40))
    path = bench.logs / "app.log"
    path.write_text(f"{banner}first 1\nfirst 2\n")
    await bench.turn()
    if restarts:
        await bench.agent.stop()
        bench.agent, bench.begun = bench.make(), False
    path.rename(bench.logs / "app.log.1")
    path.write_text(f"{banner}second 1\n")
    await bench.turn()
    texts = await bench.end()
    joined = "\n".join(texts)
    assert joined.count("banner, line 0:") == 2
    assert all(joined.count(text) == 1 for text in ("first 1", "first 2", "second 1"))
