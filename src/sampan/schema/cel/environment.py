"""What an expression may use: variables, declared types, and the functions that a Kubernetes version has.

A new expression may use what the version before the server's had (so that the server can be rolled back); one that is
stored already may use all of its own. Source: apiserver pkg/cel/environment/base.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import NamedTuple

from sampan.schema.cel import arithmetic, conversions, macros, standard, types
from sampan.schema.cel.declarations import NAMED, Functions, Overload, functions
from sampan.schema.cel.declared import Declared, objects_in
from sampan.schema.cel.libraries import (
    authorizers,
    lists,
    named_formats,
    networks,
    quantities,
    regex,
    strings,
    urls,
)
from sampan.schema.cel.macros import Macros
from sampan.schema.cel.parser import Macro
from sampan.schema.cel.types import Type


class Library(NamedTuple):
    """Overloads and macros, and the first Kubernetes minor version that has them."""

    since: int
    overloads: list[Overload]
    macros: Mapping[tuple[str, int, bool], Macro] = MappingProxyType({})


LIBRARIES = (
    Library(0, standard.STANDARD),
    Library(0, arithmetic.OPERATORS),
    Library(0, conversions.CONVERSIONS, macros.STANDARD),
    Library(0, urls.URLS),
    Library(0, regex.REGEX),
    Library(0, lists.KUBERNETES),
    Library(0, strings.BASE),
    Library(27, authorizers.AUTHORIZERS),
    Library(28, standard.OPTIONALS, macros.OPTIONALS),
    Library(28, quantities.QUANTITIES),
    Library(29, strings.WITH_FORMAT),
    Library(29, lists.SETS),
    Library(30, networks.IPS),
    Library(30, networks.CIDRS),
    Library(31, named_formats.NAMED_FORMATS),
    Library(31, authorizers.SELECTORS),
    Library(32, standard.MAP_INSERT, macros.TWO_VARIABLES),
    Library(33, quantities.SEMVERS),
    Library(34, lists.EXTENDED, lists.SORT_BY),
    Library(37, lists.INCLUDES),
)
JSON_PATCH = Library(0, authorizers.JSON_PATCH)
"""For mutating policies."""

BINDINGS = Library(0, [], macros.BINDINGS)
"""``cel.bind``: no Kubernetes version has it; for expressions of our own."""

BUILTIN_TYPES: dict[str, Type] = {
    **{type.name: type for type in (types.BOOL, types.INT, types.UINT, types.DOUBLE, types.STRING, types.BYTES)},
    "null_type": types.NULL,
    "dyn": types.DYN,
    "list": types.list_of(types.DYN),
    "map": types.map_of(types.DYN, types.DYN),
    "type": types.type_of(),
    types.TIMESTAMP.name: types.TIMESTAMP,
    types.DURATION.name: types.DURATION,
    "optional_type": types.optional_of(types.DYN),
    "net.IP": NAMED["IP"],
    "net.CIDR": NAMED["CIDR"],
}


class Environment:
    """Variables and their types, and everything else a version has. Make one with ``environment``; it may be shared."""

    __slots__ = ("declared", "dynamic", "functions", "macros", "minor", "roots", "variables")

    def __init__(
        self,
        minor: int,
        functions: Functions,
        macros: Macros,
        variables: Mapping[str, Type],
        declared: dict[str, Declared],
        roots: dict[str, Declared],
    ) -> None:
        self.minor = minor
        self.functions = functions
        self.macros = macros
        self.variables = variables
        self.declared = declared
        self.roots = roots
        """Variable → declared type, for the sizes that costs are estimated from."""
        self.dynamic: Callable[[str], Declared | None] | None = None
        """Finds types that are not declared one by one (``Object.spec.template`` of mutations)."""

    @property
    def optional_syntax(self) -> bool:
        return self.minor >= 28

    @property
    def validates_literals(self) -> bool:
        """Whether constant times, patterns and formats are checked when compiled (since 1.29)."""
        return self.minor >= 29

    def declared_type(self, name: str) -> Declared | None:
        found = self.declared.get(name)
        return self.dynamic(name) if found is None and self.dynamic is not None else found

    def type_named(self, name: str) -> Type | None:
        declared = self.declared_type(name)
        return declared.type if declared is not None else BUILTIN_TYPES.get(name)

    def extended(self, variables: Mapping[str, Type | Declared]) -> Environment:
        """Return this environment with more variables."""
        found, declared, roots = dict(self.variables), dict(self.declared), dict(self.roots)
        for name, type in variables.items():
            if isinstance(type, Declared):
                found[name] = type.type
                roots[name] = type
                objects_in(type, declared)
            else:
                found[name] = type
        made = Environment(self.minor, self.functions, self.macros, found, declared, roots)
        made.dynamic = self.dynamic
        return made


@lru_cache(maxsize=64)
def _base(minor: int, extra: tuple[str, ...]) -> tuple[Functions, Macros]:
    more = {"jsonpatch": JSON_PATCH, "bindings": BINDINGS}
    chosen = [library for library in LIBRARIES if library.since <= minor] + [more[name] for name in extra]
    found: Macros = {}
    for library in chosen:
        found.update(library.macros)
    comparisons = arithmetic.comparisons(cross=minor >= 28)
    return functions(comparisons, *(library.overloads for library in chosen)), found


def minor_of(version: str) -> int:
    return int(version.removeprefix("v").split(".")[1])


def environment(
    version: str = "1.37",
    variables: Mapping[str, Type | Declared] | None = None,
    *,
    stored: bool = False,
    extra: tuple[str, ...] = (),
) -> Environment:
    """Return the environment of a Kubernetes version. ``stored``: for an expression that is in the store already.
    ``extra``: ``jsonpatch`` (mutating policies), ``bindings`` (``cel.bind``)."""
    minor = minor_of(version) - (0 if stored else 1)
    found, macros_ = _base(minor, extra)
    return Environment(minor, found, macros_, {}, {}, {}).extended(variables or {})
