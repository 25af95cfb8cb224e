"""CustomResourceDefinitions as objects: defaults, validation, and what their status says. Serving them: ``api/crds.py``.

Source: apiextensions-apiserver pkg/apis/apiextensions (defaults.go, validation.go), pkg/controller/status.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause
from sampan.api.resources.checking import one_of
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import duplicate, invalid, required
from sampan.schema.names import dns1035_label, dns1123_subdomain
from sampan.schema.objects import Object
from sampan.schema.structure import check_structural

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
PROTECTED = (".k8s.io", ".kubernetes.io")
COLUMN_TYPES = ("integer", "number", "string", "boolean", "date")


def default_definition(definition: Object) -> None:
    spec = definition.setdefault("spec", {})
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    conversion = spec.setdefault("conversion", {})
    conversion.setdefault("strategy", "None")
    service = dig(conversion, "webhook", "clientConfig", "service")
    if service is not None:
        service.setdefault("port", 443)


def prepare_definition(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {
            "conditions": [],
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": storage_versions(new),
        }


def storage_versions(definition: Object) -> list[str]:
    return [version["name"] for version in items(definition, "spec", "versions") if version.get("storage")]


def validate_definition(new: Object, old: Object | None) -> Iterator[Cause]:
    spec, names = mapping(new, "spec"), mapping(new, "spec", "names")
    group, plural, name = spec.get("group") or "", names.get("plural") or "", text(new, "metadata", "name")
    if name != f"{plural}.{group}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from check_group(new, group)
    yield from one_of("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced"))
    for key in ("plural", "singular", "kind", "listKind"):
        value = names.get(key) or ""
        if not value and key in ("plural", "kind"):
            yield required(f"spec.names.{key}")
        elif value:
            for message in dns1035_label(value.lower()):
                yield invalid(f"spec.names.{key}", value, message)
            if key in ("plural", "singular") and value != value.lower():
                yield from (invalid(f"spec.names.{key}", value, message) for message in dns1035_label(value))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid("spec.names.listKind", names["listKind"], "kind and listKind may not be the same")
    yield from check_versions(spec)
    if old is not None and dig(old, "status", "acceptedNames", "plural"):
        before = mapping(old, "spec")
        if spec.get("scope") != before.get("scope"):
            yield invalid("spec.scope", spec.get("scope"), "field is immutable")
        if names.get("kind") != dig(before, "names", "kind") and established(old):
            yield invalid("spec.names.kind", names.get("kind"), "field is immutable")


def check_group(definition: Object, group: str) -> Iterator[Cause]:
    if not group:
        yield required("spec.group")
        return
    for message in dns1123_subdomain(group):
        yield invalid("spec.group", group, message)
    if "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")
    approved = "api-approved.kubernetes.io"
    if group.endswith(PROTECTED) or group in ("k8s.io", "kubernetes.io"):
        annotation = mapping(definition, "metadata", "annotations").get(approved, "")
        if not annotation:
            message = 'protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111'
            yield required(f"metadata.annotations[{approved}]", message)


def check_versions(spec: Object) -> Iterator[Cause]:
    versions = items(spec, "versions")
    if not versions:
        yield required("spec.versions", "must have exactly one version marked as storage version")
        return
    if sum(bool(version.get("storage")) for version in versions) != 1:
        yield invalid(
            "spec.versions",
            [v.get("name") for v in versions],
            "must have exactly one version marked as storage version",
        )
    seen: set[str] = set()
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        name = version.get("name") or ""
        if name in seen:
            yield duplicate(f"{path}.name", name)
        seen.add(name)
        for message in dns1035_label(name):
            yield invalid(f"{path}.name", name, message)
        schema = dig(version, "schema", "openAPIV3Schema")
        if schema is None:
            if not spec.get("preserveUnknownFields"):
                yield required(f"{path}.schema.openAPIV3Schema", "schemas are required")
        else:
            yield from check_schema(schema, f"{path}.schema.openAPIV3Schema")
        for place, column in enumerate(items(version, "additionalPrinterColumns")):
            yield from one_of(f"{path}.additionalPrinterColumns[{place}].type", column.get("type") or "", COLUMN_TYPES)
        scale = dig(version, "subresources", "scale")
        if scale is not None:
            for key in ("specReplicasPath", "statusReplicasPath"):
                if not scale.get(key):
                    yield required(f"{path}.subresources.scale.{key}")


def check_schema(schema: Object, path: str) -> Iterator[Cause]:
    if schema.get("type") != "object":
        yield invalid(f"{path}.type", schema.get("type") or "", "must be object at the root")
    for cause in check_structural(schema, path):
        yield Cause(*cause)


def established(definition: Object) -> bool:
    return any(
        condition.get("type") == "Established" and condition.get("status") == "True"
        for condition in items(definition, "status", "conditions")
    )


def conflict_of(definition: Object, others: list[Object]) -> str:
    """Return why the names cannot be accepted beside those of other definitions of the group, "" where they can."""
    names = mapping(definition, "spec", "names")
    plurals, kinds = set(), set()
    for other in others:
        accepted = mapping(other, "status", "acceptedNames")
        plurals |= {accepted.get("plural"), accepted.get("singular"), *items(accepted, "shortNames")}
        kinds |= {accepted.get("kind"), accepted.get("listKind")}
    for key in ("plural", "singular"):
        if names.get(key) and names[key] in plurals:
            return f'"{names[key]}" is already in use'
    for short in items(names, "shortNames"):
        if short in plurals:
            return f'"{short}" is already in use'
    for key in ("kind", "listKind"):
        if names.get(key) and names[key] in kinds:
            return f'"{names[key]}" is already in use'
    return ""


def accepted_status(definition: Object, refused: str, at: str) -> Object:
    """Return the status of a definition whose names were judged; ``refused`` says why not."""
    status = mapping(definition, "status")
    before = {condition["type"]: condition for condition in items(status, "conditions")}
    names = {key: value for key, value in mapping(definition, "spec", "names").items() if value}

    def condition(kind: str, value: str, reason: str, message: str) -> Object:
        known = before.get(kind)
        since = known["lastTransitionTime"] if known and known.get("status") == value else at
        return {"type": kind, "status": value, "lastTransitionTime": since, "reason": reason, "message": message}

    if refused:
        conditions = [
            condition("NamesAccepted", "False", "PluralConflict", refused),
            condition("Established", "False", "NotAccepted", "not all names are accepted"),
        ]
        names = status.get("acceptedNames") or {"plural": "", "kind": ""}
    else:
        conditions = [
            condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted"),
        ]
    conditions += [c for kind, c in before.items() if kind not in ("NamesAccepted", "Established")]
    stored = items(status, "storedVersions")
    stored = [*stored, *(version for version in storage_versions(definition) if version not in stored)]
    return {"conditions": conditions, "acceptedNames": names, "storedVersions": stored}
