"""The plugin as a test author meets it: pytest runs of their own, with real clusters."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable

import pytest

pytest_plugins = ("pytester",)

Run = Callable[..., pytest.RunResult]

BAD = """
BAD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lost"},
       "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "main", "image": "x"}]}}
CM = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "mark"}}
"""


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run pytest on a test file in a process of its own."""
    installed = any(entry.name == "sampan" for entry in importlib.metadata.entry_points(group="pytest11"))
    monkeypatch.setenv("PYTEST_ADDOPTS", "" if installed else "-p sampan.testing.plugin")
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")

    def run(source: str, *arguments: str) -> pytest.RunResult:
        pytester.makepyfile(test_it=BAD + source)
        return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-W", "error", *arguments)

    return run


def test_plain_and_async_tests_each_have_a_fresh_cluster(run: Run) -> None:
    found = run(
        """
def test_plain(cluster, apply, wait_for, kubectl):
    apply(CM)
    assert wait_for("cm/mark", "exists")
    assert "mark" in kubectl("get", "cm").out

async def test_coroutine(cluster, apply, wait_for, kubectl):
    assert await cluster.get("cm/mark") is None
    await apply(CM)
    await wait_for("cm/mark", "exists")
    assert "mark" in (await kubectl("get", "cm")).out
    assert cluster.client.server == cluster.url

def test_plain_again(cluster):
    assert cluster.get("cm/mark") is None
"""
    )
    found.assert_outcomes(passed=3)


def test_the_mark_runs_a_test_for_each_version(run: Run) -> None:
    found = run(
        """
import pytest

@pytest.mark.kubernetes("1.28", "1.37", pods="none", controllers=False)
def test_versions(cluster, kubernetes_version):
    version = cluster.kubectl("version", "-o", "json").json()["serverVersion"]
    assert f"{version['major']}.{version['minor']}" == kubernetes_version == cluster.kubernetes_version
    assert cluster.list("nodes") == []

def test_other(cluster, kubernetes_version):
    assert kubernetes_version == "1.30" and cluster.list("nodes")
""",
        "-v",
        "--kubernetes-version=1.30",
    )
    found.assert_outcomes(passed=3)
    found.stdout.fnmatch_lines_random(["*test_versions?v1.28?*", "*test_versions?v1.37?*", "*test_other?v1.30?*"])


def test_a_failure_shows_what_was_not_ready(run: Run) -> None:
    found = run(
        """
def test_fails(cluster, apply, wait_for):
    apply(BAD)
    while "FailedScheduling" not in cluster.not_ready():
        pass
    wait_for("pod/lost", timeout=0.1)
"""
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(
        [
            "*WaitTimeout: pods/lost in default: Pending: PodScheduled=False (Unschedulable)*",
            "*sampan: cluster https://127.0.0.1:*",
            "Pod default/lost: Pending*",
            "*condition  PodScheduled=False*",
            "*event      Warning FailedScheduling*",
        ]
    )


def test_a_failing_coroutine_shows_it_too(run: Run) -> None:
    found = run(
        """
async def test_fails(cluster):
    await cluster.apply(BAD)
    assert False
"""
    )
    found.assert_outcomes(failed=1)
    found.stdout.fnmatch_lines(["*sampan: cluster https://127.0.0.1:*", "Pod default/lost: *"])


def test_a_factory_makes_several_of_different_kinds(run: Run) -> None:
    found = run(
        """
import pytest

@pytest.mark.kubernetes(pods="none")
def test_two(cluster_factory):
    old, new = cluster_factory(kubernetes_version="1.25", crds=[CM]), cluster_factory(pods="simulated", nodes=3)
    assert old.get("cm/mark") and not old.list("nodes")
    assert len(new.list("nodes")) == 3 and new.get("cm/mark") is None

@pytest.mark.kubernetes(pod="none")
def test_misspelt(cluster): ...
"""
    )
    found.assert_outcomes(passed=1, errors=1)
    found.stdout.fnmatch_lines(["*mark kubernetes has no pod; it has pods, nodes,*"])


def test_workers_of_xdist_share_one_warm_process(run: Run) -> None:
    found = run(
        """
import os
import pytest
from sampan.testing.pool import pool

@pytest.mark.parametrize("number", range(6))
def test_shared(cluster, number):
    cluster.apply(CM)
    directory = pool().directory
    assert os.environ["PYTEST_XDIST_TESTRUNUID"][:16] in directory.name
    assert len(cluster.list("cm", namespace="default")) == 2
""",
        "-n",
        "2",
    )
    found.assert_outcomes(passed=6)


def test_a_kopf_operator_runs_on_the_cluster(run: Run, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        operator_file="""
import kopf

@kopf.on.create("", "v1", "configmaps", field="metadata.name", value="mark")
def greet(patch, name, **_):
    patch["data"] = {"greeting": f"hello {name}"}
"""
    )
    found = run(
        """
def test_operator(cluster, kopf_runner):
    with kopf_runner("operator_file.py", "--namespace=default") as runner:
        cluster.apply(CM)
        cluster.wait_for("cm/mark", "{.data.greeting}=hello mark", timeout=60)
    assert runner.exit_code == 0 and runner.exception is None
""",
        "-W",
        "default",
    )
    found.assert_outcomes(passed=1)


def test_the_plugin_is_cheap_where_no_test_uses_it(run: Run) -> None:
    found = run(
        """
import sys

def test_nothing():
    loaded = {name for name in sys.modules if name.startswith("sampan")}
    assert loaded <= {"sampan", "sampan.testing", "sampan.testing.plugin", "sampan.testing.spec"}
    assert "aiohttp" not in sys.modules
"""
    )
    found.assert_outcomes(passed=1)
