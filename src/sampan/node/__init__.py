"""The kubelet: the pods of this node through CRI, and the node's own object, heartbeat and HTTPS server.

In: pods bound to this node (an informer), ConfigMaps and Secrets they name. Out: sandboxes and containers of a CRI
runtime, volumes on disk, pod status and events. One task a pod compares what should be with what CRI says and does the
next thing; it keeps nothing that it could not find again after a restart. Begin with ``agent.py``, then
``pod_worker.py`` and ``pod_plan.py`` (what comes next); ``pod_config.py`` and ``container_config.py`` are the pure way from a
Pod to CRI requests.
"""
