"""What a fresh cluster holds: namespaces, the Service of the API, RBAC, priority classes. Idempotent: only what is missing is
written, in one transaction."""

from __future__ import annotations

import ipaddress
import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sampan.api import metadata, policy_roles, policy_system_roles
from sampan.api.admission.service_ranges import networks_of
from sampan.api.catalog import Served
from sampan.api.flowcontrol import bootstrap as flowcontrol
from sampan.api.rbac_reconciling import BINDINGS, ROLES, reconciled
from sampan.api.resources import enabling, scheduling
from sampan.api.resources.versions import CONVERSIONS
from sampan.api.version import minor
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object, split_api_version
from sampan.store import Conflict, Event, Put
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.server import ApiConfig

NAMESPACES = ("default", "kube-node-lease", "kube-public", "kube-system")
KUBERNETES = "kubernetes"
SERVICE = prefix_of("services") + "default/kubernetes"
WRITTEN_AT_ONCE = 100
"""Below the most operations that etcd takes in a transaction (128)."""
ROOT_CA = "kube-root-ca.crt"
SYSTEM_PRIORITIES = (
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
)


async def create_missing(api: Api, config: ApiConfig) -> None:
    """Write the objects of a fresh cluster that are not there, and where the API is reached now."""
    await write_missing(api, lambda: kubernetes_service(config) if config.from_image else objects(config))


def keep_service(api: Api, config: ApiConfig) -> None:
    """Have the Service default/kubernetes made again when somebody deletes it: pods find the API by it."""

    async def nothing() -> None:
        """It is there: ``create_missing`` ran before."""

    async def make_again(events: Sequence[Event]) -> None:
        if any(event.deleted and event.record.key == SERVICE for event in events):
            api.spawn("default/kubernetes", write_missing(api, lambda: kubernetes_service(config)))

    api.following.add(SERVICE, nothing, make_again)


async def write_missing(api: Api, made: Callable[[], Iterable[Object]]) -> None:
    """Write those of the objects that are not there. ``made`` returns them anew each time."""
    while True:
        puts = missing(api, made())
        try:
            for start in range(0, len(puts), WRITTEN_AT_ONCE):
                await api.store.commit(puts[start : start + WRITTEN_AT_ONCE])
            return
        except Conflict:
            continue  # another server of the same store is starting, too: look again at what is missing


def missing(api: Api, made: Iterable[Object]) -> list[Put]:
    """Return the writes that are left to do."""
    puts: list[Put] = []
    at = metadata.now()
    for obj in made:
        served = stored_as(api, obj)
        if served is None:
            continue
        given = obj["metadata"]
        key = served.key(given.get("namespace", ""), given["name"])
        record = api.store.get(key)
        if record is not None:
            moved = None if api.store.shared and given["name"] == KUBERNETES else readdressed(api.whole(record), obj)
            if moved is not None:
                puts.append(Put(key, dumps(moved), expected=record.revision))
            continue
        given["uid"] = str(uuid.uuid4())
        given["creationTimestamp"] = at
        if served.resource.default is not None:
            served.resource.default(obj)
        puts.append(Put(key, dumps(obj), expected=0))
    return puts


def stored_as(api: Api, obj: Object) -> Served | None:
    """Return the resource of an object; one whose version is not served yet is changed into that which is stored."""
    group, version = split_api_version(obj["apiVersion"])
    served = api.catalog.by_kind(group, version, obj["kind"])
    if served is not None or group != flowcontrol.GROUP:
        return served
    others = (s for s in api.catalog if s.resource.group == group and s.resource.kind == obj["kind"])
    served = next((s for s in others if not s.converts), None)
    if served is not None:
        obj["apiVersion"] = served.resource.api_version
        convert = CONVERSIONS.get((group, obj["kind"], version, served.resource.version))
        if convert is not None:
            convert(obj)
    return served


def readdressed(stored: Object, wanted: Object) -> Object | None:
    """Return the stored object with what is the API's own to say: its address in Endpoints and EndpointSlice, the
    authorities of its callers, what roles and bindings lack. None where nothing changed."""
    if wanted["kind"] in (*ROLES, *BINDINGS):
        return reconciled(stored, wanted)
    fields = {"Endpoints": ("subsets",), "EndpointSlice": ("endpoints", "ports"), "ConfigMap": ("data",)}
    own = fields.get(wanted["kind"], ())
    if all(stored.get(field) == wanted[field] for field in own):
        return None
    metadata = {key: value for key, value in stored["metadata"].items() if key != "resourceVersion"}
    return {**stored, "metadata": metadata, **{field: wanted[field] for field in own}}


def objects(config: ApiConfig) -> Iterator[Object]:
    """Yield the objects of a fresh cluster, without uid and creation time."""
    authority = config.pki_dir / "ca.crt"
    for name in NAMESPACES:
        labels = {"kubernetes.io/metadata.name": name}
        yield {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
            "spec": {"finalizers": ["kubernetes"]},
            "status": {"phase": "Active"},
        }
        yield {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}}
        if authority.exists():
            yield {
                "apiVersion": "v1",
                "kind": "ConfigMap",
                "metadata": {"name": ROOT_CA, "namespace": name},
                "data": {"ca.crt": authority.read_text()},
            }
    yield from kubernetes_service(config)
    if authority.exists():
        yield front_proxy(config)
    version = minor(config.kubernetes_version)
    wanted = enabling.runtime_config(config.flags.runtime_config)
    gangs = any(enabling.enabled(one, wanted) for one in scheduling.POD_GROUPS)
    yield from policy_roles.cluster_roles(version, gangs=gangs)
    yield from policy_roles.bindings(version)
    yield from policy_system_roles.objects()
    yield from flowcontrol.objects()
    for name, value, description in SYSTEM_PRIORITIES:
        yield {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name, "generation": 1},
            "value": value,
            "description": description,
        }


def front_proxy(config: ApiConfig) -> Object:
    """Return what an aggregated API server reads to know its callers: the authorities and headers to trust."""
    flags = config.flags
    data = {"client-ca-file": (config.pki_dir / "ca.crt").read_text()}
    if config.front_proxy_ca is not None:
        data |= {
            "requestheader-client-ca-file": config.front_proxy_ca.read_text(),
            "requestheader-allowed-names": json.dumps(flags.requestheader_allowed_names),
            "requestheader-username-headers": json.dumps(flags.requestheader_username_headers),
            "requestheader-uid-headers": json.dumps(flags.requestheader_uid_headers),
            "requestheader-group-headers": json.dumps(flags.requestheader_group_headers),
            "requestheader-extra-headers-prefix": json.dumps(flags.requestheader_extra_headers_prefix),
        }
    metadata = {"name": "extension-apiserver-authentication", "namespace": "kube-system"}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}


def kubernetes_service(config: ApiConfig) -> Iterator[Object]:
    """Yield default/kubernetes with its Endpoints and EndpointSlice: the address the API is reached at from inside."""
    host, port = config.advertise
    main = networks_of(config.service_cidr)[0]
    address, family = str(main[1]), f"IPv{main.version}"
    labels = {"component": "apiserver", "provider": "kubernetes"}
    yield {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "clusterIP": address,
            "clusterIPs": [address],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    }
    yield {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": [{"ip": host}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }
    yield {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "generation": 1,
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": f"IPv{ipaddress.ip_address(host).version}",
        "endpoints": [{"addresses": [host], "conditions": {"ready": True}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    }
