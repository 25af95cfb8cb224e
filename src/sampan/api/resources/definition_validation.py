"""Why a CustomResourceDefinition is refused.

Kubernetes validates an internal form of a definition: what all versions say alike stands once at the top of the spec, and
its fields have older names. The paths in its messages are of that form (``spec.validation.openAPIV3Schema`` where there is
one version), and so are ours. Source: apiextensions-apiserver pkg/apis/apiextensions/{v1/conversion.go,
validation/validation.go}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import immutable
from sampan.api.resources.definition_shown import shown_version
from sampan.api.resources.definition_status import APPROVAL, approval_state, established, is_protected
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.webhooks import check_review_versions, check_service, check_url
from sampan.schema.causes import NO_MAP, duplicate, forbidden, invalid, not_supported, required, too_many
from sampan.schema.definition_schemas import check_schema, selectable
from sampan.schema.names import dns1035_label, dns1123_subdomain
from sampan.schema.objects import Object

SCOPES = ("Cluster", "Namespaced")
COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
MAX_SELECTABLE = 8
MAX_WARNING = 256
TOP = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}
"""What of a version moves to the top of the spec when all versions have the same, and its name there."""


def validate_definition(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    group, name = text(spec, "group"), text(new, "metadata", "name")
    if old is None and name != f"{text(spec, 'names', 'plural')}.{group}":
        yield invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')
    yield from check_group(group)
    scope = spec.get("scope")
    if not scope:
        yield required("spec.scope")
    elif scope not in SCOPES:
        yield not_supported("spec.scope", scope, SCOPES)
    yield from check_versions(spec, old is None or has_schemas(mapping(old, "spec")))
    yield from check_names("spec.names", mapping(spec, "names"), needed=True)
    yield from check_conversion("spec.conversion", mapping(spec, "conversion"), preserves=bool(preserves(spec)))
    if old is not None:
        yield from check_update(new, old)
    yield from check_stored_versions(new)
    yield from check_approval(new, old)
    if preserves(spec) and not (old is not None and preserves(mapping(old, "spec"))):
        why = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
        yield invalid("spec.preserveUnknownFields", True, why)


def validate_status(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from check_names("status.acceptedNames", mapping(new, "status", "acceptedNames"))


def preserves(spec: Object) -> bool:
    return spec.get("preserveUnknownFields") is True


def check_group(group: str) -> Iterator[Cause]:
    messages = dns1123_subdomain(group)
    if not group:
        yield required("spec.group")
    elif messages:
        yield invalid("spec.group", group, ",".join(messages))
    elif "." not in group:
        yield invalid("spec.group", group, "should be a domain with at least one dot")


def has_schemas(spec: Object) -> bool:
    return all(dig(version, "schema", "openAPIV3Schema") is not None for version in items(spec, "versions"))


def check_versions(spec: Object, needs_schemas: bool) -> Iterator[Cause]:
    versions = items(spec, "versions")
    alike = {part for part in TOP if shared(versions, part)}
    for index, version in enumerate(versions):
        path = f"spec.versions[{index}]"
        if dig(version, "schema", "openAPIV3Schema") is None and (
            needs_schemas or (version.get("served") and not preserves(spec))
        ):
            why = "" if needs_schemas else "because otherwise all fields are pruned"
            yield required(f"{path}.schema.openAPIV3Schema", why)
        name = version.get("name") or ""
        messages = dns1035_label(name)
        if messages:
            yield invalid(f"{path}.name", name, ",".join(messages))
        yield from check_deprecation(path, version)
        yield from check_parts(version, {part: f"{path}.{part}" for part in TOP if part not in alike})
    names = [version.get("name") or "" for version in versions]
    if len(set(names)) != len(names):
        shown = [shown_version(version, alike) for version in versions]
        yield invalid("spec.versions", shown, "must contain unique version names")
    if sum(bool(version.get("storage")) for version in versions) != 1:
        all_shown = [shown_version(version, alike) for version in versions] if "versions" in spec else NO_MAP
        yield invalid("spec.versions", all_shown, "must have exactly one version marked as storage version")
    if versions:
        messages = dns1035_label(names[0]) if names[0] else []
        if messages:
            yield invalid("spec.version", names[0], ",".join(messages))
        yield from check_parts(versions[0], {part: f"spec.{TOP[part]}" for part in alike})


def shared(versions: list[Object], part: str) -> bool:
    return bool(versions) and all(version.get(part) == versions[0].get(part) for version in versions)


def check_parts(version: Object, paths: Mapping[str, str]) -> Iterator[Cause]:
    """Check the parts of a version that stand at ``paths``."""
    schema = dig(version, "schema", "openAPIV3Schema")
    has_status = dig(version, "subresources", "status") is not None
    if "schema" in paths and isinstance(schema, dict):
        yield from check_schema(schema, f"{paths['schema']}.openAPIV3Schema", has_status)
    if "subresources" in paths:
        yield from check_scale(f"{paths['subresources']}.scale", dig(version, "subresources", "scale"))
    if "additionalPrinterColumns" in paths:
        for index, column in enumerate(items(version, "additionalPrinterColumns")):
            yield from check_column(f"{paths['additionalPrinterColumns']}[{index}]", column)
    if "selectableFields" in paths:
        fields = items(version, "selectableFields")
        yield from check_selectable_part(paths["selectableFields"], fields, version.get("schema"))


def check_selectable_part(path: str, fields: list[Object], holder: Any) -> Iterator[Cause]:
    """``holder``: what has the schema (``versions[*].schema``), None where there is none."""
    at_top = path == f"spec.{TOP['selectableFields']}"
    schema = dig(holder, "openAPIV3Schema")
    if not fields:
        return
    if holder is None and at_top:
        yield invalid(path, "", "may only be set when validations.schema is included")
    elif not isinstance(schema, dict) and not at_top:
        yield invalid(path, "", "may only be set when `version.schema.openAPIV3Schema` is not included")
    else:
        yield from check_selectable(path, fields, schema if isinstance(schema, dict) else {})


def check_deprecation(path: str, version: Object) -> Iterator[Cause]:
    warning, here = version.get("deprecationWarning"), f"{path}.deprecationWarning"
    if warning is None:
        return
    if not version.get("deprecated"):
        yield invalid(here, warning, "can only be set for deprecated versions")
        return
    if len(warning.encode()) > MAX_WARNING:
        yield invalid(here, warning, "must be <= 256 characters long")
    if not warning:
        yield invalid(here, warning, "must not be an empty string")
    for index, character in enumerate(warning):
        if not character.isprintable():
            why = "must only contain printable UTF-8 characters; non-printable character found at index"
            at = len(warning[:index].encode())
            yield invalid(here, warning, f"{why} {at}")
            break


def check_scale(path: str, scale: Any) -> Iterator[Cause]:
    if not isinstance(scale, dict):
        return
    for key, root in (("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")):
        value, here = scale.get(key) or "", f"{path}.{key}"
        if not value:
            yield required(here)
        elif not value.startswith("."):
            yield invalid(here, value, "must be a simple json path starting with .")
        elif not value.startswith(f"{root}."):
            yield invalid(here, value, f"should be a json path under {root}")
    value, here = scale.get("labelSelectorPath") or "", f"{path}.labelSelectorPath"
    if value and not value.startswith("."):
        yield invalid(here, value, "must be a simple json path starting with .")
    elif value and not value.startswith((".spec.", ".status.")):
        yield invalid(here, value, "should be a json path under either .spec or .status")


def check_column(path: str, column: Object) -> Iterator[Cause]:
    known = ",".join(COLUMN_TYPES)
    if not column.get("name"):
        yield required(f"{path}.name")
    if not column.get("type"):
        yield required(f"{path}.type", f"must be one of {known}")
    elif column["type"] not in COLUMN_TYPES:
        yield invalid(f"{path}.type", column["type"], f"must be one of {known}")
    if column.get("format") and column["format"] not in COLUMN_FORMATS:
        yield invalid(f"{path}.format", column["format"], f"must be one of {','.join(COLUMN_FORMATS)}")
    json_path = column.get("jsonPath") or ""
    if not json_path:
        yield required(f"{path}.JSONPath")
    elif not json_path.startswith("."):
        yield invalid(f"{path}.JSONPath", json_path, "must be a simple json path starting with .")


def check_selectable(path: str, fields: list[Object], schema: Object) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, field in enumerate(fields):
        here, json_path = f"{path}[{index}].jsonPath", field.get("jsonPath") or ""
        if not json_path:
            yield required(here)
            continue
        keys, found, problem = selectable(schema, json_path)
        if problem:
            yield invalid(here, json_path, f"is an invalid path: {problem}")
            continue
        if keys[0] == "metadata":
            yield invalid(here, json_path, "must not point to fields in metadata")
        if found.get("type") not in ("string", "boolean", "integer"):
            why = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats"
            )
            yield invalid(here, json_path, f"{why} are allowed.")
        if json_path in seen:
            yield duplicate(here, json_path)
        seen.add(json_path)
    if len(seen) > MAX_SELECTABLE:
        yield too_many(path, len(seen), MAX_SELECTABLE)


def check_names(path: str, names: Object, *, needed: bool = False) -> Iterator[Cause]:
    for key in ("plural", "singular", "kind", "listKind") if needed else ():
        if not names.get(key):
            yield required(f"{path}.{key}")
    for key in ("plural", "singular"):
        value = names.get(key) or ""
        messages = dns1035_label(value) if value else []
        if messages:
            yield invalid(f"{path}.{key}", value, ",".join(messages))
    for key in ("kind", "listKind"):
        value = names.get(key) or ""
        messages = dns1035_label(value.lower()) if value else []
        if messages:
            why = f"may have mixed case, but should otherwise match: {','.join(messages)}"
            yield invalid(f"{path}.{key}", value, why)
    for key in ("shortNames", "categories"):
        for index, value in enumerate(items(names, key)):
            messages = dns1035_label(value)
            if messages:
                yield invalid(f"{path}.{key}[{index}]", value, ",".join(messages))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        yield invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same")


def check_conversion(path: str, conversion: Object, *, preserves: bool) -> Iterator[Cause]:
    strategy = conversion.get("strategy") or ""
    client_config = dig(conversion, "webhook", "clientConfig")
    versions = items(conversion, "webhook", "conversionReviewVersions")
    here = f"{path}.webhookClientConfig"
    if strategy != "None" and preserves:
        yield invalid(f"{path}.strategy", strategy, "must be None if spec.preserveUnknownFields is true")
    if not strategy:
        yield required(f"{path}.strategy")
    elif strategy not in ("None", "Webhook"):
        yield not_supported(f"{path}.strategy", strategy, ("None", "Webhook"))
    if strategy != "Webhook":
        if client_config is not None:
            yield forbidden(here, "should not be set when strategy is not set to Webhook")
        if versions:
            yield forbidden(f"{path}.conversionReviewVersions", "should not be set when strategy is not set to Webhook")
        return
    if client_config is None:
        yield required(here, "required when strategy is set to Webhook")
    elif (client_config.get("url") is None) == (client_config.get("service") is None):
        yield required(here, "exactly one of url or service is required")
    elif client_config.get("url") is not None:
        yield from check_url(f"{here}.url", client_config["url"])
    else:
        yield from check_service(f"{here}.service", mapping(client_config, "service"))
    yield from check_review_versions(f"{path}.conversionReviewVersions", versions, missing="")


def check_update(new: Object, old: Object) -> Iterator[Cause]:
    fields: tuple[tuple[str, ...], ...] = (("group",), ("names", "plural"))
    if established(old):
        fields = (("scope",), ("names", "kind"), *fields)
    for keys in fields:
        yield from immutable(".".join(("spec", *keys)), dig(new, "spec", *keys), dig(old, "spec", *keys))


def check_stored_versions(definition: Object) -> Iterator[Cause]:
    path, stored = "status.storedVersions", items(definition, "status", "storedVersions")
    versions = items(definition, "spec", "versions")
    if not stored:
        yield Cause(path, "FieldValueInvalid", "Invalid value: null: must have at least one stored version")
        return
    for version in versions:
        if version.get("storage") and text(version, "name") not in stored:
            yield invalid(path, stored, f"must have the storage version {text(version, 'name')}")
    known = {text(version, "name") for version in versions}
    for index, name in enumerate(stored):
        if name not in known:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in spec.versions "
                f"until a storage migration ensures no data remains persisted in {name} and removes {name} from "
                "status.storedVersions"
            )
            yield invalid(f"{path}[{index}]", name, why)


def check_approval(new: Object, old: Object | None) -> Iterator[Cause]:
    if not is_protected(text(new, "spec", "group")):
        return
    annotations = dig(new, "metadata", "annotations")
    state, why = approval_state(annotations)
    if old is not None and approval_state(dig(old, "metadata", "annotations"))[0] == state:
        return
    path = f"metadata.annotations[{APPROVAL}]"
    if state == "Missing":
        yield required(path, why)
    elif state == "Invalid":
        yield invalid(path, annotations[APPROVAL], why)
