"""XMesh: what serves routes of Services. Source: GEP-3949."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.gateway_class import SPEC, STATUS
from sampan.gateway.kinds.resources import MESHES
from sampan.schema.objects import Object


def definition() -> Object:
    columns = (("Controller", "string", ".spec.controllerName"), s.condition_column("Accepted"), s.AGE)
    return s.definition(MESHES, ("v1alpha1",), SPEC, STATUS, ("mesh",), columns)
