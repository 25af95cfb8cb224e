"""`make demo` from end to end: the shop answers through its gateway, the plugin's mark is on it, a sale is kept."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path

import pytest

from .up_down_cluster import SHOP, Cluster, new_cluster, unable

LONGEST_SECONDS = 60
pytestmark = pytest.mark.skipif(bool(unable()), reason=unable() or "-")


@dataclass
class Demo:
    cluster: Cluster
    shop: Path
    """A copy of the example, to be edited."""
    said: str

    @property
    def url(self) -> str:
        return url_of(self.said)


def run_demo(cluster: Cluster, shop: Path) -> str:
    environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}
    command = [sys.executable, str(shop / "demo.py"), cluster.name]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    directory = tmp_path_factory.mktemp("demo")
    cluster = new_cluster(directory)
    shop = directory / "shop"
    shutil.copytree(SHOP, shop)
    try:
        yield Demo(cluster, shop, run_demo(cluster, shop))
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


def url_of(said: str) -> str:
    found = re.search(r"^The shop: (http://\S+)$", said.rstrip().splitlines()[-1])
    assert found is not None, said
    return found[1]


def test_the_url_comes_last_and_answers(demo: Demo) -> None:
    with urllib.request.urlopen(demo.url, timeout=10) as answer:
        page = answer.read().decode()
    assert "The Sampan Shop" in page and "Paper lantern" in page


def test_the_table_shows_what_runs_and_the_plugins_mark(demo: Demo) -> None:
    assert len(re.findall(r"^  (?:catalog|orders|storefront)-\S+ .* Running$", demo.said, re.M)) == 6
    assert re.search(r"^  fill-shelves-\S+ .* Succeeded$", demo.said, re.M)
    assert re.search(r"^  x-shop-mark: ", demo.said, re.M)
    assert re.search(r"^  \d+\.\d\d s +cluster up$", demo.said, re.M)


def test_a_sale_is_written_into_the_book(demo: Demo) -> None:
    request = urllib.request.Request(demo.url + "buy/lantern", method="POST", data=b"")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert "1 sold" in answer.read().decode()


class Load:
    """Requests without a pause on one connection after the other, in a thread, until told to stop."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.answers: list[tuple[int, str]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            connection = HTTPConnection(self.host, timeout=10)
            for _ in range(5):
                connection.request("GET", "/healthz")
                answer = connection.getresponse()
                answer.read()
                self.answers.append((answer.status, answer.headers.get("x-shop-mark", "")))
            connection.close()

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def await_mark(self, mark: str) -> None:
        deadline = time.monotonic() + LONGEST_SECONDS
        while self.answers[-1:] != [(200, mark)]:
            assert time.monotonic() < deadline, f"never seen: {mark}; it is {self.answers[-1:]}"
            time.sleep(0.01)


def test_an_edit_of_the_plugin_is_live_and_no_request_fails(demo: Demo) -> None:
    plugin = demo.shop / "plugin" / "plugin.py"
    original = plugin.read_text()
    with Load(demo.url.removeprefix("http://").strip("/")) as load:
        for number in range(5):
            plugin.write_text(original.replace("steered by plugin.py", f"edit {number}"))
            load.await_mark(f"edit {number}")
        plugin.write_text("def request(request:\n")
        demo.cluster.kubectl(
            *("wait", "httproute/storefront", "--namespace", "shop", "--timeout=60s"),
            "--for=jsonpath={.status.parents[0].conditions[?(@.type=='ResolvedRefs')].status}=False",
        )
        route = demo.cluster.get("httproute", "storefront", "--namespace", "shop")
        load.await_mark("edit 4")
        plugin.write_text(original)
        load.await_mark("steered by plugin.py")
    assert {status for status, _ in load.answers} == {200}
    conditions = {c["type"]: c for c in route["status"]["parents"][0]["conditions"]}
    assert "SyntaxError" in conditions["ResolvedRefs"]["message"]
    assert "plugin.py" in conditions["ResolvedRefs"]["message"]


def test_a_rollout_under_load_fails_no_request(demo: Demo) -> None:
    def pods() -> set[str]:
        printed = demo.cluster.kubectl("get", "pods", "--namespace", "shop", "-l", "app=storefront", "-o", "name")
        return set(printed.split())

    before = pods()
    with Load(demo.url.removeprefix("http://").strip("/")) as load:
        demo.cluster.kubectl("rollout", "restart", "deployment/storefront", "--namespace", "shop")
        demo.cluster.kubectl("rollout", "status", "deployment/storefront", "--namespace", "shop", "--timeout=60s")
        for pod in before:
            demo.cluster.kubectl("wait", pod, "--namespace", "shop", "--for=delete", "--timeout=60s")
    assert before and not before & pods()
    assert {status for status, _ in load.answers} == {200}


def test_the_demo_can_be_run_again(demo: Demo) -> None:
    assert "is up already" in run_demo(demo.cluster, demo.shop)
