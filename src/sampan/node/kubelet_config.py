"""The settings of the kubelet: KubeletConfiguration (kubelet.config.k8s.io/v1beta1), as far as this node honours it.

In: the mapping of a file of ``sampan up --kubelet-config``. Out: ``KubeletConfig``, each field with its default. A field
that is not honoured is refused by name: no setting is read and ignored. Defaults are Kubernetes' own but for those that say
why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"
SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "pid.available",
)
CPU_POLICIES = ("none", "static")
MEMORY_POLICIES = ("None", "Static")
TOPOLOGY_POLICIES = ("none", "best-effort", "restricted", "single-numa-node")
TOPOLOGY_SCOPES = ("container", "pod")
RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")


class ConfigFault(ValueError):
    """A field that there is not, or whose value is none of its kind; the message names it."""


@dataclass(frozen=True)
class KubeletConfig:
    # how much
    max_pods: int = 250
    """More than Kubernetes' 110: the node is the whole cluster, and its range has room."""
    pod_pids_limit: int = -1
    cpu_manager_policy: str = "none"
    memory_manager_policy: str = "None"
    reserved_memory: tuple[Object, ...] = ()
    """What of each NUMA node's memory is not for pods, where ``memory_manager_policy`` is Static."""
    topology_manager_policy: str = "none"
    topology_manager_scope: str = "container"
    """On one NUMA node the scopes refuse the same pods."""
    system_reserved: Mapping[str, str] = field(default_factory=dict)
    kube_reserved: Mapping[str, str] = field(default_factory=lambda: {"memory": "156Mi"})
    """What the cluster's own processes take."""
    allowed_unsafe_sysctls: tuple[str, ...] = ()
    register_with_taints: tuple[Object, ...] = ()
    seccomp_default: bool = False
    static_pod_path: str = ""
    resolv_conf: str = "/etc/resolv.conf"

    # images
    serialize_image_pulls: bool = False
    """Kubernetes' default is true; pulls of different images side by side are what its own tools set."""
    max_parallel_image_pulls: int = 0
    image_gc_high_threshold_percent: int = 95
    image_gc_low_threshold_percent: int = 90
    """Higher than Kubernetes' 85 and 80: the disk is a laptop's, and others fill it."""
    image_minimum_gc_age: float = 120.0
    image_maximum_gc_age: float = 0.0

    # logs and dead containers
    container_log_max_size: int = 10 << 20
    container_log_max_files: int = 5

    # eviction
    eviction_hard: Mapping[str, str] = field(
        default_factory=lambda: {
            "memory.available": "100Mi",
            "nodefs.available": "5%",
            "nodefs.inodesFree": "5%",
            "imagefs.available": "5%",
        }
    )
    """Kubernetes evicts at 10 % (15 % of images); a laptop's disk is often fuller and well."""
    eviction_soft: Mapping[str, str] = field(default_factory=dict)
    eviction_soft_grace_period: Mapping[str, float] = field(default_factory=dict)
    eviction_max_pod_grace_period: int = 0
    eviction_minimum_reclaim: Mapping[str, str] = field(default_factory=dict)
    eviction_pressure_transition_period: float = 300.0

    # restarts and times
    crash_loop_back_off_max: float = 300.0
    """``crashLoopBackOff.maxContainerRestartPeriod``."""
    node_status_report_frequency: float = 300.0
    node_lease_duration_seconds: int = 40

    # the end
    shutdown_grace_period: float = 0.0
    shutdown_grace_period_critical_pods: float = 0.0
    shutdown_grace_period_by_pod_priority: tuple[Object, ...] = ()


def whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("a whole number")
    return value


def flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text")
    return value


def seconds(value: Any) -> float:
    from sampan.schema.cel.conversions import parse_duration

    nanoseconds = parse_duration(value) if isinstance(value, str) else None
    if nanoseconds is None or nanoseconds < 0:
        raise ValueError("a duration like 5m0s")
    return nanoseconds / 1e9


def size(value: Any) -> int:
    try:
        return parse(str(value)).value()
    except QuantityError:
        raise ValueError("an amount like 10Mi") from None


def percent(value: Any) -> int:
    if not 0 <= whole(value) <= 100:
        raise ValueError("a number from 0 to 100")
    return int(value)


def thresholds(value: Any) -> dict[str, str]:
    """Return signal → amount or percentage."""
    if not isinstance(value, dict):
        raise ValueError("signals with amounts")
    for signal, amount in value.items():
        if signal not in SIGNALS:
            raise ValueError(f"signals of {', '.join(SIGNALS)}; not {signal}")
        if not re.fullmatch(r"\d+(\.\d+)?%", str(amount)):
            size(amount)
    return {signal: str(amount) for signal, amount in value.items()}


def periods(value: Any) -> dict[str, float]:
    if not isinstance(value, dict) or not set(value) <= set(SIGNALS):
        raise ValueError("signals with durations")
    return {signal: seconds(period) for signal, period in value.items()}


