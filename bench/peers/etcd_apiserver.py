"""etcd and a generic Kubernetes API server (``apiserver/main.go``, built by the Go toolchain on first use)."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "apiserver"
BINARY = Path(tempfile.gettempdir()) / "sampan-bench" / "apiserver"
KUBECONFIG = """apiVersion: v1
kind: Config
clusters: [{name: none, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: none, user: {}}]
contexts: [{name: none, context: {cluster: none, user: none}}]
current-context: none
"""


class PeerMissing(Exception):
    """The peer cannot be run on this machine; the message says what it needs."""


@dataclass(frozen=True, slots=True)
class Peer:
    url: str
    pids: tuple[int, ...]
    ready_seconds: float


@contextmanager
def running(port: int = 18443, etcd_port: int = 18379) -> Iterator[Peer]:
    """Yield the peer, serving. Raises ``PeerMissing`` where etcd or Go are not installed."""
    for taken in (port, etcd_port, etcd_port + 1):
        if somebody_listens(taken):
            raise PeerMissing(f"port {taken} is in use: what answers there would be measured in the peer's place")
    build()
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        home = Path(directory)
        (home / "kubeconfig").write_text(KUBECONFIG)
        etcd_url = f"http://127.0.0.1:{etcd_port}"
        etcd = ["etcd", "--data-dir", f"{home}/etcd", "--log-level", "error", "--listen-client-urls", etcd_url]
        etcd += ["--advertise-client-urls", etcd_url, "--listen-peer-urls", f"http://127.0.0.1:{etcd_port + 1}"]
        api = [str(BINARY), "-etcd", etcd_url, "-port", str(port), "-certificates", f"{home}/certificates"]
        api += ["-kubeconfig", f"{home}/kubeconfig"]
        log = (home / "log").open("w")
        begin = time.perf_counter()
        processes = [subprocess.Popen(command, stdout=log, stderr=log) for command in (etcd, api)]
        try:
            url = f"https://127.0.0.1:{port}"
            wait_until_ok(f"{url}/healthz", processes[1])
            if any(process.poll() is not None for process in processes):
                raise PeerMissing(f"the peer has ended: {(home / 'log').read_text()[-500:]}")
            yield Peer(url, tuple(p.pid for p in processes), time.perf_counter() - begin)
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait()
            log.close()


def somebody_listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def build() -> None:
    if BINARY.exists():
        return
    for tool in ("etcd", "go"):
        if not shutil.which(tool):
            raise PeerMissing(f"{tool} is not installed (apt-get install etcd-server golang)")
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(["go", "build", "-o", str(BINARY), "."], cwd=SOURCE, check=True)


def wait_until_ok(url: str, process: subprocess.Popen[bytes], seconds: float = 60) -> None:
    """Return when the URL answers 200; raises ``PeerMissing`` when the process ends first or the time is over."""
    context = ssl._create_unverified_context()
    deadline = time.perf_counter() + seconds
    while time.perf_counter() < deadline:
        if process.poll() is not None:
            raise PeerMissing(f"{process.args} ended with {process.returncode} before {url} answered")
        try:
            with urllib.request.urlopen(url, context=context, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.01)
    raise PeerMissing(f"{url} did not answer within {seconds:.0f} s")
