"""The stage of the pipeline that keeps translations: what is in the world for them, and for whom a shared Gateway listens."""

from __future__ import annotations

from collections.abc import Callable

from sampan.gateway.ingress.shared import Wish, gateway_key, grant, shared_gateway
from sampan.gateway.ingress.translation import Translation, translated
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

Put = Callable[[str, str, "Object | None"], None]
Source = tuple[str, str]


class Ingresses:
    """Translations by their source, ``(kind, key)``."""

    def __init__(self, world: World, put: Put) -> None:
        self._world, self._put = world, put
        self.translations: dict[Source, Translation] = {}
        self._wishes: dict[str, dict[Source, tuple[tuple[str, str, str], tuple[Wish, ...]]]] = {}
        """Class → source → its age, and the listeners it wants."""
        self._secrets: dict[str, dict[Source, frozenset[str]]] = {}
        """Namespace → source → the Secrets of its certificates."""

    def translate(self, kind: str, key: str) -> None:
        """Bring what an Ingress or IngressRoute comes to into the world."""
        source = kind, key
        old, new = self.translations.get(source), translated(self._world, kind, key)
        if old == new:
            return
        if new is not None:
            self.translations[source] = new
        else:
            del self.translations[source]
        before, after = old.objects if old else {}, new.objects if new else {}
        for name in before.keys() - after.keys():
            self._put(*name, None)
        for name, obj in after.items():
            self._put(*name, obj)
        self._world.put("Translation", source, new)
        self._world.dirty.add(("status", kind, key))
        if old is not None and (new is None or new.ingress_class != old.ingress_class):
            self._wish(old.ingress_class, source, None)
        if new is not None:
            self._wish(new.ingress_class, source, new)
        self._permit(source, new)

    def _wish(self, ingress_class: str, source: Source, translation: Translation | None) -> None:
        wishes = self._wishes.setdefault(ingress_class, {})
        before = wishes.get(source)
        if translation is not None and translation.wishes:
            wishes[source] = translation.age, translation.wishes
        else:
            wishes.pop(source, None)
        if wishes.get(source) != before:
            self._world.dirty.add(("shared", ingress_class))

    def _permit(self, source: Source, translation: Translation | None) -> None:
        """Let the shared Gateways show the certificates that are named, and no others."""
        namespace = source[1].partition("/")[0]
        users = self._secrets.setdefault(namespace, {})
        names = frozenset(name for wish in (translation.wishes if translation else ()) for _, name in wish.secrets)
        if users.get(source, frozenset()) == names:
            return
        users[source] = names
        every = {name for entry in users.values() for name in entry}
        obj = grant(namespace, every)
        self._put("ReferenceGrant", f"{namespace}/{obj['metadata']['name']}", obj if every else None)

    def share(self, ingress_class: str) -> None:
        """Bring the Gateway of a class into the world, the listeners of the oldest source first."""
        found = self._world.get("IngressClass", ingress_class)
        wishes = [wish for _, ours in sorted(self._wishes.get(ingress_class, {}).values()) for wish in ours]
        gateway_class = self._world.surroundings.gateway_class
        gateway = shared_gateway(found, wishes, gateway_class) if found is not None and wishes else None
        self._put("Gateway", gateway_key(ingress_class), gateway)
