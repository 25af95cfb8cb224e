"""GatewayClass. Source: Gateway API v1."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import GATEWAY_CLASSES
from sampan.schema.objects import Object

SPEC = s.struct(
    ("controllerName",),
    controllerName=s.text(253, 1),
    description=s.text(64),
    parametersRef=s.struct(
        ("group", "kind", "name"), group=s.text(), kind=s.text(63), name=s.text(), namespace=s.text(63)
    ),
)
STATUS = s.struct(
    conditions=s.CONDITIONS, supportedFeatures=s.many(s.struct(("name",), name={"type": "string"}), 128, ("name",))
)


def definition() -> Object:
    columns = (("Controller", "string", ".spec.controllerName"), s.condition_column("Accepted"), s.AGE)
    return s.definition(GATEWAY_CLASSES, ("v1", "v1beta1"), SPEC, STATUS, ("gc",), columns)
