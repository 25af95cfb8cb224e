"""Processors in Envoy's process: a configuration of the filter for each listener that names a plugin, and one processor with
one socket for its counters for all of them. What it has counted is told until another version of the plugin is called: with
none to call it, its process is asked (a slow plugin has come beside it), and may be called again.

Envoy loads the object that ``trampolines.py`` writes, and that imports this module. Source: Envoy's dynamic module ABI.
"""

from __future__ import annotations

import ctypes
import json
import sys
import traceback
from collections.abc import Mapping
from ctypes import CFUNCTYPE, c_size_t
from typing import Any

from sampan.gateway.plugins import envoy_messages, inline
from sampan.gateway.plugins.called import Called
from sampan.gateway.plugins.counters import Counters
from sampan.gateway.plugins.counters_socket import CountersSocket
from sampan.gateway.plugins.host import processor_of
from sampan.gateway.plugins.machine import SLOTS
from sampan.gateway.plugins.trampolines import SLOT_TABLE


class Hosted:
    """A version of a plugin. ``users``: how many configurations Envoy has of it."""

    def __init__(self, said: Mapping[str, Any]) -> None:
        deployment = said["deployment"]
        counters = Counters(deployment["key"], said["version"])
        self.called = Called(processor_of(said["package"], deployment), deployment, counters)
        self.path: str = said["counters"]
        self.socket = CountersSocket(self.path, counters)
        self.users = 0


HOSTED: dict[str, Hosted] = {}
"""Package → what this process has made of it: several listeners may have a configuration each."""
PACKAGES: dict[int, str] = {}
"""Configuration → package."""
MOST_UNUSED = 64
"""Of plugins that are gone nothing else is heard."""


def config_new(_: int, name: int, name_size: int, config: int, config_size: int) -> int:
    """Return a configuration; 0, so that Envoy refuses it, where the plugin cannot be had."""
    try:
        said = json.loads(ctypes.string_at(config, config_size))
        package = said["package"]
        hosted = HOSTED.get(package) or HOSTED.setdefault(package, Hosted(said))
        hosted.users += 1
        address = ctypes.addressof(hosted.called.memory)
        PACKAGES[address] = package
        forget()
        return address
    except Exception:
        traceback.print_exc()
        return 0


def config_destroy(configuration: int) -> None:
    if (package := PACKAGES.get(configuration)) is None:
        return
    HOSTED[package].users -= 1
    if not HOSTED[package].users:
        del PACKAGES[configuration]
        HOSTED[package] = HOSTED.pop(package)  # the last of those that are not used
        forget()


def forget() -> None:
    """Forget what is not used, of a plugin of which there is another version, or where there is too much of it."""
    unused = [package for package, hosted in HOSTED.items() if not hosted.users]
    paths = [hosted.path for hosted in HOSTED.values()]
    for number, package in enumerate(unused, 1):
        if paths.count(HOSTED[package].path) > 1 or len(unused) - number >= MOST_UNUSED:
            paths.remove(HOSTED[package].path)
            HOSTED.pop(package).socket.close()


EVENTS: dict[str, Any] = {
    "config_new": CFUNCTYPE(c_size_t, *[c_size_t] * 5)(config_new),
    "config_destroy": CFUNCTYPE(None, c_size_t)(config_destroy),
}


def attach(path: str) -> None:
    """Fill the slots of an object that Envoy is loading. It stays loaded: its slots lead here for good."""
    library = ctypes.PyDLL(path)
    envoy_messages.attach(library)
    slots = (ctypes.c_void_p * len(SLOTS)).in_dll(library, SLOT_TABLE)
    for number, slot in enumerate(SLOTS):
        slots[number] = ctypes.cast(EVENTS[slot], ctypes.c_void_p).value
    sys.setswitchinterval(inline.SWITCH_SECONDS)
