"""ResourceSlices and DeviceTaintRules: the devices that drivers offer, and what keeps claims off them.

In the shape of resource.k8s.io/v1. Source: kubernetes pkg/apis/resource/validation, KEP-4381, KEP-5055 (taints).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import csi_driver_name, immutable, label, label_key, named, needed_one_of, subdomain
from sampan.api.resources.coordination import SEMANTIC_VERSION
from sampan.api.resources.device_requests import EFFECTS, distinct, listed, name_of, pool_name, qualified
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.scheduling_validation import node_selector
from sampan.schema.causes import NO_MAP, duplicate, forbidden, invalid, required, too_long, too_many
from sampan.schema.names import dns1123_label, label_value, short_name
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError, parse

MAX_DEVICES, MAX_ADVANCED_DEVICES = 128, 64
MAX_ATTRIBUTES = 32
MAX_COUNTER_SETS, MAX_COUNTERS = 8, 32
MAX_TAINTS = 16
MAX_VALUE = 64
SCALARS = ("int", "bool", "string", "version")
KINDS = (*SCALARS, *(f"{key}s" for key in SCALARS))
MAX_CONDITIONS = 4
LONGEST_KEY = 63 + 1 + 32
WHERE = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
MANY_PLACES = f"{ONE_PLACE}, but multiple fields are set"
UNNAMED = "must be either unset or set to a non-empty string"
ONE_DEVICE_PLACE = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in "
    "the ResourceSlice spec"
)


def validate_slice(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    yield from csi_driver_name("spec.driver", text(spec, "driver"))
    pool = mapping(spec, "pool")
    yield from pool_name("spec.pool.name", text(pool, "name"))
    if (pool.get("resourceSliceCount") or 0) <= 0:
        yield invalid("spec.pool.resourceSliceCount", pool.get("resourceSliceCount") or 0, "must be greater than zero")
    if (pool.get("generation") or 0) < 0:
        yield invalid("spec.pool.generation", pool["generation"], "must be greater than or equal to zero")
    if old is not None:
        for keys in (("pool", "name"), ("driver",), ("nodeName",)):
            yield from immutable("spec." + ".".join(keys), dig(spec, *keys), dig(old, "spec", *keys))
    yield from place(spec, "spec", WHERE, ONE_PLACE, MANY_PLACES, unnamed=UNNAMED, one_term=True)
    if spec.get("sharedCounters") is not None and spec.get("devices") is not None:
        yield invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    yield from devices(spec)
    sets = items(spec, "sharedCounters")
    yield from distinct("spec.sharedCounters", sets, MAX_COUNTER_SETS, counter_set, name_of, whole=True)


def place(
    part: Object, path: str, keys: tuple[str, ...], none: str, many: str, *, unnamed: str, one_term: bool
) -> Iterator[Cause]:
    """On which nodes devices are: said in one way. ``unnamed``: what is said of a node's name that is empty."""
    chosen = []
    for key in keys:
        value = part.get(key)
        if value is None:
            continue
        if value is False:
            yield invalid(f"{path}.{key}", value, "must be either unset or set to true")
        elif value == "":
            yield invalid(f"{path}.{key}", value, unnamed)
        else:
            chosen.append(f"`{key}`")
    yield from subdomain(f"{path}.nodeName", part.get("nodeName"), needed=False)
    if part.get("nodeSelector") is not None:
        yield from node_selector(part["nodeSelector"], f"{path}.nodeSelector")
        terms = part["nodeSelector"].get("nodeSelectorTerms")
        if one_term and len(terms or ()) != 1:
            why = "must have exactly one node selector term"
            yield invalid(f"{path}.nodeSelector.nodeSelectorTerms", shown_terms(terms), why)
    if not chosen:
        yield required(path, none)
    elif len(chosen) > 1:
        yield invalid(path, "{" + ", ".join(chosen) + "}", many)


def shown_terms(terms: list[Object] | None) -> Any:
    """Return the terms of a node selector as the Go structs are shown."""
    if terms is None:
        return NO_MAP

    def shown(requirements: Any) -> Any:
        return requirements and [
            {"Key": one.get("key") or "", "Operator": one.get("operator") or "", "Values": one.get("values")}
            for one in requirements
        ]

    return [
        {"MatchExpressions": shown(term.get("matchExpressions")), "MatchFields": shown(term.get("matchFields"))}
        for term in terms
    ]


