"""Secrets of type ``kubernetes.io/service-account-token``: a token that lasts as long as its Secret.

The token comes from the TokenRequest API, bound to the Secret, so that it dies with it. A Secret whose ServiceAccount is
gone, or was made anew, is deleted. Source: core/v1 Secret types, KEP-1205.
"""

from __future__ import annotations

import base64

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import SECRETS, SERVICE_ACCOUNTS
from sampan.controllers.ownership import BY_NAMESPACE, namespace_of
from sampan.schema.objects import Object

TYPE = "kubernetes.io/service-account-token"
NAME = "kubernetes.io/service-account.name"
UID = "kubernetes.io/service-account.uid"
FOR_EVER_SECONDS = 2**32
"""The longest that TokenRequest grants."""


def account_of(secret: Object) -> str:
    """Return the name of the ServiceAccount a Secret asks a token of."""
    return str((secret["metadata"].get("annotations") or {}).get(NAME, ""))


def complete(secret: Object, account: Object) -> bool:
    """Whether nothing is missing of a token Secret."""
    annotations = secret["metadata"].get("annotations") or {}
    data = secret.get("data") or {}
    return annotations.get(UID) == account["metadata"]["uid"] and all(
        data.get(k) for k in ("token", "ca.crt", "namespace")
    )


class ServiceAccountTokens(Controller):
    name = "tokens-controller"

    def __init__(self, client: Client, secrets: Informer, accounts: Informer, root_ca: str) -> None:
        super().__init__(client)
        self.secrets, self.accounts, self.root_ca = secrets, accounts, root_ca
        secrets.add_index(BY_NAMESPACE, namespace_of)
        self.watch(secrets, lambda secret: [_key(secret)] if secret.get("type") == TYPE else [])
        self.watch(accounts, self._secrets_of)

    def _secrets_of(self, account: Object) -> list[str]:
        metadata = account["metadata"]
        return [
            _key(secret)
            for secret in self.secrets.by_index(BY_NAMESPACE, metadata["namespace"])
            if secret.get("type") == TYPE and account_of(secret) == metadata["name"]
        ]

    async def reconcile(self, key: str) -> float | None:
        secret = self.secrets.get(key)
        if secret is None or secret.get("type") != TYPE or "deletionTimestamp" in secret["metadata"]:
            return None
        metadata = secret["metadata"]
        account = self.accounts.get(f"{metadata['namespace']}/{account_of(secret)}")
        known = (metadata.get("annotations") or {}).get(UID)
        if account is None or (known and known != account["metadata"]["uid"]):
            await self._delete_unless_there(secret)
        elif not complete(secret, account):
            await self._fill(secret, account)
        return None

    async def _fill(self, secret: Object, account: Object) -> None:
        metadata = secret["metadata"]
        namespace = metadata["namespace"]
        data = dict(secret.get("data") or {})
        if not data.get("token"):
            bound = {"apiVersion": "v1", "kind": "Secret", "name": metadata["name"], "uid": metadata["uid"]}
            request = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": FOR_EVER_SECONDS, "boundObjectRef": bound},
            }
            answer = await self.client.create(
                SERVICE_ACCOUNTS, request, namespace, name=account["metadata"]["name"], subresource="token"
            )
            data["token"] = base64.b64encode(answer["status"]["token"].encode()).decode()
        data["ca.crt"] = base64.b64encode(self.root_ca.encode()).decode()
        data["namespace"] = base64.b64encode(namespace.encode()).decode()
        annotations = {**(metadata.get("annotations") or {}), UID: account["metadata"]["uid"]}
        await self.client.update(
            SECRETS, {**secret, "metadata": {**metadata, "annotations": annotations}, "data": data}
        )

    async def _delete_unless_there(self, secret: Object) -> None:
        """Delete a Secret whose account the API, too, does not know (the informer may be behind)."""
        metadata = secret["metadata"]
        try:
            account = await self.client.get(SERVICE_ACCOUNTS, account_of(secret), metadata["namespace"])
            known = (metadata.get("annotations") or {}).get(UID)
            if not known or known == account["metadata"]["uid"]:
                return
        except ApiError as error:
            if not error.is_not_found:
                raise
        try:
            await self.client.delete(SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        except ApiError as error:
            if not error.is_not_found:
                raise


def _key(secret: Object) -> str:
    return f"{secret['metadata']['namespace']}/{secret['metadata']['name']}"
