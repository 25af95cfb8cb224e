"""``sampan image load|ls|build``: container images of a cluster's containerd."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

SUMMARY = "load, list or build container images of a cluster"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True)
    load = verbs.add_parser("load", help="import archives (docker save, OCI layout as tar)")
    load.add_argument("archives", nargs="+", metavar="ARCHIVE")
    listing = verbs.add_parser("ls", help="list images")
    build = verbs.add_parser("build", help="build a Dockerfile with buildah and load the image")
    build.add_argument("context", metavar="DIRECTORY", help="the build context")
    build.add_argument("--tag", "-t", required=True, help="name of the image")
    build.add_argument("--file", "-f", help="the Dockerfile (default: DIRECTORY/Dockerfile)")
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE")
    for verb in (load, listing, build):
        verb.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    settings = lifecycle.load(options.name)
    if settings.pods != "real":
        raise lifecycle.ClusterError(f"cluster {settings.name!r} has no containers", "`sampan up --pods=real`")
    if lifecycle.ask(settings, "status") is None:
        raise lifecycle.ClusterError(f"cluster {settings.name!r} is stopped", f"`sampan up --name {settings.name}`")
    if options.verb == "load":
        for archive in options.archives:
            load_archive(settings, Path(archive))
        return 0
    if options.verb == "build":
        return build_image(settings, options)
    return list_images(settings)


def load_archive(settings: object, archive: Path) -> None:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.cluster.settings import Settings
    from sampan.node.images import ImageError, import_archive

    assert isinstance(settings, Settings)
    try:
        for name in import_archive(settings.containerd_socket, archive, mntns=settings.mntns_path):
            print(name)
    except ImageError as error:
        raise ClusterError(f"cannot load {archive}: {error}") from error


def build_image(settings: object, options: argparse.Namespace) -> int:
    from sampan.cli.up import which
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError, full_name

    try:
        name = full_name(options.tag)
    except ImageError as error:
        raise ClusterError(f"{options.tag!r} is no name of an image", "lowercase, as in team/web:1") from error
    if not which("buildah"):
        raise ClusterError("building needs buildah", "apt-get install -y buildah")
    dockerfile = options.file or str(Path(options.context) / "Dockerfile")
    if not Path(dockerfile).is_file():
        raise ClusterError(f"there is no {dockerfile}", "name it with --file")
    with tempfile.TemporaryDirectory(prefix="sampan-build-") as directory:
        storage = ["--root", f"{directory}/root", "--runroot", f"{directory}/run", "--storage-driver", "vfs"]
        build = [
            "buildah",
            *storage,
            "bud",
            "--isolation",
            "chroot",
            "--network",
            "host",
            "-t",
            options.tag,
            "-f",
            dockerfile,
        ]
        for argument in options.build_arg:
            build += ["--build-arg", argument]
        archive = Path(directory) / "image.tar"
        for command in (
            [*build, options.context],
            ["buildah", *storage, "push", options.tag, f"docker-archive:{archive}:{name}"],
        ):
            if subprocess.run(command, stdout=sys.stderr).returncode != 0:
                raise ClusterError(f"{command[0]} could not build {options.tag}", "its messages stand above")
        load_archive(settings, archive)
    return 0


def list_images(settings: object) -> int:
    from sampan.cluster.settings import Settings
    from sampan.node.images import list_local

    assert isinstance(settings, Settings)
    print(f"{'IMAGE':60} {'SIZE':>10}  DIGEST")
    for name, size_bytes, digest in list_local(settings.containerd_socket):
        print(f"{name:60} {size_bytes / 1e6:>7.1f} MB  {digest[:19]}")
    return 0
