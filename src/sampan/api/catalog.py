"""What is served: every resource with its subresources, found by path or by kind, and changeable at run time.

Resources come in from ``resources/`` at start and from CustomResourceDefinitions later; the registry, discovery and
OpenAPI read them. Several versions of one resource are several ``Resource`` declarations with one storage prefix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sampan.api.request import Handler, StreamHandler
from sampan.api.resource import Resource
from sampan.schema.objects import api_version_of
from sampan.schema.types import Type, TypeSystem
from sampan.store import Watch
from sampan.store.layout import custom_prefix, prefix_of


@dataclass(frozen=True, slots=True)
class Subresource:
    """One subresource beside status and scale. ``handlers`` are keyed by HTTP method; a ``stream`` gets the connection
    itself (exec, log --follow). ``kind`` with ``group`` and ``version`` is what discovery says of its bodies."""

    name: str
    handlers: Mapping[str, Handler] = field(default_factory=dict)
    stream: StreamHandler | None = None
    stream_methods: tuple[str, ...] = ("GET", "POST")
    kind: str = ""
    group: str = ""
    version: str = ""

    @property
    def verbs(self) -> tuple[str, ...]:
        """Kubernetes' verbs, sorted, as discovery lists them."""
        methods = set(self.handlers) | (set(self.stream_methods) if self.stream else set())
        verbs = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
        return tuple(sorted(verbs[method] for method in methods if method in verbs))


class Served:
    """A resource as it is served: the declaration with what every request needs, computed once."""

    __slots__ = (
        "converts",
        "key_prefix",
        "list_head",
        "resource",
        "stored_api_version",
        "subresources",
        "type",
        "view",
        "watches",
    )

    def __init__(self, resource: Resource, type: Type | None) -> None:
        self.resource = resource
        self.type = type
        self.key_prefix = (
            custom_prefix(resource.group, resource.plural) if resource.custom else prefix_of(resource.qualified)
        )
        self.stored_api_version = api_version_of(resource.group, resource.stored_version or resource.version)
        self.view = resource.view
        """How stored objects look in this version of a custom resource; None: as they are stored."""
        self.converts = self.view is None and (
            self.stored_api_version != resource.api_version
            or resource.from_stored is not None
            or resource.to_stored is not None
        )
        self.watches: set[Watch] = set()
        """The watches that are open; they end when the resource changes, so that clients begin anew."""
        self.subresources: dict[str, Subresource] = {}
        self.list_head = (
            f'{{"kind":"{resource.kind}List","apiVersion":"{resource.api_version}","metadata":{{"resourceVersion":"'
        ).encode()

    def key(self, namespace: str, name: str) -> str:
        if self.resource.namespaced:
            return f"{self.key_prefix}{namespace}/{name}"
        return self.key_prefix + name

    def end_watches(self) -> None:
        for watch in tuple(self.watches):
            watch.finish()

    def prefix(self, namespace: str) -> str:
        """Return the prefix of the keys of a namespace, or of all."""
        return f"{self.key_prefix}{namespace}/" if namespace and self.resource.namespaced else self.key_prefix


class Catalog:
    """All served resources of one API server."""

    def __init__(self, types: TypeSystem) -> None:
        self.types = types
        self.generation = 0
        """Rises with every change: discovery and OpenAPI keep what they computed until it does."""
        self._served: dict[tuple[str, str, str], Served] = {}
        self._kinds: dict[tuple[str, str, str], Served] = {}
        self._waiting: dict[tuple[str, str, str], dict[str, Subresource]] = {}
        self._listeners: list[Callable[[], None]] = []

    def add(self, resource: Resource) -> Served:
        """Serve a resource, or serve it anew with another declaration."""
        type = resource.schema
        if type is None and not resource.custom:
            type = self.types.type_for(resource.group, resource.version, resource.kind)
        served = Served(resource, type)
        key = (resource.group, resource.version, resource.plural)
        replaced = self._served.get(key)
        if replaced is not None:
            replaced.end_watches()
        served.subresources = replaced.subresources if replaced else self._waiting.pop(key, {})
        self._served[key] = served
        self._kinds[resource.group, resource.version, resource.kind] = served
        self._changed()
        return served

    def remove(self, group: str, version: str, plural: str) -> None:
        """Stop serving a resource; its objects stay in the store."""
        served = self._served.pop((group, version, plural), None)
        if served is not None:
            self._kinds.pop((group, version, served.resource.kind), None)
            served.end_watches()
            self._changed()

    def subresource(
        self, group: str, version: str, plural: str, name: str, handlers: Mapping[str, Handler], **described: Any
    ) -> None:
        """Serve ``NAME/<name>``: HTTP method → handler. ``described``: kind, group, version of its bodies as
        ``Subresource`` has them (``kind="Eviction", body_group="policy", body_version="v1"``)."""
        self._add_subresource(group, version, plural, _subresource(name, handlers=handlers, **described))

    def stream(
        self,
        group: str,
        version: str,
        plural: str,
        name: str,
        methods: tuple[str, ...],
        handler: StreamHandler,
        **described: Any,
    ) -> None:
        """Serve ``NAME/<name>`` and everything below it by a handler that gets the connection (ASGI). ``handlers`` among
        what is ``described`` answer the clients of this process, which have none."""
        self._add_subresource(
            group, version, plural, _subresource(name, stream=handler, stream_methods=methods, **described)
        )

    def _add_subresource(self, group: str, version: str, plural: str, subresource: Subresource) -> None:
        served = self._served.get((group, version, plural))
        home = served.subresources if served else self._waiting.setdefault((group, version, plural), {})
        home[subresource.name] = subresource
        self._changed()

    def get(self, group: str, version: str, plural: str) -> Served | None:
        return self._served.get((group, version, plural))

    def by_kind(self, group: str, version: str, kind: str) -> Served | None:
        return self._kinds.get((group, version, kind))

    def __iter__(self) -> Iterator[Served]:
        return iter(self._served.values())

    def has_group_version(self, group: str, version: str) -> bool:
        return any(key[:2] == (group, version) for key in self._served)

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` after every change."""
        self._listeners.append(listener)

    def changed(self) -> None:
        """Say that something beside the resources changed that discovery and OpenAPI tell of."""
        self._changed()

    def _changed(self) -> None:
        self.generation += 1
        for listener in self._listeners:
            listener()


def _subresource(name: str, *, body_group: str = "", body_version: str = "", **fields: Any) -> Subresource:
    return Subresource(name, group=body_group, version=body_version, **fields)
