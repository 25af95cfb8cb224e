"""Discovery: which groups, versions and resources there are, in the plain and in the aggregated form.

Answers are computed from the catalog when first asked for and kept as bytes until it changes.
Source: API conventions; KEP-3352 (aggregated discovery, apidiscovery.k8s.io/v2, ETag).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import orjson

from sampan.api.aggregation.local import CUSTOM_GROUP, CUSTOM_VERSION
from sampan.api.catalog import Served
from sampan.api.encodings import encoded
from sampan.api.errors import StatusError
from sampan.api.negotiation import JSON, PLAIN, clauses, negotiate
from sampan.api.rendering import json_response
from sampan.api.request import Request, Response
from sampan.schema.objects import Object, api_version_of

if TYPE_CHECKING:
    from sampan.api.aggregation.proxy import Remote
    from sampan.api.app import Api

Groups: TypeAlias = "dict[str, dict[str, list[Served] | Remote]]"
"""Group → version → our resources, or the extension server that serves them."""
GROUP_ORDER = (
    "apiregistration.k8s.io", "apps", "events.k8s.io", "authentication.k8s.io", "authorization.k8s.io", "autoscaling",
    "batch", "certificates.k8s.io", "networking.k8s.io", "policy", "rbac.authorization.k8s.io", "storage.k8s.io",
    "admissionregistration.k8s.io", "apiextensions.k8s.io", "scheduling.k8s.io", "coordination.k8s.io", "node.k8s.io",
    "discovery.k8s.io", "flowcontrol.apiserver.k8s.io", "resource.k8s.io",
)  # fmt: skip
"""kube-apiserver's order; groups of custom resources follow by name."""
AGGREGATED_VERSIONS = ("v2", "v2beta1")
VERSION = re.compile(r"^v(\d+)(?:(alpha|beta)(\d+))?$")
GENERIC = ("get", "patch", "update")


def add(api: Api) -> None:
    """Serve ``/api`` and ``/apis`` and what is below them."""
    discovery = Discovery(api)
    api.route("/api", discovery.answer)
    api.route("/apis", discovery.answer)


def version_order(version: str) -> tuple[Any, ...]:
    """A sort key that puts GA before beta before alpha, newer before older, others last (version.CompareKubeAware…)."""
    match = VERSION.match(version)
    if match is None:
        return (1, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (0, stage, -int(match[1]), -int(match[3] or 0))


class Discovery:
    """The discovery documents of one API."""

    def __init__(self, api: Api) -> None:
        self.api = api
        self._generation = -1
        self._answers: dict[tuple[str, str], tuple[bytes, str]] = {}
        self._groups: Groups = {}

    def groups(self) -> Groups:
        """Return group → version → resources, in the order they are shown."""
        if self._generation != self.api.catalog.generation:
            self._generation = self.api.catalog.generation
            self._answers.clear()
            self._groups = sorted_groups(self.api.catalog, self.api.remotes)
        return self._groups

    async def answer(self, request: Request) -> Response:
        """Serve one path below ``/api`` or ``/apis``. Raises 404 and 405."""
        if request.method != "GET":
            raise StatusError(
                405, "MethodNotAllowed", "the server does not allow this method on the requested resource"
            )
        path = request.attributes.path.rstrip("/")
        groups = self.groups()
        accept = request.headers.get("accept", "")
        media = aggregated_media(accept) if path in ("/api", "/apis") else ""
        form = PLAIN if media else negotiate(accept)
        known = self._answers.get((path, media))
        if known is None:
            build: Callable[[], Object] = (
                (lambda: aggregated_list(groups, path == "/api", media))
                if media
                else (lambda: self._plain(path, groups))
            )
            body = orjson.dumps(build())
            known = self._answers[path, media] = (body, f'"{hashlib.sha256(body).hexdigest().upper()}"')
        body, tag = known
        if not media:
            answer = json_response(request, body, 200, form)
            answer.headers = (("Vary", "Accept"),)
            return await encoded(answer, form.media)
        headers = (("ETag", tag), ("Vary", "Accept"), ("Cache-Control", "public"))
        if request.headers.get("if-none-match") == tag:
            return Response(b"", 304, media, headers)
        return Response(body, 200, media, headers)

    def _plain(self, path: str, groups: Groups) -> Object:
        parts = path.split("/")[1:]
        if path == "/api":
            addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": ""}]
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses}
        if path == "/apis":
            listed = [group_entry(group, list(versions)) for group, versions in groups.items() if group]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        if parts[0] == "apis" and len(parts) == 2 and parts[1] in groups and parts[1]:
            return {"kind": "APIGroup", "apiVersion": "v1", **group_entry(parts[1], list(groups[parts[1]]))}
        group, version = ("", parts[1]) if parts[0] == "api" else (parts[1], parts[2] if len(parts) > 2 else "")
        resources = groups.get(group, {}).get(version)
        if not isinstance(resources, list) or len(parts) > 3 or (parts[0] == "apis" and not group):
            raise StatusError(404, "NotFound", "the server could not find the requested resource", details={})
        return resource_list(group, version, resources, hashes=self.api.features.enabled("StorageVersionHash"))


