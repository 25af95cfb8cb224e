"""The kinds of the simulation: ``Stage`` (what happens to objects, and when), ``NodeGroup`` (many nodes of one kind) and
``ResourceUsage`` (what pods use)."""

from __future__ import annotations

from typing import Any

from sampan.client.protocol import ResourceType
from sampan.schema.objects import Object

GROUP = "sim.sampan.dev"
VERSION = "v1alpha1"
STAGES = ResourceType(GROUP, VERSION, "stages", "Stage", namespaced=False)
NODE_GROUPS = ResourceType(GROUP, VERSION, "nodegroups", "NodeGroup", namespaced=False)
RESOURCE_USAGES = ResourceType(GROUP, VERSION, "resourceusages", "ResourceUsage", namespaced=False)

SIMULATED = f"{GROUP}/simulated"
"""The annotation of a Node that the simulation takes care of (any value)."""

Schema = dict[str, Any]
TEXT: Schema = {"type": "string"}
DURATION: Schema = {"type": "string", "pattern": r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$"}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}
ANYTHING: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def struct(required: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    return {"type": "object", "properties": fields, **({"required": list(required)} if required else {})}


def many(item: Schema) -> Schema:
    return {"type": "array", "items": item, "maxItems": 64}


def one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


def number(minimum: int, maximum: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": minimum, "maximum": maximum, **more}


CONDITION = struct(("type", "status"), type=TEXT, status=one_of("True", "False", "Unknown"), reason=TEXT, message=TEXT)
THEN = struct(
    phase=one_of("Pending", "Running", "Succeeded", "Failed"),
    ready={"type": "boolean"},
    exitCode=number(0, 255),
    reason=TEXT,
    message=TEXT,
    waiting=struct(("reason",), reason=TEXT, message=TEXT),
    restarts=number(1, 1000),
    conditions=many(CONDITION),
    status=ANYTHING,
    metadata=struct(
        labels={"type": "object", "additionalProperties": {**TEXT, "nullable": True}},
        annotations={"type": "object", "additionalProperties": {**TEXT, "nullable": True}},
        finalizers=many(TEXT),
    ),
    event=struct(("reason", "message"), type=one_of("Normal", "Warning"), reason=TEXT, message=TEXT),
    log=TEXT,
    delete={"type": "boolean"},
    silent={"type": "boolean"},
)
REQUIREMENT = struct(
    ("path", "operator"),
    path=TEXT,
    operator=one_of("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"),
    values=many(TEXT),
)
STAGE_SPEC = struct(
    ("then",),
    resource=struct(
        ("kind",),
        apiVersion={**TEXT, "default": "v1"},
        kind={**TEXT, "default": "Pod"},
    )
    | {"default": {"apiVersion": "v1", "kind": "Pod"}},
    namespaces=many(TEXT),
    selector=struct(matchLabels=LABELS, matchExpressions=many(ANYTHING)),
    when=many(REQUIREMENT),
    percent=number(1, 100, default=100),
    priority=number(-1000, 1000, default=0),
    delay=DURATION,
    jitter=DURATION,
    then=THEN,
)
TEMPLATE = struct(
    metadata=struct(labels=LABELS, annotations=LABELS),
    taints=many(ANYTHING),
    capacity={"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}},
    zones=many(TEXT),
)
GROUP_SPEC = struct(replicas=number(0, 100_000, default=1), template=TEMPLATE)
GROUP_STATUS = struct(replicas=number(0, 100_000), readyReplicas=number(0, 100_000), selector=TEXT)
AMOUNT: Schema = {"x-kubernetes-int-or-string": True, "pattern": r"^[0-9]+(\.[0-9]+)?(n|u|m|k|M|G|T|Ki|Mi|Gi|Ti)?$"}
AMOUNTS = struct(cpu=AMOUNT, memory=AMOUNT)
USAGE_SPEC = struct(
    namespaces=many(TEXT),
    selector=struct(matchLabels=LABELS, matchExpressions=many(ANYTHING)),
    containers=many(TEXT),
    priority=number(-1000, 1000, default=0),
    usage=AMOUNTS,
    shared=AMOUNTS,
)
AGE = {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}


def definitions() -> list[Object]:
    """Return the CustomResourceDefinitions."""
    stage_columns = [
        {"name": "Kind", "type": "string", "jsonPath": ".spec.resource.kind"},
        {"name": "Percent", "type": "integer", "jsonPath": ".spec.percent"},
        {"name": "Delay", "type": "string", "jsonPath": ".spec.delay"},
        AGE,
    ]
    group_columns = [
        {"name": "Desired", "type": "integer", "jsonPath": ".spec.replicas"},
        {"name": "Nodes", "type": "integer", "jsonPath": ".status.replicas"},
        {"name": "Ready", "type": "integer", "jsonPath": ".status.readyReplicas"},
        AGE,
    ]
    usage_columns = [
        {"name": "CPU", "type": "string", "jsonPath": ".spec.usage.cpu"},
        {"name": "Memory", "type": "string", "jsonPath": ".spec.usage.memory"},
        {"name": "Shared CPU", "type": "string", "jsonPath": ".spec.shared.cpu"},
        AGE,
    ]
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    return [
        definition(STAGES, {"spec": STAGE_SPEC}, {}, stage_columns, []),
        definition(RESOURCE_USAGES, {"spec": USAGE_SPEC}, {}, usage_columns, []),
        definition(
            NODE_GROUPS,
            {"spec": GROUP_SPEC, "status": GROUP_STATUS},
            {"status": {}, "scale": scale},
            group_columns,
            ["ng"],
        ),
    ]


def definition(
    resource: ResourceType, fields: Schema, subresources: Schema, columns: list[Schema], short_names: list[str]
) -> Object:
    names = {
        "plural": resource.plural,
        "singular": resource.kind.lower(),
        "kind": resource.kind,
        "shortNames": short_names,
        "categories": ["simulation"],
    }
    version = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": subresources,
        "additionalPrinterColumns": columns,
        "schema": {"openAPIV3Schema": struct(("spec",), **fields)},
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{resource.plural}.{GROUP}"},
        "spec": {"group": GROUP, "scope": "Cluster", "names": names, "versions": [version]},
    }
