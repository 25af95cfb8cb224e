"""What admission plugins are told: the file of ``--admission-control-config-file``.

Source: AdmissionConfiguration of apiserver.config.k8s.io/v1; k8s.io/apiserver pkg/admission/config.go.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sampan.api.flags import FlagError
from sampan.schema.objects import Object


def configurations(file: Path) -> dict[str, Object]:
    """Return plugin → configuration; one that stands in a file of its own (``path``) is read there. Raises ``FlagError``."""
    held = document(file)
    if held.get("kind") != "AdmissionConfiguration":
        raise FlagError(
            f'{file}: no kind "{held.get("kind") or ""}" is registered: an AdmissionConfiguration is wanted'
        )
    told: dict[str, Object] = {}
    for plugin in held.get("plugins") or ():
        name, inline = plugin.get("name") or "", plugin.get("configuration")
        if inline is None and plugin.get("path"):
            inline = document(file.parent / plugin["path"])
        if inline is not None:
            told[name] = inline
    return told


def document(file: Path) -> Object:
    """Return the one object of a YAML file. Raises ``FlagError``."""
    import yaml  # only read where such a file is given

    try:
        held: Any = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise FlagError(
            f"failed to read configuration: unable to read admission control configuration from {file}: {error}"
        ) from error
    if not isinstance(held, dict):
        raise FlagError(f"{file}: an object is wanted")
    return held
