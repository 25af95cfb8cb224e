"""The way every controller and agent speaks to a Kubernetes API, ours or any other.

``Client`` (``protocol.py``) is the seam, with two transports: ``http.py`` (any API, from a kubeconfig) and the api
room's in-process one. ``informer.py`` keeps a LIST+WATCH copy of a resource, ``controller.py`` runs ``reconcile(key)``
from a work queue, ``leases.py`` elects a leader. Begin with ``protocol.py``, then ``controller.py``.
"""
