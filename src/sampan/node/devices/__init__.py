"""Devices of the node that plugins offer (GPUs, network functions, …) as resources that containers can ask for.

In: plugins that register at ``device-plugins/kubelet.sock`` and tell what they have. Out: extended resources of the Node, and
for each container that asks for some: environment, mounts, device files, CDI names. Begin with ``plugins.py``;
``allocation.py`` is the pure choice of devices.
"""
