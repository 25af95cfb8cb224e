"""Write the table of feature gates (``src/sampan/api/feature_gates.txt``) from the tags of Kubernetes' API server libraries.

    python scripts/feature_gates.py GIT_DIRECTORY_OF_K8S_IO_APISERVER GIT_DIRECTORY_OF_K8S_IO_APIEXTENSIONS_APISERVER …

Each line is a gate and its stages: the minor version of Kubernetes from which on it has that stage, default, and whether the
default is locked; ``-`` from the version on that does not know it any more.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

OUT = Path(__file__).parents[1] / "src/sampan/api/feature_gates.txt"
PATH = "pkg/features/kube_features.go"
MINORS = range(25, 38)
NAME = re.compile(r'^\s*(\w+)\s+featuregate\.Feature = "(\w+)"', re.MULTILINE)
ENTRY = re.compile(r"^\t(?:\w+\.)?(\w+):\s+(\{(?:[^{}]|\{[^{}]*\})*\}),", re.MULTILINE)
SPEC = re.compile(r"Default:\s*(\w+)[^{}]*?PreRelease:\s*featuregate\.(\w+)([^{}]*)")
VERSION = re.compile(r'MustParse\("1\.(\d+)"\)')
Stage = tuple[str, str, bool]


def source(repository: str, minor: int) -> str:
    """Return the file at the newest tag of a minor version, "" where there is none."""
    found = subprocess.run(
        ["git", "-C", repository, "tag", "--list", f"v0.{minor}.*", "--sort=-version:refname"],
        capture_output=True,
        text=True,
        check=True,
    )
    tags = [tag for tag in found.stdout.split() if "-" not in tag]
    for reference in (*tags[:1], *(["HEAD"] if minor == MINORS[-1] else [])):
        shown = subprocess.run(["git", "-C", repository, "show", f"{reference}:{PATH}"], capture_output=True, text=True)
        if shown.returncode == 0:
            return shown.stdout
    return ""


def gates(text: str, minor: int) -> dict[str, Stage]:
    """Return the gates of one version: stage, default, locked."""
    names = dict(NAME.findall(text))
    made: dict[str, Stage] = {}
    for constant, body in ENTRY.findall(text):
        parts = re.findall(r"\{[^{}]*\}", body) or [body]
        for part in parts:
            version, spec = VERSION.search(part), SPEC.search(part)
            if spec is None or (version is not None and int(version[1]) > minor):
                continue
            locked = "LockToDefault: true" in part
            made[names.get(constant, constant)] = (spec[2].upper(), "1" if spec[1] == "true" else "0", locked)
    return made


def line(name: str, history: dict[int, Stage | None]) -> str:
    words, before = [name], None
    for minor in MINORS:
        stage = history[minor]
        if stage != before:
            words.append(f"{minor}:-" if stage is None else f"{minor}:{stage[0]}:{stage[1]}{':locked' * stage[2]}")
        before = stage
    return " ".join(words)


def main() -> None:
    known = {minor: {k: v for r in sys.argv[1:] for k, v in gates(source(r, minor), minor).items()} for minor in MINORS}
    names = sorted({name for found in known.values() for name in found})
    lines = [line(name, {minor: known[minor].get(name) for minor in MINORS}) for name in names]
    OUT.write_text("\n".join(lines) + "\n")
    print(f"{len(names)} gates")


main()
