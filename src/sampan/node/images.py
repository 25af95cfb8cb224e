"""Images of the node: imported from archives, listed, pulled by policy with back-off.

Import and removal go through ``ctr``, containerd's own client, because CRI has no import. Pulls go through CRI.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sampan.node.containerd import PAUSE_IMAGE
from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

NAMESPACE = "k8s.io"
FIRST_BACKOFF_SECONDS = 10.0
LONGEST_BACKOFF_SECONDS = 300.0


class ImageError(Exception):
    """An image that cannot be had; ``reason`` is what the container's status says (ErrImagePull, …)."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def import_archive(socket: Path, archive: Path, *, mntns: Path | None = None) -> list[str]:
    """Import a Docker or OCI archive and return the names it had. Raises ``ImageError``.

    ``mntns`` is the mount namespace containerd lives in: layers are unpacked by containerd, so only the socket matters,
    but an archive under the cluster's own mounts is found there only."""
    if not archive.is_file():
        raise ImageError("NotFound", f"there is no file {archive}")
    program = shutil.which("ctr") or "/usr/bin/ctr"
    command = [program, "--address", str(socket), "-n", NAMESPACE, "images", "import", str(archive)]
    del mntns  # ctr reads the archive itself and streams it
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0 and "unknown service containerd.services.leases" in done.stderr:
        raise ImageError(
            "ImportFailed",
            "the runtime is no containerd, and CRI has no way to give it an archive: use its own tools (CRI-O takes what"
            " `podman --root … load` puts into its store), or a registry",
        )
    if done.returncode != 0:
        raise ImageError("ImportFailed", done.stderr.strip() or done.stdout.strip())
    return imported(done.stdout)


def imported(told: str) -> list[str]:
    """Return the names that ``ctr images import`` tells of: ``unpacking NAME …``, since containerd 2 ``NAME saved``."""
    words = [line.split() for line in told.splitlines()]
    old = [line[1] for line in words if len(line) > 1 and line[0] == "unpacking"]
    return old or [line[0] for line in words if len(line) == 2 and line[1] == "saved"]


def pause_archive(path: Path) -> None:
    """Write the image of the process that holds a pod's namespaces: Debian's static ``catatonit -P``.

    Raises ``ImageError`` where it is not installed."""
    program = shutil.which("catatonit") or "/usr/bin/catatonit"
    if not Path(program).exists():
        raise ImageError("NotFound", "catatonit is not installed (apt-get install catatonit)")
    files = {"pause": ImageFile(Path(program).read_bytes(), 0o755)}
    docker_archive(path, [PAUSE_IMAGE], files, ImageConfig(entrypoint=("/pause", "-P")))


def ensure_pause(socket: Path) -> None:
    """Import the pause image."""
    with tempfile.TemporaryDirectory(prefix="sampan-pause-") as directory:
        archive = Path(directory) / "pause.tar"
        pause_archive(archive)
        import_archive(socket, archive)


@dataclass(slots=True)
class Backoff:
    """When an image may be tried again, and how long the pause after that would be."""

    until: float = 0.0
    pause: float = FIRST_BACKOFF_SECONDS
    problem: str = ""


HOST = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
REFERENCE = re.compile(
    rf"((?:(?:{HOST}|\[[a-fA-F0-9:]+\])(?::[0-9]+)?/)?{PART}(?:/{PART})*)(?::(\w[\w.-]{{0,127}}))?"
    r"(?:@([A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?",
    re.ASCII,
)
"""Name, tag and digest of an image. Source: the grammar of distribution/reference."""


def full_name(image: str) -> str:
    """Return an image reference with registry and tag, as containerd keeps it: ``docker.io/library/web:latest``.

    Raises ``ImageError`` for what is no reference."""
    match = REFERENCE.fullmatch(image)
    if match is None:
        raise ImageError(
            "InvalidImageName",
            f'Failed to apply default image tag "{image}": couldn\'t parse image name "{image}": invalid reference format',
        )
    path, tag, digest = match.groups()
    first, slash, _ = path.partition("/")
    if not slash:
        path = f"docker.io/library/{path}"
    elif "." not in first and ":" not in first and first != "localhost":
        path = f"docker.io/{path}"
    return f"{path}@{digest}" if digest else f"{path}:{tag or 'latest'}"
