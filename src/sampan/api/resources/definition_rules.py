"""The CEL rules of a CustomResourceDefinition: what keeps it from being written (``schema.cel.rules`` has the judgement)."""

from __future__ import annotations

from sampan.api.resource import Cause
from sampan.api.resources.definition_validation import shared
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.cel.rules import check_rules, expressions
from sampan.schema.objects import Object


def rule_causes(new: Object, old: Object | None, version: str) -> list[Cause]:
    """Return what is wrong with the rules of a definition. Expressions that ``old`` has already may use what the newest
    libraries have, and a schema that has not changed may cost what it costs."""
    before = [
        schema
        for one in items(mapping(old or {}, "spec"), "versions")
        if isinstance(schema := dig(one, "schema", "openAPIV3Schema"), dict)
    ]
    known = frozenset(text for schema in before for text in expressions(schema))
    found: list[Cause] = []
    for path, schema in schema_places(items(mapping(new, "spec"), "versions")):
        found += [Cause(*cause) for cause in check_rules(schema, path, version, known, limited=schema not in before)]
    return found


def schema_places(versions: list[Object]) -> list[tuple[str, Object]]:
    """Return the schemas with the paths that messages give them: one that all versions share stands above them, as in
    the API server's internal version."""
    found = [dig(version, "schema", "openAPIV3Schema") for version in versions]
    if shared(versions, "schema"):
        return [("spec.validation.openAPIV3Schema", found[0])] if isinstance(found[0], dict) else []
    return [
        (f"spec.versions[{index}].schema.openAPIV3Schema", schema)
        for index, schema in enumerate(found)
        if isinstance(schema, dict)
    ]
