"""Helm and a chart with everything: CRDs, hooks, lookups, a test; installed, upgraded, rolled back and uninstalled."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CHART = str(HERE / "chart")
WAIT = ("--wait", "--timeout=60s")
Helm = Callable[..., Any]


@pytest.fixture(scope="session")
def program(request: pytest.FixtureRequest) -> Path:
    """Helm of the machine, else built from its Go module."""
    found = shutil.which("helm")
    return Path(found) if found else request.getfixturevalue("go")("build", HERE / "helm", "helm.sh/helm/v4/cmd/helm")


@pytest.fixture
def helm(program: Path, cluster: Any) -> Helm:
    def run(*arguments: str, code: int = 0) -> str:
        environment = {**os.environ, **cluster.environment}
        done = subprocess.run([program, *arguments], env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_the_life_of_a_release(helm: Helm, cluster: Any) -> None:
    helm("install", "fleet", CHART, *WAIT)
    assert cluster.wait_for("deployment/fleet", timeout=1)["spec"]["replicas"] == 2
    assert cluster.get("boat/fleet")["spec"] == {"sails": 2}
    [hook] = cluster.list("jobs")
    assert hook["metadata"]["name"] == "fleet-pre-install" and hook["status"]["succeeded"] == 1

    helm("upgrade", "fleet", CHART, "--set", "replicas=3,banner=ahoy", *WAIT)
    assert cluster.get("deployment/fleet")["status"]["readyReplicas"] == 3
    assert cluster.get("configmap/fleet")["data"] == {
        "banner": "ahoy",
        "revision": "2",
        "cluster": "kube-system",
        "boats": "true",
    }

    refused = helm("upgrade", "fleet", CHART, "--set", "replicas=0", code=1)
    assert "spec.sails in body should be greater than or equal to 1" in refused

    helm("rollback", "fleet", "1", *WAIT)
    assert cluster.get("deployment/fleet")["spec"]["replicas"] == 2
    assert cluster.get("configmap/fleet")["data"]["banner"] == "set sail"
    history = json.loads(helm("history", "fleet", "-o", "json"))
    assert [entry["status"] for entry in history] == ["superseded", "superseded", "failed", "deployed"]

    assert "Phase:          Succeeded" in helm("test", "fleet", "--timeout=60s")
    helm("uninstall", "fleet", *WAIT)
    assert cluster.get("deployment/fleet") is None and cluster.get("boat/fleet") is None
    assert cluster.get("crd/boats.sea.sampan.dev")  # Helm leaves definitions
    assert json.loads(helm("list", "-o", "json")) == []


@pytest.mark.kubernetes("1.25", "1.31", pods="none", controllers=False)
def test_a_chart_on_old_versions(helm: Helm, cluster: Any) -> None:
    helm("install", "fleet", CHART, "--no-hooks")
    assert cluster.get("deployment/fleet")["spec"]["replicas"] == 2
