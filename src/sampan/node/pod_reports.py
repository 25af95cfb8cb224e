"""Writing a pod's status to the API, when it says something new.

A phase that has ended never goes back: what the API says of it stays, whoever wrote it (this node before a crash, eviction).
"""

from __future__ import annotations

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.resources import PODS
from sampan.node.local_pod import LocalPod
from sampan.node.pod_status import status_of
from sampan.node.static_pods import is_static
from sampan.schema.objects import Object

MIRROR_SECONDS = 1.0


class PodGone(Exception):
    """The API does not know the pod any more."""


class PodReports:
    def __init__(self, local: LocalPod) -> None:
        self._local = local
        self._written: Object | None = None

    async def report(self, *, over: bool = False) -> None:
        """Write the status. ``over``: nothing of the pod is started any more. Raises ``PodGone``, ``ApiError``."""
        local, pod = self._local, self._local.pod
        if static := is_static(pod):  # its own status is what was told of it
            pod = {**pod, "status": self._written or {}}
        status = status_of(pod, local.view, local.context.node_ips, timestamp(), over=over)
        if status == self._written:
            return
        metadata = local.pod["metadata"]
        patch: Object = {"status": status}
        if not static:
            patch["metadata"] = {"uid": local.uid}
        try:
            await local.context.client.patch(
                PODS, metadata["name"], patch, metadata["namespace"], type="merge", subresource="status"
            )
        except ApiError as error:
            if not error.is_not_found:
                raise
            if not static:
                raise PodGone from error
            local.wake_after(MIRROR_SECONDS)  # its mirror is not there yet
            return
        self._written = status
