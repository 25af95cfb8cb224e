"""CRD schemas as types: pruning, nulls, defaulting and validation of custom resources (KEP-1693's structural schemas).

``structural_type(schema, …)`` gives a ``Type`` like the built-in ones, so patches and server-side apply work with it.
Wrong values are not a decoding error here but validation's (422), as in Kubernetes: custom resources decode without
types. Only metadata is decoded strictly. CEL rules are compiled and evaluated by ``schema.cel``, which is imported
when the first schema has some.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import orjson

from sampan.schema.causes import Cause, invalid, required
from sampan.schema.correlation import unchanged
from sampan.schema.fitting import META_FIELDS, Fits, compile_fits, compile_pruned, nothing
from sampan.schema.names import dns1035_label, validate_metadata_parts
from sampan.schema.objects import Object
from sampan.schema.structure import check_structural as check_structural
from sampan.schema.types import OBJECT_META, Checked, Type, TypeSystem, loaded_type_system
from sampan.schema.validation import INT_OR_STRING, Validator, compile_validator

if TYPE_CHECKING:
    from sampan.schema.cel.validating import RuleTree

PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
DUPLICATE = "FieldValueDuplicate"
RATCHETS_SINCE = 30

Path = tuple[Any, ...] | None
"""Where a walk is: ``(parent path, key)``, written out only when something is to be said."""


class StructuralType(Type):
    """A node of a CRD's schema. ``preserve`` keeps unknown fields; ``embedded`` marks whole objects inside."""

    __slots__ = (
        "_any_default",
        "_fits",
        "_holds_objects",
        "_pruned",
        "_rules",
        "_validator",
        "default_value",
        "embedded",
        "has_default",
        "metadata",
        "preserve",
        "schema",
        "version",
    )

    def __init__(self, schema: dict[str, Any], shape: str, name: str) -> None:
        super().__init__(shape, name)
        self.schema = schema
        self.preserve = bool(schema.get(PRESERVE))
        self.embedded = bool(schema.get(EMBEDDED))
        self.nullable = bool(schema.get("nullable"))
        self.has_default = "default" in schema
        self.default_value = schema.get("default")
        self.required = frozenset(schema.get("required") or ())
        self.atomic = schema.get("x-kubernetes-map-type") == "atomic"
        self.metadata: Type | None = None
        self._validator: Validator | None = None
        self._pruned: Fits | None = None
        self._fits: Fits | None = None
        self._any_default: bool | None = None
        self._holds_objects: bool | None = None
        self._rules: RuleTree | bool | None = False
        self.version = ""
        """The Kubernetes version whose CEL the rules are compiled with."""

    @property
    def keeps_null(self) -> bool:
        return self.nullable or self.has_default or self.preserve

    @property
    def validations(self) -> list[dict[str, Any]]:
        """The CEL rules of this node (``x-kubernetes-validations``)."""
        return list(self.schema.get("x-kubernetes-validations") or ())

    def rules(self) -> RuleTree | None:
        """Return the rules of this node and all below it, compiled once; None: there are none."""
        if self._rules is False:
            self._rules = _compiled_rules(self.schema, self.version)
        return self._rules  # type: ignore[return-value]

    def child(self, key: str) -> Type | None:
        found = self.fields.get(key) if self.shape == "struct" else None
        if found is None and self.embedded and key == "metadata":
            return self.metadata
        return found or self.element if self.shape != "list" else None

    def check(self, obj: Object) -> Checked:
        """Prune unknown fields and nulls in place; only metadata can be of a wrong type here."""
        unknown: list[str] = []
        error = ""
        for key in ("apiVersion", "kind"):
            if key in obj and not isinstance(obj[key], str):
                where = f"Go struct field {key}"
                error = error or f"json: cannot unmarshal into {where} of type string"
                del obj[key]
        if self._pruned is None:
            self._pruned = compile_pruned(self, root=True)
        if not self._pruned(obj):
            _prune(self, obj, None, unknown, True)
        if self.metadata is not None and obj.get("metadata") is not None:
            checked = self.metadata.check(obj["metadata"])
            unknown += [text.replace('field "', 'field "metadata.', 1) for text in checked.unknown]
            error = error or _under_metadata(checked.error)
            obj["metadata"] = checked.object
        elif "metadata" in obj:
            del obj["metadata"]
        if not error and has_embedded(self):
            error = _check_embedded(self, obj, "", unknown, root=True)
        return Checked(obj, unknown, error)

    def default(self, obj: Object) -> None:
        """Fill the schema's defaults in place; values are copied."""
        if self.any_default():
            _default(self, obj)

    def any_default(self) -> bool:
        if self._any_default is None:
            nodes = [*self.fields.values(), *([self.element] if self.element else [])]
            self._any_default = self.has_default or any(
                node.any_default() for node in nodes if isinstance(node, StructuralType)
            )
        return self._any_default

    def validate(self, obj: Object, old: Object | None = None, warnings: list[str] | None = None) -> list[Cause]:
        """Return what the schema and its rules refuse. Values that have not changed are forgiven, so that an object stored
        before a schema became stricter can still be changed elsewhere (KEP-4008, ratcheting); what a rule has against
        them goes to ``warnings``."""
        embedded, causes = self._schema_causes(obj)
        if causes and old is not None:
            causes = self._ratcheted(causes, obj, old)
        causes = [*embedded, *causes]
        rules = self.rules()
        if rules is not None:
            causes += _rule_causes(rules, self.version, obj, old, causes, warnings)
        return causes

    def _ratcheted(self, causes: list[Cause], obj: Object, old: Object) -> list[Cause]:
        """Return the causes that are left when what has not changed is forgiven. Of duplicates in sets and maps, all are
        forgiven where there was one before."""
        if any(cause.reason == DUPLICATE for cause in causes) and any(
            cause.reason == DUPLICATE for cause in self._schema_causes(old)[1]
        ):
            causes = [cause for cause in causes if cause.reason != DUPLICATE]
        if int(self.version.partition(".")[2] or 0) < RATCHETS_SINCE:
            return causes
        return [
            cause for cause in causes if cause.reason == DUPLICATE or not unchanged(cause.field, self.schema, obj, old)
        ]

    def _schema_causes(self, obj: Object) -> tuple[list[Cause], list[Cause]]:
        """Return what is wrong with whole objects inside, and with everything else."""
        if self._fits is None:
            self._fits = nothing if has_embedded(self) else compile_fits(self.schema, META_FIELDS)
        if self._fits(obj):
            return [], []
        if self._validator is None:
            self._validator = compile_validator(_without_metadata(self.schema))
        embedded: list[Cause] = []
        causes: list[Cause] = []
        _validate_embedded(self, obj, "", embedded, root=True)
        self._validator({key: value for key, value in obj.items() if key not in META_FIELDS}, "", causes)
        return embedded, causes


