"""`make demo` from end to end: the shop answers through its gateway, the plugin's mark is on it, a sale is kept."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from .up_down_cluster import SHOP, Cluster, new_cluster, unable

pytestmark = pytest.mark.skipif(bool(unable()), reason=unable() or "-")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str]]:
    """A cluster with the shop, and what the demo printed."""
    cluster = new_cluster(tmp_path_factory.mktemp("demo"))
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = [sys.executable, str(SHOP / "demo.py"), cluster.name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
        assert done.returncode == 0, done.stdout + done.stderr
        yield cluster, done.stdout
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


def url_of(said: str) -> str:
    found = re.search(r"^The shop: (http://\S+)$", said.rstrip().splitlines()[-1])
    assert found is not None, said
    return found[1]


def test_the_url_comes_last_and_answers(demo: tuple[Cluster, str]) -> None:
    with urllib.request.urlopen(url_of(demo[1]), timeout=10) as answer:
        page = answer.read().decode()
    assert "The Sampan Shop" in page and "Paper lantern" in page


def test_the_table_shows_what_runs_and_the_plugins_mark(demo: tuple[Cluster, str]) -> None:
    said = demo[1]
    assert len(re.findall(r"^  (?:catalog|orders|storefront)-\S+ .* Running$", said, re.M)) == 6
    assert re.search(r"^  fill-shelves-\S+ .* Succeeded$", said, re.M)
    assert re.search(r"^  x-shop-mark: ", said, re.M)
    assert re.search(r"^  \d+\.\d\d s +cluster up$", said, re.M)


def test_a_sale_is_written_into_the_book(demo: tuple[Cluster, str]) -> None:
    request = urllib.request.Request(url_of(demo[1]) + "buy/lantern", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "1 sold" in answer.read().decode()


def test_the_demo_can_be_run_again(demo: tuple[Cluster, str]) -> None:
    environment = {**os.environ, "KUBECONFIG": str(demo[0].kubeconfig)}
    command = [sys.executable, str(Path(SHOP) / "demo.py"), demo[0].name]
    again = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180)
    assert again.returncode == 0, again.stdout + again.stderr
    assert "is up already" in again.stdout
