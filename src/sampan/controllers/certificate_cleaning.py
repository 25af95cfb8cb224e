"""Certificate requests that are over go: an hour after they were answered, a day when they were not, or with the certificate.

Each request has one timer. Source: pkg/controller/certificates/cleaner.
"""

from __future__ import annotations

import base64
import datetime

from sampan.client.controller import Controller
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.controllers.certificate_requests import APPROVED, DENIED, FAILED, REQUESTS, condition
from sampan.schema.durations import seconds_since
from sampan.schema.objects import Object

ANSWERED_SECONDS = 3600.0
PENDING_SECONDS = 24 * 3600.0


def seconds_left(request: Object, now: datetime.datetime) -> float:
    """Return how long a request may stay; 0 or less: no longer."""
    certificate = (request.get("status") or {}).get("certificate")
    answered = [one for type in (DENIED, FAILED) if (one := condition(request, type)) is not None]
    if certificate and (approved := condition(request, APPROVED)) is not None:
        answered.append(approved)
    left = [ANSWERED_SECONDS - since(one, request) for one in answered]
    if certificate:
        left.append((ends(certificate) - now).total_seconds())
    if not left:
        approved = condition(request, APPROVED)
        # approved and never signed: nobody knows the signer
        created = request["metadata"]["creationTimestamp"]
        left = [PENDING_SECONDS - (since(approved, request) if approved else seconds_since(created))]
    return min(left)


def since(one: Object, request: Object) -> float:
    return seconds_since(one.get("lastUpdateTime") or request["metadata"]["creationTimestamp"])


def ends(certificate: str) -> datetime.datetime:
    """Return when the first certificate of base64 PEM ends; for what cannot be read, never."""
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except ValueError:
        return datetime.datetime.max.replace(tzinfo=datetime.UTC)


class CertificateCleaner(Controller):
    name = "certificate-controller"

    def __init__(self, client: Client, requests: Informer) -> None:
        super().__init__(client)
        self.requests = requests
        self.watch(requests)

    async def reconcile(self, key: str) -> float | None:
        request = self.requests.get(key)
        if request is None:
            return None
        left = seconds_left(request, datetime.datetime.now(datetime.UTC))
        if left > 0:
            return left
        metadata = request["metadata"]
        await self.client.delete(REQUESTS, metadata["name"], uid=metadata["uid"])
        return None
