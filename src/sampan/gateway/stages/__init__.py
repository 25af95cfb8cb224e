"""The steps from objects to Envoy's resources, each a computation of ``World``; ``pipeline.py`` runs those that are dirty.

A step reads by ``world.get``, hands on by ``world.put``, and tells Envoy by ``resources.py``, where it says what it uses,
too: a cluster is there for as long as somebody uses it. Begin with ``gateways.py`` and ``routes.py``.
"""
