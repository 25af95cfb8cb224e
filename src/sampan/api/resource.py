"""A resource is one declaration: everything the API needs to know to serve it.

The smallest example::

    Resource(group="", version="v1", kind="ConfigMap", plural="configmaps", short_names=("cm",),
             columns=(Column("Name", ".metadata.name"), Column("Data", data_count, type="integer"), AGE))

Hooks receive whole objects (plain dicts) and change them in place or return errors; they never do I/O. What needs the
store (allocating a ClusterIP, checking a quota) is an admission plugin, not a hook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.schema.causes import Cause as Cause
from sampan.schema.objects import Object, api_version_of


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ``kubectl get``: ``value`` is a JSONPath or a function; priority 1 shows with -o wide."""

    name: str
    value: str | Callable[[Object], Any]
    type: str = "string"
    format: str = ""
    description: str = ""
    priority: int = 0


Default = Callable[[Object], None]
"""Fills an object's defaults in place, before admission and validation."""

Prepare = Callable[[Object, Object | None], None]
"""Strategy: ``(new, old)``; resets what the caller may not set, in place. ``old`` is None on create."""

Validate = Callable[[Object, Object | None], list[Cause]]
"""Returns why ``new`` is refused; ``old`` is None on create. Immutability is checked here."""

Warn = Callable[[Object, Object | None], Iterable[str]]
"""Returns what a client should hear although the write is fine; ``old`` is None on create."""

FieldGetter = Callable[[Object], str]


@dataclass(frozen=True)
class Resource:
    """One resource of one group and version."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    singular: str = ""
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")
    columns: tuple[Column, ...] = ()
    status: bool = False
    """Whether ``/status`` exists; then status is ignored on the main path and everything else on ``/status``."""
    status_on_create: bool = False
    """Whether the status given with a create is kept (Nodes register with theirs)."""
    scale: Mapping[str, str] | None = None
    """JSONPaths ``specReplicasPath``, ``statusReplicasPath``, ``labelSelectorPath`` as in a CRD."""
    generation: bool = True
    """Whether metadata.generation counts changes of the spec (everything but metadata and status)."""
    default: Default | None = None
    prepare: Prepare | None = None
    validate: Validate | None = None
    prepares: Mapping[str, Prepare] = field(default_factory=dict)
    """``prepare`` of a subresource (``status``, ``resize``): what a write there may not touch; none without an entry."""
    validates: Mapping[str, Validate] = field(default_factory=dict)
    """``validate`` of a subresource; without an entry the object's own ``validate`` judges the whole."""
    warn: Warn | None = None
    """Warnings of a create or update that is accepted."""
    deprecated: str = ""
    """The warning that every request for it is answered with (``v1 Endpoints is deprecated in v1.33+; …``)."""
    trusts_definition: bool = True
    """Whether what its OpenAPI definition calls required is checked; off where ``validate`` says it all itself."""
    by_version: Callable[[int], Mapping[str, Any]] | None = None
    """What this declaration is in the Kubernetes version 1.N where it differs: N → fields to replace."""
    name_is: str = "subdomain"
    """How names are checked: ``subdomain`` (RFC 1123), ``label`` (RFC 1123), ``label1035``, ``path`` (path segment),
    ``key`` (as the keys of a ConfigMap)."""
    field_selectors: Mapping[str, FieldGetter] = field(default_factory=dict)
    """Selectable fields beside metadata.name and metadata.namespace."""
    graceful: Callable[[Object, int | None], int] | None = None
    """For resources deleted gracefully: ``(object, asked seconds) -> grace period``; 0 deletes at once."""
    held: Callable[[Object], bool] | None = None
    """Whether something beside metadata.finalizers keeps a deleted object (a Namespace's spec.finalizers)."""
    mark_deleted: Callable[[Object], None] | None = None
    """Changes an object in place when its deletion begins (a Namespace's phase becomes Terminating)."""
    returns_deleted: bool = False
    """Whether DELETE answers with the object instead of a ``Status`` (pods, services, persistentvolumeclaims, …)."""
    unconditional_update: bool = True
    """Whether an update without resourceVersion is allowed (never for custom resources)."""
    created_by_update: bool = False
    """Whether an update of what does not exist creates it."""
    stored_version: str = ""
    """The version its objects are stored in, where that is another one; versions share storage. ``""``: its own."""
    to_stored: Callable[[Object], None] | None = None
    from_stored: Callable[[Object], None] | None = None
    """Convert between this version and the stored one in place, apiVersion aside; None: only apiVersion differs."""
    expires: bool = False
    """Whether its objects go by themselves, ``--event-ttl`` after they were last written (Events)."""
    custom: bool = False
    """Whether a CRD made it: strategic merge is refused and its schema comes from the CRD."""
    view: Any = None
    """For custom resources: the ``stored_versions.VersionView`` that objects are read and written through, if any."""
    schema: Any = None
    """The compiled type that decodes, defaults and prunes it (``sampan.schema``); None: found by group-version-kind."""

    @property
    def api_version(self) -> str:
        return api_version_of(self.group, self.version)

    @property
    def qualified(self) -> str:
        """``deployments.apps``: how messages name the resource."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def needs_version(self) -> bool:
        """Whether an update without resourceVersion is refused."""
        return self.custom or not self.unconditional_update
