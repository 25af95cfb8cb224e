"""ServiceAccount: every pod runs as one, and gets its token as a projected volume.

Source: plugin/pkg/admission/serviceaccount.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from sampan.api.errors import forbidden
from sampan.api.metadata import generate_name
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.store import Record

if TYPE_CHECKING:
    from sampan.api.app import Api

MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR = "kubernetes.io/config.mirror"
TOKEN_SECONDS = 3607
WAIT_SECONDS = 2.0
"""How long a pod waits for the default account of a namespace that has just been made."""


class ServiceAccount:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and resource.kind == "Pod" and not resource.group and not subresource

    async def admit(self, admission: Admission) -> None:
        pod = admission.object
        if pod is None or MIRROR in mapping(pod, "metadata", "annotations"):
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or "default"
        record = await find(admission.api, f"/registry/serviceaccounts/{admission.namespace}/{name}", name == "default")
        if record is None:
            where = f"{admission.namespace}/{name}"
            why = f'error looking up service account {where}: serviceaccount "{name}" not found'
            raise forbidden(admission.resource, admission.name, why)
        account = admission.api.parsed(record)
        spec["serviceAccountName"] = spec["serviceAccount"] = name
        if not items(spec, "imagePullSecrets") and items(account, "imagePullSecrets"):
            spec["imagePullSecrets"] = [dict(secret) for secret in account["imagePullSecrets"]]
        if automounts(spec, account):
            mount_token(spec)


async def find(api: Api, key: str, wait: bool) -> Record | None:
    """Return the account's record; ``wait`` for one that is about to be made."""
    record = api.store.get(key)
    if record is not None or not wait:
        return record
    watch = api.store.watch(key)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            async for _ in watch:
                if api.store.get(key) is not None:
                    break
    except TimeoutError:
        return None
    finally:
        watch.close()
    return api.store.get(key)


def automounts(spec: Object, account: Object) -> bool:
    if spec.get("automountServiceAccountToken") is not None:
        return bool(spec["automountServiceAccountToken"])
    return account.get("automountServiceAccountToken") is not False


def mount_token(spec: Object) -> None:
    """Mount the token into every container that has nothing at its path."""
    name = next((v["name"] for v in items(spec, "volumes") if v.get("name", "").startswith("kube-api-access-")), "")
    made = not name
    name = name or generate_name("kube-api-access-")
    used = False
    for field in ("initContainers", "containers"):
        for container in items(spec, field):
            mounts = container.get("volumeMounts") or []
            if any(mount.get("mountPath") == MOUNT_PATH for mount in mounts):
                continue
            container["volumeMounts"] = [*mounts, {"name": name, "readOnly": True, "mountPath": MOUNT_PATH}]
            used = True
    if used and made:
        spec["volumes"] = [*items(spec, "volumes"), token_volume(name)]


def token_volume(name: str) -> Object:
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {
            "downwardAPI": {
                "items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]
            }
        },
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}
