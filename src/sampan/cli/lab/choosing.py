"""Which laboratory a verb is about."""

from __future__ import annotations

import argparse


def name_of(options: argparse.Namespace) -> str:
    """Return ``--name``, or the only laboratory that runs. Raises ``LabError``."""
    from sampan.lab.address import running
    from sampan.lab.errors import LabError

    if options.name:
        return str(options.name)
    names = running()
    if not names:
        raise LabError("no laboratory runs", "`sampan lab up FILE` starts one")
    if len(names) > 1:
        raise LabError(f"there run {', '.join(names)}: which one?", "say it with --name")
    return names[0]
