"""``sampan image build``: a Dockerfile through buildah, without a daemon and without a registry in between.

Images that the Dockerfile begins with and that the cluster has are handed to buildah first, so that what was loaded or built
here is built upon; others buildah pulls. The storage is a temporary folder; what stays is the image in the cluster.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cli.image import holding

if TYPE_CHECKING:
    from sampan.node.image_uses import Held

SUMMARY = "build a Dockerfile with buildah and load the image"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("context", metavar="DIRECTORY", help="the build context")
    parser.add_argument("--tag", "-t", required=True, help="name of the image")
    parser.add_argument("--file", "-f", help="the Dockerfile (default: DIRECTORY/Dockerfile)")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--target", default="", metavar="STAGE", help="stop at this stage")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.image.load import load_archive
    from sampan.cli.reaching import running
    from sampan.cli.up import which
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError, full_name

    settings = running(options.name)
    try:
        name = full_name(options.tag)
    except ImageError as error:
        raise ClusterError(f"{options.tag!r} is no name of an image", "lowercase, as in team/web:1") from error
    if not which("buildah"):
        raise ClusterError("building needs buildah", "apt-get install -y buildah")
    dockerfile = Path(options.file or Path(options.context) / "Dockerfile")
    if not dockerfile.is_file():
        raise ClusterError(f"there is no {dockerfile}", "name it with --file")
    with tempfile.TemporaryDirectory(prefix="sampan-build-") as directory:
        buildah = Buildah(Path(directory))
        give_bases(options, buildah, dockerfile)
        build = ["bud", "--isolation", "chroot", "--network", "host", "-t", name, "-f", str(dockerfile)]
        build += [word for argument in options.build_arg for word in ("--build-arg", argument)]
        build += ["--target", options.target] if options.target else []
        archive = Path(directory) / "image.tar"
        for words in ([*build, options.context], ["push", name, f"docker-archive:{archive}:{name}"]):
            if buildah.run(*words) != 0:
                raise ClusterError(f"buildah could not build {options.tag}", "its messages stand above")
        load_archive(settings, archive)
    return 0


class Buildah:
    """buildah with a storage of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._command = [
            "buildah",
            "--root",
            f"{directory}/root",
            "--runroot",
            f"{directory}/run",
            "--storage-driver",
            "vfs",
        ]

    def run(self, *words: str) -> int:
        return subprocess.run([*self._command, *words], stdout=sys.stderr).returncode

    def load(self, archive: Path, name: str) -> None:
        """Take over an image from an archive under its full name; where that fails, buildah will pull it."""
        pull = [*self._command, "pull", "--quiet", f"docker-archive:{archive}"]
        done = subprocess.run(pull, capture_output=True, text=True)
        if done.returncode == 0:
            self.run("tag", done.stdout.split()[-1], name)


def give_bases(options: argparse.Namespace, buildah: Buildah, dockerfile: Path) -> None:
    """Hand the images to buildah that the Dockerfile begins with and the cluster has."""
    held = holding.ask(options, lambda runtime: holding.holdings(runtime, options.name))
    for number, name in enumerate(bases(dockerfile.read_text(), held)):
        archive = buildah.directory / f"base-{number}.tar"
        holding.transfer(options).export([name], archive)
        buildah.load(archive, name)
        archive.unlink()


def bases(dockerfile: str, held: list[Held]) -> list[str]:
    """Return the full names of the images of the cluster that a Dockerfile's ``FROM`` and ``COPY --from`` name."""
    from sampan.node.images import ImageError, full_name

    there = {name for one in held for name in one.names}
    found = []
    for line in dockerfile.splitlines():
        words = line.split()
        if not words:
            continue
        named = [word.removeprefix("--from=") for word in words[1:] if word.startswith("--from=")]
        if words[0].upper() == "FROM":
            named = [word for word in words[1:] if not word.startswith("--")][:1]
        for word in named:
            try:
                full = full_name(word)
            except ImageError:
                continue
            if full in there and full not in found:
                found.append(full)
    return found
