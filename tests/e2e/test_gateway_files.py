"""``sampan gateway run --config DIR``: a real Envoy on the host's own ports, from files, without a cluster."""

from __future__ import annotations

import http.client
import http.server
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from .eventually import eventually
from .gateway_world import free_port

EXAMPLES = Path(__file__).parents[2] / "examples/gateway-files"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with the path it was asked for."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(self.path.encode())

    def log_message(self, *arguments: object) -> None:
        pass


def sampan(directory: Path, *more: str) -> list[str]:
    return [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--config", str(directory), *more]


class Files:
    """The example in a directory of its own, on free ports, and the gateway that serves it."""

    def __init__(self, directory: Path, backend: int) -> None:
        self.directory, self.port = directory, free_port()
        ours = {"8080": self.port, "9000": backend}  # at once: one may have the digits of another
        for file in EXAMPLES.iterdir():
            text = re.sub("|".join(ours), lambda found: str(ours[found[0]]), file.read_text())
            text = text.replace("{addresses: [192.0.2.10]}, {addresses: [192.0.2.11]}", "{addresses: [127.0.0.1]}")
            (directory / file.name).write_text(text)
        self.log = directory.parent / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(sampan(directory), stdout=log, stderr=log)

    def change(self, file: str, old: str, new: str) -> None:
        """Replace a file as editors do: another one takes its name."""
        path = self.directory / file
        aside = self.directory / f".{file}.new"
        aside.write_text(path.read_text().replace(old, new))
        aside.rename(path)

    def ask(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    def envoys(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in found if b"envoy" in Path(f"/proc/{pid}/cmdline").read_bytes()]


@pytest.fixture
def files(tmp_path: Path) -> Iterator[Files]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mirror)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    directory = tmp_path / "config"
    directory.mkdir()
    served = Files(directory, server.server_address[1])
    try:
        eventually("the example is served", lambda: served.ask("/api/x") == (200, "/x"))
        yield served
    finally:
        served.process.terminate()
        served.process.wait(60)
        server.shutdown()


def test_files_are_served_and_followed(files: Files) -> None:
    files.change("web.yaml", "/api", "/v2")
    eventually("the new path is served", lambda: files.ask("/v2/x") == (200, "/x"))
    assert files.ask("/api/x")[0] == 404
    files.change("web.yaml", "protocol: HTTP", "protocol: HTTP, colour: red")
    eventually("the error is told", lambda: 'unknown field "spec.listeners[0].colour"' in files.log.read_text())
    (files.directory / "api.yaml").write_text("kind: [")
    eventually("the broken file is told", lambda: "api.yaml: line" in files.log.read_text())
    assert files.ask("/v2/x") == (200, "/x"), "what was there before serves on"
    (files.directory / "web.yaml").unlink()
    eventually("what is gone is not served", lambda: files.ask("/v2/x")[0] == 0)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_envoy_ends_with_it(files: Files, how: signal.Signals) -> None:
    (envoy,) = files.envoys()
    folder = Path(Path(f"/proc/{envoy}/cmdline").read_bytes().split(b"\0")[2].decode()).parent
    try:
        files.process.send_signal(how)
        assert files.process.wait(60) == (0 if how == signal.SIGTERM else -how)
        eventually("the port is free", lambda: files.ask("/api/x")[0] == 0)
        eventually("Envoy has ended", lambda: not Path(f"/proc/{envoy}").exists())
        assert folder.exists() == (how == signal.SIGKILL)
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # nobody cleans up after SIGKILL


def test_check_says_what_is_wrong_and_where(tmp_path: Path) -> None:
    well = subprocess.run(sampan(EXAMPLES, "--check"), capture_output=True, text=True, timeout=120)
    assert (well.returncode, well.stderr.strip()) == (0, f"{EXAMPLES}: nothing is wrong")
    text = (EXAMPLES / "web.yaml").read_text()
    (tmp_path / "web.yaml").write_text(text.replace("port: 8080", "port: 808080"))
    (tmp_path / "other.yaml").write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x}\n")
    bad = subprocess.run(sampan(tmp_path, "--check"), capture_output=True, text=True, timeout=120)
    assert bad.returncode == 1
    assert "web.yaml: Gateway default/front: spec.listeners[0].port: " in bad.stderr
    assert "other.yaml: Deployment default/x: objects of kind Deployment in apps/v1 are not read here" in bad.stderr
    nowhere = subprocess.run(sampan(tmp_path / "nowhere", "--check"), capture_output=True, text=True, timeout=120)
    assert nowhere.returncode == 2 and "there is no such directory" in nowhere.stderr


def test_check_asks_what_a_login_needs(tmp_path: Path) -> None:
    text = (EXAMPLES / "web.yaml").read_text().replace("traefik.io", "gateway.sampan.dev")
    oidc = f'{{oidc: {{issuer: "http://127.0.0.1:{free_port()}", clientID: a, secret: s}}}}'
    (tmp_path / "web.yaml").write_text(text.replace("{stripPrefix: {prefixes: [/api]}}", oidc))
    done = subprocess.run(sampan(tmp_path, "--check"), capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and ": it does not answer: Cannot connect to host 127.0.0.1" in done.stderr, done.stderr
