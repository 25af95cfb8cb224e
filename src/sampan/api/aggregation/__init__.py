"""Aggregation: APIs that other servers serve, as if they were our own.

An APIService says that a group's version is served by a Service. ``services.py`` keeps what there is and is where to begin;
``backend.py`` speaks to extension servers as the front proxy; ``proxy.py`` carries requests there; ``availability.py`` finds
out whether they answer, and what they serve; ``local.py`` has the APIServices of what we serve ourselves.
Source: kubernetes/kube-aggregator; Kubernetes' "Aggregation Layer".
"""
