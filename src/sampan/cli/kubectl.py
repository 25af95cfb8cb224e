"""``sampan kubectl …``: the packaged kubectl with the cluster's kubeconfig; a leading ``--name`` chooses another cluster."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SUMMARY = "run the packaged kubectl on a cluster (--name NAME first, for another than default)"


def run_words(words: list[str]) -> int:
    """Become kubectl. The words are its own, but for a leading ``--name``."""
    from sampan.cli.main import run_verb

    name = "default"
    if words and words[0] == "--name" and len(words) > 1:
        name, words = words[1], words[2:]
    elif words and words[0].startswith("--name="):
        name, words = words[0].partition("=")[2], words[1:]
    return run_verb(lambda _: become_kubectl(name, words), None)  # type: ignore[arg-type]


def become_kubectl(name: str, words: list[str]) -> int:
    from sampan.cluster import lifecycle

    settings = lifecycle.load(name)
    program = Path(sys.executable).parent / "kubectl"
    environment = {**os.environ, "KUBECONFIG": str(settings.kubeconfig("admin"))}
    os.execve(program, ["kubectl", *words], environment)
