"""The built-in resources: one declaration each, one file per API group (small groups share a file).

A file ends with ``RESOURCES``, a tuple of ``Resource``; adding a kind means adding it there. What a declaration may say is
in ``api/resource.py``. Hooks are pure functions on plain dicts: ``default(obj)``, ``prepare(new, old)``, and ``validate``
as a generator of causes wrapped in ``checking.collect``. Helpers stand by meaning: ``reading`` (nested fields),
``columns`` (cells), ``checking`` (shared validation), ``pod_spec``, ``pod_validation``, ``container_validation``.
"""

from collections.abc import Iterator
from dataclasses import replace

from sampan.api.resource import Resource
from sampan.api.resources import (
    apps,
    authorization,
    autoscaling,
    batch,
    core,
    events,
    extension,
    networking,
    policy,
    storage,
)
from sampan.schema.types import TypeSystem

GROUPS = (core, apps, autoscaling, authorization, batch, events, extension, networking, policy, storage)


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
        yield from group.RESOURCES
