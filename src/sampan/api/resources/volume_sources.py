"""Validation of what is behind a volume: one table for those of pods, one for those of PersistentVolumes.

A row names the fields that must be there; a function says the rest. Source: kubernetes pkg/apis/core/validation
(validateVolumeSource, ValidatePersistentVolumeSpec).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from sampan.api.resource import Cause
from sampan.api.resources.checking import between, label, no_backsteps, one_of, relative_path, subdomain
from sampan.api.resources.claims import claim_template
from sampan.api.resources.quantities import amount
from sampan.api.resources.reading import items, mapping
from sampan.api.resources.volume_files import downward_api, files, projected
from sampan.schema.causes import forbidden, invalid, not_supported, required, too_long
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

MORE_THAN_ONE = "may not specify more than 1 volume type"
SHOWN = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Sources that Kubernetes calls by another name where they are one too many."""
HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
ISCSI_NAMES = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.([A-Za-z0-9.-]+)(:[^,;*&$|\s]+)$", re.ASCII),
    "eui": re.compile(r"^eui.[A-Za-z0-9]{16}$", re.ASCII),
    "naa": re.compile(r"^naa.[A-Za-z0-9]{32}$", re.ASCII),
}
CSI_NAME_BYTES = 63

Check = Callable[[Object, str], Iterator[Cause]]


class Source(NamedTuple):
    needed: tuple[str, ...] = ()
    check: Check | None = None
    path: str = ""
    """The name in field paths, where Kubernetes calls it otherwise than the field."""
    always: bool = False
    """Whether it is judged even where it is one too many."""


# checks


