"""Kubernetes DNS 1.1: question bytes to answer bytes.

Services, EndpointSlices, Namespaces and Pods come in by reflectors (``following.py``); ``records.py`` says which records a
Service has, ``zone.py`` compiles them, ``asked.py`` computes what is asked for seldom. ``responder.py`` answers from it, by
the ``corefile``; ``forwarding`` asks others for what is not the cluster's; ``batches.py`` and ``streams.py`` are the sockets,
``server.py`` is the part. ``explaining`` says why. Begin with ``records.py`` (the specification) or ``responder.py`` (the
way of a query).
"""
