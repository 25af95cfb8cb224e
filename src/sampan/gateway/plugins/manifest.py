"""``plugin.toml``: what a plugin says of itself, and whether settings are as it wants them.

    name = "geo"
    kind = "hook"                      # what Envoy asks, the default; or "asgi", "processor", "wasm"
    factory = "plugin:make"            # called once with the settings, returns what is called

    [settings]                         # an OpenAPI v3 schema, as CustomResourceDefinitions have
    type = "object"
    required = ["header"]
    properties.header = {type = "string"}

A processor that is given bodies as a whole says which: ``content-types = ["application/json"]``, ``max-content = "128Ki"``.

``entry-point = "plugin:request"`` instead of ``factory`` names what is called itself. A plugin without the file is a hook
whose entry point is that one, and has no settings. Source: Kubernetes' structural schemas, without CEL rules, for the
settings; fields that the schema does not know are refused, not pruned.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from typing import Any

from sampan.gateway.plugins.contents import LARGEST_BYTES, streams
from sampan.schema.causes import Cause
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError
from sampan.schema.quantity import parse as parse_quantity
from sampan.schema.structure import check_structural
from sampan.schema.validation import compile_validator

FILE = "plugin.toml"
KINDS = ("hook", "asgi", "processor", "wasm")
FIELDS = {"name", "kind", "module", "entry-point", "factory", "settings", "description", "content-types", "max-content"}
ENTRY_POINT = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
DEFAULT_ENTRY_POINT = "plugin:request"
MEDIA_TYPE = re.compile(r"\*/\*|[\w!#$&^.+-]+/([\w!#$&^.+-]+|\*)", re.ASCII)
"""RFC 6838 (4.2), and what RFC 9110 (12.5.1) has for many of them."""
MODULE = "plugin.wasm"
"""A directory with this and without a manifest is a WebAssembly plugin that takes any settings, as Traefik's do."""
ANY: Object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
NO_SETTINGS: Object = {"type": "object"}
RULES = "x-kubernetes-validations"


class PluginError(Exception):
    """A plugin that cannot be loaded; the message says why, with file and line or with the field."""


@dataclass(frozen=True, slots=True)
class Manifest:
    name: str = ""
    kind: str = "hook"
    entry_point: str = DEFAULT_ENTRY_POINT
    factory: bool = False
    """Whether the entry point makes what is called, from the settings."""
    schema: str = json.dumps(NO_SETTINGS)
    """The schema of the settings, as JSON."""
    module: str = ""
    """The file of a WebAssembly module."""
    content_types: tuple[str, ...] = ()
    """The media types of the bodies that a processor is given as a whole."""
    content_bytes: int = 0
    """How long such a body may be; 0: as usual."""


