"""Network laboratories: nodes, subnets, links and routers out of network namespaces, described in a file, broken on purpose.

A topology (``topology.py``, read by ``reading.py``) becomes a plan (``planning.py``: cables, addresses, routes, all pure) and
the plan becomes real (``fabric.py``, by netlink). ``reachability.py`` computes from the plan who must reach whom, ``echo.py``
asks. One process holds it all (``keeper.py``, ``keeping.py``, ``serving.py``); ``handle.py`` is a laboratory in a program's
hand. Begin with ``plan.py``.
"""

from __future__ import annotations

from sampan.lab.errors import LabError, TopologyError
from sampan.lab.handle import Done, Lab, Program, ProgramFailed

__all__ = ["Done", "Lab", "LabError", "Program", "ProgramFailed", "TopologyError"]
