"""The decoder's pass over an object of a known type: prune, normalise, complain.

Two passes do the same work. ``compile_cleaner`` makes closures without paths, fast enough for every write; the moment
they meet something wrong they give up with ``Unclean``. Then ``examine`` walks again with paths and words what is wrong
as Kubernetes' decoder (``sigs.k8s.io/json`` in strict mode) does. Both change the object in place: nulls and unknown
fields go, quantities and times get their stored form, and what is empty goes, as Go's ``omitempty`` drops it
(``schema.zeros``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sampan.schema.causes import Cause, required
from sampan.schema.scalars import CLEANERS, Unfit, json_kind

if TYPE_CHECKING:
    from sampan.schema.types import Type

Cleaner = Callable[[Any], Any]


class Unclean(Exception):
    """The fast pass met something that needs the slow one."""


UNCLEAN = Unclean()


def compile_cleaner(type: Type) -> Cleaner:
    """Return the fast pass for a type: takes a value, returns it cleaned (the same object) or raises ``Unclean``."""
    if type.shape == "struct":
        return _struct(type)
    if type.shape == "map":
        return _map(type)
    if type.shape == "list":
        return _list(type)
    cleaner = CLEANERS[type.name]

    def scalar(value: Any) -> Any:
        try:
            return cleaner(value)
        except Unfit:
            raise UNCLEAN from None

    return scalar if type.name not in ("any",) else cleaner


def _want(type: Type) -> Any:
    """What a table holds for a field: the class itself where that is all to check, else a cleaner."""
    if type.shape == "scalar" and type.name in ("string", "bool"):
        return str if type.name == "string" else bool
    return type.cleaner()


def _discarded(type: Type) -> Cleaner:
    """The cleaner of a field that is read and not kept (``schema.switched_off``)."""

    def clean(value: Any) -> None:
        type.cleaner()(value)

    return clean


class _Lazy:
    """A struct's table, built when the first value arrives: types may contain themselves."""

    __slots__ = ("table", "type")

    def __init__(self, type: Type) -> None:
        self.type = type
        self.table: dict[str, Any] | None = None

    def build(self) -> dict[str, Any]:
        off = self.type.off
        self.table = {
            name: _discarded(field) if name in off else _want(field) for name, field in self.type.fields.items()
        }
        return self.table


def _struct(type: Type) -> Cleaner:
    lazy = _Lazy(type)
    must = type.required
    dropped, takes_bool = type.dropped, type.takes_bool

    def clean(value: Any) -> Any:
        if value.__class__ is not dict:
            if takes_bool and value.__class__ is bool:
                return value
            raise UNCLEAN
        table = lazy.table or lazy.build()
        drop: list[str] | None = None
        for key, item in value.items():
            want = table.get(key)
            kind = item.__class__
            if kind is want and (item or key not in dropped):
                continue
            if want is None:
                raise UNCLEAN
            if item is None or (
                (kind is list or kind is dict) and not item and key not in must and _omitted(type, key)
            ):
                drop = [key] if drop is None else [*drop, key]
            elif want is str or want is bool:
                if kind is not want:
                    raise UNCLEAN
                drop = [key] if drop is None else [*drop, key]
            else:
                cleaned = want(item)
                if not cleaned and key in dropped:
                    drop = [key] if drop is None else [*drop, key]
                elif cleaned is not item:
                    value[key] = cleaned
        if drop is not None:
            for key in drop:
                del value[key]
        return value

    return clean


def _omitted(type: Type, key: str) -> bool:
    """Whether Go's ``omitempty`` drops this field when it is empty (structs are never empty)."""
    return type.fields[key].shape in ("list", "map")


def _map(type: Type) -> Cleaner:
    assert type.element is not None
    want = None if type.element.shape == "struct" else _want(type.element)
    element = type.element

    def clean(value: Any) -> Any:
        if value.__class__ is not dict:
            raise UNCLEAN
        cleaner = want or element.cleaner()
        for key, item in value.items():
            if item.__class__ is cleaner:
                continue
            if item is None or cleaner is str or cleaner is bool:
                raise UNCLEAN
            cleaned = cleaner(item)
            if cleaned is not item:
                value[key] = cleaned
        return value

    return clean


def _list(type: Type) -> Cleaner:
    assert type.element is not None
    want = None if type.element.shape == "struct" else _want(type.element)
    element = type.element

    def clean(value: Any) -> Any:
        if value.__class__ is not list:
            raise UNCLEAN
        cleaner = want or element.cleaner()
        for index, item in enumerate(value):
            if item.__class__ is cleaner:
                continue
            if item is None or cleaner is str or cleaner is bool:
                raise UNCLEAN
            cleaned = cleaner(item)
            if cleaned is not item:
                value[index] = cleaned
        return value

    return clean


