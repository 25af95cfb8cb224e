"""Puts the plugin that needs no agent (``cni_standalone.py``) where a runtime looks for plugins, with its configuration.

The executable is a few lines that run this package's own code with this interpreter, without looking at the environment.
It is ``loopback`` too, where there is no such plugin: containerd 1.x wants one. Source: CNI specification 1.1.0, section 1.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.network.cni_call import VERSIONS
from sampan.network.cni_leases import ranges_of
from sampan.network.families import Network

NAME = "sampan"
EXECUTABLE = """#!{python} -I
import sys
sys.path.insert(0, {source!r})
from sampan.network.cni_standalone import main
sys.exit(main())
"""
CAPABILITIES = ("bandwidth", "ips", "mac")


@dataclass(frozen=True, slots=True)
class NetworkChoice:
    name: str
    ranges: Sequence[Network]
    bridge: str = ""
    masquerade: bool = True
    after: Sequence[str] = ()
    """The plugins that follow in the chain."""


def executable() -> str:
    source = str(Path(__file__).resolve().parents[2])
    return EXECUTABLE.format(python=os.path.realpath(sys.executable), source=source)


def conflist(choice: NetworkChoice) -> dict[str, Any]:
    """Return the list of a network's plugins. Raises ``CniError`` for ranges that cannot be."""
    ipam = {"type": NAME, "ranges": [[{"subnet": str(network)}] for network in choice.ranges]}
    ranges_of(ipam)
    first: dict[str, Any] = {
        "type": NAME,
        "ipMasq": choice.masquerade,
        "ipam": ipam,
        "capabilities": dict.fromkeys(CAPABILITIES, True),
    }
    if choice.bridge:
        first["bridge"] = choice.bridge
    following = [_following(kind) for kind in choice.after]
    return {"cniVersion": VERSIONS[-2], "name": choice.name, "plugins": [first, *following]}


def _following(kind: str) -> dict[str, Any]:
    capability = {"portmap": "portMappings", "bandwidth": "bandwidth"}.get(kind)
    return {"type": kind, **({"capabilities": {capability: True}} if capability else {})}


def install(bin_dir: Path, conf_dir: Path, choice: NetworkChoice | None) -> list[Path]:
    """Write the executable and, with a choice, ``10-NAME.conflist``; return what was written."""
    written = [bin_dir / NAME]
    if not (bin_dir / "loopback").exists():
        written.append(bin_dir / "loopback")
    for program in written:
        _write(program, executable(), 0o755)
    if choice is not None:
        file = conf_dir / f"10-{choice.name}.conflist"
        _write(file, json.dumps(conflist(choice), indent=2) + "\n", 0o644)
        written.append(file)
    return written


def _write(path: Path, text: str, mode: int) -> None:
    """Write a file that is there whole or not at all: runtimes watch these folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.new")
    beside.write_text(text)
    beside.chmod(mode)
    beside.replace(path)