def sorted_groups(catalog: Iterable[Served], remotes: Mapping[tuple[str, str], Remote]) -> Groups:
    """Return group → version → our resources, or the server that has them; in the order they are shown."""
    local: dict[tuple[str, str], list[Served]] = {}
    for served in catalog:
        local.setdefault((served.resource.group, served.resource.version), []).append(served)
    order = {group: index for index, group in enumerate(GROUP_ORDER)}
    priority: dict[str, int] = {}
    for (group, _), remote in remotes.items():
        priority[group] = max(priority.get(group, 0), remote.spec.get("groupPriorityMinimum") or 0)

    def group_key(group: str) -> tuple[int, int, str]:
        return order.get(group, len(order)), -priority.get(group, CUSTOM_GROUP), group

    def version_key(key: tuple[str, str]) -> tuple[Any, ...]:
        remote = remotes.get(key)
        return (-(remote.spec.get("versionPriority") or 0) if remote else -CUSTOM_VERSION, version_order(key[1]))

    made: Groups = {}
    keys = local.keys() | remotes.keys()
    for group in sorted({group for group, _ in keys}, key=group_key):
        versions = sorted((key for key in keys if key[0] == group), key=version_key)
        made[group] = {
            version: remotes.get((group, version))
            or sorted(local[group, version], key=lambda served: served.resource.plural)
            for _, version in versions
        }
    return made


def aggregated_media(accept: str) -> str:
    """Return the aggregated form that an Accept header prefers, "" for the plain one."""
    for media, parameters in clauses(accept):
        if parameters.get("as") == "APIGroupDiscoveryList" and parameters.get("g") == "apidiscovery.k8s.io":
            version = parameters.get("v", "")
            if media == JSON and version in AGGREGATED_VERSIONS:
                return f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        elif media in (JSON, "*/*"):
            return ""
    return ""


def group_entry(group: str, versions: list[str]) -> Object:
    entries = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": entries, "preferredVersion": entries[0]}


def subresources_of(served: Served) -> list[tuple[str, tuple[str, str, str], tuple[str, ...]]]:
    """Return ``(name, (group, version, kind) of its body, verbs)`` of every subresource, by name."""
    resource = served.resource
    own = (resource.group, resource.version, resource.kind)
    found: list[tuple[str, tuple[str, str, str], tuple[str, ...]]] = []
    if resource.status:
        found.append(("status", own, GENERIC))
    if resource.scale:
        found.append(("scale", ("autoscaling", "v1", "Scale"), GENERIC))
    for name, subresource in served.subresources.items():
        if name:
            kind = (subresource.group, subresource.version, subresource.kind) if subresource.kind else own
            found.append((name, (kind[0], kind[1] or resource.version, kind[2]), subresource.verbs))
    return sorted(found)


