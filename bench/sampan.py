"""A Sampan cluster for one benchmark: ``sampan up`` and ``sampan down`` as a user types them."""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BIN = Path(__file__).parent.parent / ".venv" / "bin"


@dataclass(frozen=True, slots=True)
class Cluster:
    name: str
    kubeconfig: str
    url: str
    token: str
    up_seconds: float
    steps: dict[str, float]
    """Seconds from the command until ``api`` and ``node`` were ready, as ``up`` printed them."""

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        return run("kubectl", "--kubeconfig", self.kubeconfig, *arguments, stdin=stdin)


@contextmanager
def cluster(name: str, *, pods: str) -> Iterator[Cluster]:
    """Yield a running cluster; it is taken down afterwards. ``token`` is a cluster-admin's."""
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory:
        kubeconfig = str(Path(directory) / "kubeconfig")
        begin = time.perf_counter()
        printed = run("sampan", "up", "--name", name, "--pods", pods, "--kubeconfig", kubeconfig)
        seconds = time.perf_counter() - begin
        try:
            kubectl = ["kubectl", "--kubeconfig", kubeconfig]
            url = run(*kubectl, "config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
            run(*kubectl, "create", "serviceaccount", "bench")
            role = ["--clusterrole=cluster-admin", "--serviceaccount=default:bench"]
            run(*kubectl, "create", "clusterrolebinding", "bench", *role)
            token = run(*kubectl, "create", "token", "bench")
            yield Cluster(name, kubeconfig, url.strip(), token.strip(), seconds, steps_of(printed))
        finally:
            run("sampan", "down", "--name", name, "--kubeconfig", kubeconfig)


def steps_of(printed: str) -> dict[str, float]:
    """Return the times of the steps that ``up`` printed, by part."""
    steps = {}
    for line in printed.splitlines():
        found = re.match(r"\s*([\d.]+)s\s+(API|node)\b", line)
        if found:
            steps[found[2].lower()] = float(found[1])
    return steps


def run(program: str, *arguments: str, stdin: str | None = None) -> str:
    """Return what a program of the environment printed. Raises ``CalledProcessError``; its errors go to our stderr."""
    command = [str(BIN / program), *arguments]
    environment = {**os.environ, "NO_COLOR": "1"}
    finished = subprocess.run(command, input=stdin, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return finished.stdout
