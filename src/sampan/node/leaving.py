"""The pods of a node removed from a runtime that is not the cluster's own, when the cluster goes."""

from __future__ import annotations

from pathlib import Path

from sampan.node.pod_config import NODE
from sampan.node.runtime import Runtime


async def remove_pods(socket: Path, node: str) -> None:
    """Stop and remove every sandbox of a node. Raises ``RuntimeFailure``."""
    runtime = Runtime(socket)
    try:
        for sandbox in await runtime.list_pod_sandboxes({NODE: node}):
            await runtime.kill_pod_sandbox(sandbox.id)
            await runtime.remove_pod_sandbox(sandbox.id)
    finally:
        runtime.close()
