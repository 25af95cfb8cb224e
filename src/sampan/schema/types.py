"""The types of one Kubernetes version, compiled from its OpenAPI definitions when first asked for.

``type_system("1.37").type_for("apps", "v1", "Deployment")`` is the ``Type`` that decodes, prunes, patches and applies
Deployments. A ``Type`` is a node of a tree (struct, map, list, scalar, any) whose children are compiled on first use,
so that an API that only ever sees ConfigMaps never pays for Pods. The definitions come from the data files of the
``kubernetes-validate`` package, read without importing it.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sampan.schema import clean, zeros
from sampan.schema.causes import Cause
from sampan.schema.decode import REPEATED, repeated_keys
from sampan.schema.definitions import Definitions
from sampan.schema.objects import Object
from sampan.schema.switched_off import dropped_of

VERSIONS: tuple[str, ...] = tuple(f"1.{minor}" for minor in range(25, 38))

REF = "#/$defs/"
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = META + "ObjectMeta"

SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "resource.Quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intstr.IntOrString",
    META + "Time": "v1.Time",
    META + "MicroTime": "v1.MicroTime",
}

UNTYPED = ("FieldsV1", "RawExtension", "Patch", "JSON", "JSONSchemaPropsOrStringArray")
"""Definitions whose content is free; every other one without properties is an empty struct."""

SCHEMA_OR = ("JSONSchemaPropsOrArray", "JSONSchemaPropsOrBool")
"""Definitions published without content: a schema (a list of schemas is refused by CRDs anyway), or also a bool."""

KEY_DEFAULTS = {"protocol": "TCP"}
"""Defaults of list-map keys (ports), which the published definitions leave out."""


VALUE_STRUCTS = frozenset(
    ("metadata", "spec", "status", "template", "strategy", "updateStrategy", "resources", "loadBalancer", "nodeInfo",
     "daemonEndpoints", "kubeletEndpoint", "lastState", "state", "source", "series", "jobTemplate", "names", "conversion")
)  # fmt: skip
"""Fields that are structs in Go, not pointers to structs: they are there in every object."""


class UnknownVersion(ValueError):
    """The Kubernetes version is none of those whose definitions are packaged."""

    def __init__(self, version: str) -> None:
        super().__init__(f"unknown Kubernetes version {version!r}: known are {', '.join(VERSIONS)}")


class Checked(NamedTuple):
    """What the decoder made of an object: the object itself, the unknown fields it had, and the first type error."""

    object: Object
    unknown: list[str]
    error: str


class Type:
    """One node of a type tree.

    ``shape`` is struct, map, list, scalar or any; ``name`` the Go type the decoder names (``[]v1.Container``);
    ``element`` the type of map values and list items. ``list_type`` (atomic, set, map), ``map_keys``, ``key_defaults``,
    ``atomic`` (maps and structs) steer server-side apply, ``always`` names the fields that Go writes even when they are
    empty, which therefore have no owner of their own, ``written`` those with their zeros, ``dropped`` the scalars that it
    leaves out when they are zero, ``off`` those never kept; ``merge_key`` and ``strategies`` strategic merge patch."""

    __slots__ = (
        "_children", "_cleaner", "_filler", "_load", "always", "atomic", "dropped", "element", "key_defaults", "kind",
        "list_type", "map_keys", "merge_key", "name", "nullable", "off", "required", "requires", "shape", "strategies",
        "struct", "takes_bool", "written",
    )  # fmt: skip

    def __init__(self, shape: str, name: str, *, load: Callable[[], dict[str, Type]] | None = None) -> None:
        self.shape = shape
        self.name = name
        self.struct = name.rpartition(".")[2]
        self.kind = ""
        self.element: Type | None = None
        self.list_type = "atomic"
        self.map_keys: tuple[str, ...] = ()
        self.key_defaults: dict[str, Any] = {}
        self.atomic = False
        self.merge_key = ""
        self.strategies: tuple[str, ...] = ()
        self.required: frozenset[str] = frozenset()
        self.requires: bool | None = None
        self.always: frozenset[str] = frozenset()
        self.dropped: frozenset[str] = frozenset()
        self.off: frozenset[str] = frozenset()
        self.written: dict[str, Any] = {}
        self.nullable = False
        self.takes_bool = False
        self._load = load
        self._children: dict[str, Type] | None = None
        self._cleaner: Callable[[Any], Any] | None = None
        self._filler: Callable[[Any], None] | bool | None = None

    @property
    def fields(self) -> dict[str, Type]:
        """The fields of a struct."""
        if self._children is None:
            self._children = self._load() if self._load else {}
        return self._children

    def child(self, key: str) -> Type | None:
        """Return the type of a struct's field or of a map's values; None when it is not known."""
        return self.fields.get(key) if self.shape == "struct" else self.element

    def cleaner(self) -> Callable[[Any], Any]:
        """Return the compiled fast pass (``schema.clean``)."""
        if self._cleaner is None:
            self._cleaner = clean.compile_cleaner(self)
        return self._cleaner

    def filler(self) -> Callable[[Any], None] | None:
        """Return the compiled pass that writes the zeros Go always writes (``schema.zeros``); None: there are none."""
        if self._filler is None:
            self._filler = self._late_fill  # of a type that holds itself
            self._filler = zeros.compile_filler(self) or False
        return self._filler or None  # type: ignore[return-value]

    def _late_fill(self, obj: Any) -> None:
        fill = self.filler()
        if fill is not None:
            fill(obj)

    def fill(self, obj: Object) -> None:
        """Write into an object what Go always writes."""
        fill = self.filler()
        if fill is not None:
            fill(obj)

    def check(self, obj: Object) -> Checked:
        """Prune and normalise ``obj`` in place as Kubernetes' decoder does, and say what was wrong with it."""
        try:
            return Checked((self._cleaner or self.cleaner())(obj), [], "")
        except clean.Unclean:
            return Checked(*clean.examine(self, obj))

    def required_missing(self, obj: Object) -> list[Cause]:
        """Return a cause for each field that the definitions require and ``obj`` has not."""
        return clean.required_missing(self, obj)

    def default(self, obj: Object) -> None:
        """Fill defaults of the schema; built-in types have theirs in the resource's declaration."""

    def validate(self, obj: Object, old: Object | None = None, warnings: list[str] | None = None) -> list[Cause]:
        """Validate by the schema; built-in types are validated by the resource's declaration."""
        return []

    def __repr__(self) -> str:
        return f"<Type {self.shape} {self.name}>"


