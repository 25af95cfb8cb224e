"""A real Kubernetes for tests that must hold beside another's API: etcd, kube-apiserver and what else of it there is.

``KUBE_APISERVER`` names the program; ``kube-controller-manager``, ``kube-scheduler`` and ``etcd`` are run where they lie
beside it. With it set, ``start_api_server`` (``tests/conftest.py``) and the suites on it have this API in place of ours.
"""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests import etcd_server

VARIABLE = "KUBE_APISERVER"
READY_SECONDS = 180.0
SERVICE_CIDRS = "10.96.0.0/16,fd00:96::/112"
LESS = "-node-lifecycle-controller,-pod-garbage-collector-controller"
"""Nobody tells of the nodes that tests make up."""


def wanted() -> bool:
    return bool(os.environ.get(VARIABLE))


class Kubernetes:
    """The processes of one cluster. ``kill``, ``terminate`` and ``wait`` are those of a single process."""

    def __init__(self, directory: Path, pki: Path, port: int, flags: Mapping[str, object]) -> None:
        self.directory, self.pki, self.port = directory, pki, port
        self.binaries = Path(os.environ[VARIABLE]).parent
        self.stack = ExitStack()
        self.log = directory / "kubernetes.log"
        # Kubernetes asks more of watches than etcd 3.4 has
        own = self.binaries / "etcd"
        program = str(own) if own.exists() else "etcd"
        self.etcd = self.stack.enter_context(etcd_server.running(directory / "etcd", program=program))
        self.process = self.start(Path(os.environ[VARIABLE]), self.api_flags(flags))

    def api_flags(self, given: Mapping[str, object]) -> dict[str, object]:
        own = {
            "etcd-servers": f"http://127.0.0.1:{self.etcd.port}",
            "bind-address": "127.0.0.1",
            "secure-port": self.port,
            "advertise-address": "192.0.2.1",  # of documentation: nobody asks for it, and a namespace has no other
            "endpoint-reconciler-type": "none",
            "authorization-mode": "Node,RBAC",
            "allow-privileged": True,
            "service-cluster-ip-range": SERVICE_CIDRS,
            "tls-cert-file": self.pki / "apiserver.crt",
            "tls-private-key-file": self.pki / "apiserver.key",
            "client-ca-file": self.pki / "ca.crt",
            "service-account-issuer": "https://kubernetes.default.svc.cluster.local",
            "service-account-key-file": self.pki / "sa.pub",
            "service-account-signing-key-file": self.pki / "sa.key",
        }
        return {**own, **given}

    def start(self, program: Path, flags: Mapping[str, object]) -> subprocess.Popen[bytes]:
        words = [f"--{name}={_word(value)}" for name, value in flags.items()]
        with self.log.open("ab") as log:
            process = subprocess.Popen([str(program), *words], stdout=log, stderr=log)
        self.stack.callback(_end, process)
        return process

    def until_ready(self) -> None:
        """Return when ``/readyz`` says so."""
        context = ssl._create_unverified_context()
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"kube-apiserver ended: {self.log.read_text()[-2000:]}")
            try:
                with urllib.request.urlopen(f"https://127.0.0.1:{self.port}/readyz", context=context, timeout=2):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError(f"kube-apiserver is not ready: {self.log.read_text()[-2000:]}")

    def start_others(self, kubeconfig: Path) -> None:
        """Start the controllers and the scheduler, where there are such."""
        common: dict[str, Any] = {"kubeconfig": kubeconfig, "leader-elect": False, "bind-address": "127.0.0.1"}
        keys = {
            "service-account-private-key-file": self.pki / "sa.key",
            "root-ca-file": self.pki / "ca.crt",
            "cluster-signing-cert-file": self.pki / "ca.crt",
            "cluster-signing-key-file": self.pki / "ca.key",
            "controllers": f"*,{LESS}",
        }
        for name, more in (("kube-controller-manager", keys), ("kube-scheduler", {})):
            program = self.binaries / name
            if program.exists():
                self.start(program, {**common, "secure-port": etcd_server.free_port(), **more})

    def terminate(self) -> None:
        self.stack.close()

    kill = terminate

    def wait(self, seconds: float = 0) -> int:
        return 0

    def poll(self) -> int | None:
        return self.process.poll()


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(60)


def start(directory: Path, pki: Path, flags: Mapping[str, object]) -> Kubernetes:
    """Start a Kubernetes that answers on a free port of the loopback; its kubeconfig is written by the caller."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    made = Kubernetes(directory, pki, port, flags)
    try:
        made.until_ready()
    except BaseException:
        made.terminate()
        raise
    return made
