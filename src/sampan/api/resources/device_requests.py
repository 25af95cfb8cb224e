"""What a ResourceClaim asks for and what it got: validation of device requests, constraints and allocations.

Everything here is in the shape of resource.k8s.io/v1; ``dynamic_resources`` converts. Source: kubernetes
pkg/apis/resource/validation, KEP-4381.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import orjson

from sampan.api.resource import Cause
from sampan.api.resources import device_selectors
from sampan.api.resources.checking import (
    csi_driver_name,
    declared_driver_name,
    immutable,
    label,
    needed_one_of,
    one_of,
    subdomain,
)
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import NO_MAP, duplicate, forbidden, invalid, not_supported, required, too_long, too_many
from sampan.schema.names import dns1123_label, dns1123_subdomain, label_value, qualified_name
from sampan.schema.objects import Object

MAX_REQUESTS = MAX_CONSTRAINTS = MAX_CONFIGS = MAX_SELECTORS = 32
MAX_ALTERNATIVES = 8
MAX_RESULTS = 32
MAX_CONSUMERS = 256
MAX_EXPRESSION = 10 * 1024
MAX_PARAMETERS = 10 * 1024
MAX_ID = 32
MAX_POOL = 253
IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
IDENTIFIER_MESSAGE = (
    "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or "
    "'_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')"
)
REQUEST_REFERENCE = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)
ONE_ATTRIBUTE = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
"""What is said where there is none of them."""
EFFECTS = ("NoExecute", "NoSchedule", "None")

Check = Callable[[str, Any], Iterable[Cause]]


def listed(path: str, given: list[Any], most: int, check: Check) -> Iterator[Cause]:
    """A list of bounded length; where it is longer, that is all that is said."""
    if 0 <= most < len(given):
        yield too_many(path, len(given), most)
        return
    for index, one in enumerate(given):
        yield from check(f"{path}[{index}]", one)


def distinct(
    path: str, given: list[Any], most: int, check: Check, key: Callable[[Any], Any], *, whole: bool = False
) -> Iterator[Cause]:
    """``listed``, and no two with the same key. ``whole``: one that is there twice is shown as a whole, not its key."""
    yield from listed(path, given, most, check)
    if 0 <= most < len(given):
        return
    seen = set()
    for index, one in enumerate(given):
        if key(one) in seen:
            yield duplicate(f"{path}[{index}]", one if whole else key(one))
        seen.add(key(one))


def name_of(one: Any) -> str:
    return one if isinstance(one, str) else str(one.get("name") or "")


def pool_name(path: str, name: str) -> Iterator[Cause]:
    if not name:
        yield required(path)
        return
    if len(name) > MAX_POOL:
        yield too_long(path, MAX_POOL)
    for part in name.split("/"):
        for message in dns1123_subdomain(part):
            yield invalid(path, part, message)


def identifier(path: str, name: str) -> Iterator[Cause]:
    if len(name) > MAX_ID:
        yield too_long(path, MAX_ID)
    if not IDENTIFIER.fullmatch(name):
        yield invalid(path, name, IDENTIFIER_MESSAGE)


def qualified(path: str, name: str) -> Iterator[Cause]:
    """The name of an attribute or a capacity: ``[domain/]identifier``. More slashes are not looked at, as in Kubernetes."""
    parts = name.split("/")
    if len(parts) > 2:
        return
    if len(parts) == 2 and not parts[0]:
        yield invalid(path, "", "the domain must not be empty")
    elif len(parts) == 2:
        yield from csi_driver_name(path, parts[0])
    if len(parts) == 2 and not parts[1]:
        yield invalid(path, "", "the name must not be empty")
    else:
        yield from identifier(path, parts[-1])


def fully_qualified(path: str, name: str) -> Iterator[Cause]:
    yield from qualified(path, name)
    if "/" not in name:
        yield invalid(path, name, "a fully qualified name must be a domain and a name separated by a slash")


# claims


def claim_spec(spec: Object, path: str) -> Iterator[Cause]:
    devices, at = mapping(spec, "devices"), f"{path}.devices"
    known = request_names(devices)
    requests = items(devices, "requests")
    yield from distinct(f"{at}.requests", requests, MAX_REQUESTS, device_request, name_of, whole=True)
    yield from listed(
        f"{at}.constraints",
        items(devices, "constraints"),
        MAX_CONSTRAINTS,
        lambda where, one: constraint(where, one, known),
    )
    yield from listed(
        f"{at}.config", items(devices, "config"), MAX_CONFIGS, lambda where, one: claim_config(where, one, known)
    )


def request_names(devices: Object) -> set[str]:
    """Return every ``request`` and ``request/alternative`` that there is."""
    found = set()
    for request in items(devices, "requests"):
        found.add(name_of(request))
        found |= {f"{name_of(request)}/{name_of(one)}" for one in items(request, "firstAvailable")}
    return found


def request_name(path: str, name: str) -> Iterator[Cause]:
    yield from (invalid(path, name, message) for message in dns1123_label(name))


def device_request(path: str, request: Object) -> Iterator[Cause]:
    yield from request_name(f"{path}.name", text(request, "name"))
    alternatives, exactly = items(request, "firstAvailable"), request.get("exactly")
    if not alternatives and exactly is None:
        yield required(path, "exactly one of `exactly` or `firstAvailable` is required")
    elif alternatives and exactly is not None:
        yield invalid(
            path, NO_MAP, "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set"
        )
    elif alternatives:
        at = f"{path}.firstAvailable"
        yield from distinct(at, alternatives, MAX_ALTERNATIVES, alternative, name_of, whole=True)
    else:
        yield from wanted(f"{path}.exactly", mapping(request, "exactly"))


def alternative(path: str, request: Object) -> Iterator[Cause]:
    yield from request_name(f"{path}.name", text(request, "name"))
    yield from wanted(path, request)


def wanted(path: str, request: Object) -> Iterator[Cause]:
    yield from subdomain(f"{path}.deviceClassName", request.get("deviceClassName"))
    yield from selectors(f"{path}.selectors", items(request, "selectors"))
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All" and count:
        yield invalid(f"{path}.count", count, "must not be specified when allocationMode is 'All'")
    elif mode == "ExactCount" and count <= 0:
        yield invalid(f"{path}.count", count, "must be greater than zero")
    elif mode not in ("All", "ExactCount"):
        yield not_supported(f"{path}.allocationMode", mode, ("All", "ExactCount"))
    yield from listed(f"{path}.tolerations", items(request, "tolerations"), 16, toleration)


def selectors(path: str, given: list[Any], before: list[Any] | None = None) -> Iterator[Cause]:
    """Selectors of devices; those that are stored already (``before``) are not compiled again."""
    if given != before:
        yield from listed(path, given, MAX_SELECTORS, selector)


def selector(path: str, one: Object) -> Iterator[Cause]:
    if one.get("cel") is None:
        yield required(f"{path}.cel")
        return
    expression = text(one, "cel", "expression")
    if len(expression) > MAX_EXPRESSION:
        yield too_long(f"{path}.cel.expression", MAX_EXPRESSION)
    else:
        yield from device_selectors.judged(f"{path}.cel.expression", expression)


def toleration(path: str, one: Object) -> Iterator[Cause]:
    key, operator, value = one.get("key") or "", one.get("operator") or "", one.get("value") or ""
    if key:
        for message in qualified_name(key):
            yield invalid(f"{path}.key", key, message)
    if operator == "Exists":
        if value:
            yield invalid(f"{path}.value", value, "must be empty for operator `Exists`")
    elif operator == "Equal":
        for message in label_value(value):
            yield invalid(f"{path}.value", value, message)
    else:
        yield from needed_one_of(f"{path}.operator", operator, ("Equal", "Exists"))
    yield from one_of(f"{path}.effect", one.get("effect") or None, EFFECTS[:2])


def constraint(path: str, one: Object, known: set[str]) -> Iterator[Cause]:
    yield from references(f"{path}.requests", items(one, "requests"), known)
    given = [key for key in ("matchAttribute", "distinctAttribute") if one.get(key) is not None]
    for key in given:
        yield from fully_qualified(f"{path}.{key}", one[key])
    if not given:
        yield required(path, ONE_ATTRIBUTE)


def references(path: str, given: list[Any], known: set[str]) -> Iterator[Cause]:
    yield from distinct(path, given, MAX_REQUESTS, lambda where, one: reference(where, one, known), name_of)


def reference(path: str, name: str, known: set[str]) -> Iterator[Cause]:
    if name.count("/") > 1:
        yield invalid(path, name, REQUEST_REFERENCE)
        return
    for part in name.split("/"):
        yield from request_name(path, part)
    if name not in known:
        yield invalid(path, name, REQUEST_REFERENCE)


def claim_config(path: str, config: Object, known: set[str]) -> Iterator[Cause]:
    yield from references(f"{path}.requests", items(config, "requests"), known)
    yield from configuration(path, config)


def configuration(path: str, config: Object) -> Iterator[Cause]:
    opaque = config.get("opaque")
    if opaque is None:
        yield required(f"{path}.opaque")
        return
    yield from declared_driver_name(f"{path}.opaque.driver", text(opaque, "driver"))
    parameters, at = opaque.get("parameters"), f"{path}.opaque.parameters"
    if parameters is None:
        yield required(at)
    elif not isinstance(parameters, dict):
        yield invalid(at, "<value omitted>", "parameters must be a valid JSON object")
    elif len(orjson.dumps(parameters)) > MAX_PARAMETERS:
        yield too_long(at, MAX_PARAMETERS)


# what a claim got


def claim_status(new: Object, old: Object) -> Iterator[Cause]:
    status, before = mapping(new, "status"), mapping(old, "status")
    consumers = items(status, "reservedFor")
    yield from distinct("status.reservedFor", consumers, MAX_CONSUMERS, consumer, lambda one: one.get("uid"))
    if consumers and status.get("allocation") is None:
        yield forbidden("status.reservedFor", "may not be specified when `allocated` is not set")
    elif dig(new, "metadata", "deletionTimestamp") and any(
        one not in items(before, "reservedFor") for one in consumers
    ):
        why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        yield forbidden("status.reservedFor", why)
    if before.get("allocation") is not None and status.get("allocation") is not None:
        yield from immutable("status.allocation", status["allocation"], before["allocation"])
    elif status.get("allocation") is not None:
        yield from allocation(status["allocation"], request_names(mapping(new, "spec", "devices")))
    given = {device_id(one) for one in items(status, "allocation", "devices", "results")}
    yield from distinct(
        "status.devices", items(status, "devices"), -1, lambda path, one: device_status(path, one, given), device_id
    )


def consumer(path: str, one: Object) -> Iterator[Cause]:
    for key in ("resource", "name", "uid"):
        if not one.get(key):
            yield required(f"{path}.{key}")


def device_id(one: Object) -> str:
    parts = [str(one.get(key) or "") for key in ("driver", "pool", "device", "shareID")]
    return "/".join(parts[: 4 if parts[3] else 3])


def allocation(given: Object, known: set[str]) -> Iterator[Cause]:
    at = "status.allocation.devices"
    yield from listed(
        f"{at}.results", items(given, "devices", "results"), MAX_RESULTS, lambda path, one: result(path, one, known)
    )
    yield from listed(
        f"{at}.config",
        items(given, "devices", "config"),
        2 * MAX_CONFIGS,
        lambda path, one: allocated_config(path, one, known),
    )


def result(path: str, one: Object, known: set[str]) -> Iterator[Cause]:
    yield from reference(f"{path}.request", text(one, "request"), known)
    yield from csi_driver_name(f"{path}.driver", text(one, "driver"))
    yield from pool_name(f"{path}.pool", text(one, "pool"))
    yield from label(f"{path}.device", one.get("device"))
    yield from listed(f"{path}.tolerations", items(one, "tolerations"), 16, toleration)


def allocated_config(path: str, one: Object, known: set[str]) -> Iterator[Cause]:
    yield from needed_one_of(f"{path}.source", one.get("source"), ("FromClaim", "FromClass"))
    yield from claim_config(path, one, known)


def device_status(path: str, one: Object, given: set[str]) -> Iterator[Cause]:
    yield from csi_driver_name(f"{path}.driver", text(one, "driver"))
    yield from pool_name(f"{path}.pool", text(one, "pool"))
    yield from label(f"{path}.device", one.get("device"))
    if device_id(one) not in given:
        yield invalid(path, device_id(one), "must be an allocated device in the claim")
    if len(items(one, "conditions")) > 8:
        yield too_many(f"{path}.conditions", len(items(one, "conditions")), 8)
    if one.get("data") is not None and len(orjson.dumps(one["data"])) > MAX_PARAMETERS:
        yield too_long(f"{path}.data", MAX_PARAMETERS)
    network = mapping(one, "networkData")
    for key, most in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len(text(network, key)) > most:
            yield too_long(f"{path}.networkData.{key}", most)
