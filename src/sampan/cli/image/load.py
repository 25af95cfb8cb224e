"""``sampan image load``: images out of archives into the cluster, for pods to use at once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.cluster.settings import Settings

SUMMARY = "import archives (docker save, OCI layout as tar)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("archives", nargs="+", metavar="ARCHIVE")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.reaching import running

    settings = running(options.name)
    for archive in options.archives:
        load_archive(settings, Path(archive))
    return 0


def load_archive(settings: Settings, archive: Path) -> None:
    """Import an archive and print the names that it had. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.images import ImageError, import_archive

    try:
        for name in import_archive(settings.containerd_socket, archive, mntns=settings.mntns_path):
            print(name)
    except ImageError as error:
        raise ClusterError(f"cannot load {archive}: {error}") from error
