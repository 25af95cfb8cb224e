"""An image with Debian's dig and busybox, and dig's answers as tests want to read them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .space import Space

IMAGE = "docker.io/library/dig:1"
APPLETS = "sh cat sleep nslookup hostname ping wget"


def dig_archive(path: Path) -> None:
    program = Path(str(shutil.which("dig"))).resolve()
    listed = subprocess.run(["ldd", str(program)], capture_output=True, text=True, check=True).stdout
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    files |= {f"bin/{applet}": ImageFile(link="busybox") for applet in APPLETS.split()}
    files["bin/dig"] = ImageFile(program.read_bytes(), 0o755)
    for library in {Path(word) for word in listed.split() if word.startswith("/")}:
        place = str(library).lstrip("/") if library.name.startswith("ld-") else f"lib/{library.name}"
        files[place] = ImageFile(library.read_bytes(), 0o755)
    files["etc/passwd"] = ImageFile(b"root:x:0:0:root:/:/bin/sh\n")
    environment = {"PATH": "/bin", "LD_LIBRARY_PATH": "/lib"}
    docker_archive(path, [IMAGE], files, ImageConfig(command=("/bin/sh",), environment=environment))


class Dig:
    """dig in a pod. ``+search`` goes along its search list, as programs' resolvers do."""

    def __init__(self, space: Space, pod: str) -> None:
        self._space = space
        self._pod = pod

    def __call__(self, *words: str) -> list[str]:
        """Return the lines that ``+short`` prints, sorted."""
        return sorted(self.out("dig", "+short", "+tries=1", "+time=10", *words).split("\n"))[1:]

    def status(self, *words: str) -> str:
        return self.out("dig", "+tries=1", "+time=10", *words).partition("status: ")[2].partition(",")[0]

    def out(self, *command: str) -> str:
        return self._space("exec", self._pod, "--", *command)
