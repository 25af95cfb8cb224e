"""Kubelets' requests for their own client certificate are approved, if RBAC lets who asks have one.

A bootstrap token may ask for the first one (``nodeclient``), a node for its next (``selfnodeclient``): a
SubjectAccessReview on these subresources decides. Source: pkg/controller/certificates/approver, "TLS bootstrapping".
"""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.events import timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.controllers.certificate_requests import (
    APPROVED,
    DENIED,
    KUBELET_CLIENT,
    REQUESTS,
    asked,
    condition,
    kubelet_client_problem,
    load,
    usages_of,
    with_condition,
)
from sampan.schema.objects import Object

REVIEWS = ResourceType("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
MESSAGES = {
    "selfnodeclient": "Auto approving self kubelet client certificate after SubjectAccessReview.",
    "nodeclient": "Auto approving kubelet client certificate after SubjectAccessReview.",
}
LONGEST_PAUSE_SECONDS = 600.0
"""Who may not have a certificate now may be allowed later, and no event tells of it."""


def subresources_of(request: Object) -> list[str]:
    """Return what who asks must be allowed to create, one of them: none when this is no kubelet's request."""
    if request["spec"].get("signerName") != KUBELET_CLIENT:
        return []
    try:
        wanted = asked(load(request))
    except ValueError:
        return []
    if kubelet_client_problem(wanted, usages_of(request)):
        return []
    itself = request["spec"].get("username") == wanted.common_name
    return ["selfnodeclient", "nodeclient"] if itself else ["nodeclient"]


class CertificateApprover(Controller):
    name = "certificate-controller"

    def __init__(self, client: Client, requests: Informer) -> None:
        super().__init__(client)
        self.requests = requests
        self._refused: dict[str, int] = {}
        self.watch(requests)

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.get(key)
        done = request is None or (request.get("status") or {}).get("certificate")
        if request is None or done or condition(request, APPROVED) or condition(request, DENIED):
            self._refused.pop(key, None)
            return None
        wanted = subresources_of(request)
        for subresource in wanted:
            if await self._allowed(request, subresource):
                approved = with_condition(request, APPROVED, "AutoApproved", MESSAGES[subresource], timestamp())
                await self.client.update(REQUESTS, approved, subresource="approval")
                return None
        if not wanted:
            return None
        times = self._refused[key] = self._refused.get(key, -1) + 1
        return float(min(2 ** min(times, 20), LONGEST_PAUSE_SECONDS))

    async def _allowed(self, request: Object, subresource: str) -> bool:
        spec = request["spec"]
        attributes = {
            "group": REQUESTS.group,
            "resource": REQUESTS.plural,
            "subresource": subresource,
            "verb": "create",
            "version": "*",
        }
        who = {"user": spec.get("username", ""), "groups": spec.get("groups"), "uid": spec.get("uid"),
               "extra": spec.get("extra")}  # fmt: skip
        review = {
            "apiVersion": REVIEWS.api_version,
            "kind": REVIEWS.kind,
            "spec": {**{name: value for name, value in who.items() if value}, "resourceAttributes": attributes},
        }
        answer = await self.client.create(REVIEWS, review)
        return bool(answer.get("status", {}).get("allowed"))
