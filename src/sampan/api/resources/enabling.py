"""Which API versions a server serves: the stable ones, and what ``--runtime-config`` and feature gates say.

Alpha and new beta versions are off unless asked for, as in kube-apiserver since 1.24. Source: kubernetes
pkg/controlplane/instance.go (DefaultAPIResourceConfigSource), k8s.io/apiserver pkg/server/resourceconfig.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sampan.api.feature_gates import FeatureGates
from sampan.api.flags import FlagError
from sampan.api.resource import Resource
from sampan.api.resources.versions import stage
from sampan.schema.objects import Object

BETA_ON = {
    ("autoscaling", "v2beta2"),
    ("flowcontrol.apiserver.k8s.io", "v1beta1"),
    ("flowcontrol.apiserver.k8s.io", "v1beta2"),
    ("flowcontrol.apiserver.k8s.io", "v1beta3"),
    ("storage.k8s.io", "v1beta1", "csistoragecapacities"),
}
"""Betas from before the rule: on as long as they were there."""

GATES = {
    ("lifecycle.k8s.io", "evictionrequests"): "EvictionRequestAPI",
    ("lifecycle.k8s.io", "evictions"): "EvictionRequestAPI",
    ("scheduling.k8s.io", "compositepodgroups"): "CompositePodGroup",
    ("scheduling.k8s.io", "podgroups"): "GenericWorkload",
    ("scheduling.k8s.io", "workloads"): "GenericWorkload",
}
"""Kinds that are served where their gate is on, whatever ``--runtime-config`` says."""

ALL = {"api/all": ("alpha", "beta", "ga"), "api/ga": ("ga",), "api/beta": ("beta",), "api/alpha": ("alpha",)}


def runtime_config(pairs: Iterable[str]) -> dict[str, bool]:
    """Return ``api/all=true,batch/v2=false`` as a map. Raises ``FlagError``."""
    wanted = {}
    for pair in pairs:
        key, _, value = pair.partition("=")
        if value.lower() not in ("", "true", "false", "1", "0"):
            raise FlagError(f"runtime-config invalid key {key}: invalid value {value!r}".replace("'", '"'))
        wanted[key.removeprefix("apis/")] = value.lower() in ("", "true", "1")
    return wanted


def enabled(resource: Resource, wanted: Mapping[str, bool]) -> bool:
    """Whether a resource is served. The most exact word about it counts."""
    group_version = (resource.group, resource.version)
    name = resource.api_version if resource.group else f"api/{resource.version}"
    for key in (f"{name}/{resource.plural}", name, *(("v1",) if name == "api/v1" else ())):
        if key in wanted:
            return wanted[key]
    level = stage(resource.version)
    for key in (f"api/{level}", "api/all"):
        if key in wanted:
            return wanted[key]
    return level == "ga" or group_version in BETA_ON or (*group_version, resource.plural) in BETA_ON


def gated(resource: Resource, features: FeatureGates) -> Resource | None:
    """Return a resource as the feature gates leave it, None where they switch it off."""
    gate = GATES.get((resource.group, resource.plural))
    if gate is not None and not features.enabled(gate):
        return None
    if (resource.group, resource.plural) == ("", "pods") and not features.enabled("GenericWorkload"):
        return without_group(resource)
    return resource


def without_group(pods: Resource) -> Resource:
    """Return pods that belong to no group: ``schedulingGroup`` is dropped, unless a pod has it from before."""
    prepare = pods.prepare
    assert prepare is not None

    def dropping(new: Object, old: Object | None) -> None:
        spec = new.get("spec")
        if spec and "schedulingGroup" in spec and "schedulingGroup" not in ((old or {}).get("spec") or ()):
            del spec["schedulingGroup"]
        prepare(new, old)

    return replace(pods, prepare=dropping)


def check(wanted: Mapping[str, bool], resources: Iterable[Resource]) -> None:
    """Raise ``FlagError`` for a group version that there is not."""
    known = {resource.api_version if resource.group else "api/v1" for resource in resources} | {"v1", "api/v1", *ALL}
    groups = {name.partition("/")[0] for name in known}
    for key in wanted:
        if "/".join(key.split("/")[:2]) not in known and key.partition("/")[0] not in groups:
            raise FlagError(f"unknown api groups {key.partition('/')[0]}")
