"""What configMap, secret, downwardAPI and projected volumes hold, computed from the objects they name. Pure but for what is
handed in. Source: core/v1 Volume; kubernetes pkg/volume/{configmap,secret,downwardapi,projected}.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from sampan.node.environment import ConfigError, Lookup, field_value, missing, resource_value
from sampan.node.volumes.volume import VolumeError
from sampan.schema.objects import Object

TokenFor = Callable[[str, int], Awaitable[str]]
"""``(audience, seconds) -> token`` of the pod's ServiceAccount."""
TrustFor = Callable[[Object], Awaitable[str | None]]
"""The PEM certificates that a ``clusterTrustBundle`` source chooses; None where there is no such bundle."""
CertificateFor = Callable[[int, Object], Awaitable[tuple[bytes, bytes]]]
"""``(index, podCertificate source) -> (private key, certificate chain)``, both PEM; ``index`` is the source's."""
WRITTEN = ("configMap", "secret", "projected", "downwardAPI")
KEY_OF = {"ConfigMap": "config", "Secret": "secret"}
TOKEN_MODE = 0o600
"""Of a token that only one user is to read."""


@dataclass(frozen=True, slots=True)
class File:
    content: bytes
    mode: int
    user: int | None = None
    """Who owns it, where that is not root."""


Material = dict[str, File]
"""Relative path to file: what a written volume holds."""


async def no_trust(source: Object) -> str | None:
    return None


async def no_certificate(index: int, source: Object) -> tuple[bytes, bytes]:
    raise ConfigError("this node has no certificates for pods")


@dataclass(frozen=True)
class Sources:
    """Where material comes from."""

    lookup: Lookup
    token_for: TokenFor
    facts: Mapping[str, str]
    trust_for: TrustFor = no_trust
    certificate_for: CertificateFor = no_certificate


def is_written(volume: Object) -> bool:
    return any(kind in volume for kind in WRITTEN)


async def material_of(volume: Object, pod: Object, sources: Sources) -> Material:
    """Return the files of a written volume. Raises ``VolumeError`` for what is missing."""
    try:
        if "projected" in volume:
            mode = _mode(volume["projected"], 0o644, "defaultMode")
            files: Material = {}
            for index, source in enumerate(volume["projected"].get("sources") or ()):
                if source.get("podCertificate") is not None:
                    files |= await _certificate(index, source["podCertificate"], mode, pod, sources)
                else:
                    files |= await _source_files(source, mode, pod, sources)
            return files
        kind = next(kind for kind in WRITTEN if kind in volume)
        mode = _mode(volume[kind], 0o644, "defaultMode")
        return await _source_files({kind: volume[kind]}, mode, pod, sources)
    except ConfigError as error:
        raise VolumeError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error


def _mode(where: Object, otherwise: int, field: str = "mode") -> int:
    found = where.get(field)
    return otherwise if found is None else int(found)


async def _source_files(source: Object, mode: int, pod: Object, sources: Sources) -> Material:
    if source.get("configMap") is not None:
        return _keys(source["configMap"], "ConfigMap", source["configMap"].get("name", ""), mode, sources.lookup)
    if source.get("secret") is not None:
        name = source["secret"].get("secretName") or source["secret"].get("name", "")
        return _keys(source["secret"], "Secret", name, mode, sources.lookup)
    if source.get("downwardAPI") is not None:
        return {
            item["path"]: File(_downward(item, pod, sources.facts), _mode(item, mode))
            for item in source["downwardAPI"].get("items") or ()
        }
    if source.get("serviceAccountToken") is not None:
        return await _token(source["serviceAccountToken"], mode, pod, sources)
    if source.get("clusterTrustBundle") is not None:
        return await _trust(source["clusterTrustBundle"], mode, sources)
    raise ConfigError(f"projected source {', '.join(source) or '(none)'} is not supported by this node")


async def _token(wanted: Object, mode: int, pod: Object, sources: Sources) -> Material:
    token = await sources.token_for(wanted.get("audience") or "", wanted.get("expirationSeconds") or 3600)
    user, group = only_user(pod), (pod["spec"].get("securityContext") or {}).get("fsGroup")
    if user is not None or group is not None:
        mode = TOKEN_MODE
    return {wanted["path"]: File(token.encode(), mode, user)}


async def _certificate(index: int, wanted: Object, mode: int, pod: Object, sources: Sources) -> Material:
    key, chain = await sources.certificate_for(index, wanted)
    user = wanted["user"] if wanted.get("user") is not None else only_user(pod)
    if user is not None or (pod["spec"].get("securityContext") or {}).get("fsGroup") is not None:
        mode = TOKEN_MODE
    parts = {"credentialBundlePath": key + chain, "keyPath": key, "certificateChainPath": chain}
    return {wanted[field]: File(content, mode, user) for field, content in parts.items() if wanted.get(field)}


async def _trust(wanted: Object, mode: int, sources: Sources) -> Material:
    found = await sources.trust_for(wanted)
    if found is None:
        if not wanted.get("optional"):
            what = wanted.get("name") or f"of signer {wanted.get('signerName', '')}"
            raise ConfigError(f'clusterTrustBundle "{what}" not found')
        found = ""
    return {wanted["path"]: File(found.encode(), mode)}


def only_user(pod: Object) -> int | None:
    """Return the user that all containers of a pod run as; None where they differ or do not say."""
    spec = pod["spec"]
    whole = (spec.get("securityContext") or {}).get("runAsUser")
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    users = {(container.get("securityContext") or {}).get("runAsUser", whole) for container in containers}
    user = users.pop() if len(users) == 1 else None
    return None if user is None else int(user)


def _keys(source: Object, kind: str, name: str, mode: int, lookup: Lookup) -> Material:
    data = lookup(kind, name)
    if data is None:
        if source.get("optional"):
            return {}
        raise ConfigError(missing(kind, name))
    items = source.get("items")
    if not items:
        return {key: File(to_bytes(value), mode) for key, value in data.items()}
    files: Material = {}
    for item in items:
        if item["key"] not in data:
            if source.get("optional"):
                continue
            raise ConfigError(f"references non-existent {KEY_OF[kind]} key: {item['key']}")
        files[item["path"]] = File(to_bytes(data[item["key"]]), _mode(item, mode))
    return files


def to_bytes(value: str) -> bytes:
    """Return the bytes of a value; binary data travels as surrogate-escaped text."""
    return value.encode("utf-8", "surrogateescape")


def from_bytes(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def secret_data(secret: Object) -> dict[str, bytes]:
    return {key: base64.b64decode(value) for key, value in (secret.get("data") or {}).items()}


def data_of(obj: Object) -> dict[str, str]:
    """Return the data of a ConfigMap or Secret, decoded."""
    if obj["kind"] == "Secret":
        return {key: from_bytes(value) for key, value in secret_data(obj).items()}
    binary = {key: from_bytes(base64.b64decode(value)) for key, value in (obj.get("binaryData") or {}).items()}
    return {**(obj.get("data") or {}), **binary}


def _downward(item: Object, pod: Object, facts: Mapping[str, str]) -> bytes:
    if item.get("fieldRef"):
        return field_value(pod, item["fieldRef"]["fieldPath"], facts).encode()
    container = pod["spec"]["containers"][0]
    return resource_value(pod, container, item["resourceFieldRef"], facts).encode()
