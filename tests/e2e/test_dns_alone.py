"""``sampan dns serve`` with the account and the Corefile of examples/dns, on an API that knows nothing of us."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .eventually import eventually

pytestmark = pytest.mark.skipif(not shutil.which("dig"), reason="bind9-dnsutils is not installed")

BIN = Path(sys.executable).parent
MANIFESTS = Path(__file__).resolve().parents[2] / "examples" / "dns" / "sampan-dns.yaml"
NAME = "web.default.svc.cluster.local"


class Alone:
    def __init__(self, kubeconfig: Path, account: Path) -> None:
        self.kubeconfig, self.account = kubeconfig, account
        self.port = 0

    def kubectl(self, *words: str, text: str = "") -> str:
        command = [str(BIN / "kubectl"), f"--kubeconfig={self.kubeconfig}", *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def dig(self, *words: str) -> str:
        command = ["dig", "@127.0.0.1", "-p", str(self.port), "+short", "+time=5", "+tries=1", *words]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()

    def serve(self, *words: str) -> subprocess.Popen[str]:
        command = [str(BIN / "sampan"), "dns", "serve", f"--kubeconfig={self.account}", "--listen=127.0.0.1:0", *words]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("ready 127.0.0.1 port "), line + (process.stderr.read() if process.stderr else "")
        self.port = int(line.split()[-1])
        return process


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., Any]) -> Iterator[Alone]:
    directory = tmp_path_factory.mktemp("alone")
    server = start_server(directory)
    made = Alone(server.kubeconfig, directory / "account.kubeconfig")
    objects = [one for one in yaml.safe_load_all(MANIFESTS.read_text()) if one["kind"] != "Deployment"]
    made.kubectl("apply", "-f", "-", text=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    token = made.kubectl("create", "token", "sampan-dns", "-n", "kube-system").strip()
    config = json.loads(server.kubeconfig.read_text())
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    made.account.write_text(json.dumps(config))
    yield made


def test_the_manifests_are_what_the_api_takes(alone: Alone) -> None:
    alone.kubectl("apply", "--dry-run=server", "-f", str(MANIFESTS))


def test_it_serves_with_the_account_of_the_manifests(alone: Alone) -> None:
    corefile = alone.kubectl("get", "configmap", "sampan-dns", "-n", "kube-system", "-o", "jsonpath={.data.Corefile}")
    quiet = corefile.replace(":8080", "127.0.0.1:0").replace(":8181", "127.0.0.1:0").replace(":9153", "127.0.0.1:0")

    def put(text: str) -> None:
        patch = json.dumps({"data": {"Corefile": text}})
        alone.kubectl("patch", "configmap", "sampan-dns", "-n", "kube-system", "--type=merge", "-p", patch)

    put(quiet.replace("lameduck 5s", "lameduck 100ms"))
    process = alone.serve("--config-map=kube-system/sampan-dns")
    try:
        assert alone.dig("nothing." + NAME) == ""
        service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"}}
        alone.kubectl("apply", "-f", "-", text=json.dumps({**service, "spec": {"ports": [{"port": 80}]}}))
        address = alone.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")
        eventually("the name", lambda: alone.dig(NAME) == address)
        assert alone.dig("-x", address) == f"{NAME}."
        put(quiet.replace("errors", "errors\n    bogus"))

        def events() -> str:
            return alone.kubectl("get", "events", "-n", "kube-system")

        eventually("the event", lambda: "bogus: there is no such directive" in events())
        assert alone.dig(NAME) == address
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(60)


def test_a_corefile_of_the_disk_is_followed(alone: Alone, tmp_path: Path) -> None:
    file = tmp_path / "Corefile"
    text = ". {\n hosts {\n  10.0.0.1 a.example\n }\n}\n"
    file.write_text(text)
    process = alone.serve(f"--config={file}")
    try:
        assert alone.dig("a.example") == "10.0.0.1"
        file.write_text(text.replace("10.0.0.1", "10.0.0.2"))
        eventually("the change", lambda: alone.dig("a.example") == "10.0.0.2")
    finally:
        process.kill()
        process.wait(60)


def test_names_are_served_where_the_port_of_metrics_is_taken(alone: Alone, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "Corefile"
        file.write_text(f". {{\n prometheus 127.0.0.1:{port}\n hosts {{\n  10.0.0.1 a.example\n }}\n}}\n")
        process = alone.serve(f"--config={file}")
        try:
            assert alone.dig("a.example") == "10.0.0.1"
        finally:
            process.kill()
            process.wait(60)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config=/nonexistent"], "No such file or directory: /nonexistent"),
        (["--listen=10.9.9.9:53"], "Cannot assign requested address (--listen 10.9.9.9:53)"),
        (["--listen=nonsense"], "--listen nonsense: "),
        (["--config=x", "--config-map=a/b"], "--config and --config-map exclude each other"),
    ],
)
def test_what_cannot_be_done_is_said(alone: Alone, words: list[str], message: str) -> None:
    command = [str(BIN / "sampan"), "dns", "serve", f"--kubeconfig={alone.account}", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr, done.stderr