class TypeSystem:
    """The definitions of one version and the types compiled from them."""

    def __init__(self, version: str, definitions: Definitions) -> None:
        self.version = version
        self.definitions = definitions
        self._named: dict[str, Type] = {}
        self._kinds = definitions.kinds

    def kinds(self) -> Iterable[tuple[str, str, str]]:
        """Return every (group, version, kind) of this version, lists and options included."""
        return self._kinds.keys()

    def definition_name(self, group: str, version: str, kind: str) -> str | None:
        """Return the key of a kind in ``definitions`` (``io.k8s.api.core.v1.Pod``)."""
        return self._kinds.get((group, version, kind))

    def type_for(self, group: str, version: str, kind: str) -> Type | None:
        """Return the compiled type of a kind, None when this version does not have it."""
        name = self._kinds.get((group, version, kind))
        if name is None:
            return None
        type = self.named(name)
        type.kind = type.kind or kind
        return type

    def named(self, name: str) -> Type:
        """Return the type of a definition by its name."""
        type = self._named.get(name)
        if type is None:
            type = self._named[name] = self._define(name, self.definitions[name])
        return type

    def _define(self, name: str, schema: dict[str, Any]) -> Type:
        if name in SCALARS:
            return Type("scalar", SCALARS[name])
        package, _, short = name.rpartition(".")
        if short in SCHEMA_OR:
            return self._schema_or(f"{package}.JSONSchemaProps", takes_bool=short.endswith("Bool"))
        if short in UNTYPED and "properties" not in schema:
            return Type("any", "any")
        type = Type("struct", go_name(name), load=lambda: self._fields(self.definitions[name].get("properties") or {}))
        type.required = frozenset(schema.get("required", ()))
        presence = zeros.presence(name)
        if presence is None:
            type.always = type.required | VALUE_STRUCTS
        else:
            type.dropped, type.written = presence
            type.always = frozenset(type.written)
        type.off = dropped_of(name)
        type.dropped |= type.off
        type.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        return type

    def _schema_or(self, name: str, takes_bool: bool) -> Type:
        type = Type("struct", go_name(name), load=lambda: self.named(name).fields)
        type.takes_bool = takes_bool
        return type

    def _fields(self, properties: dict[str, Any]) -> dict[str, Type]:
        return {field: self._compile(schema) for field, schema in properties.items()}

    def _compile(self, schema: dict[str, Any]) -> Type:
        ref = schema.get("$ref")
        if ref is not None:
            return _with_extensions(self.named(ref[len(REF) :]), schema)
        kind = _json_type(schema)
        if kind == "array":
            return self._list(schema)
        if kind == "object":
            return self._map(schema)
        return Type("scalar", _scalar_name(kind, schema.get("format", ""))) if kind else Type("any", "any")

    def _list(self, schema: dict[str, Any]) -> Type:
        element = self._compile(schema.get("items") or {})
        type = Type("list", f"[]{element.name}")
        type.element = element
        type.list_type = schema.get("x-kubernetes-list-type", "atomic")
        type.map_keys = tuple(schema.get("x-kubernetes-list-map-keys", ()))
        type.key_defaults = {key: KEY_DEFAULTS[key] for key in type.map_keys if key in KEY_DEFAULTS}
        _patch_extensions(type, schema)
        return type

    def _map(self, schema: dict[str, Any]) -> Type:
        if "additionalProperties" not in schema:
            return Type("any", "any")
        element = self._compile(schema["additionalProperties"])
        type = Type("map", f"map[string]{element.name}")
        type.element = element
        type.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        _patch_extensions(type, schema)
        return type


