"""Writing a pod's status to the API, when it says something new.

A phase that has ended never goes back: what the API says of it stays, whoever wrote it (this node before a crash, eviction).
"""

from __future__ import annotations

from sampan.client.events import timestamp
from sampan.client.resources import PODS
from sampan.node.local_pod import LocalPod
from sampan.node.pod_status import status_of
from sampan.schema.objects import Object


class PodReports:
    def __init__(self, local: LocalPod) -> None:
        self._local = local
        self._written: Object | None = None

    async def report(self, *, over: bool = False) -> None:
        """Write the status. ``over``: nothing of the pod is started any more. Raises ``ApiError``."""
        local = self._local
        status = status_of(local.pod, local.view, local.context.node_ip, timestamp(), over=over)
        if status == self._written:
            return
        metadata = local.pod["metadata"]
        patch = {"metadata": {"uid": local.uid}, "status": status}
        await local.context.client.patch(
            PODS, metadata["name"], patch, metadata["namespace"], type="merge", subresource="status"
        )
        self._written = status