def _check_embedded(node: Type | None, value: Any, path: str, unknown: list[str], root: bool = False) -> str:
    """Decode the metadata of whole objects inside, in place; return why one cannot be read, "" where all can."""
    if not isinstance(node, StructuralType) or not has_embedded(node):
        return ""
    if node.embedded and not root and isinstance(value, dict) and isinstance(value.get("metadata"), dict):
        metadata = value["metadata"]
        checked = loaded_type_system().named(OBJECT_META).check(orjson.loads(orjson.dumps(metadata)))
        if checked.error:
            return f"{path}.metadata: {invalid('', metadata, checked.error).message}"
        value["metadata"] = checked.object
        unknown += [text.replace('field "', f'field "{path}.metadata.', 1) for text in checked.unknown]
    pairs: Any = ()
    if isinstance(value, dict):
        pairs = ((node.child(key), item, f"{path}.{key}" if path else key) for key, item in value.items())
    elif isinstance(value, list):
        pairs = ((node.element, item, f"{path}[{index}]") for index, item in enumerate(value))
    return next((found for child, item, at in pairs if (found := _check_embedded(child, item, at, unknown))), "")


def _compiled_rules(schema: dict[str, Any], version: str) -> RuleTree | None:
    if b"x-kubernetes-validations" not in orjson.dumps(schema):
        return None
    from sampan.schema.cel.validating import compile_rules

    return compile_rules(schema, version)


