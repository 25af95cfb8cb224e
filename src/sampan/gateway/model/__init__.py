"""What the objects mean: Gateways with their listeners, routes with their backends, each with its verdicts. Pure.

Everything is computed from a ``World`` (``world.py``), which notes what was read. Begin with ``gateways.py`` and
``http_routes.py``.
"""
