"""The environment of a container: literals, references, what Kubernetes adds; ``$(VAR)`` expanded.

Pure: the objects referred to are handed in. Source: core/v1 EnvVar, EnvFromSource, the expansion rules of Kubernetes
(``$$`` escapes, unknown references stay as they are).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from sampan.node.env_files import EnvFileFault
from sampan.node.env_files import parse as parse_env_file
from sampan.schema.objects import Object
from sampan.schema.quantity import parse

REFERENCE = re.compile(r"\$(\$|\([A-Za-z_.][-A-Za-z0-9_.]*\))")
ENV_NAME = re.compile(r"[ -<>-~]+")
"""What ``envFrom`` may set: any printable ASCII but ``=``."""
Lookup = Callable[[str, str], "Mapping[str, str] | None"]
"""``(kind, name) -> data`` of a ConfigMap (``"ConfigMap"``) or a Secret (decoded), None where there is none."""
EnvFile = Callable[[str, str], "str | None"]
"""``(volume, path) -> text`` of a file in a volume, None where there is none."""


class ConfigError(Exception):
    """A container cannot be configured: its status says CreateContainerConfigError with this message."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """Return the text with ``$(NAME)`` replaced where the name is known."""

    def replaced(match: re.Match[str]) -> str:
        name = match[1]
        if name == "$":
            return "$"
        return known.get(name[1:-1], match[0])

    return REFERENCE.sub(replaced, text)


def no_files(volume: str, path: str) -> None:
    return None


def environment_of(
    pod: Object,
    container: Object,
    lookup: Lookup,
    service_links: Mapping[str, str],
    node: Mapping[str, str],
    env_file: EnvFile = no_files,
) -> dict[str, str]:
    """Return the variables in the order they are set. ``node`` has ``hostIP``, ``podIP``, ``cpu``, ``memory`` of the
    moment. Raises ``ConfigError`` for references to what is missing."""
    result: dict[str, str] = dict(service_links)
    for source in container.get("envFrom") or ():
        result |= from_source(source, lookup)
    for variable in container.get("env") or ():
        name = variable["name"]
        if variable.get("valueFrom"):
            value = from_reference(variable["valueFrom"], pod, container, lookup, node, env_file)
            if value is not None:
                result[name] = value
        else:
            result[name] = expand(variable.get("value") or "", result)
    return result


def from_source(source: Object, lookup: Lookup) -> dict[str, str]:
    prefix = source.get("prefix") or ""
    for key, kind in (("configMapRef", "ConfigMap"), ("secretRef", "Secret")):
        reference = source.get(key)
        if not reference:
            continue
        data = lookup(kind, reference["name"])
        if data is None:
            if reference.get("optional"):
                return {}
            raise ConfigError(missing(kind, reference["name"]))
        return {prefix + name: value for name, value in data.items() if ENV_NAME.fullmatch(prefix + name)}
    return {}


def missing(kind: str, name: str) -> str:
    return f'{kind.lower()} "{name}" not found'


def from_file(reference: Object, env_file: EnvFile) -> str | None:
    """Return a variable of a file in a volume (KEP-3721); None for an optional one that is not there."""
    name, path, key = reference["volumeName"], reference["path"], reference["key"]
    text = env_file(name, path)
    try:
        found = {} if text is None else parse_env_file(text)
    except EnvFileFault as error:
        raise ConfigError(f'file "{path}" of volume "{name}": {error}') from error
    if key in found:
        return found[key]
    if reference.get("optional"):
        return None
    if text is None:
        raise ConfigError(f'file "{path}" not found in volume "{name}"')
    raise ConfigError(f'environment variable key "{key}" not found in file "{path}"')


def from_reference(
    source: Object, pod: Object, container: Object, lookup: Lookup, node: Mapping[str, str], env_file: EnvFile
) -> str | None:
    for key, kind in (("configMapKeyRef", "ConfigMap"), ("secretKeyRef", "Secret")):
        reference = source.get(key)
        if not reference:
            continue
        data = lookup(kind, reference["name"])
        if data is None or reference["key"] not in data:
            if reference.get("optional"):
                return None
            if data is None:
                raise ConfigError(missing(kind, reference["name"]))
            namespace = pod["metadata"]["namespace"]
            raise ConfigError(f"couldn't find key {reference['key']} in {kind} {namespace}/{reference['name']}")
        return data[reference["key"]]
    if source.get("fieldRef"):
        return field_value(pod, source["fieldRef"]["fieldPath"], node)
    if source.get("fileKeyRef"):
        return from_file(source["fileKeyRef"], env_file)
    if source.get("resourceFieldRef"):
        return resource_value(pod, container, source["resourceFieldRef"], node)
    return None


SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['([^']+)'\]")


def field_value(pod: Object, path: str, node: Mapping[str, str]) -> str:
    """Return a field of the downward API. Raises ``ConfigError`` for one that does not exist."""
    metadata, spec = pod["metadata"], pod["spec"]
    subscript = SUBSCRIPT.fullmatch(path)
    if subscript:
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    if path in ("metadata.labels", "metadata.annotations"):
        entries = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={quoted(value)}" for key, value in sorted(entries.items()))
    values: dict[str, Any] = {
        "metadata.name": metadata["name"],
        "metadata.namespace": metadata["namespace"],
        "metadata.uid": metadata["uid"],
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "status.hostIP": node.get("hostIP", ""),
        "status.hostIPs": node.get("hostIPs", ""),
        "status.podIP": node.get("podIP", ""),
        "status.podIPs": node.get("podIPs", ""),
    }
    if path not in values:
        raise ConfigError(f"unsupported fieldPath: {path}")
    return str(values[path])


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def resource_value(pod: Object, container: Object, reference: Object, node: Mapping[str, str]) -> str:
    """Return a limit or request in units of the divisor, rounded up; what is unlimited is the node's."""
    name = reference.get("containerName")
    if name:
        everyone = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
        container = next((c for c in everyone if c["name"] == name), container)
    section, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    value = (resources.get(section) or {}).get(resource)
    if value is None and section == "requests":
        value = (resources.get("limits") or {}).get(resource)
    if value is None:
        value = node.get(resource, "0") if section == "limits" else "0"
    divisor = parse(str(reference.get("divisor") or "1")).milli() or 1000
    return str(-(-parse(str(value)).milli() // divisor))


def service_links(services: list[Object], namespace: str, *, own: bool) -> dict[str, str]:
    """Return the Docker-style variables of Services with an address; of ``kubernetes`` only, unless ``own``."""
    result: dict[str, str] = {}
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        ip = spec.get("clusterIP")
        master = metadata["namespace"] == "default" and metadata["name"] == "kubernetes"
        if not ip or ip == "None" or not (master or (own and metadata["namespace"] == namespace)):
            continue
        name = metadata["name"].upper().replace("-", "_")
        ports = spec.get("ports") or []
        if not ports:
            continue
        result |= {f"{name}_SERVICE_HOST": ip, f"{name}_SERVICE_PORT": str(ports[0]["port"])}
        for port in ports:
            if port.get("name"):
                result[f"{name}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
            protocol = port.get("protocol", "TCP")
            stem = f"{name}_PORT_{port['port']}_{protocol}"
            url = f"{protocol.lower()}://{ip}:{port['port']}"
            result |= {stem: url, f"{stem}_PROTO": protocol.lower()}
            result |= {f"{stem}_PORT": str(port["port"]), f"{stem}_ADDR": ip}
        first = ports[0]
        result[f"{name}_PORT"] = f"{first.get('protocol', 'TCP').lower()}://{ip}:{first['port']}"
    return result