def _with_extensions(named: Type, schema: dict[str, Any]) -> Type:
    """A field may say other than its definition does (``claimRef`` is granular): then it gets a type of its own."""
    map_type, strategy = schema.get("x-kubernetes-map-type"), schema.get("x-kubernetes-patch-strategy")
    if map_type is None and strategy is None:
        return named
    type = Type(named.shape, named.name, load=lambda: named.fields)
    type.element, type.required, type.always = named.element, named.required, named.always
    type.dropped, type.written, type.off = named.dropped, named.written, named.off
    type.atomic = named.atomic if map_type is None else map_type == "atomic"
    _patch_extensions(type, schema)
    return type


def _patch_extensions(type: Type, schema: dict[str, Any]) -> None:
    type.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
    type.strategies = tuple(schema.get("x-kubernetes-patch-strategy", "").split(",")) if (
        "x-kubernetes-patch-strategy" in schema
    ) else ()  # fmt: skip


def _json_type(schema: dict[str, Any]) -> str:
    kind = schema.get("type", "")
    if isinstance(kind, list):
        kind = next((word for word in kind if word != "null"), "")
    return str(kind)


def _scalar_name(kind: str, format: str) -> str:
    if kind == "integer":
        return "int64" if format == "int64" else "int32"
    if kind == "string":
        return {"byte": "[]uint8", "date-time": "v1.Time"}.get(format, "string")
    return {"boolean": "bool", "number": "float64"}[kind]


def go_name(definition: str) -> str:
    """Return ``v1.Container`` for ``io.k8s.api.core.v1.Container``."""
    return ".".join(definition.split(".")[-2:])


def known_version(version: str) -> str:
    """Return ``1.37`` for ``1.37``, ``v1.37`` or ``1.37.2``; raises ``UnknownVersion``."""
    match = re.fullmatch(r"v?([0-9]+\.[0-9]+)(?:\.[0-9]+.*)?", version)
    if match is None or match[1] not in VERSIONS:
        raise UnknownVersion(version)
    return match[1]


def type_system(version: str = VERSIONS[-1]) -> TypeSystem:
    """Return the types of a Kubernetes version (cached); raises ``UnknownVersion``."""
    known = known_version(version)
    if known not in _loaded:
        _loaded[known] = _load(known)
    return _loaded[known]


def loaded_type_system() -> TypeSystem:
    """Return any version that is loaded already, else the newest: for what is the same in all of them (ObjectMeta)."""
    return next(iter(_loaded.values()), None) or type_system()


_loaded: dict[str, TypeSystem] = {}


def _load(version: str) -> TypeSystem:
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("the package kubernetes-validate, which holds the definitions, is not installed")
    folder = Path(spec.origin).parent / "kubernetes-json-schema" / f"v{version}.0-local"
    return TypeSystem(version, Definitions(folder / "_definitions.json"))


def cannot_handle(kind: str, version: str, error: str) -> str:
    """Return the message of the 400 for an object that does not decode; ``version`` is without the group."""
    return f'{kind} in version "{version}" cannot be handled as a {kind}: {error}'


def strict_error(messages: Iterable[str]) -> str:
    """Return the decoder's message for unknown and duplicate fields under ``fieldValidation=Strict``."""
    messages = list(messages)
    lines = [message for message in messages if message.endswith(REPEATED)]
    others = [message for message in messages if not message.endswith(REPEATED)]
    return "strict decoding error: " + ", ".join(([repeated_keys(lines)] if lines else []) + others)
