"""A range of ids for each pod that has a user namespace, kept in the pod's folder so that it outlives the node's process.

No two pods have ids in common, and none has the host's first 65536. Source: KEP-127.
"""

from __future__ import annotations

from pathlib import Path

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node import json_file

LENGTH = 65536
FILE = "userns"
RANGES = (1 << 32) // LENGTH - 1


def user_namespace(pod_dir: Path) -> cri.UserNamespace:
    """Return the user namespace of the pod whose folder that is; its range is chosen on the first call.

    Raises ``OSError`` when all ranges are taken."""
    file = pod_dir / FILE
    if not file.exists():
        taken = {first_id(other) for other in pod_dir.parent.glob(f"*/{FILE}")}
        free = next((one * LENGTH for one in range(1, RANGES) if one * LENGTH not in taken), None)
        if free is None:
            raise OSError("all ranges of ids for user namespaces are taken")
        mapping = [{"hostId": free, "containerId": 0, "length": LENGTH}]
        json_file.write(file, {"uidMappings": mapping, "gidMappings": mapping})
    ids = [cri.IDMapping(host_id=first_id(file), container_id=0, length=LENGTH)]
    return cri.UserNamespace(mode=cri.POD, uids=ids, gids=ids)


def first_id(file: Path) -> int:
    return int(orjson.loads(file.read_bytes())["uidMappings"][0]["hostId"])
