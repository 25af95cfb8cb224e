"""Network laboratories: nodes, subnets, links and routers out of network namespaces, described in a file, broken on purpose.

A topology (``topology.py``, read by ``reading.py``) becomes a plan (``planning.py``: cables, addresses, routes, all pure) and
the plan becomes real (``fabric.py``, by netlink). ``reachability.py`` computes from the plan who must reach whom, ``echo.py``
asks. Begin with ``plan.py``.
"""
