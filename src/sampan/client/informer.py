"""A live copy of a resource, for those who read it often.

``run`` (a task of the caller's group, see ``reflector.py``) keeps ``objects`` up to date and calls the handlers in the
order of events. After ``await synced()`` the copy is whole. A list that is read anew is handed to the handlers as its
difference. Objects are shared: copy before changing.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from typing import Literal

from sampan.client.protocol import Client, ResourceType
from sampan.client.reflector import Reflector, key_of
from sampan.schema.objects import Object

__all__ = ["Change", "Handler", "IndexFunction", "Informer", "key_of", "split_key"]

logger = logging.getLogger("sampan.client")

Change = Literal["ADDED", "MODIFIED", "DELETED"]
Handler = Callable[[Change, "Object | None", Object], None]
"""``(change, old, new)``: old is None for ADDED; new is the last state for DELETED."""
IndexFunction = Callable[[Object], Iterable[str]]


def split_key(key: str) -> tuple[str | None, str]:
    """Return ``(namespace, name)`` of a key; the namespace is None where there is none."""
    namespace, slash, name = key.rpartition("/")
    return (namespace if slash else None), name


class Informer(Reflector):
    """A copy of one resource, optionally of one namespace and of what selectors choose."""

    def __init__(
        self,
        client: Client,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> None:
        super().__init__(client, resource, namespace, label_selector=label_selector, field_selector=field_selector)
        self.objects: MutableMapping[str, Object] = {}
        self._handlers: list[Handler] = []
        self._index_functions: dict[str, IndexFunction] = {}
        self._indexes: dict[str, dict[str, dict[str, Object]]] = {}

    # reading

    def get(self, key: str) -> Object | None:
        return self.objects.get(key)

    def all(self) -> list[Object]:
        return list(self.objects.values())

    def __iter__(self) -> Iterator[Object]:
        return iter(self.objects.values())

    def by_index(self, index: str, value: str) -> list[Object]:
        """Return the objects that the index's function gave ``value`` for."""
        return list(self._indexes[index].get(value, {}).values())

    # setting up

    def add_handler(self, handler: Handler) -> None:
        """Call ``handler`` for every change from now on, and ADDED for what is already there."""
        self._handlers.append(handler)
        for obj in self.all():
            handler("ADDED", None, obj)

    def add_index(self, name: str, function: IndexFunction) -> None:
        """Keep the objects findable by the values ``function`` returns for them."""
        if name in self._index_functions:
            return
        self._index_functions[name] = function
        self._indexes[name] = {}
        for key, obj in self.objects.items():
            self._enter(name, key, obj)

    # keeping

    def replace(self, objects: Iterable[Object]) -> None:
        """Take over a whole list: the handlers are told the difference."""
        fresh = {key_of(obj): obj for obj in objects}
        for key in [key for key in self.objects if key not in fresh]:
            self.forget(self.objects[key])
        for obj in fresh.values():
            self.take(obj)

    def take(self, obj: Object) -> None:
        key = key_of(obj)
        old = self.objects.get(key)
        if old is not None and old["metadata"].get("resourceVersion") == obj["metadata"].get("resourceVersion"):
            return
        if old is not None and old["metadata"].get("uid") != obj["metadata"].get("uid"):
            self.forget(old)  # deleted and made anew while nobody looked
            old = None
        self.objects[key] = obj
        for name in self._index_functions:
            if old is not None:
                self._leave(name, key, old)
            self._enter(name, key, obj)
        self._tell("ADDED" if old is None else "MODIFIED", old, obj)

    def forget(self, last: Object) -> None:
        key = key_of(last)
        old = self.objects.pop(key, None)
        if old is None:
            return
        for name in self._index_functions:
            self._leave(name, key, old)
        self._tell("DELETED", old, last)

    def _tell(self, change: Change, old: Object | None, new: Object) -> None:
        for handler in self._handlers:
            try:
                handler(change, old, new)
            except Exception:
                # one object that a handler cannot read must not end the copy that everybody shares
                logger.exception("%s %s: a handler failed", self.resource.plural, key_of(new))

    def _enter(self, index: str, key: str, obj: Object) -> None:
        for value in self._index_functions[index](obj):
            self._indexes[index].setdefault(value, {})[key] = obj

    def _leave(self, index: str, key: str, obj: Object) -> None:
        table = self._indexes[index]
        for value in self._index_functions[index](obj):
            bucket = table.get(value)
            if bucket is not None:
                bucket.pop(key, None)
                if not bucket:
                    del table[value]
