"""A CertificateSigningRequest carries who asked for it. Source: pkg/registry/certificates/certificates/strategy.go."""

from __future__ import annotations

from sampan.api.request import Admission
from sampan.api.resource import Resource


class CertificateRequests:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and resource.kind == "CertificateSigningRequest" and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        user, spec = admission.user, admission.object.setdefault("spec", {})
        spec["username"], spec["groups"] = user.name, list(user.groups)
        for key, value in (("uid", user.uid), ("extra", {k: list(v) for k, v in user.extra.items()})):
            if value:
                spec[key] = value
            else:
                spec.pop(key, None)
