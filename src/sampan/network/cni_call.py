"""A CNI call as data: what the runtime asks, what it is told, and in which version's form.

``parse_call`` reads what the shim hands over, ``result`` makes an ADD's answer (after a ``prevResult``, where the plugin is
not the first of its chain), ``failure`` an error's. Source: CNI specification 1.1.0 (versions 0.3.0 to 1.1.0), its
conventions (``runtimeConfig``, ``CNI_ARGS``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from sampan.network.families import Address

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
INCOMPATIBLE_VERSION, UNSUPPORTED_FIELD, INVALID_ENVIRONMENT, IO_FAILURE, UNDECODABLE, INVALID_CONFIG = 1, 2, 4, 5, 6, 7
TRY_LATER, NOT_AVAILABLE, NO_ADDRESS, NOT_AS_ADDED = 11, 50, 100, 101
LONGEST_NAME = 15
"""Of an interface: ``IFNAMSIZ`` without its end."""


class CniError(Exception):
    """A refusal as CNI prints it."""

    def __init__(self, code: int, message: str, details: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.details = details


@dataclass(frozen=True, slots=True)
class PodName:
    """What the kubelet tells of the pod; empty where the runtime serves no Kubernetes."""

    namespace: str = ""
    name: str = ""
    uid: str = ""

    def __bool__(self) -> bool:
        return bool(self.namespace and self.name)

    @property
    def key(self) -> str:
        return f"{self.namespace}/{self.name}"

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}/{self.uid}" if self else ""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the plugin: its ``CNI_*`` variables by name without the prefix, and the configuration."""

    plugin: str
    variables: dict[str, str]
    config: dict[str, Any]

    def need(self, name: str) -> str:
        value = self.variables.get(name, "")
        if not value:
            raise CniError(INVALID_ENVIRONMENT, f"required environment variable CNI_{name} is not set")
        return value

    @property
    def interface(self) -> str:
        """The name that the pod's interface gets. Raises ``CniError`` for one that no interface may have."""
        name = self.need("IFNAME")
        if len(name) > LONGEST_NAME or name in (".", "..") or any(sign in "/:" or sign.isspace() for sign in name):
            raise CniError(INVALID_ENVIRONMENT, f"CNI_IFNAME {name!r} is no name of an interface")
        return name

    @property
    def version(self) -> str:
        return str(self.config.get("cniVersion") or "0.1.0")

    @property
    def arguments(self) -> dict[str, str]:
        """``CNI_ARGS`` by name."""
        return dict(part.partition("=")[::2] for part in self.variables.get("ARGS", "").split(";") if "=" in part)

    @property
    def runtime(self) -> Mapping[str, Any]:
        found = self.config.get("runtimeConfig") or {}
        if not isinstance(found, dict):
            raise CniError(INVALID_CONFIG, "runtimeConfig is not an object")
        return found

    @property
    def pod(self) -> PodName:
        said = self.arguments
        names = ("K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID")
        return PodName(*(said.get(name, "") for name in names))

    @property
    def wanted_addresses(self) -> list[Address]:
        """The addresses that are asked for: the capability ``ips``, ``args.cni.ips`` or ``IP=`` of ``CNI_ARGS``."""
        listed = self.runtime.get("ips") or ((self.config.get("args") or {}).get("cni") or {}).get("ips")
        texts = listed or [text for text in (self.arguments.get("IP", ""),) if text]
        try:
            return [ip_address(str(text).partition("/")[0]) for text in texts]
        except ValueError as error:
            raise CniError(INVALID_CONFIG, f"ips: {error}") from error

    @property
    def wanted_mac(self) -> str:
        mac = str(self.runtime.get("mac") or self.arguments.get("MAC") or "").lower()
        if mac and not _is_mac(mac):
            raise CniError(INVALID_CONFIG, f"mac {mac!r} is no hardware address of one interface")
        return mac

    @property
    def previous(self) -> dict[str, Any]:
        """The result of the plugin before this one, or of this attachment's ADD."""
        found = self.config.get("prevResult") or {}
        if not isinstance(found, dict):
            raise CniError(INVALID_CONFIG, "prevResult is not an object")
        return found


def _is_mac(text: str) -> bool:
    parts = text.split(":")
    try:
        numbers = [int(part, 16) for part in parts]
    except ValueError:
        return False
    # the lowest bit of the first says: to a group
    return len(parts) == 6 and all(len(part) == 2 for part in parts) and not numbers[0] & 1


def parse_call(data: bytes) -> Call:
    """Return the call of a shim's message. Raises ``CniError``."""
    head, _, body = data.partition(b"\n\n")
    pairs = dict(line.partition("=")[::2] for line in head.decode(errors="replace").split("\n"))
    plugin = pairs.pop("PLUGIN", "sampan")
    return Call(plugin, {name.removeprefix("CNI_"): value for name, value in pairs.items()}, parse_config(body))


def parse_config(body: bytes) -> dict[str, Any]:
    """Return a network configuration. Raises ``CniError``."""
    try:
        config = json.loads(body or b"{}")
    except ValueError as error:
        raise CniError(UNDECODABLE, f"the network configuration is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise CniError(UNDECODABLE, "the network configuration is not an object")
    return config


def check_version(call: Call) -> None:
    """Raise ``CniError`` for a version of the specification that the plugin does not speak."""
    if call.version not in VERSIONS:
        details = f"config is {call.version}, plugin supports {', '.join(VERSIONS)}"
        raise CniError(INCOMPATIBLE_VERSION, "incompatible CNI versions", details)


def supported(call: Call) -> dict[str, Any]:
    """Return the answer to VERSION."""
    return {
        "cniVersion": call.version if call.version in VERSIONS else VERSIONS[-1],
        "supportedVersions": list(VERSIONS),
    }


def result(
    call: Call,
    interfaces: Sequence[Mapping[str, Any]],
    addresses: Sequence[tuple[str, str]],
    routes: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return an ADD's result in the form of the call's version. ``addresses`` are (address/length, gateway) of the last
    of ``interfaces``, the one in the pod. What a previous plugin has made stays in front."""
    before = call.previous
    there = [dict(found) for found in before.get("interfaces") or ()]
    made: list[dict[str, Any]] = []
    for address, gateway in addresses:
        entry: dict[str, Any] = {"address": address, "interface": len(there) + len(interfaces) - 1}
        if gateway:
            entry["gateway"] = gateway
        if call.version.startswith("0."):
            entry["version"] = "6" if ":" in address else "4"
        made.append(entry)
    return {
        "cniVersion": call.version,
        "interfaces": [*there, *map(dict, interfaces)],
        "ips": [*(before.get("ips") or ()), *made],
        "routes": [*(before.get("routes") or ()), *map(dict, routes)],
        "dns": dict(call.config.get("dns") or before.get("dns") or {}),
    }


def failure(version: str, code: int, message: str, details: str = "") -> dict[str, Any]:
    """Return an error as CNI prints it."""
    said = version if version in VERSIONS else "1.0.0"
    return {"cniVersion": said, "code": code, "msg": message, **({"details": details} if details else {})}
