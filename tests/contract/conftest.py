"""One cluster with a simulated node for the whole contract suite, taken up and down by the command line itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import foreign_server
from tests.conftest import start_api_server

BIN = Path(__file__).parents[2] / ".venv" / "bin"


@dataclass(frozen=True)
class Finished:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Kubectl:
    """The packaged kubectl with the cluster's kubeconfig. A call returns stdout and fails the test on an error."""

    kubeconfig: Path

    def run(
        self, *arguments: str, stdin: object = None, timeout: float = 150, environment: dict[str, str] | None = None
    ) -> Finished:
        text = stdin if isinstance(stdin, str) or stdin is None else json.dumps(stdin)
        command = [str(BIN / "kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        variables = {**os.environ, "KUBECTL_KYAML": "false", "HOME": str(self.kubeconfig.parent), **(environment or {})}
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=timeout, env=variables)
        return Finished(done.returncode, done.stdout, done.stderr)

    def __call__(self, *arguments: str, stdin: object = None, timeout: float = 150) -> str:
        done = self.run(*arguments, stdin=stdin, timeout=timeout)
        assert done.code == 0, f"kubectl {' '.join(arguments)}: {done.err or done.out}"
        return done.out

    def json(self, *arguments: str) -> dict[str, Any]:
        found = json.loads(self(*arguments, "-o", "json"))
        assert isinstance(found, dict)
        return found


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl of a running cluster whose one node is simulated."""
    if foreign_server.wanted():
        # nobody would take away the taint of a node that became ready
        flags: dict[str, object] = {"disable-admission-plugins": "TaintNodesByCondition"}
        server = start_api_server(tmp_path_factory.mktemp("foreign"), flags=flags)
        words = [sys.executable, "-m", "tests.foreign_nodes", str(server.kubeconfig)]
        nodes = subprocess.Popen(words, cwd=Path(__file__).parents[2])
        yield Kubectl(server.kubeconfig)
        nodes.kill()
        nodes.wait(60)
        server.process.terminate()
        return
    name = f"contract-{uuid.uuid4().hex[:6]}"
    kubeconfig = tmp_path_factory.mktemp("contract") / "kubeconfig"
    common = ["--name", name, "--kubeconfig", str(kubeconfig)]
    up = subprocess.run(
        [str(BIN / "sampan"), "up", "--pods=simulated", *common], capture_output=True, text=True, timeout=120
    )
    try:
        assert up.returncode == 0, up.stdout + up.stderr
        yield Kubectl(kubeconfig)
    finally:
        subprocess.run([str(BIN / "sampan"), "down", *common], capture_output=True, text=True, timeout=120)


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    """A namespace of the test's own, deleted afterwards."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")
