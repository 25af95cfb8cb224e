"""The built-in resources: one declaration each, one file per API group (small groups share a file).

A file ends with ``RESOURCES``, a tuple of ``Resource``; adding a kind means adding it there. What a declaration may say is
in ``api/resource.py``. Hooks are pure functions on plain dicts: ``default(obj)``, ``prepare(new, old)``, and ``validate``
as a generator of causes wrapped in ``checking.collect``. Helpers stand by meaning: ``reading`` (nested fields),
``columns`` (cells), ``checking`` (shared validation), ``pod_spec``, ``pod_validation``, ``container_validation``.
"""

from collections.abc import Iterator

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

GROUPS = (core, apps, autoscaling, authorization, batch, events, extension, networking, policy, storage)


def declarations() -> Iterator[Resource]:
    """Yield every built-in resource of every Kubernetes version; which of them a version has, its definitions say."""
    for group in GROUPS:
        yield from group.RESOURCES
