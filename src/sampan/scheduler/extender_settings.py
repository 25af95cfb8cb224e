"""Extenders of a KubeSchedulerConfiguration, read: web services that filter, score or bind pods, or say who makes room, too.

Source: kubescheduler.config.k8s.io v1 (Extender), pkg/scheduler/apis/config/validation (validateExtenders).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.api.flags import duration
from sampan.scheduler.reading import ConfigurationError, known, mapping, number
from sampan.schema.objects import Object

FIELDS = ("urlPrefix", "filterVerb", "preemptVerb", "prioritizeVerb", "bindVerb", "weight", "enableHTTPS", "tlsConfig",
          "httpTimeout", "nodeCacheCapable", "managedResources", "ignorable")  # fmt: skip
TLS_FIELDS = ("insecure", "serverName", "certFile", "keyFile", "caFile", "certData", "keyData", "caData")
TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class ExtenderSpec:
    url_prefix: str
    filter_verb: str = ""
    preempt_verb: str = ""
    prioritize_verb: str = ""
    bind_verb: str = ""
    weight: int = 0
    tls: Object = field(default_factory=dict)
    """``tlsConfig``; files are relative to the configuration's folder."""
    timeout_seconds: float = TIMEOUT_SECONDS
    has_node_cache: bool = False
    """It knows the nodes itself: names are enough."""
    managed_resources: frozenset[str] = frozenset()
    """It has to do with pods that ask for one of them only; empty: with all pods."""
    ignored_by_scheduler: frozenset[str] = frozenset()
    """Those of them that NodeResourcesFit leaves to it."""
    is_ignorable: bool = False
    """Its failures do not fail the pod."""
    directory: Path = field(default_factory=Path)


def extenders_of(found: Any, directory: Path) -> list[ExtenderSpec]:
    """Return the extenders of a configuration. Raises ``ConfigurationError``."""
    specs = [extender_of(one, f"extenders[{index}]", directory) for index, one in enumerate(found or ())]
    binders = sum(1 for one in specs if one.bind_verb)
    if binders > 1:
        raise ConfigurationError(
            f"extenders: Invalid value: found {binders} extenders implementing bind: only one extender can implement bind"
        )
    names = [name for one in specs for name in one.managed_resources]
    if doubled := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f'extenders: Invalid value: duplicate extender managed resource name "{doubled}"')
    return specs


def extender_of(found: Object, at: str, directory: Path) -> ExtenderSpec:
    known(found, FIELDS, f"{at}.")
    prefix = found.get("urlPrefix")
    if not isinstance(prefix, str) or not prefix.startswith(("http://", "https://")):
        raise ConfigurationError(f'{at}.urlPrefix: Invalid value: "{prefix or ""}": must be an http or https URL')
    tls = mapping(found, "tlsConfig", f"{at}.")
    known(tls, TLS_FIELDS, f"{at}.tlsConfig.")
    if found.get("enableHTTPS") and prefix.startswith("http://"):
        prefix = "https://" + prefix.removeprefix("http://")
    weight = number(found, "weight", f"{at}.", 0)
    if found.get("prioritizeVerb") and weight <= 0:
        raise ConfigurationError(f"{at}.weight: Invalid value: {weight}: must have a positive weight applied to it")
    try:
        seconds = float(duration(found["httpTimeout"])) if "httpTimeout" in found else TIMEOUT_SECONDS
    except ValueError as error:
        raise ConfigurationError(f"{at}.httpTimeout: {error}") from None
    managed = resources_of(found.get("managedResources") or (), f"{at}.managedResources")
    return ExtenderSpec(
        url_prefix=prefix.rstrip("/"),
        filter_verb=found.get("filterVerb", ""),
        preempt_verb=found.get("preemptVerb", ""),
        prioritize_verb=found.get("prioritizeVerb", ""),
        bind_verb=found.get("bindVerb", ""),
        weight=weight,
        tls=tls,
        timeout_seconds=seconds or TIMEOUT_SECONDS,
        has_node_cache=bool(found.get("nodeCacheCapable")),
        managed_resources=frozenset(one["name"] for one in managed),
        ignored_by_scheduler=frozenset(one["name"] for one in managed if one.get("ignoredByScheduler")),
        is_ignorable=bool(found.get("ignorable")),
        directory=directory,
    )


def resources_of(found: Sequence[Object], at: str) -> Sequence[Object]:
    for index, one in enumerate(found):
        known(one, ("name", "ignoredByScheduler"), f"{at}[{index}].")
        if "/" not in str(one.get("name") or ""):
            name = one.get("name") or ""
            why = f"{name} is an invalid extended resource name"
            raise ConfigurationError(f'{at}[{index}].name: Invalid value: "{name}": {why}')
    return found
