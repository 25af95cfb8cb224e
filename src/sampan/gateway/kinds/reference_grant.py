"""ReferenceGrant. Source: Gateway API v1."""

from __future__ import annotations

from sampan.gateway.kinds import schema as s
from sampan.gateway.kinds.resources import REFERENCE_GRANTS
from sampan.schema.objects import Object

FROM = s.struct(("group", "kind", "namespace"), group=s.text(), kind=s.text(63), namespace=s.text(63, 1))
SPEC = s.struct(
    ("from", "to"),
    **{"from": s.many(FROM, 16, minItems=1)},
    to=s.many(s.struct(("group", "kind"), group=s.text(), kind=s.text(63), name=s.text(253)), 16, minItems=1),
)


def definition() -> Object:
    return s.definition(REFERENCE_GRANTS, ("v1", "v1beta1"), SPEC, None, ("refgrant",))