def devices(spec: Object) -> Iterator[Cause]:
    given = items(spec, "devices")
    advanced = any(items(one, "taints") or items(one, "consumesCounters") for one in given)
    per_device = bool(spec.get("perDeviceNodeSelection"))
    most = MAX_ADVANCED_DEVICES if advanced else MAX_DEVICES
    yield from distinct("spec.devices", given, most, lambda path, one: device(path, one, per_device), name_of)


def device(path: str, one: Object, per_device: bool) -> Iterator[Cause]:
    yield from (invalid(f"{path}.name", text(one, "name"), message) for message in dns1123_label(text(one, "name")))
    attributes, capacity = mapping(one, "attributes"), mapping(one, "capacity")
    count = len(attributes) + len(capacity)
    if count > MAX_ATTRIBUTES:
        yield invalid(path, count, f"the total number of attributes and capacities must not exceed {MAX_ATTRIBUTES}")
    for name, value in attributes.items():
        yield from qualified(f"{path}.attributes", name)
        yield from attribute(f"{path}.attributes[{shortened(name)}]", value)
    for name, value in capacity.items():
        yield from qualified(f"{path}.capacity", name)
        if isinstance(value, dict) and value.get("requestPolicy") is not None:
            yield from policy(
                f"{path}.capacity[{shortened(name)}].requestPolicy", value, bool(one.get("allowMultipleAllocations"))
            )
    yield from listed(f"{path}.taints", items(one, "taints"), MAX_TAINTS, taint)
    consumed, key = items(one, "consumesCounters"), "counterSet"
    yield from distinct(f"{path}.consumesCounters", consumed, 2, consumption, lambda c: c.get(key), whole=True)
    if per_device:
        words = ONE_DEVICE_PLACE
        yield from place(one, path, WHERE[:3], words, words, unnamed="must not be empty", one_term=False)
    elif any(one.get(key) is not None for key in WHERE[:3]):
        why = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec"  # noqa: E501
        yield invalid(path, NO_MAP, why)
    yield from binding(path, items(one, "bindingConditions"), items(one, "bindingFailureConditions"))


def binding(path: str, conditions: list[str], failures: list[str]) -> Iterator[Cause]:
    """The conditions that a device is bound by: both kinds or none, and none that is both."""
    for key, given in (("bindingConditions", conditions), ("bindingFailureConditions", failures)):
        yield from listed(f"{path}.{key}", given, MAX_CONDITIONS, label_key)
    for key, given in (("bindingConditions", conditions), ("bindingFailureConditions", failures)):
        for index, condition in enumerate(given):
            if condition in given[:index]:
                yield duplicate(f"{path}.{key}[{index}]", condition)
            if given is failures and condition in conditions:
                why = "bindingFailureConditions must not overlap with bindingConditions"
                yield invalid(f"{path}.{key}[{index}]", condition, why)
    if failures and not conditions:
        why = "bindingConditions are required to use bindingFailureConditions"
        yield invalid(f"{path}.bindingConditions", NO_MAP, why)
    if conditions and not failures:
        why = "bindingFailureConditions are required to use bindingConditions"
        yield invalid(f"{path}.bindingFailureConditions", NO_MAP, why)


def shortened(key: str) -> str:
    """Return the key of an attribute as it is shown in field paths."""
    if len(key) <= LONGEST_KEY:
        return key
    rest = LONGEST_KEY - 3
    return f"{key[: (rest + 1) // 2]}...{key[len(key) - rest // 2 :]}"


def attribute(path: str, value: Object) -> Iterator[Cause]:
    given = [key for key in KINDS if value.get(key) is not None]
    kinds = ", ".join(f"`{key}`" for key in KINDS)
    if not given:
        yield invalid(path, "", f"must specify one of: {kinds}")
    elif len(given) > 1:
        yield invalid(path, f"{{{', '.join(given)}}}", f"must specify exactly one of: {kinds}")
    for key in given:
        many = key.endswith("s") and isinstance(value[key], list)
        if many and not value[key]:
            yield invalid(f"{path}.{key}", value[key], "must not be empty if specified")
        for index, one in enumerate(value[key] if many else [value[key]]):
            at = f"{path}.{key}[{index}]" if many else f"{path}.{key}"
            if key.startswith("version") and not SEMANTIC_VERSION.fullmatch(str(one)):
                yield invalid(at, one, "must be a string compatible with semver.org spec 2.0.0")
            if isinstance(one, str) and len(one) > MAX_VALUE:
                yield too_long(at, MAX_VALUE)


