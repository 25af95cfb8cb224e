"""What Envoy says of the versions of plugins, and what it is sent instead of one that it refused.

Envoy keeps the configuration of a discovered filter that it refused: the same once more is acknowledged without a look, and
every listener that names the filter is refused from then on, whoever changed it. So each goes alone (``ads.py``), and after a
refusal Envoy gets something that it takes: the version before; for a plugin that it will not call itself, what asks it.
Source: tried with Envoy 1.39 (``FilterConfigSubscription``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sampan.gateway.filters.hook import MODULE_FILTER, question_name
from sampan.gateway.filters.processing import exchange_name, filter_name
from sampan.gateway.model.world import World
from sampan.gateway.xds.types import EXTENSION

if TYPE_CHECKING:
    from sampan.gateway.plugins.loader import Loaded


@dataclass
class Sent:
    """A version on its way to Envoy."""

    loaded: Loaded
    number: int
    """The push that it goes with."""
    names: dict[str, bool]
    """Filters that Envoy has not answered to; whether Envoy calls them."""


class JudgedPlugins:
    """Puts into the world: ``TakenPlugin`` (the version that Envoy has, ``Loaded``), ``RefusedPlugin`` (the name of one that
    it refused, with its words), ``NotCalled`` (that of one that it will not call itself, with its words)."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._sent: dict[str, Sent] = {}
        self._keys: dict[str, str] = {}
        """Filter → plugin."""

    def sent(self, key: str, loaded: Loaded | None, changed: dict[str, dict[str, Any] | None], number: int) -> None:
        """Hear which filters of a plugin change with a push (None: it is gone)."""
        there = {name: message for name, message in changed.items() if message is not None}
        if loaded is None or (loaded.socket and loaded.kind != "processor"):
            self._sent.pop(key, None)
            self._world.put("TakenPlugin", key, None)
        elif not there:
            self._same(key, loaded)
        else:
            self._keys |= dict.fromkeys(there, key)
            names = {name: message["typed_config"]["@type"] == MODULE_FILTER for name, message in there.items()}
            self._sent[key] = Sent(loaded, number, names)

    def _same(self, key: str, loaded: Loaded) -> None:
        """Hear of a version whose filters are those of the one before: what Envoy says of that, or has said, holds."""
        if (sent := self._sent.get(key)) is not None:
            sent.loaded = loaded
            return
        names = (filter_name(key), question_name(key), exchange_name(key))
        if self._world.get("TakenPlugin", key) and not any(self._world.get("Refusal", (EXTENSION, n)) for n in names):
            self._world.put("TakenPlugin", key, loaded)

    def answered(self, name: str, number: int, text: str) -> None:
        """Take Envoy's answer to a filter; ``number``: the last push that it is about."""
        key = self._keys.get(name, "")
        sent = self._sent.get(key)
        if sent is None or number < sent.number or name not in sent.names:
            return
        called = sent.names.pop(name)
        if text and called and name in (question_name(key), exchange_name(key)):
            self._world.put("NotCalled", key, (sent.loaded.version, text))
        elif text:
            self._world.put("RefusedPlugin", key, (sent.loaded.version, text))
        elif not sent.names:
            del self._sent[key]
            self._world.put("TakenPlugin", key, sent.loaded)
