"""Validation of volumes that show files: keys of Secrets and ConfigMaps, the downward API, and all of it projected.

Source: kubernetes pkg/apis/core/validation (validateKeyToPath, validateProjectionSources); KEP-4317 for podCertificate.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.checking import file_mode, label_selector, one_of, unreserved_path
from sampan.api.resources.environment_validation import VOLUME_FIELDS, container_resource, object_field
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.objects import Object

DUPLICATE_PATHS = "conflicting duplicate paths"
TEN_MINUTES = "may not specify a duration less than 10 minutes"
KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")


def files(source: Object, field: str) -> Iterator[Cause]:
    """Keys of a Secret or ConfigMap as files."""
    yield from file_mode(f"{field}.defaultMode", source.get("defaultMode"))
    for index, item in enumerate(source.get("items") or ()):
        yield from key_to_path(item, f"{field}.items[{index}]")


def key_to_path(item: Object, field: str) -> Iterator[Cause]:
    if not item.get("key"):
        yield required(f"{field}.key")
    if not item.get("path"):
        yield required(f"{field}.path")
    yield from unreserved_path(f"{field}.path", item.get("path") or "")
    yield from file_mode(f"{field}.mode", item.get("mode"))


def downward_api(source: Object, field: str) -> Iterator[Cause]:
    yield from file_mode(f"{field}.defaultMode", source.get("defaultMode"))
    for item in source.get("items") or ():
        yield from downward_file(item, field)


def downward_file(item: Object, field: str) -> Iterator[Cause]:
    """A file that shows something of the pod; Kubernetes' paths do not number them."""
    if not item.get("path"):
        yield required(f"{field}.path")
    yield from unreserved_path(f"{field}.path", item.get("path") or "")
    own, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if own is not None:
        yield from object_field(own, f"{field}.fieldRef", VOLUME_FIELDS)
        if resource is not None:
            yield invalid(field, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
    elif resource is not None:
        yield from container_resource(resource, f"{field}.resourceFieldRef", in_volume=True)
    else:
        yield required(field, "one of fieldRef and resourceFieldRef is required")
    yield from file_mode(f"{field}.mode", item.get("mode"))


def projected(source: Object, field: str) -> Iterator[Cause]:
    yield from file_mode(f"{field}.defaultMode", source.get("defaultMode"))
    taken: set[str] = set()
    for index, part in enumerate(source.get("sources") or ()):
        path = f"{field}.sources[{index}]"
        given = [key for key in PROJECTIONS if part.get(key) is not None]
        for key in given:
            yield from PROJECTIONS[key](part[key], f"{path}.{key}", field)
            for target, shown in projected_paths(key, part[key]):
                if target in taken:
                    yield invalid(field, shown, DUPLICATE_PATHS)
                taken.add(target)
        if len(given) > 1:
            yield forbidden(path, "may not specify more than 1 volume type per source")


def projected_paths(key: str, part: Object) -> Iterator[tuple[str, str]]:
    """Yield the files a projection makes, each with what a complaint about it shows."""
    for item in part.get("items") or ():
        if item.get("path"):
            yield item["path"], (part.get("name") or "") if key in ("secret", "configMap") else item["path"]
    if key in ("clusterTrustBundle",) and part.get("path"):
        yield part["path"], part["path"]
    if key == "podCertificate":
        for name in ("credentialBundlePath", "keyPath", "certificateChainPath"):
            if part.get(name):
                yield part[name], part[name]


def projected_keys(part: Object, path: str, field: str) -> Iterator[Cause]:
    if not part.get("name"):
        yield required(f"{path}.name")
    for index, item in enumerate(part.get("items") or ()):
        yield from key_to_path(item, f"{path}.items[{index}]")


def projected_downward(part: Object, path: str, field: str) -> Iterator[Cause]:
    for item in part.get("items") or ():
        yield from downward_file(item, path)


def projected_token(part: Object, path: str, field: str) -> Iterator[Cause]:
    seconds = part.get("expirationSeconds") or 0
    if seconds < 600:
        yield invalid(f"{path}.expirationSeconds", seconds, TEN_MINUTES)
    if seconds > 1 << 32:
        yield invalid(f"{path}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds")
    if not part.get("path"):
        yield required(f"{field}.path")
    else:
        yield from unreserved_path(f"{field}.path", part["path"])


def projected_bundle(part: Object, path: str, field: str) -> Iterator[Cause]:
    name, signer = part.get("name"), part.get("signerName")
    if name is not None and signer is not None:
        yield invalid(path, part, "only one of name and signerName may be used")
    elif name is not None:
        if not name:
            yield required(f"{path}.name", "must be a valid object name")
        if part.get("labelSelector") is not None:
            why = "labelSelector must be unset if name is specified"
            yield invalid(f"{path}.labelSelector", part["labelSelector"], why)
    elif signer is not None:
        if not signer:
            yield required(f"{path}.signerName", "must be a valid signer name")
        yield from label_selector(f"{path}.labelSelector", part.get("labelSelector"))
    else:
        yield required(path, "either name or signerName must be specified")
    if not part.get("path"):
        yield required(f"{path}.path")
    yield from unreserved_path(f"{path}.path", part.get("path") or "")


def projected_certificate(part: Object, path: str, field: str) -> Iterator[Cause]:
    """A certificate for the pod (KEP-4317): one bundle, or key and chain apart."""
    if not part.get("signerName"):
        yield required(f"{path}.signerName")
    if not part.get("keyType"):
        yield required(f"{path}.keyType")
    else:
        yield from one_of(f"{path}.keyType", part["keyType"], KEY_TYPES)
    names = ("credentialBundlePath", "keyPath", "certificateChainPath")
    if not any(part.get(name) for name in names):
        yield required(path, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath")
    for name in names:
        yield from unreserved_path(f"{path}.{name}", part.get(name) or "")
    seconds = part.get("maxExpirationSeconds")
    if seconds is not None and seconds < 3600:
        yield invalid(f"{path}.maxExpirationSeconds", seconds, "if provided, maxExpirationSeconds must be >= 3600")
    elif seconds is not None and seconds > 91 * 24 * 3600:
        yield invalid(f"{path}.maxExpirationSeconds", seconds, "if provided, maxExpirationSeconds must be <= 7862400")


PROJECTIONS = {
    "secret": projected_keys,
    "configMap": projected_keys,
    "downwardAPI": projected_downward,
    "serviceAccountToken": projected_token,
    "clusterTrustBundle": projected_bundle,
    "podCertificate": projected_certificate,
}
