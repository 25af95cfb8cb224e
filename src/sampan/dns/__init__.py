"""Kubernetes DNS 1.1: question bytes to answer bytes.

Services, EndpointSlices and Namespaces come in by informers; ``records.py`` says which records a Service has, ``zone.py``
compiles them, ``responder.py`` answers from it, ``forwarder.py`` asks others for what is not the cluster's, ``server.py``
is the part. Begin with ``records.py`` (the specification) or ``responder.py`` (the way of a query).
"""