def manifest_of(files: dict[str, bytes]) -> Manifest:
    """Return what a plugin's files say of it. Raises ``PluginError`` with the field."""
    if FILE not in files:
        return Manifest(kind="wasm", schema=json.dumps(ANY), module=MODULE) if MODULE in files else Manifest()
    try:
        said = tomllib.loads(files[FILE].decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PluginError(f"{FILE}: {error}") from None
    unknown = sorted(set(said) - FIELDS)
    if unknown:
        raise PluginError(f"{FILE}: {unknown[0]}: unknown field; known are {', '.join(sorted(FIELDS))}")
    for field in ("name", "kind", "module", "entry-point", "factory", "description"):
        if field in said and not isinstance(said[field], str):
            raise PluginError(f"{FILE}: {field}: a string is expected")
    kind = said.get("kind", "hook")
    if kind not in KINDS:
        raise PluginError(f"{FILE}: kind: {kind!r} is not one of {', '.join(KINDS)}")
    if kind != "processor" and (other := sorted(said.keys() & {"content-types", "max-content"})):
        raise PluginError(f"{FILE}: {other[0]}: not of a plugin whose kind is {kind!r}")
    content_types, content_bytes = content_types_of(said), content_bytes_of(said)
    module = said.get("module", MODULE if kind == "wasm" else "")
    wrong = (
        [field for field in ("entry-point", "factory") if field in said]
        if kind == "wasm"
        else ["module"] * bool(module)
    )
    if wrong:
        raise PluginError(f"{FILE}: {wrong[0]}: not of a plugin whose kind is {kind!r}")
    if module and module not in files:
        raise PluginError(f"{FILE}: module: there is no file {module}")
    if "factory" in said and "entry-point" in said:
        raise PluginError(f"{FILE}: factory: only one of factory and entry-point may be there")
    field = "factory" if "factory" in said else "entry-point"
    entry_point = said.get(field, DEFAULT_ENTRY_POINT)
    if not ENTRY_POINT.fullmatch(entry_point):
        raise PluginError(f"{FILE}: {field}: {entry_point!r} is not of the form module:function")
    schema = said.get("settings", ANY if kind == "wasm" else NO_SETTINGS)
    check_schema(schema)
    return Manifest(
        said.get("name", ""),
        kind,
        entry_point,
        "factory" in said,
        json.dumps(schema, default=str),
        module,
        content_types,
        content_bytes,
    )


def content_types_of(said: dict[str, Any]) -> tuple[str, ...]:
    """Return the media types of a manifest, in small letters. Raises ``PluginError``."""
    if "content-types" not in said:
        return ()
    types = said["content-types"]
    if not isinstance(types, list) or not types:
        raise PluginError(f"{FILE}: content-types: a list of media types is expected")
    for number, one in enumerate(types):
        place = f"{FILE}: content-types[{number}]"
        if not isinstance(one, str) or not MEDIA_TYPE.fullmatch(one):
            raise PluginError(f"{place}: {one!r} is no media type (application/json, text/*, */*)")
        if streams(one.lower()):
            raise PluginError(f"{place}: {one!r} streams: what it has is no whole")
    return tuple(dict.fromkeys(one.lower() for one in types))


def content_bytes_of(said: dict[str, Any]) -> int:
    """Return how long a body may be by a manifest, 0 where it does not say. Raises ``PluginError``."""
    if "max-content" not in said:
        return 0
    field, asked = f"{FILE}: max-content", said["max-content"]
    if "content-types" not in said:
        raise PluginError(f"{field}: only beside content-types")
    if not isinstance(asked, (str, int)) or isinstance(asked, bool):
        raise PluginError(f"{field}: {asked!r} is no quantity (128Ki)")
    try:
        found = parse_quantity(str(asked)).value()
    except QuantityError as error:
        raise PluginError(f"{field}: {asked!r}: {error}") from None
    if not 0 < found <= LARGEST_BYTES:
        raise PluginError(f"{field}: {asked!r} is not between 1 and {LARGEST_BYTES >> 20}Mi")
    return found


def check_schema(schema: Any) -> None:
    """Raise ``PluginError`` for a schema of settings that is none."""
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise PluginError(f'{FILE}: settings: a schema with type = "object" is expected')
    try:
        causes = check_structural({"type": "object", "properties": {"settings": schema}}, FILE)
    except (AttributeError, TypeError) as error:
        raise PluginError(f"{FILE}: settings: this is no schema: {error}") from None
    if RULES in json.dumps(schema, default=str):
        raise PluginError(f"{FILE}: settings: {RULES} is not served")
    if causes:
        place = causes[0].field.replace(f"{FILE}.properties[settings]", "settings", 1)
        raise PluginError(f"{FILE}: {place}: {causes[0].message}")


def settings_of(manifest: Manifest, settings: Any) -> Object:
    """Return the settings with the schema's defaults. Raises ``PluginError`` with the field's path in the Plugin."""
    schema = json.loads(manifest.schema)
    found: Object = json.loads(json.dumps(settings if settings is not None else {}))
    fill(schema, found)
    causes: list[Cause] = []
    compile_validator(schema)(found, "spec.settings", causes)
    problems = [f"{cause.field}: {cause.message}" for cause in causes] + unknown_fields(schema, found, "spec.settings")
    if problems:
        raise PluginError("; ".join(problems))
    return found


def fill(schema: dict[str, Any], value: Any) -> None:
    """Put the defaults of a schema in place."""
    if isinstance(value, list):
        for item in value:
            fill(schema.get("items") or {}, item)
    if not isinstance(value, dict):
        return
    for name, child in (schema.get("properties") or {}).items():
        if name not in value and "default" in child:
            value[name] = json.loads(json.dumps(child["default"]))
        if name in value:
            fill(child, value[name])
    additional = schema.get("additionalProperties")
    if isinstance(additional, dict):
        for name in value.keys() - (schema.get("properties") or {}).keys():
            fill(additional, value[name])


def unknown_fields(schema: dict[str, Any], value: Any, path: str) -> list[str]:
    """Return the fields that a schema says nothing of, as problems."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        return [text for i, item in enumerate(value) for text in unknown_fields(items, item, f"{path}[{i}]")]
    if not isinstance(value, dict) or schema.get("x-kubernetes-preserve-unknown-fields"):
        return []
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    problems = []
    for name, item in value.items():
        child = properties.get(name, additional)
        if isinstance(child, dict):
            problems += unknown_fields(child, item, f"{path}.{name}")
        elif child is not True:
            known = ", ".join(sorted(properties)) or "none"
            problems.append(f"{path}.{name}: the plugin has no such setting (known: {known})")
    return problems
