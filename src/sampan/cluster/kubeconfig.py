"""The user's kubeconfig: our context merged in on ``up`` and taken out on ``down``, everything else left as it is.

The file is ``--kubeconfig``, else the first of ``$KUBECONFIG``, else ``~/.kube/config``; it is locked with
``<file>.lock`` as client-go does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sampan.cluster.pki import write_secret

LOCK_SECONDS = 5.0
SECTIONS = ("clusters", "users", "contexts")


class KubeconfigError(OSError):
    """The user's kubeconfig cannot be read."""


class KubeconfigBusy(KubeconfigError):
    """Somebody else holds the lock of the kubeconfig."""


def user_file(given: str | None = None) -> Path:
    """Return the kubeconfig file that commands of the user work on."""
    if given:
        return Path(given)
    listed = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return Path(listed[0]) if listed else Path(os.environ.get("HOME") or "/root") / ".kube" / "config"


def merge(path: Path, text: str) -> str:
    """Put the entries of kubeconfig ``text`` into the file, make its context the current one, and return its name."""
    import yaml

    ours = yaml.safe_load(text)
    with locked(path):
        theirs = read(path)
        for section in SECTIONS:
            names = {entry["name"] for entry in ours[section]}
            kept = [entry for entry in theirs.get(section) or [] if entry.get("name") not in names]
            theirs[section] = kept + ours[section]
        theirs["current-context"] = ours["current-context"]
        write(path, theirs)
    return str(ours["current-context"])


def remove(path: Path, context: str) -> bool:
    """Take the context, cluster and user of that name out of the file, and the file away when nothing is left in it;
    return whether they were there."""
    if not path.exists():
        return False
    with locked(path):
        document = read(path)
        found = False
        for section in SECTIONS:
            entries = document.get(section) or []
            kept = [entry for entry in entries if entry.get("name") != context]
            found |= len(kept) != len(entries)
            document[section] = kept
        if document.get("current-context") == context:
            document["current-context"] = ""
        if found and any(value for key, value in document.items() if key not in ("apiVersion", "kind")):
            write(path, document)
        elif found:  # it was made for us, or had nothing in it
            path.unlink()
    return found


def read(path: Path) -> dict[str, Any]:
    import yaml

    try:
        document = yaml.safe_load(path.read_text()) if path.exists() else None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        why = " ".join(str(error).split())
        raise KubeconfigError(f"{path} is not a kubeconfig, and was left as it is: {why}") from error
    if document is not None and not isinstance(document, dict):
        raise KubeconfigError(f"{path} is not a kubeconfig, and was left as it is")
    return document or {"apiVersion": "v1", "kind": "Config", "preferences": {}}


def write(path: Path, document: dict[str, Any]) -> None:
    import yaml

    write_secret(path, yaml.safe_dump(document, sort_keys=False).encode())


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold ``<file>.lock``. Raises ``KubeconfigBusy`` when another holds it for too long."""
    lock = path.with_name(path.name + ".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            break
        except FileExistsError:
            if time.monotonic() > deadline:
                raise KubeconfigBusy(f"{path} is locked by another program; remove {lock} if none is running") from None
            time.sleep(0.02)  # client-go's lock is a file: there is nothing to wait on
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
