"""A small file of JSON that is whole at any moment: what the node remembers of a pod, in the pod's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson


def read(file: Path) -> Any:
    """Return what was written; None where there is nothing, or nothing that can be read."""
    try:
        return orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return None


def write(file: Path, content: object, mode: int | None = None) -> None:
    """Write a file and the folder it is in; ``mode`` is who may read it, None: as the process makes files. Raises
    ``OSError``, and then the file is as it was."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_suffix(".tmp")  # a crash leaves the one before, not half of this
    temporary.write_bytes(orjson.dumps(content))
    if mode is not None:
        temporary.chmod(mode)
    temporary.replace(file)