def storage_hash(served: Served) -> str:
    """Return the hash that changes when the stored version does."""
    import base64

    resource = served.resource
    text = f"{resource.group}/{resource.stored_version or resource.version}/{resource.kind}"
    return base64.b64encode(hashlib.sha256(text.encode()).digest()[:8]).decode()


def resource_list(group: str, version: str, resources: list[Served], *, hashes: bool = True) -> Object:
    listed: list[Object] = []
    for served in resources:
        resource = served.resource
        entry: Object = {
            "name": resource.plural,
            "singularName": resource.singular or resource.kind.lower(),
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": sorted(resource.verbs),
        }
        if resource.short_names:
            entry["shortNames"] = list(resource.short_names)
        if resource.categories:
            entry["categories"] = list(resource.categories)
        if hashes and "get" in resource.verbs:
            entry["storageVersionHash"] = storage_hash(served)
        listed.append(entry)
        for name, (body_group, body_version, kind), verbs in subresources_of(served):
            entry = {"name": f"{resource.plural}/{name}", "singularName": "", "namespaced": resource.namespaced}
            if (body_group, body_version) != (group, version):
                entry |= {"group": body_group, "version": body_version}
            listed.append({**entry, "kind": kind, "verbs": list(verbs)})
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": api_version_of(group, version),
        "resources": listed,
    }


def aggregated_list(groups: Groups, core: bool, media: str) -> Object:
    """Return the ``APIGroupDiscoveryList`` of the core group, or of all others."""
    listed = []
    for group, versions in groups.items():
        if bool(group) != core:
            entries = [aggregated_version(group, version, resources) for version, resources in versions.items()]
            listed.append({"metadata": {"name": group, "creationTimestamp": None}, "versions": entries})
    version = "v2beta1" if "v2beta1" in media else "v2"
    api_version = f"apidiscovery.k8s.io/{version}"
    return {"kind": "APIGroupDiscoveryList", "apiVersion": api_version, "metadata": {}, "items": listed}


def aggregated_version(group: str, version: str, resources: list[Served] | Remote) -> Object:
    if isinstance(resources, list):
        listed = [aggregated_resource(one) for one in resources]
    elif resources.available:
        listed = remote_resources(group, version, resources.resources)
    else:
        return {"version": version, "freshness": "Stale"}
    return {"version": version, "resources": listed, "freshness": "Current"}


def remote_resources(group: str, version: str, resources: list[Object]) -> list[Object]:
    """Return an extension server's ``APIResourceList`` in the aggregated form."""
    made: dict[str, Object] = {}
    for one in resources:
        name, _, subresource = str(one.get("name", "")).partition("/")
        kind = kind_entry((one.get("group") or group, one.get("version") or version, one.get("kind") or ""))
        if subresource:
            if name in made:
                entry = {"subresource": subresource, "responseKind": kind, "verbs": one.get("verbs") or []}
                made[name].setdefault("subresources", []).append(entry)
            continue
        made[name] = {
            "resource": name,
            "responseKind": kind,
            "scope": "Namespaced" if one.get("namespaced") else "Cluster",
            "singularResource": one.get("singularName") or "",
            "verbs": one.get("verbs") or [],
        }
        for key in ("shortNames", "categories"):
            if one.get(key):
                made[name][key] = one[key]
    return list(made.values())


def kind_entry(kind: tuple[str, str, str]) -> Object:
    return {"group": kind[0], "version": kind[1], "kind": kind[2]}


def aggregated_resource(served: Served) -> Object:
    resource = served.resource
    entry: Object = {
        "resource": resource.plural,
        "responseKind": kind_entry((resource.group, resource.version, resource.kind)),
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular or resource.kind.lower(),
        "verbs": sorted(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    below = subresources_of(served)
    if below:
        entry["subresources"] = [
            {"subresource": name, "responseKind": kind_entry(kind), "verbs": list(verbs)} for name, kind, verbs in below
        ]
    return entry
