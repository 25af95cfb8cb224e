"""A real etcd for tests, quick to elect itself."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

PATIENCE_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Etcd:
    """A running member. ``stop`` and ``start`` keep its data and its ports."""

    directory: Path
    port: int
    peer_port: int
    scheme: str = "http"
    options: tuple[str, ...] = ()
    program: str = "etcd"
    process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"etcd://127.0.0.1:{self.port}"

    def start(self) -> None:
        client, peer = f"{self.scheme}://127.0.0.1:{self.port}", f"http://127.0.0.1:{self.peer_port}"
        command = [self.program, "--data-dir", str(self.directory), "--logger", "zap", "--log-level", "info"]
        command += ["--listen-client-urls", client, "--advertise-client-urls", client]
        command += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster"]
        command += [f"default={peer}", "--heartbeat-interval", "20", "--election-timeout", "200", *self.options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            if "serving client traffic" in line:
                break
        else:
            raise RuntimeError("etcd ended: " + "".join(said[-5:]))
        # a full pipe would stop it
        threading.Thread(target=drain, args=(self.process.stderr,), daemon=True).start()

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def drain(stream: IO[str]) -> None:
    for _ in stream:
        pass


def installed() -> bool:
    return shutil.which("etcd") is not None


@contextmanager
def running(
    directory: Path, options: tuple[str, ...] = (), scheme: str = "http", program: str = "etcd"
) -> Iterator[Etcd]:
    """An etcd for as long as the context lasts."""
    for left in (2, 1, 0):
        etcd = Etcd(directory, free_port(), free_port(), scheme, options, program)
        try:
            etcd.start()
            break
        except RuntimeError as error:  # somebody else took the port in the meantime
            etcd.stop()
            if not left or "address already in use" not in str(error):
                raise
            shutil.rmtree(directory, ignore_errors=True)
    try:
        yield etcd
    finally:
        etcd.stop()


@pytest.fixture(scope="session")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """One etcd for the whole session; each store has a root of its own (``etcd_url``)."""
    if not installed():
        pytest.skip("etcd is not installed (apt-get install etcd-server)")
    with running(tmp_path_factory.mktemp("etcd") / "data") as started:
        yield started


@pytest.fixture
def etcd_url(etcd: Etcd) -> str:
    """The URL of an empty store."""
    return f"{etcd.url}/{uuid.uuid4()}"
