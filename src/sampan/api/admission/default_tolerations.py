"""DefaultTolerationSeconds: pods stay five minutes on a node that is not ready or unreachable."""

from __future__ import annotations

from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items
from sampan.schema.objects import Object

TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
SECONDS = 300


class DefaultTolerationSeconds:
    """Source: plugin/pkg/admission/defaulttolerationseconds."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and resource.kind == "Pod" and not resource.group and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        spec = admission.object["spec"]
        tolerations = list(items(spec, "tolerations"))
        for taint in TAINTS:
            if not any(tolerates(toleration, taint) for toleration in tolerations):
                tolerations.append(
                    {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS}
                )
        spec["tolerations"] = tolerations


def tolerates(toleration: Object, taint: str) -> bool:
    return toleration.get("key") in (taint, None, "") and toleration.get("effect") in ("NoExecute", None, "")
