"""Ingress v1 and Traefik's IngressRoutes, served as they are.

An Ingress of a class of ours comes through ``convert`` into the world as Gateway API objects that the API never sees: routes
of its own namespace, and listeners of a Gateway that all share (``shared.py``). Names of such objects have a ``_``, which no
name of a real object can have. Begin with ``translation.py``; ``classes.py`` says which are ours, ``outcome.py`` what became
of them.
"""