def _rule_causes(
    rules: RuleTree, version: str, obj: Object, old: Object | None, causes: list[Cause], warnings: list[str] | None
) -> list[Cause]:
    from sampan.schema.cel.validating import BLOCKING, UNCHECKED, ratchets

    if any(cause.reason in BLOCKING for cause in causes):
        return [UNCHECKED]
    run = rules.validate(obj, old, ratchets(version))
    if warnings is not None:
        warnings += run.warnings
    return run.causes


def _under_metadata(error: str) -> str:
    return error.replace("Go struct field ObjectMeta.", "Go struct field ObjectMeta.metadata.", 1)


def _without_metadata(schema: dict[str, Any]) -> dict[str, Any]:
    """The root's own fields are checked elsewhere, and are never missing when they come here."""
    properties = {key: value for key, value in (schema.get("properties") or {}).items() if key not in META_FIELDS}
    must = [name for name in schema.get("required") or () if name not in META_FIELDS]
    return {**schema, "properties": properties, "required": must}


def structural_type(
    schema: dict[str, Any], *, group: str, version: str, kind: str, types: TypeSystem | None = None
) -> StructuralType:
    """Return the type of a custom resource from one version's ``openAPIV3Schema``. ``types`` gives ``ObjectMeta``."""
    system = types or loaded_type_system()
    metadata = system.named(OBJECT_META)
    root = _build(schema, kind, metadata)
    root.version = system.version
    root.shape = "struct"
    root.kind = kind
    root.metadata = metadata
    string = Type("scalar", "string")
    root.fields.update({"apiVersion": string, "kind": string, "metadata": metadata})
    return root


def _build(schema: dict[str, Any], name: str, metadata: Type) -> StructuralType:
    kind = schema.get("type", "")
    properties, additional = schema.get("properties") or {}, schema.get("additionalProperties")
    if kind == "array":
        return _build_list(schema, name, metadata)
    if kind == "object" and isinstance(additional, dict):
        node = StructuralType(schema, "map", "map[string]interface {}")
        node.element = _build(additional, name, metadata)
        return node
    if kind == "object" and additional is True:
        node = StructuralType(schema, "any", "any")
        node.preserve = True
        return node
    if kind in ("object", "") and not schema.get(INT_OR_STRING):
        shape = "struct" if properties or (kind == "object" and not schema.get(PRESERVE)) else "any"
        node = StructuralType(schema, shape, name)
        node.fields.update({key: _build(child, key, metadata) for key, child in properties.items()})
        node.metadata = metadata if node.embedded else None
        return node
    return StructuralType(
        schema, "scalar", {"boolean": "bool", "number": "float64", "integer": "int64"}.get(kind, kind)
    )


def _build_list(schema: dict[str, Any], name: str, metadata: Type) -> StructuralType:
    node = StructuralType(schema, "list", "[]interface {}")
    element = node.element = _build(schema.get("items") or {}, name, metadata)
    node.list_type = schema.get("x-kubernetes-list-type", "atomic")
    node.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
    for key in node.map_keys:
        field = element.fields.get(key) if element.shape == "struct" else None
        if isinstance(field, StructuralType) and field.has_default:
            node.key_defaults[key] = field.default_value
    return node


def render(path: Path, key: str) -> str:
    """Write a walk's path out, ``key`` last."""
    text = key
    while path is not None:
        path, part = path
        if isinstance(part, int):
            text = f"[{part}]{'' if text.startswith('[') else '.'}{text}"
        else:
            text = f"{part}{'' if text.startswith('[') else '.'}{text}"
    return text


