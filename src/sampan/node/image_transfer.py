"""Images in and out of containerd by ``ctr``, its own client: archives, registries, names. CRI has no word for these.

``ctr`` fetches and sends by itself, in the network of whoever calls: so a registry on the host's loopback, and the host's
proxies, are in reach, which containerd in the cluster's network would not see. What it fetches, pods have at once.
Registry settings (mirrors, certificates) are those of the cluster's ``certs.d``; credentials those of ``docker login``.
"""

from __future__ import annotations

import ipaddress
import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import orjson

from sampan.node.containerd import snapshotter
from sampan.node.image_content import MACHINES
from sampan.node.image_credentials import credentials_for
from sampan.node.images import NAMESPACE, ImageError
from sampan.schema.objects import Object


class Transfer:
    """``hosts``: containerd's folder of registry settings; ``ca``: a certificate for one registry."""

    def __init__(
        self,
        socket: Path,
        hosts: Path,
        *,
        plain_http: bool = False,
        insecure: bool = False,
        ca: str = "",
        user: str = "",
    ) -> None:
        self._socket, self._hosts = socket, hosts
        self._plain_http, self._insecure, self._ca, self._user = plain_http, insecure, ca, user

    def pull(self, name: str) -> None:
        """Fetch an image under its full name. Raises ``ImageError``."""
        self._run("pull", *local(), "--snapshotter", snapshotter(), *self._registry(name), name)

    def push(self, name: str, remote: str) -> None:
        """Send an image to a registry. Raises ``ImageError``."""
        self._run("push", *local(), *self._registry(remote), "--platform", this_platform(), remote, name)

    def export(self, names: Sequence[str], archive: Path) -> None:
        """Write images as one archive, which Docker and OCI tools read. Raises ``ImageError``."""
        self._run("export", "--platform", this_platform(), str(archive), *names)

    def tag(self, name: str, new: str) -> None:
        """Give an image one more name. Raises ``ImageError``."""
        self._run("tag", "--force", name, new)

    def _registry(self, name: str) -> list[str]:
        host = name.partition("/")[0]
        words = ["--hosts-dir", str(self._hosts)] if self._hosts.is_dir() else []
        if self._plain_http or is_loopback(host):
            words.append("--plain-http")
        if self._insecure:
            words.append("--skip-verify")
        if self._ca:
            words += ["--tlscacert", self._ca]
        if user := self._user or credentials(name):
            words += ["--user", user]
        return words

    def _run(self, verb: str, *words: str) -> None:
        program = shutil.which("ctr") or "/usr/bin/ctr"
        command = [program, "--address", str(self._socket), "-n", NAMESPACE, "images", verb, *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise ImageError(f"{verb} failed", done.stderr.strip().removeprefix("ctr: ") or done.stdout.strip())


def local() -> list[str]:
    """Return what tells ``ctr`` to speak to registries itself: from containerd 2 on it would let containerd do so."""
    done = subprocess.run([shutil.which("ctr") or "/usr/bin/ctr", "--version"], capture_output=True, text=True)
    return ["--local"] if "/v2 " in done.stdout else []


def this_platform() -> str:
    return f"linux/{MACHINES.get(platform.machine(), platform.machine())}"


def is_loopback(host: str) -> bool:
    """Whether a registry is this machine's own: there plain HTTP is usual, and nobody listens in."""
    name = host.rpartition(":")[0] or host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def credentials(name: str) -> str:
    """Return ``user:password`` of ``docker login`` for an image's registry, "" where there is none."""
    file = Path(os.environ.get("DOCKER_CONFIG", Path.home() / ".docker")) / "config.json"
    try:
        secret: Object = {"data": {".dockerconfigjson": encoded(file.read_bytes())}}
    except OSError:
        return ""
    found = next(iter(credentials_for(name, [secret])), None)
    return f"{found.username}:{found.password}" if found is not None and found.username else ""


def encoded(document: bytes) -> str:
    import base64

    return base64.b64encode(orjson.dumps({"auths": orjson.loads(document).get("auths") or {}})).decode()
