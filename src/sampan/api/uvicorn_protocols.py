"""uvicorn's protocol classes, without the program that uvicorn also is.

``import uvicorn`` brings its command line, logging set-up, reloaders and supervisors: 80 modules, 4 MB in every API and a
tenth of its start. The protocols need none of it, only the names ``Config`` and ``ServerState``, for annotations; so while
they are imported, empty modules stand for what holds the rest, which nobody finds afterwards. Where uvicorn has been
imported already, it is used as it is.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any


@dataclass
class Settings:
    """What the protocols ask of ``uvicorn.config.Config``."""

    loaded_app: Any
    ws_protocol_class: Any
    timeout_keep_alive: int
    ws_max_size: int
    loaded: bool = True
    root_path: str = ""
    asgi_version: str = "3.0"
    limit_concurrency: int | None = None
    reset_contextvars: bool = False
    ws_ping_interval: float | None = 20.0
    ws_ping_timeout: float | None = 20.0
    ws_per_message_deflate: bool = True


@dataclass
class State:
    """What the protocols ask of ``uvicorn.server.ServerState``."""

    total_requests: int = 0
    connections: set[Any] = field(default_factory=set)
    tasks: set[Any] = field(default_factory=set)
    default_headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def ended(self) -> None:
        """A connection has ended (our protocol says so)."""


@contextmanager
def alone() -> Iterator[None]:
    """Let modules of uvicorn be imported without ``uvicorn``, ``uvicorn.config`` and ``uvicorn.server``."""
    spec = importlib.machinery.PathFinder.find_spec("uvicorn")
    if "uvicorn" in sys.modules or spec is None or spec.submodule_search_locations is None:
        yield
        return
    package = ModuleType("uvicorn")
    package.__path__ = list(spec.submodule_search_locations)
    package.__spec__ = spec
    config, server = ModuleType("uvicorn.config"), ModuleType("uvicorn.server")
    config.Config, server.ServerState = Settings, State  # type: ignore[attr-defined]
    stand_ins = {"uvicorn": package, "uvicorn.config": config, "uvicorn.server": server}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]
