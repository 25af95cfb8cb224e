"""The test process's side of the warm process: found or started with the first cluster, asked for clusters from then on.

Workers of one pytest-xdist run share one warm process, and so its imports and snapshots: they look for it in a folder named
after the run. Importing this module is cheap; nothing is started before it is needed.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from sampan.testing.spec import ClusterError, ClusterSpec
from sampan.testing.warm import SOCKET, lock_of

END_SECONDS = 2
SOCKET_PATH_BYTES = 107
"""Of unix(7)."""
RANDOM_CHARACTERS = 8
"""What ``mkdtemp`` adds."""


class Pool:
    """A connection to the warm process. Safe for threads; a fork of the test process has to open its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._received = b""
        self._orders = itertools.count()
        """An order's number tells its answer from those of calls that were interrupted while they waited (^C)."""

    @property
    def pki_dir(self) -> Path:
        return self.directory / "pki"

    def begin(self) -> None:
        """Have the warm process start, without waiting for it."""
        with self._lock:
            if self._connection is None:
                self._reach()

    def start(self, spec: ClusterSpec) -> tuple[int, int]:
        """Return the number and the port of a new cluster. Raises ``ClusterError``."""
        answer = self._ask({"start": spec.to_json()})
        return int(answer["id"]), int(answer["port"])

    def fork(self, number: int) -> tuple[int, int]:
        """Return the number and the port of a cluster with the state that ``number`` has now. Raises ``ClusterError``."""
        answer = self._ask({"fork": number})
        return int(answer["id"]), int(answer["port"])

    def stop(self, number: int) -> None:
        """End a cluster: when this returns, its port is closed."""
        with contextlib.suppress(ClusterError):  # the warm process ended, and so its clusters
            self._ask({"stop": number})

    def close(self) -> None:
        """End every cluster of ours, and the warm process when nobody else uses it."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None
            if self._process is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):  # others of this run may go on with it
                    self._process.wait(END_SECONDS)
                self._process = None

    def _ask(self, order: dict[str, object]) -> dict[str, int]:
        with self._lock:
            if self._connection is None:
                self._reach()
            assert self._connection is not None
            try:
                number = next(self._orders)
                self._connection.sendall(json.dumps({"order": number, **order}).encode() + b"\n")
                answer = json.loads(self._line())
                while answer["order"] != number:
                    answer = json.loads(self._line())
            except OSError as error:
                self._connection.close()
                self._connection = None
                raise ClusterError(f"the warm process is gone ({error}){self._last_words()}") from error
        if "error" in answer:
            raise ClusterError(answer["error"])
        return dict(answer)

    def _last_words(self) -> str:
        try:
            log = (self.directory / "warm.log").read_text(errors="replace").strip()
        except OSError:
            return ""
        return f":\n{log[-4000:]}" if log else ""

    def _line(self) -> bytes:
        assert self._connection is not None
        while b"\n" not in self._received:
            chunk = self._connection.recv(65536)
            if not chunk:
                raise ConnectionError("it ended")
            self._received += chunk
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _reach(self) -> None:
        """Connect to the warm process, starting one where there is none. Its answers may take until it is warm."""
        with locked(lock_of(self.directory)):
            if self._connect():
                return
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory.mkdir(mode=0o700)
            self._process = launch(self.directory)
            if not self._connect():
                raise ClusterError(f"no warm process could be started in {self.directory}")

    def _connect(self) -> bool:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(str(self.directory / SOCKET))
        except OSError:
            connection.close()
            return False
        self._connection, self._received = connection, b""
        return True


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of a file: that which is there, for a warm process that ends takes its own away."""
    while True:
        with open(path, "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                there = path.stat()
            except FileNotFoundError:
                continue
            if os.path.samestat(os.fstat(lock.fileno()), there):
                yield
                return


def launch(directory: Path) -> subprocess.Popen[bytes]:
    """Start the warm process of a directory. Its socket is opened here: whoever connects from now on waits for it."""
    with open(directory / "warm.log", "ab") as log, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(directory / SOCKET))
        listener.listen(64)
        return subprocess.Popen(
            [sys.executable, "-m", "sampan.testing.warm", str(directory), str(listener.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )


_pool: Pool | None = None
_owner = 0


def pool() -> Pool:
    """Return the pool of this process."""
    global _pool, _owner
    if _pool is None or _owner != os.getpid():
        _pool, _owner = Pool(directory_of_run()), os.getpid()
        import atexit

        atexit.register(_pool.close)
    return _pool


def directory_of_run() -> Path:
    """Return where the warm process of this run lives: one a pytest-xdist run, one a process otherwise."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", "")[:16]
    name = f"sampan-testing-{os.getuid()}-{run}" if run else f"sampan-testing-{'x' * RANDOM_CHARACTERS}"
    folder = tempfile.gettempdir()
    if len(os.fsencode(Path(folder, name, SOCKET))) > SOCKET_PATH_BYTES:
        folder = "/tmp"
    return Path(folder, name) if run else Path(tempfile.mkdtemp(prefix="sampan-testing-", dir=folder))
