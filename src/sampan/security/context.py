"""The effective security context of a container: what the pod says, where the container does not say otherwise, and what
comes of it with an image on a node.

``settle`` runs the table of ``settings.py``: one ``Settled(value, source, note)`` a row. The node builds its CRI requests
from it (``node/container_config.py``), ``sampan security effective`` prints it. ``who`` says which user and groups that
makes. ``effective`` is what is set, without image and node. Windows' options are merged field by field; all else as a whole.
Source: core/v1 PodSecurityContext and SecurityContext ("[P]" and "[C]"), kubernetes pkg/securitycontext.
"""

from __future__ import annotations

from typing import Any

from sampan.schema.objects import Object
from sampan.security.checks import context
from sampan.security.host import ANY, Host
from sampan.security.image_user import Identity, ImageUser, identity
from sampan.security.settings import CONTAINER, DEFAULT, POD, SETTINGS, Facts, Setting, Settled

NO_IMAGE = ImageUser()


def setting(spec: Object, container: Object, name: str) -> Any:
    """Return a setting that both may have, None where neither has it."""
    own = context(container).get(name)
    return own if own is not None else context(spec).get(name)


def settle(spec: Object, container: Object, image: ImageUser = NO_IMAGE, host: Host = ANY) -> dict[str, Settled]:
    """Return every setting as it holds for a container of a pod, by name."""
    facts = Facts(spec, context(container), context(spec), image, host)
    return {row.name: row.derive(facts, chosen(row, facts)) if row.derive else chosen(row, facts) for row in SETTINGS}


def chosen(row: Setting, facts: Facts) -> Settled:
    """Return what is set for a row, the container's before the pod's, else its default."""
    own = facts.own.get(row.name) if "C" in row.places else None
    of_pod = facts.of_pod.get(row.name) if "P" in row.places else None
    if "S" in row.places:
        of_pod = facts.spec.get(row.name)
    if row.name == "windowsOptions" and own is not None and of_pod is not None:
        return Settled({**of_pod, **own}, f"{POD}{CONTAINER}")
    if own is not None:
        return Settled(own, CONTAINER)
    return Settled(of_pod, POD) if of_pod is not None else Settled(row.default, DEFAULT)


def who(spec: Object, container: Object, image: ImageUser) -> Identity:
    """Return user and groups of a container's first process."""
    strict = context(spec).get("supplementalGroupsPolicy") == "Strict"
    asked = (setting(spec, container, "runAsUser"), setting(spec, container, "runAsGroup"))
    return identity(image, *asked, supplemental_groups(spec), strict=strict)


def supplemental_groups(spec: Object) -> list[int]:
    """Return the groups that a pod asks for: its ``supplementalGroups``, and the one that owns its volumes."""
    own = context(spec)
    group = own.get("fsGroup")
    return [*(own.get("supplementalGroups") or ()), *([group] if group is not None else [])]


def effective(spec: Object, container: Object) -> Object:
    """Return everything that is set for a container of a pod. What is set nowhere is not there, but for
    ``allowPrivilegeEscalation``: it is allowed unless forbidden, and always where privileged or CAP_SYS_ADMIN is."""
    facts = Facts(spec, context(container), context(spec), NO_IMAGE, ANY)
    rows = ((row.name, chosen(row, facts)) for row in SETTINGS if row.places != "S")
    made = {name: one.value for name, one in rows if one.source != DEFAULT}
    made["allowPrivilegeEscalation"] = escalates(facts.own)
    return made


def escalates(own: Object) -> bool:
    """Whether a process may gain more privileges than its parent has (no_new_privs is off)."""
    if own.get("privileged") or "SYS_ADMIN" in ((own.get("capabilities") or {}).get("add") or ()):
        return True
    return own.get("allowPrivilegeEscalation") is not False
