"""A stand-in for envtest's binaries: a folder with ``kube-apiserver``, ``etcd`` and ``kubectl`` that are Sampan.

A suite on controller-runtime's envtest finds its binaries by ``KUBEBUILDER_ASSETS``; pointed at this folder it runs as it
is. The programs are two lines of shell each: ``kube_apiserver.py`` understands the flags that envtest passes, ``etcd.py``
keeps the data directory and answers the health check.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from pathlib import Path

PROGRAMS = ("kube-apiserver", "etcd", "kubectl")


def assets(kubernetes_version: str, folder: Path | None = None) -> Path:
    """Return the folder with the programs for a version, made where it is not there yet."""
    folder = folder or default_folder(kubernetes_version)
    folder.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(sys.executable)
    scripts = {
        "kube-apiserver": f'exec {python} -m sampan.testing.kube_apiserver {kubernetes_version} "$@"',
        "etcd": f'exec {python} -m sampan.testing.etcd "$@"',
        "kubectl": f'exec {shlex.quote(str(Path(sys.executable).parent / "kubectl"))} "$@"',
    }
    for name, line in scripts.items():
        write_program(folder / name, f"#!/bin/sh\n{line}\n")
    return folder


def default_folder(kubernetes_version: str) -> Path:
    """Return a folder of this user, this version and this installation of Sampan."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    here = hashlib.sha256(f"{sys.executable} {__file__}".encode()).hexdigest()[:8]
    return cache / "sampan" / "envtest" / f"{kubernetes_version}-{here}"


def write_program(path: Path, text: str) -> None:
    """Write a program, whole or not at all: another suite may be starting it."""
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(0o755)
    temporary.replace(path)


def environment(folder: Path) -> dict[str, str]:
    """Return the variables that envtest looks at."""
    named = {f"TEST_ASSET_{name.upper().replace('-', '_')}": str(folder / name) for name in PROGRAMS}
    return {"KUBEBUILDER_ASSETS": str(folder), **named}
