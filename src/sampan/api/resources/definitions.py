"""CustomResourceDefinitions as objects: defaults and strategy. Their validation is in ``definition_validation.py``, what
their status says in ``definition_status.py``, serving them in ``api/crds.py``.

Source: apiextensions-apiserver pkg/apis/apiextensions/v1/defaults.go, pkg/registry/customresourcedefinition/strategy.go.
"""

from __future__ import annotations

from sampan.api.metadata import now
from sampan.api.resource import Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import NAME
from sampan.api.resources.definition_status import add_stored_version, begin_deletion
from sampan.api.resources.definition_validation import validate_definition, validate_status
from sampan.api.resources.reading import dig, items
from sampan.schema.definition_schemas import warnings_of
from sampan.schema.objects import Object


def default_definition(definition: Object) -> None:
    spec = definition.setdefault("spec", {})
    names = spec.get("names")
    if isinstance(names, dict) and names.get("kind"):
        names.setdefault("singular", names["kind"].lower())
        names.setdefault("listKind", names["kind"] + "List")
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    service = dig(conversion, "webhook", "clientConfig", "service")
    if service is not None:
        service.setdefault("port", 443)
    status = definition.get("status")
    if isinstance(status, dict) and not status.get("storedVersions"):
        add_stored_version(definition)


def prepare_definition(new: Object, old: Object | None) -> None:
    if old is None:
        new["status"] = {"conditions": [], "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}
    add_stored_version(new)


def warn_of_definition(new: Object, old: Object | None) -> list[str]:
    """Warn of what a schema says and nobody heeds; not again of what it has said before."""
    known = schema_warnings(old) if old is not None else []
    return [warning for warning in schema_warnings(new) if warning not in known]


def schema_warnings(definition: Object) -> list[str]:
    schemas = [dig(version, "schema", "openAPIV3Schema") for version in items(definition, "spec", "versions")]
    found = [warning for schema in schemas if isinstance(schema, dict) for warning in warnings_of(schema)]
    return list(dict.fromkeys(found))


def deletion_not_begun(definition: Object) -> bool:
    """A definition is never gone at once: its objects go first."""
    return not definition["metadata"].get("deletionTimestamp")


CUSTOM_RESOURCE_DEFINITION = Resource(
    group="apiextensions.k8s.io",
    version="v1",
    kind="CustomResourceDefinition",
    plural="customresourcedefinitions",
    namespaced=False,
    short_names=("crd", "crds"),
    categories=("api-extensions",),
    status=True,
    default=default_definition,
    prepare=prepare_definition,
    validate=collect(validate_definition),
    trusts_definition=False,
    held=deletion_not_begun,
    mark_deleted=lambda definition: begin_deletion(definition, now()),
    warn=warn_of_definition,
    validates={"status": collect(validate_status)},
    returns_deleted=True,
    columns=(NAME, Column("Created At", ".metadata.creationTimestamp")),
)
