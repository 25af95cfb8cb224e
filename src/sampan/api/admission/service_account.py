"""ServiceAccount: every pod runs as one, and gets its token as a projected volume.

Source: plugin/pkg/admission/serviceaccount.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sampan.api.errors import forbidden
from sampan.api.metadata import generate_name
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import quoted
from sampan.schema.names import path_segment
from sampan.schema.objects import Object
from sampan.schema.pod_references import references
from sampan.store import Record
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

ACCOUNTS = prefix_of("serviceaccounts")
MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
MIRROR = "kubernetes.io/config.mirror"
ENFORCE = "kubernetes.io/enforce-mountable-secrets"
TOKEN_SECONDS = 3607
WAIT_SECONDS = 2.0
"""How long a pod waits for the default account of a namespace that has just been made."""


class ServiceAccount:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if resource.kind != "Pod" or resource.group:
            return False
        return (operation == "CREATE" and not subresource) or (
            operation == "UPDATE" and subresource == "ephemeralcontainers"
        )

    async def admit(self, admission: Admission) -> None:
        pod = admission.object
        if pod is None or admission.subresource:
            return
        if MIRROR in mapping(pod, "metadata", "annotations"):
            await self.validate(admission)
            return
        spec = pod["spec"]
        name = spec.get("serviceAccountName") or "default"
        problems = path_segment(name)
        if problems:
            why = f"error looking up service account {admission.namespace}/{name}: invalid resource name {quoted(name)}"
            raise forbidden(admission.resource, admission.name, f"{why}: [{' '.join(problems)}]")
        record = await find(admission.api, f"{ACCOUNTS}{admission.namespace}/{name}", name == "default")
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

    async def validate(self, admission: Admission) -> None:
        pod = admission.object
        if pod is None:
            return
        spec = mapping(pod, "spec")
        if MIRROR in mapping(pod, "metadata", "annotations"):
            why = mirror_problem(pod)
        else:
            key = f"{ACCOUNTS}{admission.namespace}/{spec.get('serviceAccountName')}"
            record = admission.api.store.get(key)
            account = admission.api.parsed(record) if record is not None else {}
            enforced = mapping(account, "metadata", "annotations").get(ENFORCE) or "false"
            why = unmountable(spec, account) if enforced.lower() in ("true", "1", "t") else ""
        if why:
            raise forbidden(admission.resource, admission.name, why)


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


def mirror_problem(pod: Object) -> str:
    """Return what a mirror pod refers to and may not: the kubelet that made it has no token for it."""
    spec = mapping(pod, "spec")
    if spec.get("serviceAccountName"):
        return "a mirror pod may not reference service accounts"
    if any(plural == "secrets" for plural, _ in references(pod)):
        return "a mirror pod may not reference secrets"
    for volume in items(spec, "volumes"):
        if any(source.get("serviceAccountToken") is not None for source in items(volume, "projected", "sources")):
            return "a mirror pod may not use ServiceAccountToken volume projections"
    return ""


def unmountable(spec: Object, account: Object) -> str:
    """Return which Secret a pod uses that its account does not list, "" where it uses none such."""
    name = text(account, "metadata", "name")
    listed = {secret.get("name") for secret in items(account, "secrets")}
    not_listed = f"is not allowed because service account {name} does not reference that"
    for volume in items(spec, "volumes"):
        secret = text(volume, "secret", "secretName")
        if secret and secret not in listed:
            return f'volume with secret.secretName="{secret}" {not_listed} secret'
    for field, what in KINDS.items():
        for container in items(spec, field):
            for where, secret in secrets_of(container):
                if secret not in listed:
                    user = f"{what} {container.get('name')} with {where}"
                    return f'{user} referencing secret.secretName="{secret}" {not_listed} secret'
    pulled = {secret.get("name") for secret in items(account, "imagePullSecrets")}
    for reference in items(spec, "imagePullSecrets"):
        if reference.get("name") not in pulled:
            return f'imagePullSecret.name="{reference.get("name")}" {not_listed} imagePullSecret'
    return ""


KINDS = {"initContainers": "init container", "containers": "container", "ephemeralContainers": "ephemeral container"}


def secrets_of(container: Object) -> Iterator[tuple[str, str]]:
    """Yield what of a container's environment comes from which Secret."""
    for source in items(container, "envFrom"):
        if text(source, "secretRef", "name"):
            yield "envFrom", text(source, "secretRef", "name")
    for variable in items(container, "env"):
        secret = text(variable, "valueFrom", "secretKeyRef", "name")
        if secret:
            yield f"envVar {variable.get('name')}", secret


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
