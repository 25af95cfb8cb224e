"""Words to write an OpenAPI schema in short, and the parts that several kinds share. Source: Gateway API v1."""

from __future__ import annotations

from typing import Any

from sampan.client.protocol import ResourceType
from sampan.gateway.kinds.resources import BUNDLE_VERSION, EXPERIMENTAL_GROUP, GROUP
from sampan.schema.objects import Object

Schema = dict[str, Any]


def text(maximum: int = 253, minimum: int = 0, **more: Any) -> Schema:
    return {"type": "string", "maxLength": maximum, **({"minLength": minimum} if minimum else {}), **more}


def number(minimum: int, maximum: int, **more: Any) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": minimum, "maximum": maximum, **more}


def struct(required: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, **({"required": list(required)} if required else {})}


def many(item: Schema, maximum: int = 64, keys: tuple[str, ...] = (), **more: Any) -> Schema:
    schema: Schema = {"type": "array", "items": item, "maxItems": maximum, **more}
    if keys:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
    return schema


def one_of(*values: str, **more: Any) -> Schema:
    return {"type": "string", "enum": list(values), **more}


def rule(schema: Schema, expression: str, message: str) -> Schema:
    """Add a CEL rule to a schema."""
    rules = [*schema.get("x-kubernetes-validations", ()), {"rule": expression, "message": message}]
    return {**schema, "x-kubernetes-validations": rules}


BOOLEAN: Schema = {"type": "boolean"}
HOSTNAME = text(253, 1, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
PRECISE_HOSTNAME = text(253, 1, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
DURATION = text(32, pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$")
LABELS: Schema = {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 32}
SELECTOR = struct(
    matchLabels=LABELS,
    matchExpressions=many(
        struct(("key", "operator"), key=text(), operator=text(32), values=many({"type": "string"}, 256))
    ),
)
CONDITIONS = many(
    struct(
        ("lastTransitionTime", "message", "reason", "status", "type"),
        type=text(316),
        status=one_of("True", "False", "Unknown"),
        reason=text(1024, 1),
        message=text(32768),
        lastTransitionTime={"type": "string", "format": "date-time"},
        observedGeneration={"type": "integer", "format": "int64", "minimum": 0},
    ),
    8,
    ("type",),
)
PARENT_REF = struct(
    ("name",),
    group=text(default=GROUP),
    kind=text(63, default="Gateway"),
    namespace=text(63),
    name=text(253, 1),
    sectionName=text(253, 1),
    port=number(1, 65535),
)
PARENT_REFS = many(PARENT_REF, 32)
BACKEND_REF: dict[str, Schema] = {
    "group": text(default=""),
    "kind": text(63, default="Service"),
    "namespace": text(63),
    "name": text(253, 1),
    "port": number(1, 65535),
}
BACKEND_REFS = many(struct(("name",), **BACKEND_REF, weight=number(0, 1000000, default=1)), 16)
SECRET_REF = struct(
    ("name",), group=text(default=""), kind=text(63, default="Secret"), namespace=text(63), name=text(253, 1)
)
LOCAL_REF = struct(("group", "kind", "name"), group=text(), kind=text(63, 1), name=text(253, 1))
ROUTE_KIND = struct(("kind",), group=text(default=GROUP), kind=text(63, 1))
ROUTE_STATUS = struct(
    ("parents",),
    parents=many(
        struct(
            ("parentRef", "controllerName"), parentRef=PARENT_REF, controllerName=text(253, 1), conditions=CONDITIONS
        ),
        32,
    ),
)
POLICY_STATUS = struct(
    ("ancestors",),
    ancestors=many(
        struct(
            ("ancestorRef", "controllerName"),
            ancestorRef=PARENT_REF,
            controllerName=text(253, 1),
            conditions=CONDITIONS,
        ),
        16,
    ),
)
SESSION_PERSISTENCE = struct(
    sessionName=text(128),
    absoluteTimeout=DURATION,
    idleTimeout=DURATION,
    type=one_of("Cookie", "Header", default="Cookie"),
    cookieConfig=struct(lifetimeType=one_of("Permanent", "Session", default="Session")),
)

Column = tuple[str, str, str]
AGE: Column = ("Age", "date", ".metadata.creationTimestamp")


def condition_column(name: str) -> Column:
    return name, "string", f'.status.conditions[?(@.type=="{name}")].status'


def definition(
    resource: ResourceType,
    versions: tuple[str, ...],
    spec: Schema,
    status: Schema | None,
    short_names: tuple[str, ...] = (),
    columns: tuple[Column, ...] = (AGE,),
) -> Object:
    """Return one CustomResourceDefinition; all its versions have the same schema."""
    schema: Schema = struct(
        ("spec",), apiVersion={"type": "string"}, kind={"type": "string"}, metadata={"type": "object"}, spec=spec
    )
    if status is not None:
        schema["properties"]["status"] = status
    annotations = {}
    official = resource.group in (GROUP, EXPERIMENTAL_GROUP)
    if official:
        annotations = {f"{GROUP}/bundle-version": BUNDLE_VERSION, f"{GROUP}/channel": "experimental"}
        # *.k8s.io is a protected group: the annotation says who approved a definition, and nobody approved our wording
        annotations["api-approved.kubernetes.io"] = "unapproved, the schema is sampan's own"
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{resource.group}", "annotations": annotations},
        "spec": {
            "group": resource.group,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "names": {
                "kind": resource.kind,
                "listKind": f"{resource.kind}List",
                "plural": resource.plural,
                "singular": resource.kind.lower(),
                "shortNames": list(short_names),
                "categories": ["gateway-api"] if official else ["sampan"],
            },
            "versions": [
                {
                    "name": version,
                    "served": True,
                    "storage": version == versions[0],
                    "schema": {"openAPIV3Schema": schema},
                    **({"subresources": {"status": {}}} if status is not None else {}),
                    "additionalPrinterColumns": [
                        {"name": name, "type": kind, "jsonPath": path} for name, kind, path in columns
                    ],
                }
                for version in versions
            ],
        },
    }