ZEROS: dict[str, Any] = {"string": "", "bool": False, "int32": 0, "int64": 0, "float64": 0, "[]uint8": "",
                         "resource.Quantity": "0", "intstr.IntOrString": 0}  # fmt: skip


class _Examination:
    """One slow walk: the unknown fields met so far, and the first error."""

    def __init__(self) -> None:
        self.unknown: list[str] = []
        self.error = ""

    def fail(self, type: Type, value: Any, struct: str, go_path: str, text: str) -> None:
        if self.error:
            return
        if text:
            self.error = text
            return
        what = json_kind(value)
        if what == "number":
            what = f"number {value}" if type.shape == "scalar" and type.name in ("int32", "int64") else "number"
        where = f"Go struct field {struct}.{go_path}" if go_path else "Go value"
        self.error = f"json: cannot unmarshal {what} into {where} of type {type.name}"

    def walk(self, type: Type, value: Any, path: str, go_path: str, struct: str) -> Any:
        """Return the cleaned value, None when it is to be left out."""
        if type.shape == "scalar":
            try:
                return CLEANERS[type.name](value)
            except Unfit as unfit:
                self.fail(type, value, struct, go_path, unfit.text)
                return None
        if type.shape == "any":
            return value
        if type.takes_bool and isinstance(value, bool):
            return value
        expected: Any = list if type.shape == "list" else dict
        if not isinstance(value, expected):
            self.fail(type, value, struct, go_path, "")
            return None
        if type.shape == "struct":
            return self.struct(type, value, path, go_path)
        return self.items(type, value, path, go_path, struct)

    def struct(self, type: Type, value: dict[str, Any], path: str, go_path: str) -> Any:
        for key in list(value):
            field = type.fields.get(key)
            here = f"{path}.{key}" if path else key
            if field is None:
                self.unknown.append(f'unknown field "{here}"')
                del value[key]
                continue
            item = value[key]
            if item is not None:
                item = self.walk(field, item, here, f"{go_path}.{key}" if go_path else key, type.struct)
            must = key in type.required
            empty = (
                item is None
                or key in type.off
                or (not item and (key in type.dropped or (field.shape in ("list", "map") and not must)))
            )
            if empty:
                del value[key]
            else:
                value[key] = item
        return value

    def items(self, type: Type, value: Any, path: str, go_path: str, struct: str) -> Any:
        assert type.element is not None
        pairs = list(enumerate(value)) if isinstance(value, list) else list(value.items())
        for key, item in pairs:
            here = f"{path}[{key}]" if isinstance(value, list) else f"{path}.{key}"
            if item is not None:
                item = self.walk(type.element, item, here, go_path, struct)
            value[key] = _zero(type.element) if item is None else item
        return value


def _zero(type: Type) -> Any:
    """What Go decodes null to, inside a list or a map."""
    if type.shape == "scalar":
        return ZEROS.get(type.name)
    return [] if type.shape == "list" else None if type.shape == "any" else {}


def examine(type: Type, obj: Any) -> tuple[Any, list[str], str]:
    """Return the object cleaned in place, its unknown fields, and the decoder's first error (empty: none)."""
    examination = _Examination()
    cleaned = examination.walk(type, obj, "", "", "")
    return ({} if cleaned is None else cleaned), examination.unknown, examination.error


def required_missing(type: Type, value: Any, path: str = "") -> list[Cause]:
    """Return a cause for each required field that is missing, in the order of the object."""
    causes: list[Cause] = []
    if requires(type):
        _missing(type, value, path, causes)
    return causes


def _missing(type: Type, value: Any, path: str, causes: list[Cause]) -> None:
    if isinstance(value, dict):
        if type.shape == "struct":
            prefix = f"{path}." if path else ""
            absent = [name for name in type.required if name not in value]
            if absent:
                causes += [required(prefix + name) for name in sorted(absent)]
            fields = type.fields
            for key, item in value.items():
                if item.__class__ is dict or item.__class__ is list:
                    field = fields.get(key)
                    if field is not None and requires(field):
                        _missing(field, item, prefix + key, causes)
        elif type.shape == "map" and type.element is not None:
            for key, item in value.items():
                _missing(type.element, item, f"{path}[{key}]", causes)
    elif isinstance(value, list) and type.shape == "list" and type.element is not None:
        for index, item in enumerate(value):
            _missing(type.element, item, f"{path}[{index}]", causes)


def requires(type: Type) -> bool:
    """Whether a field is required somewhere under a type; found once. Types that hold themselves count as if."""
    known = type.requires
    if known is None:
        type.requires = True
        inner = type.fields.values() if type.shape == "struct" else (type.element,) if type.element is not None else ()
        known = type.requires = bool(type.required) or any(requires(child) for child in inner)
    return known
