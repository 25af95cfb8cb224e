"""Nodes that only pretend: they take pods through their phases without a container, by the thousand.

In come Node objects marked as simulated, the pods bound to them, and ``Stage`` objects that say what happens to whom and
when; out go statuses, events, leases, and answers to ``kubectl logs`` and ``exec``. ``stages.py`` reads Stage objects,
``steps.py`` decides what comes next for an object, ``effects.py`` what it is then (all pure); ``player.py`` plays it,
``heartbeats.py`` keeps nodes alive, ``groups.py`` makes many of them, ``kubelet.py`` answers for their pods. Begin with
``steps.py``.
"""