def policy(path: str, capacity: Object, shared: bool) -> Iterator[Cause]:
    """How much of a capacity may be asked for, where several claims share a device."""
    if not shared:
        yield forbidden(path, "allowMultipleAllocations must be true")
        return
    chosen = mapping(capacity, "requestPolicy")
    values, bounds, default = items(chosen, "validValues"), chosen.get("validRange"), chosen.get("default")
    if values and bounds is not None:
        why = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        yield forbidden(path, why)
    elif (values or bounds is not None) and default is None:
        kind = "validValues" if values else "validRange"
        yield required(f"{path}.default", f"required when {kind} is defined")
    elif values:
        yield from valid_values(f"{path}.validValues", values, default, capacity.get("value"))
    elif bounds is not None:
        yield from valid_range(f"{path}.validRange", bounds, default, capacity.get("value"))


def amount(given: Any) -> int:
    """Return a quantity in nano units; what is none is refused when it is decoded."""
    try:
        return parse(given).nano
    except QuantityError:
        return 0


def valid_values(path: str, values: list[Any], default: Any, most: Any) -> Iterator[Cause]:
    for index, value in enumerate(values):
        if index and amount(values[index - 1]) > amount(value):
            yield invalid(f"{path}[{index}]", str(value), "values must be sorted in ascending order")
        if amount(value) > amount(most):
            yield invalid(f"{path}[{index}]", str(value), f"option is larger than capacity value: {most}")
    if amount(default) not in [amount(value) for value in values]:
        yield invalid(path, str(default), "default value is not valid according to the requestPolicy")


def valid_range(path: str, bounds: Object, default: Any, most: Any) -> Iterator[Cause]:
    low, high, step = bounds.get("min"), bounds.get("max"), bounds.get("step")
    if low is None:
        yield required(f"{path}.min", "required when validRange is defined")
        return
    if amount(low) > amount(most):
        yield invalid(f"{path}.min", str(low), f"min is larger than capacity value: {most}")
    if amount(default) < amount(low):
        yield invalid(f"{path}.default", str(default), f"default is less than min: {low}")
    if high is not None:
        if amount(low) > amount(high):
            yield invalid(f"{path}.max", str(low), f"min is larger than max: {high}")
        if amount(high) > amount(most):
            yield invalid(f"{path}.max", str(high), f"max is larger than capacity value: {most}")
        if amount(default) > amount(high):
            yield invalid(f"{path}.default", str(default), f"default is more than max: {high}")
    if step is None:
        return
    if amount(step) <= 0:
        yield invalid(f"{path}.step", str(step), "must be greater than zero")
        return
    for value in (default, *([high] if high is not None else [])):
        if (amount(value) - amount(low)) % amount(step):
            why = f"value is not a multiple of a given step ({step}) from ({low})"
            yield invalid(f"{path}.step", str(value), why)


def counters(path: str, holder: Object) -> Iterator[Cause]:
    given = mapping(holder, "counters")
    if not given:
        yield required(f"{path}.counters")
    elif len(given) > MAX_COUNTERS:
        yield too_many(f"{path}.counters", len(given), MAX_COUNTERS)
    for name in given:
        yield from (invalid(f"{path}.counters", name, message) for message in short_name(name))


def counter_set(path: str, one: Object) -> Iterator[Cause]:
    yield from named(f"{path}.name", one.get("name"), short_name)
    yield from counters(path, one)


def consumption(path: str, one: Object) -> Iterator[Cause]:
    yield from named(f"{path}.counterSet", one.get("counterSet"), short_name)
    yield from counters(path, one)


def taint(path: str, one: Object) -> Iterator[Cause]:
    yield from label_key(f"{path}.key", one.get("key"))
    for message in label_value(one.get("value") or ""):
        yield invalid(f"{path}.value", one.get("value"), message)
    yield from needed_one_of(f"{path}.effect", one.get("effect"), EFFECTS)


def default_taint(one: Object, at: str) -> None:
    if not one.get("timeAdded"):
        one["timeAdded"] = at


def validate_rule(new: Object, old: Object | None) -> Iterator[Cause]:
    chosen = mapping(new, "spec", "deviceSelector")
    if chosen.get("driver") is not None:
        yield from csi_driver_name("spec.deviceSelector.driver", chosen["driver"])
    if chosen.get("pool") is not None:
        yield from pool_name("spec.deviceSelector.pool", chosen["pool"])
    if chosen.get("device") is not None:
        yield from label("spec.deviceSelector.device", chosen["device"])
    yield from taint("spec.taint", mapping(new, "spec", "taint"))
    if old is not None:
        yield from immutable("spec.deviceSelector", chosen, mapping(old, "spec", "deviceSelector"))
