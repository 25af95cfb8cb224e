"""DefaultTolerationSeconds: pods stay five minutes, or as the flags say, on a node that is not ready or unreachable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup

NOT_READY, UNREACHABLE = "node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"


class DefaultTolerationSeconds:
    """Source: plugin/pkg/admission/defaulttolerationseconds."""

    def __init__(self, not_ready_seconds: int = 300, unreachable_seconds: int = 300) -> None:
        self.seconds = {NOT_READY: not_ready_seconds, UNREACHABLE: unreachable_seconds}

    @classmethod
    def made(cls, setup: Setup) -> DefaultTolerationSeconds:
        flags = setup.config.flags
        return cls(flags.default_not_ready_toleration_seconds, flags.default_unreachable_toleration_seconds)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and resource.kind == "Pod" and not resource.group and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        spec = admission.object["spec"]
        tolerations = list(items(spec, "tolerations"))
        for taint, seconds in self.seconds.items():
            if not any(tolerates(toleration, taint) for toleration in tolerations):
                tolerations.append(
                    {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
                )
        spec["tolerations"] = tolerations


def tolerates(toleration: Object, taint: str) -> bool:
    return toleration.get("key") in (taint, None, "") and toleration.get("effect") in ("NoExecute", None, "")
