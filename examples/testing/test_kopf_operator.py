"""A kopf operator under test: its CRD is in the cluster from the beginning, the operator runs beside the test."""

from pathlib import Path
from typing import Any

import kubernetes
import pytest

HERE = Path(__file__).parent
GREETING = {
    "apiVersion": "demo.sampan.dev/v1",
    "kind": "Greeting",
    "metadata": {"name": "world"},
    "spec": {"name": "world"},
}

pytestmark = pytest.mark.kubernetes(crds=HERE.parent / "operator-go" / "config" / "crd.yaml")


@pytest.fixture
def operator(cluster: Any, kopf_runner: Any) -> Any:
    kubernetes.config.load_kube_config(str(cluster.kubeconfig))
    with kopf_runner(HERE / "operator_kopf.py", "--namespace=default") as runner:
        yield runner


def test_greets_and_says_farewell(cluster: Any, operator: Any) -> None:
    cluster.apply(GREETING)
    cluster.wait_for("greeting/world", "{.status.text}=Hello, world")
    cluster.kubectl("patch", "greeting", "world", "--type=merge", "-p", '{"spec": {"salutation": "Ahoy"}}')
    cluster.wait_for("configmap/world", "{.data.text}=Ahoy, world")
    cluster.kubectl("delete", "greeting", "world", "--wait")
    cluster.wait_for("configmap/world", "deleted")
    assert cluster.get("configmap/farewell-world")


def test_takes_up_what_was_there_before_it(cluster: Any, kopf_runner: Any) -> None:
    cluster.apply(GREETING)
    kubernetes.config.load_kube_config(str(cluster.kubeconfig))
    with kopf_runner(HERE / "operator_kopf.py", "--namespace=default"):
        cluster.wait_for("greeting/world", "{.status.text}=Hello, world")
