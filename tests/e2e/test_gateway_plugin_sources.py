"""Plugins from Git directories, images and installed packages: fetched, swapped, and kept when nobody answers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import http.client
import http.server
import io
import json
import os
import shutil
import socket
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .gateway_with_plugins import Alone, alone, free_port

HOOK = "from . import table\n\ndef request(request):\n    request.response_headers['x-mark'] = table.MARK\n"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages."""
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Iterator[Alone]:
    paths = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    with alone(tmp_path_factory.mktemp("sources"), PYTHONPATH=paths) as served:
        yield served
        assert "panicked" not in (served.log_dir / "envoy.log").read_text(), "a version that goes leaves nothing behind"


def marks(gateway: Alone, name: str, mark: str) -> None:
    eventually(f"{name} marks with {mark}", lambda: gateway.ask(f"/{name}").headers.get("x-mark") == mark)


def told(gateway: Alone, words: str) -> None:
    eventually(f"it is told: {words}", lambda: words in gateway.log.read_text())


# Git


class Repository:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str) -> str:
        settings = ("-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false")
        command = ["git", "-C", str(self.folder), *settings, *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def commit(self, mark: str) -> str:
        plugin = self.folder / "plugins/mark"
        plugin.mkdir(parents=True, exist_ok=True)
        (plugin / "plugin.py").write_text(HOOK)
        (plugin / "table.py").write_text(f"MARK = {mark!r}\n")
        self.git("add", "-A")
        self.git("commit", "--quiet", "-m", mark)
        return self.git("rev-parse", "HEAD")


class GitServer(http.server.BaseHTTPRequestHandler):
    """git's own server program, behind a password."""

    protocol_version = "HTTP/1.1"
    root = ""

    def do_GET(self) -> None:
        if self.headers.get("authorization") != "Basic " + base64.b64encode(b"ann:secret").decode():
            self.reply(401, [("www-authenticate", 'Basic realm="git"')], b"")
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        variables = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": self.root,
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "REMOTE_USER": "ann",
        }
        said = subprocess.run(
            ["git", "http-backend"], input=body, env=variables, capture_output=True, check=True
        ).stdout
        head, _, content = said.partition(b"\r\n\r\n")
        headers = [tuple(line.split(": ", 1)) for line in head.decode().split("\r\n")]
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        self.reply(status, [pair for pair in headers if pair[0] != "Status"], content)  # type: ignore[misc]

    do_POST = do_GET

    def reply(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.send_response(status)
        for name, value in [*headers, ("content-length", str(len(body)))]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_git_directory_is_followed_and_kept(gateway: Alone, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    first = repository.commit("one")
    url = f"file://{repository.folder}"
    gateway.plugin("git", git={"url": url, "ref": "main", "path": "plugins/mark", "interval": "1s"})
    marks(gateway, "git", "one")
    repository.commit("two")
    marks(gateway, "git", "two")
    repository.git("tag", "v1", first)
    gateway.plugin("tag", git={"url": url, "ref": "v1", "path": "plugins/mark", "interval": "1s"})
    marks(gateway, "tag", "one")
    gateway.plugin("nowhere", git={"url": url, "ref": "main", "path": "plugins/other", "interval": "1s"})
    told(gateway, "spec.git.path: plugins/other in ")
    repository.folder.rename(tmp_path / "away")
    told(gateway, f"spec.git: {url} main: ")
    assert gateway.ask("/git").headers["x-mark"] == "two"


def test_git_over_http_with_a_password(gateway: Alone, tmp_path: Path) -> None:
    repository = Repository(tmp_path / "repository")
    repository.commit("three")
    handler = type("Handler", (GitServer,), {"root": str(tmp_path)})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/repository/.git"
        git = {"url": url, "path": "plugins/mark", "interval": "1s"}
        gateway.plugin("refused", git=git)
        told(gateway, f"spec.git: {url} HEAD: ")
        data = {
            name: base64.b64encode(value).decode() for name, value in (("username", b"ann"), ("password", b"secret"))
        }
        gateway.write("secret", {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "git"}, "data": data})
        gateway.plugin("http", git={**git, "secretRef": {"name": "git"}})
        marks(gateway, "http", "three")
        repository.commit("four")
        marks(gateway, "http", "four")
    finally:
        server.shutdown()
        server.server_close()


# images


class Registry:
    """docker-registry, and what it takes to push."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        config = {
            "version": 0.1,
            "storage": {"filesystem": {"rootdirectory": str(folder / "registry")}},
            "http": {"addr": f"127.0.0.1:{self.port}"},
        }
        (folder / "registry.yml").write_text(json.dumps(config))
        command = ["docker-registry", "serve", str(folder / "registry.yml")]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually("the registry answers", self.answers)

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def request(self, method: str, path: str, body: bytes = b"", **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.read()
        assert answer.status < 300, (method, path, answer.status)
        return answer

    def blob(self, content: bytes, media_type: str, **annotations: str) -> dict[str, Any]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        where = self.request("POST", "/v2/plugins/mark/blobs/uploads/").headers["location"]
        path = where.partition(f":{self.port}")[2] or where
        self.request("PUT", f"{path}{'&' if '?' in path else '?'}digest={digest}", content)
        return {"mediaType": media_type, "digest": digest, "size": len(content), "annotations": annotations}

    def push(self, tag: str, layers: list[dict[str, Any]]) -> None:
        kind = "application/vnd.oci.image.manifest.v1+json"
        config = self.blob(b"{}", "application/vnd.oci.empty.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}
        self.request("PUT", f"/v2/plugins/mark/manifests/{tag}", json.dumps(manifest).encode(), content_type=kind)


def layer(**files: str) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"./plugin/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return gzip.compress(content.getvalue())


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    served = Registry(tmp_path)
    yield served
    served.process.terminate()
    served.process.wait(60)


def test_an_image_and_an_artifact(gateway: Alone, registry: Registry) -> None:
    tar = "application/vnd.oci.image.layer.v1.tar+gzip"
    base = registry.blob(layer(**{"plugin.py": HOOK, "table.py": "MARK = 'one'", "gone.py": "1/0"}), tar)
    over = registry.blob(layer(**{"table.py": "MARK = 'two'", ".wh.gone.py": ""}), tar)
    registry.push("v1", [base])
    reference = f"127.0.0.1:{registry.port}/plugins/mark"
    gateway.plugin("image", image={"reference": f"{reference}:v1", "path": "plugin", "interval": "1s"})
    marks(gateway, "image", "one")
    registry.push("v1", [base, over])
    marks(gateway, "image", "two")
    titled = "org.opencontainers.image.title"
    text = "application/vnd.example.python"
    files = {"plugin.py": HOOK, "table.py": "MARK = 'three'", "../evil.py": "x"}
    registry.push("files", [registry.blob(content.encode(), text, **{titled: name}) for name, content in files.items()])
    gateway.plugin("artifact", image={"reference": f"{reference}:files"})
    marks(gateway, "artifact", "three")
    gateway.plugin("none", image={"reference": f"{reference}:none", "interval": "1s"})
    told(gateway, f"spec.image: {reference}:none: the registry answers 404")
    registry.process.terminate()
    registry.process.wait(60)
    told(gateway, f"spec.image: 127.0.0.1:{registry.port}: ")
    assert gateway.ask("/image").headers["x-mark"] == "two"


# installed packages


def install(site: Path, version: str, mark: str) -> None:
    package = site / "acme_marks"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(HOOK.replace("from . import", "from acme_marks import"))
    (package / "table.py").write_text(f"MARK = {mark!r}\n")
    for old in site.glob("acme_marks-*.dist-info"):
        shutil.rmtree(old)
    info = site / f"acme_marks-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: acme-marks\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(
        "[sampan.gateway.plugins]\nmarks = acme_marks\nhere = acme_marks.plugin:request\n"
    )


def test_an_installed_package_is_upgraded_live(gateway: Alone, site: Path) -> None:
    gateway.plugin("installed", installed="marks")
    told(gateway, "no package has an entry point sampan.gateway.plugins:marks")
    install(site, "1.0", "one")
    marks(gateway, "installed", "one")
    install(site, "1.1", "two")
    marks(gateway, "installed", "two")
    gateway.plugin("function", installed="here")
    told(gateway, "here = 'acme_marks.plugin:request': a package is expected")
