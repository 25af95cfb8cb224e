"""Network laboratories: nodes, subnets, links and routers out of network namespaces, described in a file, broken on purpose.

A topology (``topology.py``, read by ``reading.py``) becomes a plan (``planning.py``: cables, addresses, routes, all pure) and
the plan becomes real (``fabric.py``, by netlink). ``reachability.py`` computes from the plan who must reach whom,
``checking.py`` asks, by ``echo.py``. One process holds it all (``keeper.py``, ``keeping.py``, ``serving.py``); ``handle.py``
is a laboratory in a program's hand. Begin with ``plan.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.lab.errors import LabError, TopologyError

if TYPE_CHECKING:
    from sampan.lab.handle import Done, Lab, Program, ProgramFailed

__all__ = ["Done", "Lab", "LabError", "Program", "ProgramFailed", "TopologyError"]


def __getattr__(name: str) -> Any:
    """``Lab`` and what belongs to it, imported when asked for: the command line is quicker without."""
    if name in __all__:
        from sampan.lab import handle

        return getattr(handle, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