def empty_dir(source: Object, field: str) -> Iterator[Cause]:
    size = amount(str(source["sizeLimit"])) if source.get("sizeLimit") is not None else None
    if size is not None and size.nano < 0:
        yield forbidden(f"{field}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def host_path(source: Object, field: str) -> Iterator[Cause]:
    if source.get("path"):
        yield from no_backsteps(f"{field}.path", source["path"])
        yield from one_of(f"{field}.type", source.get("type"), HOST_PATH_TYPES)


def local(source: Object, field: str) -> Iterator[Cause]:
    return no_backsteps(f"{field}.path", source.get("path") or "")


def git_repo(source: Object, field: str) -> Iterator[Cause]:
    return relative_path(f"{field}.directory", source.get("directory") or "")


def disk_partition(source: Object, field: str) -> Iterator[Cause]:
    partition = source.get("partition") or 0
    if not 0 <= partition <= 255:
        yield invalid(f"{field}.partition", partition, "must be between 1 and 255, inclusive")


def nfs(source: Object, field: str) -> Iterator[Cause]:
    if not (source.get("path") or "").startswith("/"):
        yield invalid(f"{field}.path", source.get("path") or "", "must be an absolute path")


def iscsi_name(field: str, name: str) -> Iterator[Cause]:
    form = ISCSI_NAMES.get(name[:3])
    if form is None:
        yield invalid(field, name, "must be valid format starting with iqn, eui, or naa")
    elif not form.search(name):
        yield invalid(field, name, "must be valid format")


def iscsi(source: Object, field: str) -> Iterator[Cause]:
    if source.get("iqn"):
        yield from iscsi_name(f"{field}.iqn", source["iqn"])
    yield from between(f"{field}.lun", source.get("lun") or 0, 0, 255)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        yield required(f"{field}.secretRef")
    if source.get("initiatorName") is not None:
        yield from iscsi_name(f"{field}.initiatorname", source["initiatorName"])


def fibre_channel(source: Object, field: str) -> Iterator[Cause]:
    names, wwids, lun = items(source, "targetWWNs"), items(source, "wwids"), source.get("lun")
    if not names and not wwids:
        yield required(f"{field}.targetWWNs", "must specify either targetWWNs or wwids, but not both")
    if names and wwids:
        yield invalid(f"{field}.targetWWNs", names, "targetWWNs and wwids can not be specified simultaneously")
    if names and lun is None:
        yield required(f"{field}.lun", "lun is required if targetWWNs is specified")
    elif names:
        yield from between(f"{field}.lun", lun, 0, 255)


def flocker(source: Object, field: str) -> Iterator[Cause]:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID")
    if not name and not uuid:
        yield required(field, "one of datasetName and datasetUUID is required")
    if name and uuid:
        yield invalid(field, "resource", "datasetName and datasetUUID can not be specified simultaneously")
    if "/" in name:
        yield invalid(f"{field}.datasetName", name, "must not contain '/'")


def quobyte(source: Object, field: str) -> Iterator[Cause]:
    pairs = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry") or ""
    if not registry:
        yield required(f"{field}.registry", pairs)
    elif len(source.get("tenant") or "") >= 65:
        yield required(f"{field}.tenant", "must be a UUID and may not exceed a length of 64 characters")
    elif not all(":" in pair for pair in registry.split(",")):
        yield invalid(f"{field}.registry", registry, pairs)


def flex(source: Object, field: str) -> Iterator[Cause]:
    for key in mapping(source, "options"):
        namespace = "." + key.partition("/")[0].lower()
        if namespace.endswith((".kubernetes.io", ".k8s.io")):
            why = "kubernetes.io and k8s.io namespaces are reserved"
            yield invalid(f"{field}.options[{key}]", key, why)


def azure_disk(source: Object, field: str) -> Iterator[Cause]:
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    yield from one_of(f"{field}.cachingMode", source.get("cachingMode"), ("None", "ReadOnly", "ReadWrite"))
    yield from one_of(f"{field}.kind", kind, ("Dedicated", "Managed", "Shared"))
    managed = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
    blob = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
    if kind == "Managed" and not uri.startswith("/subscriptions/"):
        yield not_supported(f"{field}.diskURI", uri, (managed,))
    elif kind not in (None, "Managed") and not uri.startswith("https://"):
        yield not_supported(f"{field}.diskURI", uri, (blob,))


def storage_os(source: Object, field: str) -> Iterator[Cause]:
    yield from label(f"{field}.volumeName", source.get("volumeName"), needed=False)
    yield from label(f"{field}.volumeNamespace", source.get("volumeNamespace"), needed=False)
    yield from secret_of("secretRef")(source, field)


def secret_of(key: str, *needed: str) -> Check:
    """A reference to a Secret that, where it is given, has these fields (a name at least)."""

    def check(source: Object, field: str) -> Iterator[Cause]:
        reference = source.get(key)
        if reference is not None:
            for part in needed or ("name",):
                if not reference.get(part):
                    yield required(f"{field}.{key}.{part}")

    return check


def all_of(*checks: Check) -> Check:
    def check(source: Object, field: str) -> Iterator[Cause]:
        for one in checks:
            yield from one(source, field)

    return check


def driver_name(field: str, name: str) -> Iterator[Cause]:
    """``ValidateCSIDriverName``."""
    if not name:
        yield required(field)
        return
    if len(name) > CSI_NAME_BYTES:
        yield too_long(field, CSI_NAME_BYTES)
    for message in dns1123_subdomain(name.lower()):
        yield invalid(field, name, message)


def csi(source: Object, field: str) -> Iterator[Cause]:
    yield from driver_name(f"{field}.driver", source.get("driver") or "")
    reference = source.get("nodePublishSecretRef")
    if reference is not None and not reference.get("name"):
        yield required(f"{field}.nodePublishSecretRef.name")
    elif reference is not None:
        yield from subdomain(f"{field}.name", reference["name"])


def csi_persistent(source: Object, field: str) -> Iterator[Cause]:
    yield from driver_name(f"{field}.driver", source.get("driver") or "")
    if not source.get("volumeHandle"):
        yield required(f"{field}.volumeHandle")
    for key in (
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeExpandSecretRef",
    ):
        if source.get(key) is not None:
            yield from subdomain(f"{field}.{key}.name", source[key].get("name"))
            yield from label(f"{field}.{key}.namespace", source[key].get("namespace"))


def gluster_persistent(source: Object, field: str) -> Iterator[Cause]:
    namespace = source.get("endpointsNamespace")
    if namespace == "":
        why = "if the endpointnamespace is set, it must be a valid namespace name"
        yield invalid(f"{field}.endpointsNamespace", namespace, why)
    elif namespace is not None:
        yield from label(f"{field}.endpointsNamespace", namespace)


def azure_file_persistent(source: Object, field: str) -> Iterator[Cause]:
    if source.get("secretNamespace") == "":
        yield required(f"{field}.secretNamespace")


def image(source: Object, field: str) -> Iterator[Cause]:
    policy = source.get("pullPolicy")
    if not policy:
        yield required(f"{field}.pullPolicy")
    else:
        yield from one_of(f"{field}.pullPolicy", policy, ("Always", "IfNotPresent", "Never"))


def ephemeral(source: Object, field: str) -> Iterator[Cause]:
    template = source.get("volumeClaimTemplate")
    if template is None:
        yield required(f"{field}.volumeClaimTemplate")
    else:
        yield from claim_template(template, f"{field}.volumeClaimTemplate")


# tables, in the order of Kubernetes' checks: the first one that is given is the one meant

POD_SOURCES: Mapping[str, Source] = {
    "emptyDir": Source(check=empty_dir),
    "hostPath": Source(("path",), host_path),
    "gitRepo": Source(("repository",), git_repo),
    "gcePersistentDisk": Source(("pdName",), disk_partition, "persistentDisk"),
    "awsElasticBlockStore": Source(("volumeID",), disk_partition),
    "secret": Source(("secretName",), files),
    "nfs": Source(("server", "path"), nfs),
    "iscsi": Source(("targetPortal", "iqn"), iscsi),
    "glusterfs": Source(("endpoints", "path")),
    "flocker": Source(check=flocker),
    "persistentVolumeClaim": Source(("claimName",)),
    "rbd": Source(("monitors", "image")),
    "cinder": Source(("volumeID",), secret_of("secretRef")),
    "cephfs": Source(("monitors",)),
    "quobyte": Source(("volume",), quobyte),
    "downwardAPI": Source(check=downward_api),
    "fc": Source(check=fibre_channel),
    "flexVolume": Source(("driver",), flex),
    "configMap": Source(("name",), files),
    "azureFile": Source(("secretName", "shareName")),
    "vsphereVolume": Source(("volumePath",)),
    "photonPersistentDisk": Source(("pdID",)),
    "portworxVolume": Source(("volumeID",)),
    "azureDisk": Source(("diskName", "diskURI"), azure_disk),
    "storageos": Source(("volumeName",), storage_os),
    "projected": Source(check=projected),
    "scaleIO": Source(("gateway", "system", "volumeName")),
    "csi": Source(check=csi),
    "ephemeral": Source(check=ephemeral),
    "image": Source(("reference",), image),
}
PERSISTENT_SOURCES: Mapping[str, Source] = {
    "hostPath": Source(("path",), host_path),
    "gcePersistentDisk": Source(("pdName",), disk_partition, "persistentDisk"),
    "awsElasticBlockStore": Source(("volumeID",), disk_partition),
    "glusterfs": Source(("endpoints", "path"), gluster_persistent),
    "flocker": Source(check=flocker),
    "nfs": Source(("server", "path"), nfs),
    "rbd": Source(("monitors", "image")),
    "quobyte": Source(("volume",), quobyte),
    "cephfs": Source(("monitors",)),
    "iscsi": Source(("targetPortal", "iqn"), all_of(iscsi, secret_of("secretRef"))),
    "cinder": Source(("volumeID",), secret_of("secretRef", "name", "namespace")),
    "fc": Source(check=fibre_channel),
    "flexVolume": Source(("driver",), flex, always=True),
    "azureFile": Source(("secretName", "shareName"), azure_file_persistent),
    "vsphereVolume": Source(("volumePath",)),
    "photonPersistentDisk": Source(("pdID",)),
    "portworxVolume": Source(("volumeID",)),
    "azureDisk": Source(("diskName", "diskURI"), azure_disk),
    "scaleIO": Source(("gateway", "system", "volumeName")),
    "local": Source(("path",), local),
    "storageos": Source(("volumeName",), all_of(storage_os, secret_of("secretRef", "name", "namespace"))),
    "csi": Source(check=csi_persistent),
}


def one_source(
    holder: Object, field: str, table: Mapping[str, Source], ignored: Iterable[str] = ("name",)
) -> Iterator[Cause]:
    """Yield why what is behind a volume is refused: none, several, or a bad one."""
    given = [key for key, value in holder.items() if value is not None and key in table and key not in ignored]
    if not given:
        yield required(field, "must specify a volume type")
        return
    if len(given) > 1:
        given = [key for key in table if key in given]
    for place, key in enumerate(given):
        if place and not table[key].always:
            yield forbidden(f"{field}.{SHOWN.get(key, key)}", MORE_THAN_ONE)
        else:
            yield from source_causes(holder[key], table[key], f"{field}.{table[key].path or key}")


def source_causes(source: Object, kind: Source, path: str) -> Iterator[Cause]:
    for key in kind.needed:
        if not source.get(key):
            yield required(f"{path}.{key}")
    if kind.check is not None:
        yield from kind.check(source, path)


def counts(holder: Object, wanted: str, table: Mapping[str, Source]) -> bool:
    """Whether a source is the one that is judged, not one too many."""
    return next((key for key in table if holder.get(key) is not None), "") == wanted
