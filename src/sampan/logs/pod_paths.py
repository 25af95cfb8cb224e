"""Which container a log file is of, by its path.

Source: the kubelet's ``/var/log/pods/NAMESPACE_POD_UID/CONTAINER/N.log``, and its links
``/var/log/containers/POD_NAMESPACE_CONTAINER-ID.log``.
"""

from __future__ import annotations

import re

POD_LOG = re.compile(
    r".*/(?P<namespace>[^/_]+)_(?P<pod>[^/_]+)_(?P<pod_uid>[^/_]+)/(?P<container>[^/]+)/(?P<restart>\d+)\.log(?:\.[^/]*)?"
)
LINK = re.compile(r".*/(?P<pod>[^/_]+)_(?P<namespace>[^/_]+)_(?P<container>[^/_]+)-[0-9a-f]{64}\.log")


def link_of(path: str) -> str:
    """Return the kubelet's link to a pod's log, for patterns of programs that read links: its id is not known, and all zeros.
    Of a path that is of no pod itself."""
    of = POD_LOG.fullmatch(path)
    if of is None:
        return path
    return f"/var/log/containers/{of['pod']}_{of['namespace']}_{of['container']}-{'0' * 64}.log"


def of_path(path: str) -> dict[str, str]:
    """Return ``namespace``, ``pod``, ``pod_uid``, ``container`` and ``restart`` as far as the path tells."""
    found = POD_LOG.fullmatch(path) or LINK.fullmatch(path)
    return found.groupdict() if found else {}
