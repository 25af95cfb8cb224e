"""KubeSchedulerConfiguration, read: profiles, their plugins, weights and arguments.

What is not known, or would have no effect here, is refused, with its place in the file. A plugin of one's own is named where
it is enabled, as ``module:Class`` or ``file.py:Class`` (relative to the configuration). Source: kubescheduler.config.k8s.io
v1, pkg/scheduler/apis/config.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sampan.api.flags import duration
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.scheduler.cluster_state import ClusterState
from sampan.scheduler.extender_settings import ExtenderSpec, extenders_of
from sampan.scheduler.framework import Handle, Plugin, defines
from sampan.scheduler.nominations import Nominations
from sampan.scheduler.profile import POINTS, Profile
from sampan.scheduler.queue import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from sampan.scheduler.reading import ConfigurationError, known, mapping, number
from sampan.scheduler.registry import PLUGINS
from sampan.schema.objects import Object

API_VERSION, KIND = "kubescheduler.config.k8s.io/v1", "KubeSchedulerConfiguration"
DEFAULT_SCHEDULER = "default-scheduler"
POINT_NAMES = {
    "preEnqueue": "pre_enqueue", "preFilter": "pre_filter", "filter": "filter", "postFilter": "post_filter",
    "preScore": "pre_score", "score": "score", "reserve": "reserve", "permit": "permit", "preBind": "pre_bind",
    "bind": "bind", "postBind": "post_bind",
}  # fmt: skip
QUEUE_SORT = "PrioritySort"
"""The only way to sort the queue."""
FIELDS = ("apiVersion", "kind", "clientConnection", "leaderElection", "percentageOfNodesToScore",
          "podInitialBackoffSeconds", "podMaxBackoffSeconds", "profiles", "extenders")  # fmt: skip


@dataclass(frozen=True)
class PluginSet:
    """What a profile says of one point: names with weights, and who is switched off."""

    enabled: Sequence[tuple[str, int]] = ()
    disabled: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ProfileSpec:
    scheduler_name: str = DEFAULT_SCHEDULER
    percentage_of_nodes: int | None = None
    plugins: Mapping[str, PluginSet] = field(default_factory=dict)
    """By point, as the file names it; ``multiPoint`` is all of them."""
    args: Mapping[str, Object] = field(default_factory=dict)


@dataclass(frozen=True)
class Election:
    """How the scheduler that works is chosen among several, when it runs by itself."""

    lead: bool = True
    lease_seconds: float = 15.0
    renew_seconds: float = 10.0
    retry_seconds: float = 2.0
    name: str = "kube-scheduler"
    namespace: str = "kube-system"


@dataclass(frozen=True)
class Configuration:
    profiles: Sequence[ProfileSpec] = (ProfileSpec(),)
    percentage_of_nodes: int = 0
    pauses: tuple[float, float] = (FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
    kubeconfig: str = ""
    election: Election = Election()
    extenders: Sequence[ExtenderSpec] = ()
    directory: Path = field(default_factory=Path)
    """Where files of plugins are looked for."""


def read(path: Path) -> Configuration:
    """Return the configuration of a file (YAML or JSON). Raises ``ConfigurationError``, ``OSError``."""
    from sampan.schema import yaml

    try:
        found, doubled = yaml.load(path.read_bytes())
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if doubled:
        raise ConfigurationError(f"{path}: {doubled[0]}")
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: no object")
    return parse(found, path.parent)


def parse(found: Object, directory: Path) -> Configuration:
    """Return the configuration of an object. Raises ``ConfigurationError``."""
    version, kind = found.get("apiVersion"), found.get("kind")
    if (version, kind) != (API_VERSION, KIND):
        raise ConfigurationError(f"apiVersion, kind: {version}, {kind} is not {API_VERSION}, {KIND}")
    known(found, FIELDS, "")
    profiles = [profile_of(one, f"profiles[{index}]") for index, one in enumerate(found.get("profiles") or [{}])]
    names = [one.scheduler_name for one in profiles]
    if double := next((name for name in names if names.count(name) > 1), None):
        raise ConfigurationError(f'profiles: Duplicate value: "{double}"')
    first = number(found, "podInitialBackoffSeconds", "", 1, lowest=1)
    longest = number(found, "podMaxBackoffSeconds", "", 10, lowest=first)
    connection = mapping(found, "clientConnection", "")
    known(connection, ("kubeconfig",), "clientConnection.")
    return Configuration(
        profiles=profiles,
        percentage_of_nodes=number(found, "percentageOfNodesToScore", "", 0, highest=100),
        pauses=(float(first), float(longest)),
        kubeconfig=connection.get("kubeconfig", ""),
        election=election_of(mapping(found, "leaderElection", "")),
        extenders=extenders_of(found.get("extenders"), directory),
        directory=directory,
    )


def election_of(found: Object) -> Election:
    at, default = "leaderElection.", Election()
    known(found, ("leaderElect", "leaseDuration", "renewDeadline", "retryPeriod", "resourceLock", "resourceName",
                  "resourceNamespace"), at)  # fmt: skip
    if found.get("resourceLock", "leases") != "leases":
        raise ConfigurationError(f'{at}resourceLock: Invalid value: "{found["resourceLock"]}": must be "leases"')

    def seconds(name: str, otherwise: float) -> float:
        try:
            return float(duration(found[name])) if name in found else otherwise
        except ValueError as error:
            raise ConfigurationError(f"{at}{name}: {error}") from None

    return Election(
        lead=bool(found.get("leaderElect", True)),
        lease_seconds=seconds("leaseDuration", default.lease_seconds),
        renew_seconds=seconds("renewDeadline", default.renew_seconds),
        retry_seconds=seconds("retryPeriod", default.retry_seconds),
        name=found.get("resourceName", default.name),
        namespace=found.get("resourceNamespace", default.namespace),
    )


def profile_of(found: Object, at: str) -> ProfileSpec:
    known(found, ("schedulerName", "percentageOfNodesToScore", "plugins", "pluginConfig"), f"{at}.")
    name = found.get("schedulerName", DEFAULT_SCHEDULER)
    if not isinstance(name, str) or not name:
        raise ConfigurationError(f"{at}.schedulerName: Required value")
    plugins = mapping(found, "plugins", f"{at}.")
    known(plugins, (*POINT_NAMES, "multiPoint", "queueSort"), f"{at}.plugins.")
    sets = {point: plugin_set(one, f"{at}.plugins.{point}") for point, one in plugins.items()}
    sort = sets.pop("queueSort", PluginSet())
    if any(one != QUEUE_SORT for one, _ in sort.enabled):
        raise ConfigurationError(f"{at}.plugins.queueSort: Unsupported value: only {QUEUE_SORT} can sort the queue")
    percentage = None
    if "percentageOfNodesToScore" in found:
        percentage = number(found, "percentageOfNodesToScore", f"{at}.", 0, highest=100)
    return ProfileSpec(name, percentage, sets, args_of(found.get("pluginConfig") or (), f"{at}.pluginConfig"))


def plugin_set(found: object, at: str) -> PluginSet:
    if not isinstance(found, dict):
        raise ConfigurationError(f"{at}: expected an object")
    known(found, ("enabled", "disabled"), f"{at}.")
    for kind in ("enabled", "disabled"):
        for index, one in enumerate(found.get(kind) or ()):
            known(one, ("name", "weight"), f"{at}.{kind}[{index}].")
            if not one.get("name"):
                raise ConfigurationError(f"{at}.{kind}[{index}].name: Required value")
    enabled = [
        (one["name"], number(one, "weight", f"{at}.enabled[{index}].", 0, highest=2**31 // 100))
        for index, one in enumerate(found.get("enabled") or ())
    ]
    return PluginSet(enabled, frozenset(one["name"] for one in found.get("disabled") or ()))


def args_of(found: Sequence[Object], at: str) -> dict[str, Object]:
    args: dict[str, Object] = {}
    for index, one in enumerate(found):
        known(one, ("name", "args"), f"{at}[{index}].")
        name = one.get("name")
        if not name:
            raise ConfigurationError(f"{at}[{index}].name: Required value")
        if name in args:
            raise ConfigurationError(f'{at}[{index}]: Duplicate value: "{name}"')
        args[name] = one.get("args") or {}
    return args


def embedded(configuration: Configuration) -> Configuration:
    """Return the configuration if a cluster's own scheduler can use it: who leads and which cluster it is are settled there.
    Raises ``ConfigurationError``."""
    if configuration.kubeconfig:
        raise ConfigurationError("clientConnection.kubeconfig: it would have no effect in the cluster's own scheduler")
    if configuration.election != Election():
        raise ConfigurationError("leaderElection: it would have no effect: who runs the API runs its scheduler")
    return configuration


def profiles_of(configuration: Configuration) -> list[Profile]:
    """Return the profiles as they would be made, over a cluster without nodes: to say what is wrong before anything starts.
    Raises ``ConfigurationError``."""
    client: Any = NoClient()
    handle = Handle(
        client, lambda resource: Informer(client, resource), EventRecorder(client, ""), ClusterState(), Nominations(),
        lambda work, name: work.close(), lambda key: None, lambda key: None,
    )  # fmt: skip
    return [build(spec, configuration, handle) for spec in configuration.profiles]


class NoClient:
    """Of a scheduler that never runs."""

    streams_lists = False


# the plugins of a profile


def build(spec: ProfileSpec, configuration: Configuration, handle: Handle) -> Profile:
    """Return a profile with its plugins made. Raises ``ConfigurationError``."""
    classes: dict[str, type[Plugin]] = {plugin.name: plugin for plugin, _ in PLUGINS}
    weights = {plugin.name: weight for plugin, weight in PLUGINS}
    aliases = {name: of_user(name, configuration.directory, classes) for name in named(spec) if ":" in name}
    chosen = {point: list(of_point(spec, point, aliases, weights)) for point in POINT_NAMES}
    at = f"profile {spec.scheduler_name}"
    for name in (*named(spec), *spec.args):
        if aliases.get(name, name) not in (*classes, QUEUE_SORT, "*"):
            raise ConfigurationError(f'{at}: plugin "{name}" does not exist')
    args = {aliases.get(name, name): value for name, value in spec.args.items()}
    if ignored := sorted(name for one in configuration.extenders for name in one.ignored_by_scheduler):
        fit = args.get("NodeResourcesFit", {})
        args["NodeResourcesFit"] = {**fit, "ignoredResources": [*(fit.get("ignoredResources") or ()), *ignored]}
    wanted = dict.fromkeys(name for names in chosen.values() for name, _ in names)
    plugins = {name: made(classes[name], args.get(name, {}), handle, at) for name in wanted}
    enabled: dict[str, list[Plugin]] = {}
    for point, names in chosen.items():
        attribute = POINT_NAMES[point]
        explicit = {aliases.get(name, name) for name, _ in spec.plugins.get(point, PluginSet()).enabled}
        for name, weight in names:
            has = defines(plugins[name], attribute) or (attribute == "score" and defines(plugins[name], "scores"))
            if has:
                enabled.setdefault(attribute, []).append(plugins[name])
                if attribute == "score" and weight:
                    weights[name] = weight
            elif name in explicit:
                raise ConfigurationError(f'{at}: plugin "{name}" does not extend {point}')
    if not enabled.get("bind"):
        raise ConfigurationError(f"{at}: at least one bind plugin is needed")
    percentage = spec.percentage_of_nodes
    assert set(enabled) <= set(POINTS)
    return Profile(
        spec.scheduler_name,
        enabled,
        {name: weights.get(name) or 1 for name in plugins},
        handle.nominations,
        configuration.percentage_of_nodes if percentage is None else percentage,
    )


def named(spec: ProfileSpec) -> Iterator[str]:
    for one in spec.plugins.values():
        yield from (name for name, _ in one.enabled)
        yield from one.disabled


def of_point(
    spec: ProfileSpec, point: str, aliases: Mapping[str, str], weights: Mapping[str, int]
) -> Iterator[tuple[str, int]]:
    """Yield the plugins of a point with their weights: those that replace one of the many-point list, that list, then the
    others that the point names."""
    many, own = spec.plugins.get("multiPoint", PluginSet()), spec.plugins.get(point, PluginSet())
    off = {aliases.get(name, name) for name in many.disabled}
    general = (
        {} if "*" in off else {plugin.name: weights[plugin.name] for plugin, _ in PLUGINS if plugin.name not in off}
    )
    general |= {aliases.get(name, name): weight for name, weight in many.enabled}
    special = {aliases.get(name, name): weight for name, weight in own.enabled}
    switched_off = {aliases.get(name, name) for name in own.disabled}
    yield from ((name, weight or general[name]) for name, weight in special.items() if name in general)
    if "*" not in switched_off:
        rest = ((name, weight) for name, weight in general.items() if name not in special)
        yield from ((name, weight) for name, weight in rest if name not in switched_off)
    yield from ((name, weight) for name, weight in special.items() if name not in general)


def made(plugin: type[Plugin], args: Object, handle: Handle, at: str) -> Plugin:
    """Return a plugin with its arguments, defaults filled in. Raises ``ConfigurationError``."""
    at = f'{at}: args of plugin "{plugin.name}"'
    given = {name: value for name, value in args.items() if name not in ("apiVersion", "kind")}
    known(given, tuple(plugin.ARGS), f"{at}: ")
    whole = {**plugin.ARGS, **given}
    try:
        plugin.check(whole)
        # one handle each: it knows the profile's own filters
        return plugin(whole, handle)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{at}: {error}") from error


def of_user(name: str, directory: Path, classes: dict[str, type[Plugin]]) -> str:
    """Import a plugin named ``module:Class`` or ``file.py:Class``, add it to ``classes``; return its own name."""
    where, _, attribute = name.rpartition(":")
    try:
        if where.endswith(".py"):
            module: Any = of_file((directory / where).resolve())
        else:
            module = importlib.import_module(where)
        found = getattr(module, attribute)
    except (ImportError, AttributeError, OSError, SyntaxError) as error:
        raise ConfigurationError(f'plugin "{name}" cannot be imported: {error}') from error
    if not (isinstance(found, type) and issubclass(found, Plugin) and found.name):
        raise ConfigurationError(f'plugin "{name}" is no named subclass of sampan.scheduler.framework.Plugin')
    if classes.setdefault(found.name, found) is not found:
        raise ConfigurationError(f'plugin "{name}": there is a plugin "{found.name}" already')
    return found.name


def of_file(path: Path) -> Any:
    module_name = f"sampan_scheduler_plugin_{abs(hash(str(path)))}"
    if module_name in sys.modules:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[module_name] = module
    return module
