"""The built-in resources: one declaration each, one file per API group (small groups share a file).

A file ends with ``RESOURCES``, a tuple of ``Resource``; adding a kind means adding it there. What a declaration may say is
in ``api/resource.py``. Hooks are pure functions on plain dicts: ``default(obj)``, ``prepare(new, old)``, and ``validate``
as a generator of causes wrapped in ``checking.collect``. Helpers stand by meaning: ``reading`` (nested fields),
``columns`` (cells), ``checking`` (shared validation), ``pod_spec``, ``pod_validation``, ``container_validation``.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from sampan.api.feature_gates import FeatureGates
from sampan.api.resource import Resource
from sampan.api.resources import (
    apps,
    authorization,
    autoscaling,
    batch,
    certificates,
    coordination,
    core,
    dynamic_resources,
    enabling,
    events,
    extension,
    flow_control,
    migrations,
    networking,
    pod_certificate_requests,
    policy,
    runtime_classes,
    scheduling,
    storage,
    versions,
)
from sampan.api.resources.updating import as_updated
from sampan.schema.types import TypeSystem

GROUPS = (
    core, apps, autoscaling, authorization, batch, certificates, coordination, dynamic_resources, events, extension,
    flow_control, migrations, networking, pod_certificate_requests, policy, runtime_classes, scheduling, storage,
)  # fmt: skip


def served(
    types: TypeSystem, runtime_config: Iterable[str] = (), features: FeatureGates | None = None
) -> Iterator[Resource]:
    """Yield what an API server of a Kubernetes version serves, given its ``--runtime-config`` and feature gates (their
    defaults). Raises ``FlagError``."""
    features = features or FeatureGates(types.version)
    wanted = enabling.runtime_config(runtime_config)
    found = list(versions.stored_together(of_version(types)))
    enabling.check(wanted, found)
    minor = int(types.version.partition(".")[2])
    for declared in found:
        resource = enabling.gated(declared, features)
        if resource is not None and enabling.enabled(resource, wanted):
            warning = versions.deprecation(resource, minor)
            resource = replace(resource, deprecated=warning) if warning else resource
            yield resource if has_status(types, resource) else replace(resource, status=False)


def has_status(types: TypeSystem, resource: Resource) -> bool:
    """Whether a kind that has a status has one already in this version."""
    name = types.definition_name(resource.group, resource.version, resource.kind)
    return not resource.status or name is None or "status" in types.definitions[name].get("properties", ())


def of_version(types: TypeSystem) -> Iterator[Resource]:
    """Yield the built-in resources that a Kubernetes version has: its definitions say so."""
    minor = int(types.version.partition(".")[2])
    for resource in declarations():
        if types.definition_name(resource.group, resource.version, resource.kind) is None:
            continue
        yield resource if resource.by_version is None else replace(resource, **resource.by_version(minor))


def declarations() -> Iterator[Resource]:
    """Yield every built-in resource of every Kubernetes version."""
    for group in GROUPS:
        yield from map(as_updated, versions.with_others(group.RESOURCES))