def reserved(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not set(value) <= set(RESERVABLE):
        raise ValueError(f"amounts of {', '.join(RESERVABLE)}")
    for amount in value.values():
        size(amount)
    return {name: str(amount) for name, amount in value.items()}


def one_of(*names: str) -> Callable[[Any], str]:
    def read_one(value: Any) -> str:
        if value not in names:
            raise ValueError(f"one of {', '.join(names)}")
        return str(value)

    return read_one


def reservations(value: Any) -> tuple[Object, ...]:
    what = "a list of numaNode and limits (memory, hugepages-SIZE), none zero and none twice"
    seen: set[tuple[int, str]] = set()
    if not isinstance(value, list) or not all(
        isinstance(one, dict) and set(one) == {"numaNode", "limits"} for one in value
    ):
        raise ValueError(what)
    for one in value:
        if not isinstance(one["limits"], dict):
            raise ValueError(what)
        for name, amount in one["limits"].items():
            is_known = name == "memory" or name.startswith("hugepages-")
            if not is_known or size(amount) <= 0 or (whole(one["numaNode"]), name) in seen:
                raise ValueError(what)
            seen.add((one["numaNode"], name))
    return tuple(value)


def texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
        raise ValueError("a list of texts")
    return tuple(value)


def taints(value: Any) -> tuple[Object, ...]:
    if not isinstance(value, list) or not all(isinstance(t, dict) and t.get("key") and t.get("effect") for t in value):
        raise ValueError("a list of taints with key and effect")
    return tuple(value)


def phases(value: Any) -> tuple[Object, ...]:
    names = {"priority", "shutdownGracePeriodSeconds"}
    if not isinstance(value, list) or not all(isinstance(one, dict) and set(one) == names for one in value):
        raise ValueError("a list of priority and shutdownGracePeriodSeconds")
    if any(whole(one["shutdownGracePeriodSeconds"]) < 0 or whole(one["priority"]) is None for one in value):
        raise ValueError("a list with shutdownGracePeriodSeconds of 0 or more")
    return tuple(value)


def longest_restart(value: Any) -> float:
    if not isinstance(value, dict) or set(value) != {"maxContainerRestartPeriod"}:
        raise ValueError("maxContainerRestartPeriod: a duration from 1s to 5m")
    period = seconds(value["maxContainerRestartPeriod"])
    if not 1 <= period <= 300:
        raise ValueError("maxContainerRestartPeriod: a duration from 1s to 5m")
    return period


FIELDS: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "maxPods": ("max_pods", whole),
    "podPidsLimit": ("pod_pids_limit", whole),
    "systemReserved": ("system_reserved", reserved),
    "cpuManagerPolicy": ("cpu_manager_policy", one_of(*CPU_POLICIES)),
    "memoryManagerPolicy": ("memory_manager_policy", one_of(*MEMORY_POLICIES)),
    "reservedMemory": ("reserved_memory", reservations),
    "topologyManagerPolicy": ("topology_manager_policy", one_of(*TOPOLOGY_POLICIES)),
    "topologyManagerScope": ("topology_manager_scope", one_of(*TOPOLOGY_SCOPES)),
    "kubeReserved": ("kube_reserved", reserved),
    "allowedUnsafeSysctls": ("allowed_unsafe_sysctls", texts),
    "registerWithTaints": ("register_with_taints", taints),
    "seccompDefault": ("seccomp_default", flag),
    "staticPodPath": ("static_pod_path", text),
    "resolvConf": ("resolv_conf", text),
    "serializeImagePulls": ("serialize_image_pulls", flag),
    "maxParallelImagePulls": ("max_parallel_image_pulls", whole),
    "imageGCHighThresholdPercent": ("image_gc_high_threshold_percent", percent),
    "imageGCLowThresholdPercent": ("image_gc_low_threshold_percent", percent),
    "imageMinimumGCAge": ("image_minimum_gc_age", seconds),
    "imageMaximumGCAge": ("image_maximum_gc_age", seconds),
    "containerLogMaxSize": ("container_log_max_size", size),
    "containerLogMaxFiles": ("container_log_max_files", whole),
    "evictionHard": ("eviction_hard", thresholds),
    "evictionSoft": ("eviction_soft", thresholds),
    "evictionSoftGracePeriod": ("eviction_soft_grace_period", periods),
    "evictionMaxPodGracePeriod": ("eviction_max_pod_grace_period", whole),
    "evictionMinimumReclaim": ("eviction_minimum_reclaim", thresholds),
    "evictionPressureTransitionPeriod": ("eviction_pressure_transition_period", seconds),
    "crashLoopBackOff": ("crash_loop_back_off_max", longest_restart),
    "nodeStatusReportFrequency": ("node_status_report_frequency", seconds),
    "nodeLeaseDurationSeconds": ("node_lease_duration_seconds", whole),
    "shutdownGracePeriod": ("shutdown_grace_period", seconds),
    "shutdownGracePeriodCriticalPods": ("shutdown_grace_period_critical_pods", seconds),
    "shutdownGracePeriodByPodPriority": ("shutdown_grace_period_by_pod_priority", phases),
}
"""KubeletConfiguration's name → ours, and what reads it (or says what it must be)."""
FIXED: dict[str, tuple[Any, ...]] = {
    "cgroupDriver": ("cgroupfs",),
    "cgroupsPerQOS": (True,),
    "cpuCFSQuota": (True,),
    "failSwapOn": (False,),
    "memorySwap": ({}, {"swapBehavior": ""}, {"swapBehavior": "NoSwap"}),
}
"""Fields that may be given, as this node is always as they then say."""


