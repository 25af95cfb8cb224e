"""An operator on controller-runtime: its envtest suite as it is, and the operator itself on a cluster with controllers."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

OPERATOR = Path(__file__).parent.parent / "operator-go"
CRD = OPERATOR / "config" / "crd.yaml"
GREETING = {
    "apiVersion": "demo.sampan.dev/v1",
    "kind": "Greeting",
    "metadata": {"name": "world"},
    "spec": {"name": "world"},
}


@pytest.mark.parametrize("version", ["1.30", "1.37"])
def test_an_envtest_suite_runs_unchanged(go: Callable[..., Path], version: str, tmp_path: Path) -> None:
    suite = go("test", OPERATOR)
    envtest = [sys.executable, "-m", "sampan.cli.main", "envtest", "--kubernetes-version", version]
    done = subprocess.run(
        [*envtest, "--dir", str(tmp_path), "--", str(suite), "-test.v"],
        cwd=OPERATOR,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("--- PASS: TestOperator/") == 3


@contextmanager
def running(operator: Path, cluster: Any, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, **cluster.environment}
    with log.open("wb") as out:
        process = subprocess.Popen([operator, "--leader-elect"], env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.kubernetes(crds=CRD)
def test_leaders_take_turns_and_owned_objects_go(go: Callable[..., Path], cluster: Any, tmp_path: Path) -> None:
    operator = go("build", OPERATOR)
    lease = "lease/greetings.demo.sampan.dev"
    with running(operator, cluster, tmp_path / "one.log") as first:
        cluster.wait_for(lease, "{.spec.holderIdentity}")
        holder = cluster.get(lease)["spec"]["holderIdentity"]
        with running(operator, cluster, tmp_path / "two.log"):
            cluster.apply(GREETING)
            cluster.wait_for("greeting/world", "{.status.text}=Hello, world")
            first.terminate()
            first.wait(30)
            cluster.wait_for(lease, lambda found: found["spec"]["holderIdentity"] not in ("", holder))
            cluster.kubectl("patch", "greeting", "world", "--type=merge", "-p", '{"spec": {"salutation": "Ahoy"}}')
            cluster.wait_for("configmap/world", "{.data.text}=Ahoy, world")
            cluster.kubectl("delete", "greeting", "world")
            cluster.wait_for("configmap/world", "deleted")  # by the garbage collector: it was owned
            assert cluster.get("configmap/farewell-world")