def _prune(node: Type | None, value: Any, path: Path, unknown: list[str], keeps_meta: bool = False) -> None:
    if not isinstance(node, StructuralType):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            if isinstance(item, (dict, list)):
                _prune(node.element, item, (path, index), unknown)
        return
    drop: list[str] = []
    for key, item in value.items():
        if (keeps_meta or node.embedded) and key in META_FIELDS:
            continue
        child = node.child(key)
        if child is None:
            if not node.preserve:
                unknown.append(f'unknown field "{render(path, key)}"')
                drop.append(key)
        elif item is None:
            if not _keeps_null(child):
                drop.append(key)
        elif isinstance(item, (dict, list)):
            _prune(child, item, (path, key), unknown)
    for key in drop:
        del value[key]


def _keeps_null(node: Type) -> bool:
    """A null stays where it is allowed, and where a default will take its place; elsewhere it is as if absent."""
    return node.keeps_null if isinstance(node, StructuralType) else node.nullable


def _default(node: StructuralType, value: Any) -> None:
    if isinstance(value, list):
        element = node.element
        if not isinstance(element, StructuralType) or not element.any_default():
            return
        for index, item in enumerate(value):
            if item is None and not element.nullable and element.has_default:
                value[index] = copy.deepcopy(element.default_value)
            _default(element, value[index])
        return
    if not isinstance(value, dict):
        return
    if node.shape == "struct":
        for key, child in node.fields.items():
            if not isinstance(child, StructuralType) or not child.any_default():
                continue
            if child.has_default and (key not in value or (value[key] is None and not child.nullable)):
                value[key] = copy.deepcopy(child.default_value)
            if key in value:
                _default(child, value[key])
    elif isinstance(node.element, StructuralType):
        for key, item in value.items():
            if item is None and not node.element.nullable and node.element.has_default:
                value[key] = copy.deepcopy(node.element.default_value)
            _default(node.element, value[key])


def _validate_embedded(node: Type | None, value: Any, path: str, causes: list[Cause], root: bool = False) -> None:
    if not isinstance(node, StructuralType) or not (root or has_embedded(node)):
        return
    if isinstance(value, list):
        for index, item in enumerate(value):
            _validate_embedded(node.element, item, f"{path}[{index}]", causes)
    elif isinstance(value, dict):
        if node.embedded and not root:
            _validate_resource(value, path, causes)
        for key, item in value.items():
            if isinstance(item, (dict, list)):
                _validate_embedded(node.child(key), item, f"{path}.{key}" if path else key, causes)


def has_embedded(node: StructuralType) -> bool:
    """Whether a whole object may stand somewhere under this node; found once."""
    known = node._holds_objects
    if known is None:
        nodes = [*node.fields.values(), *([node.element] if node.element else [])]
        below = (has_embedded(child) for child in nodes if isinstance(child, StructuralType))
        known = node._holds_objects = node.embedded or any(below)
    return known


def _validate_resource(value: Object, path: str, causes: list[Cause]) -> None:
    for key in ("apiVersion", "kind"):
        text = value.get(key)
        if key not in value:
            causes.append(required(f"{path}.{key}"))
        elif not isinstance(text, str):
            causes.append(invalid(f"{path}.{key}", text, "must be a string"))
        elif not text:
            causes.append(invalid(f"{path}.{key}", text, "must not be empty"))
        elif key == "apiVersion" and text.count("/") > 1:
            causes.append(invalid(f"{path}.apiVersion", text, f"unexpected GroupVersion string: {text}"))
        elif key == "kind" and dns1035_label(text.lower()):
            why = ",".join(dns1035_label(text.lower()))
            causes.append(invalid(f"{path}.kind", text, f"may have mixed case, but should otherwise match: {why}"))
    metadata = value.get("metadata")
    if isinstance(metadata, dict):
        checked = loaded_type_system().named(OBJECT_META).check(orjson.loads(orjson.dumps(metadata)))
        if checked.error:
            causes.append(invalid(f"{path}.metadata", metadata, checked.error))
        else:
            causes += [
                cause._replace(field=f"{path}.{cause.field}") for cause in validate_metadata_parts(checked.object)
            ]
    elif metadata is not None:
        causes.append(invalid(f"{path}.metadata", metadata, "must be an object"))