def reserved_cpus(config: KubeletConfig) -> int:
    """Return how many whole CPUs the system keeps by the policy ``static``; 0: the policy is ``none``."""
    if config.cpu_manager_policy != "static":
        return 0
    milli = sum(parse(holder.get("cpu", "0")).milli() for holder in (config.system_reserved, config.kube_reserved))
    return int(-(-milli // 1000))


def read(document: Mapping[str, Any]) -> KubeletConfig:
    """Return the settings of a KubeletConfiguration. Raises ``ConfigFault``."""
    given = dict(document)
    for key, expected in (("apiVersion", API_VERSION), ("kind", KIND)):
        if (found := given.pop(key, expected)) != expected:
            raise ConfigFault(f"{key} is {found!r}, not {expected}")
    made: dict[str, Any] = {}
    for name, value in given.items():
        if name in FIXED:
            if value not in FIXED[name]:
                raise ConfigFault(f"{name} must be {FIXED[name][-1]!r}: this node has nothing else; not {value!r}")
            continue
        if name not in FIELDS:
            raise ConfigFault(f"{name} is no field that this node honours")
        ours, reader = FIELDS[name]
        try:
            made[ours] = reader(value)
        except ValueError as error:
            raise ConfigFault(f"{name} must be {error}; not {value!r}") from None
    config = KubeletConfig(**made)
    check(config)
    return config


def check(config: KubeletConfig) -> None:
    """Raise ``ConfigFault`` where fields do not go together."""
    if config.cpu_manager_policy == "static" and not reserved_cpus(config):
        raise ConfigFault("the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero")
    if config.reserved_memory and config.memory_manager_policy != "Static":
        raise ConfigFault("reservedMemory is of use with memoryManagerPolicy Static only")
    if config.image_gc_low_threshold_percent >= config.image_gc_high_threshold_percent:
        raise ConfigFault("imageGCLowThresholdPercent must be less than imageGCHighThresholdPercent")
    if config.container_log_max_files < 2:
        raise ConfigFault("containerLogMaxFiles must be at least 2")
    for signal in config.eviction_soft:
        if signal not in config.eviction_soft_grace_period:
            raise ConfigFault(f"evictionSoft has {signal} and evictionSoftGracePeriod has not")
    if config.max_parallel_image_pulls > 1 and config.serialize_image_pulls:
        raise ConfigFault("maxParallelImagePulls cannot be more than 1 while serializeImagePulls is true")
    for name, period in (
        ("shutdownGracePeriod", config.shutdown_grace_period),
        ("shutdownGracePeriodCriticalPods", config.shutdown_grace_period_critical_pods),
    ):
        if 0 < period < 1:
            raise ConfigFault(f"{name} must be either zero or otherwise >= 1 sec")
        if period and config.shutdown_grace_period_by_pod_priority:
            raise ConfigFault(f"shutdownGracePeriodByPodPriority cannot be given beside {name}")
    if config.shutdown_grace_period_critical_pods > config.shutdown_grace_period:
        raise ConfigFault("shutdownGracePeriodCriticalPods must be <= shutdownGracePeriod")
    if config.static_pod_path and not Path(config.static_pod_path).is_absolute():
        raise ConfigFault("staticPodPath must be an absolute path")


def shown(config: KubeletConfig) -> Object:
    """Return the settings as a KubeletConfiguration, with defaults: what ``/configz`` says."""
    values, durations = asdict(config), {name for name, (_, reader) in FIELDS.items() if reader is seconds}
    result: Object = {"apiVersion": API_VERSION, "kind": KIND}
    for name, (ours, _) in FIELDS.items():
        value = values[ours]
        if name in durations:
            value = spoken(value)
        elif name == "crashLoopBackOff":
            value = {"maxContainerRestartPeriod": spoken(value)}
        elif name == "evictionSoftGracePeriod":
            value = {signal: spoken(period) for signal, period in value.items()}
        elif name == "containerLogMaxSize":
            value = str(parse(str(value)))
        result[name] = list(value) if isinstance(value, tuple) else value
    return result


def spoken(duration: float) -> str:
    """Return a duration as Go writes it: ``5m0s``."""
    minutes, rest = divmod(duration, 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:g}s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


assert {ours for ours, _ in FIELDS.values()} == {known.name for known in fields(KubeletConfig)}
