"""Annotations of pods that Kubernetes gives a meaning: mirror pods, deletion cost, seccomp and AppArmor of old.

Source: kubernetes pkg/apis/core/validation (ValidatePodSpecificAnnotations, validateSeccompAnnotationsAndFields).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import relative_path
from sampan.api.resources.pod_spec import containers
from sampan.api.resources.reading import mapping, text
from sampan.schema.causes import forbidden, invalid
from sampan.schema.objects import Object

MIRROR = "kubernetes.io/config.mirror"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"
APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
SECCOMP_NAMES = {
    "Unconfined": ("unconfined",),
    "RuntimeDefault": ("runtime/default", "docker/default"),
}
APP_ARMOR_NAMES = {"Unconfined": ("unconfined",), "RuntimeDefault": ("runtime/default",)}
INT32 = range(-(2**31), 2**31)


def noted_meanings(noted: Mapping[str, Any], spec: Object, field: str) -> Iterator[Cause]:
    """Yield why annotations of a pod or template are refused."""
    if MIRROR in noted and not spec.get("nodeName"):
        why = "must set spec.nodeName if mirror pod annotation is set"
        yield invalid(f"{field}[{MIRROR}]", noted[MIRROR], why)
    cost = noted.get(DELETION_COST)
    if cost is not None and not good_cost(cost):
        yield invalid(f"{field}[{DELETION_COST}]", cost, "must be a 32bit integer")
    for key, value in noted.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP_CONTAINER):
            yield from seccomp_name(f"{field}.{key}", value)
        elif key.startswith(APP_ARMOR):
            yield from app_armor_name(f"{field}[{key}]", key, value, spec)


def good_cost(text: str) -> bool:
    """No leading plus, no leading zeros (``validFirstDigit``)."""
    digits = text.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or (digits[0] == "0" and text != "0"):
        return False
    return int(text) in INT32


def seccomp_name(field: str, name: str) -> Iterator[Cause]:
    if name.startswith("localhost/"):
        yield from relative_path(field, name.removeprefix("localhost/"))
    elif name not in ("runtime/default", "docker/default", "unconfined"):
        yield invalid(field, name, "must be a valid seccomp profile")


def app_armor_name(field: str, key: str, name: str, spec: Object) -> Iterator[Cause]:
    container = key.removeprefix(APP_ARMOR)
    if all(found.get("name") != container for _, found in containers(spec)):
        yield invalid(field, container, "container not found")
    if name not in ("", "runtime/default", "unconfined") and not name.startswith("localhost/"):
        yield invalid(field, name, f'invalid AppArmor profile name: "{name}"')


def annotations_and_fields(noted: Mapping[str, Any], spec: Object, field: str) -> Iterator[Cause]:
    """Where an annotation and a field say the same, they agree (on create)."""
    context = mapping(spec, "securityContext")
    own, armor = context.get("seccompProfile"), context.get("appArmorProfile")
    if own is not None and SECCOMP_POD in noted:
        yield from agree(noted[SECCOMP_POD], own, f"{field}.securityContext.seccompProfile", "seccomp", SECCOMP_NAMES)
    for path, container in containers(spec):
        name, inner = container.get("name"), mapping(container, "securityContext")
        place = f"{field}.{path}.securityContext"
        profile, key = inner.get("seccompProfile"), f"{SECCOMP_CONTAINER}{name}"
        if profile is not None and key in noted:
            yield from agree(noted[key], profile, f"{place}.seccompProfile", "seccomp", SECCOMP_NAMES)
        profile, key = inner.get("appArmorProfile") or armor, f"{APP_ARMOR}{name}"
        if profile is not None and key in noted and text(spec, "os", "name") != "windows":
            yield from agree(noted[key], profile, f"{place}.appArmorProfile", "apparmor", APP_ARMOR_NAMES)


def agree(noted: str, profile: Object, field: str, what: str, names: Mapping[str, tuple[str, ...]]) -> Iterator[Cause]:
    kind = str(profile.get("type") or "")
    if kind in names:
        matches = noted in names[kind]
    else:
        matches = kind != "Localhost" or noted.startswith("localhost/")
    if not matches:
        yield forbidden(f"{field}.type", f"{what} type in annotation and field must match")
    elif kind == "Localhost" and noted.removeprefix("localhost/") != profile.get("localhostProfile"):
        yield forbidden(f"{field}.localhostProfile", f"{what} profile in annotation and field must match")


def annotation_changes(new: Mapping[str, Any], old: Mapping[str, Any], field: str) -> Iterator[Cause]:
    """Mirror and AppArmor annotations are for ever."""
    for key, value in old.items():
        if new.get(key) != value:
            if key.startswith(APP_ARMOR):
                yield forbidden(f"{field}[{key}]", "may not remove or update AppArmor annotations")
            if key == MIRROR:
                yield forbidden(f"{field}[{key}]", "may not remove or update mirror pod annotation")
    for key in new:
        if key not in old:
            if key.startswith(APP_ARMOR):
                yield forbidden(f"{field}[{key}]", "may not add AppArmor annotations")
            if key == MIRROR:
                yield forbidden(f"{field}[{key}]", "may not add mirror pod annotation")
