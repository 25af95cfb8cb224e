"""Gateway API on Envoy, with Python plugins: from objects to a running proxy, and back to their status.

Folders, in the order of the flow: ``kinds/`` (what objects look like), ``model/`` (what they mean), ``filters/`` (what a
route does to a request: one file each), ``plugins/`` (Python beside Envoy), ``xds/`` (what Envoy is told), ``status/``
(what is written back). ``pipeline.py`` joins them, ``agent.py`` runs it. Begin with ``pipeline.py``.
"""
