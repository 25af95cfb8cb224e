"""The warm process of a run lives on when those who use it, and its clusters' processes, do not."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from sampan.testing.pool import Pool, locked
from sampan.testing.running import up
from sampan.testing.spec import ClusterError, ClusterSpec

BARE = ClusterSpec(pods="none", controllers=False)
ORDER = json.dumps({"order": 0, "start": BARE.to_json()}).encode() + b"\n"


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Pool]:
    made = Pool(tmp_path / "w")
    yield made
    made.close()
    assert list(tmp_path.iterdir()) == []


def pid_of(warm: Pool) -> int:
    """Return the process of the only cluster."""
    assert warm._process is not None
    parent = warm._process.pid
    (pid,) = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return int(pid)


def killed(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    assert select.select([descriptor], [], [], 10)[0]
    os.close(descriptor)


def test_a_peer_that_goes_while_its_cluster_starts_takes_nobody_along(warm: Pool) -> None:
    number, _ = warm.start(BARE)
    other = Pool(warm.directory)
    other.begin()
    assert other._connection is not None
    other._connection.sendall(ORDER)
    other.close()
    assert warm.start(BARE)[0] > number


def test_a_fork_of_a_killed_cluster_is_refused_once(warm: Pool) -> None:
    number, _ = warm.start(BARE)
    killed(pid_of(warm))
    with pytest.raises(ClusterError, match="has ended"):
        warm.fork(number)
    warm.stop(number)
    assert warm.start(BARE)[0] > number


def test_a_stopped_cluster_that_cannot_read_is_forked_by_nobody(warm: Pool) -> None:
    number, _ = warm.start(BARE)
    pid = pid_of(warm)
    os.kill(pid, signal.SIGSTOP)  # the order stays unread, so that its end is a reset
    assert warm._connection is not None
    warm._connection.sendall(json.dumps({"order": -1, "fork": number}).encode() + b"\n")
    other = Pool(warm.directory)
    other.start(BARE)  # by now the order has been passed on
    other.close()
    killed(pid)
    assert warm.start(BARE)[0] > number


def test_a_copy_that_cannot_be_made_is_told(warm: Pool) -> None:
    number, _ = warm.start(BARE)
    (warm.directory / str(number + 1)).mkdir()
    with pytest.raises(ClusterError, match="exists"):
        warm.fork(number)
    assert warm.fork(number)[0] == number + 2


def test_an_interrupted_call_leaves_its_answer_to_nobody(warm: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = warm.start(BARE)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(warm, "_line", interrupted)
        warm.start(BARE)
    number, port = warm.start(BARE)
    assert number == first + 2 and port
    warm.stop(number)
    assert not (warm.directory / str(number)).exists()


def test_an_earlier_order_that_is_answered_later_is_not_mixed_up(warm: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = warm.start(BARE)
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(warm, "_line", interrupted)
        warm.start(BARE)  # answered when the cluster is ready
    with pytest.raises(ClusterError, match="has ended"):
        warm.fork(first + 7)  # refused at once
    assert warm.fork(first)[0] == first + 2


def test_the_lock_of_one_that_ended_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waited for it would start a second warm process in the same place."""
    path = tmp_path / "lock"
    taken: list[int] = []

    def flock(lock: IO[str], how: int) -> None:
        taken.append(os.fstat(lock.fileno()).st_ino)
        if len(taken) == 1:
            path.rename(tmp_path / "old")  # its holder ended

    monkeypatch.setattr("fcntl.flock", flock)
    with locked(path):
        assert len(taken) == 2 and path.stat().st_ino == taken[1]


def test_an_interrupted_start_with_real_pods_leaves_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def run(command: list[str], **_: object) -> None:
        asked.append(command[3])
        if command[3] == "up":
            raise KeyboardInterrupt

    monkeypatch.setattr("subprocess.run", run)
    with pytest.raises(KeyboardInterrupt):
        up(ClusterSpec(pods="real"))
    assert asked == ["up", "down"]


def interrupted() -> bytes:
    raise KeyboardInterrupt
