"""CSI drivers of this node: found by their sockets, told to the API, asked to stage and publish volumes.

``registration.py`` watches the folder where drivers make themselves known and keeps CSINode and the Node up to date;
``driver.py`` speaks to one driver; ``attaching.py`` waits for what others attach. The kind of volume that uses them is
``volumes/csi.py``. Source: the CSI specification; kubernetes pkg/volume/csi and pkg/kubelet/pluginmanager.
"""
