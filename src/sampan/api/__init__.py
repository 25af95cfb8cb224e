"""The Kubernetes API: one ASGI app over a store.

In: HTTPS requests of kubectl, Helm, client libraries and our own agents. Out: objects, lists, watches and ``Status``
errors. A request flows authn → authz → admission → registry → store; an object is parsed once, on write, and stored as
the bytes that are served. A resource is one declaration (``resource.py``, one file per API group in ``resources/``).
Begin with ``app.py`` (the ASGI app), ``registry.py`` (one resource's verbs) and ``resource.py``.
"""
