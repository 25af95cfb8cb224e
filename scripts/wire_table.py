"""Write the table of Kubernetes' protobuf field numbers (src/sampan/schema/go_fields.txt) from the tags of its Go types.

    python scripts/wire_table.py --api DIR --apimachinery DIR --apiextensions DIR --aggregator DIR \\
        > src/sampan/schema/go_fields.txt

DIR are checkouts of kubernetes/api, apimachinery, apiextensions-apiserver and kube-aggregator. The table holds facts of the
wire format only: of each message the JSON names, numbers and types of its fields. One message a line:
``package.Message field:number:type …``; types are ``s`` string, ``i`` integer, ``b`` boolean, ``y`` bytes, ``f`` float,
``q`` Quantity, ``t`` Time, ``m`` MicroTime, ``d`` Duration, ``x`` IntOrString, ``r`` raw JSON, ``w`` a message that is a
list of strings, ``O``, ``A`` and ``S`` a schema or else a boolean, a list of schemas or a list of strings, or a message;
``[]`` and ``{}`` before a type make lists and maps of it. A ``?`` after it: left out of JSON when zero; ``!``: always in
JSON; ``^``: its fields stand in the outer object. What has none is a pointer.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

SPECIAL = {
    "resource.Quantity": "q", "Quantity": "q", "metav1.Time": "t", "Time": "t", "metav1.MicroTime": "m", "MicroTime": "m",
    "metav1.Duration": "d", "intstr.IntOrString": "x", "runtime.RawExtension": "r", "FieldsV1": "r", "metav1.FieldsV1": "r",
}  # fmt: skip
SPECIAL |= {
    "JSON": "r",
    "JSONSchemaPropsOrBool": "O",
    "JSONSchemaPropsOrArray": "A",
    "JSONSchemaPropsOrStringArray": "S",
}
BASIC = {"string": "s", "bool": "b", "int32": "i", "int64": "i", "int": "i", "uint32": "i", "float64": "f", "byte": "i"}
BASIC |= {"types.UID": "s", "UID": "s", "types.NodeName": "s"}
LEFT_OUT = ("admission/v1", "apidiscovery/v2")
UNSTABLE = frozenset((
    "admissionregistration/v1alpha1", "admissionregistration/v1beta1", "apiserverinternal/v1alpha1",
    "authentication/v1alpha1", "authentication/v1beta1", "certificates/v1alpha1", "certificates/v1beta1",
    "coordination/v1alpha2", "coordination/v1beta1", "flowcontrol/v1beta1", "flowcontrol/v1beta2", "flowcontrol/v1beta3",
    "lifecycle/v1alpha1", "networking/v1beta1", "resource/v1alpha3", "resource/v1beta1", "resource/v1beta2",
    "scheduling/v1alpha3", "scheduling/v1beta1", "storage/v1alpha1", "storage/v1beta1", "storagemigration/v1beta1",
))  # fmt: skip
"""Versions beside the stable ones that an API of 1.25 to 1.37 may serve."""

STRUCT = re.compile(r"^type (\w+) struct \{\n(.*?)^\}", re.M | re.S)
ALIAS = re.compile(r"^type (\w+) (string|int32|\[\]\w+|map\[\w+\][\w.]+)$", re.M)
FIELD = re.compile(r'^\t(?:(\w+)\s+)?([\w.\[\]*]+)\s+`json:"([^"]*)"(?:\s+\w+:"[^"]*")*?\s*protobuf:"([^"]*)"', re.M)
IMPORT = re.compile(r'^(?:\t|import )(?:(\w+) )?"k8s\.io/(?:api|apimachinery/pkg/apis)/([\w/]+)"', re.M)


def sources(checkout: Path, pattern: str) -> Iterator[tuple[str, str]]:
    """Yield ``(package, Go source)`` of a checkout, bare or not."""
    git = ["git", "-C", str(checkout)]
    names = subprocess.run([*git, "ls-tree", "-r", "HEAD", "--name-only"], capture_output=True, text=True, check=True)
    for name in names.stdout.splitlines():
        match = re.fullmatch(pattern, name)
        if match:
            shown = subprocess.run([*git, "show", f"HEAD:{name}"], capture_output=True, text=True, check=True)
            yield match[1], shown.stdout


class Table:
    """Messages by qualified name, and what the names of other types mean."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.texts: dict[str, str] = {}

    def type_of(self, package: str, imports: dict[str, str], go: str, repeated: bool) -> str:
        go = go.lstrip("*")
        if go == "[]byte":
            return "y"
        if go in SPECIAL and not (go == "Time" and package != "meta/v1"):
            return SPECIAL[go]
        if go in BASIC:
            return BASIC[go]
        if go.startswith("[]"):
            return "[]" + self.type_of(package, imports, go[2:], False)
        if go.startswith("map["):
            return "{}" + self.type_of(package, imports, go.partition("]")[2], False)
        home, name = package, go
        if "." in go:
            prefix, name = go.split(".")
            home = imports.get(prefix, prefix)
        qualified = f"{home}.{name}"
        if qualified in self.aliases:
            aliased = self.aliases[qualified]
            if aliased.startswith("[]") and not repeated:
                return "w"
            return self.type_of(home, imports, aliased, repeated)
        return qualified

    def lines(self) -> Iterator[str]:
        for package, text in sorted(self.texts.items()):
            if package in LEFT_OUT or not (re.fullmatch(r"\w+/v\d+", package) or package in UNSTABLE):
                continue
            imports = {alias or path.split("/")[-1]: path for alias, path in IMPORT.findall(text)}
            for name, body in STRUCT.findall(text):
                fields = []
                for _, go, json, tag in FIELD.findall(body):
                    parts = tag.split(",")
                    if not parts[1].isdigit():
                        continue
                    key = json.split(",")[0]
                    kind = self.type_of(package, imports, go, parts[2] == "rep")
                    flag = "^" if not key else "" if go.startswith("*") else presence(kind, json)
                    fields.append(f"{key or '-'}:{parts[1]}:{kind}{flag}")
                if fields and not (name.endswith("List") and fields[-1].startswith("items:2:")):
                    yield f"{package}.{name} {' '.join(fields)}"


def presence(kind: str, json: str) -> str:
    """Return the flag of a field that is no pointer: Go finds no struct empty (``omitempty``), but may find it zero."""
    if "omitzero" in json:
        return "?"
    struct = "." in kind or kind in "qtmdxOAS"
    return "?" if "omitempty" in json and (kind[:1] in "[{" or not struct) else "!"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--api", type=Path, required=True)
    parser.add_argument("--apimachinery", type=Path, required=True)
    parser.add_argument("--apiextensions", type=Path, required=True)
    parser.add_argument("--aggregator", type=Path, required=True)
    options = parser.parse_args()
    table = Table()
    found = [
        *sources(options.api, r"(\w+/v\d+(?:(?:alpha|beta)\d+)?)/types\.go"),
        *sources(options.apimachinery, r"pkg/apis/(meta/v1)/types\.go"),
        *sources(options.apiextensions, r"pkg/apis/(apiextensions/v1)/types(?:_jsonschema)?\.go"),
        *sources(options.aggregator, r"pkg/apis/(apiregistration/v1)/types\.go"),
    ]
    for package, text in found:
        table.texts[package] = table.texts.get(package, "") + text
        for name, target in ALIAS.findall(text):
            table.aliases[f"{package}.{name}"] = target
    sys.stdout.writelines(line + "\n" for line in table.lines())


if __name__ == "__main__":
    main()
