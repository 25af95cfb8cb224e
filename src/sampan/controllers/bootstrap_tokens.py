"""Bootstrap tokens: ``kube-public/cluster-info`` is signed with each of them, and those that expired go.

Who has only a token can read the ConfigMap and check, by the signature, that it is the cluster's: a detached JWS (HS256) of
its kubeconfig under ``jws-kubeconfig-<id>``. Source: "Authenticating with Bootstrap Tokens", pkg/controller/bootstrap,
RFC 7515 appendix F.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable

import orjson

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS, SECRETS
from sampan.schema.durations import parse_time, seconds_since
from sampan.schema.objects import Object

TYPE, NAMESPACE, PREFIX = "bootstrap.kubernetes.io/token", "kube-system", "bootstrap-token-"
INFO_NAMESPACE, INFO, KUBECONFIG = "kube-public", "cluster-info", "kubeconfig"
SIGNATURE = "jws-kubeconfig-"
ID, SECRET = re.compile(r"[a-z0-9]{6}"), re.compile(r"[a-z0-9]{16}")
INFO_KEY = f"{INFO_NAMESPACE}/{INFO}"


def texts(secret: Object) -> dict[str, str]:
    return {
        name: base64.b64decode(value or "").decode("utf-8", "replace")
        for name, value in (secret.get("data") or {}).items()
    }


def is_token(secret: Object) -> bool:
    metadata = secret["metadata"]
    return secret.get("type") == TYPE and metadata.get("namespace") == NAMESPACE


def seconds_left(secret: Object) -> float | None:
    """Return how long a token lasts; None: for ever. A time that cannot be read is in the past."""
    expiration = texts(secret).get("expiration")
    if not expiration:
        return None
    return -seconds_since(expiration) if parse_time(expiration) is not None else 0.0


def signing_tokens(secrets: Iterable[Object]) -> dict[str, str]:
    """Return id and secret of the tokens that sign."""
    found: dict[str, str] = {}
    for secret in secrets:
        data = texts(secret)
        token_id, token_secret = data.get("token-id", ""), data.get("token-secret", "")
        left = seconds_left(secret)
        if (
            is_token(secret)
            and secret["metadata"]["name"] == PREFIX + token_id
            and ID.fullmatch(token_id)
            and SECRET.fullmatch(token_secret)
            and data.get("usage-bootstrap-signing") == "true"
            and (left is None or left > 0)
        ):
            found[token_id] = token_secret
    return found


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signature(content: str, token_id: str, token_secret: str) -> str:
    """Return the detached JWS of a text: ``header..signature``."""
    header = encoded(orjson.dumps({"alg": "HS256", "kid": token_id}))
    signed = f"{header}.{encoded(content.encode())}"
    digest = hmac.new(token_secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{header}..{encoded(digest)}"


def signed_data(data: dict[str, str], tokens: dict[str, str]) -> dict[str, str]:
    """Return the ConfigMap's data with the signatures of the tokens there are, and no others."""
    kept = {name: value for name, value in data.items() if not name.startswith(SIGNATURE)}
    content = kept.get(KUBECONFIG)
    if content is None:
        return kept
    return kept | {f"{SIGNATURE}{one}": signature(content, one, secret) for one, secret in sorted(tokens.items())}


def cluster_info(server: str, root_ca: str) -> Object:
    """Return the ConfigMap without signatures: where the API is and how to know it."""
    cluster = {"certificate-authority-data": base64.b64encode(root_ca.encode()).decode(), "server": server}
    kubeconfig = {"apiVersion": "v1", "kind": "Config", "clusters": [{"cluster": cluster, "name": ""}], "contexts": [],
                  "current-context": "", "preferences": {}, "users": []}  # fmt: skip
    text = orjson.dumps(kubeconfig, option=orjson.OPT_INDENT_2).decode() + "\n"
    metadata = {"name": INFO, "namespace": INFO_NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {KUBECONFIG: text}}


class BootstrapSigner(Controller):
    """Keeps ``cluster-info``; there is one key, since there is one object."""

    name = "bootstrap-signer"

    def __init__(self, client: Client, config_maps: Informer, secrets: Informer, server: str, root_ca: str) -> None:
        super().__init__(client)
        self.config_maps, self.secrets = config_maps, secrets
        self.info = cluster_info(server, root_ca) if server else None
        self.watch(config_maps, lambda one: [INFO_KEY] if _key(one) == INFO_KEY else [])
        self.watch(secrets, lambda one: [INFO_KEY] if is_token(one) else [])

    async def run(self) -> None:
        self.queue.add(INFO_KEY)
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        there = self.config_maps.get(INFO_KEY)
        tokens = signing_tokens(self.secrets)
        if there is None:
            if self.info is not None:
                await self._make(self.info)
            return None
        data = signed_data(self._with_server(there.get("data") or {}), tokens)
        if data != (there.get("data") or {}):
            await self.client.update(CONFIG_MAPS, {**there, "data": data})
        return None

    def _with_server(self, data: dict[str, str]) -> dict[str, str]:
        """Return the data with the API's present address, if the kubeconfig is as we write them: people write YAML."""
        if self.info is None or not data.get(KUBECONFIG, "").startswith("{"):
            return data
        return {**data, **self.info["data"]}

    async def _make(self, info: Object) -> None:
        try:
            await self.client.create(CONFIG_MAPS, info)
        except ApiError as error:
            if not error.already_exists:
                raise


class TokenCleaner(Controller):
    name = "token-cleaner"

    def __init__(self, client: Client, secrets: Informer) -> None:
        super().__init__(client)
        self.secrets = secrets
        self.watch(secrets, lambda one: [_key(one)] if is_token(one) else [])

    async def reconcile(self, key: str) -> float | None:
        secret = self.secrets.get(key)
        if secret is None or not is_token(secret):
            return None
        left = seconds_left(secret)
        if left is None or left > 0:
            return left
        metadata = secret["metadata"]
        await self.client.delete(SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
        return None


def _key(obj: Object) -> str:
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
