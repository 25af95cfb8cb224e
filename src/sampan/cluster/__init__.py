"""One cluster on this machine: its settings, its keys, its namespaces and its processes.

In: ``Settings``. Out: a supervisor that prepares the cluster's network and mount namespace, forks one process per part
(api, node, dns, gateway) from one warm parent, keeps containerd and Envoy as children, restarts what dies and, on
``down``, leaves no trace. Begin with ``settings.py``, then ``supervisor.py``.
"""
