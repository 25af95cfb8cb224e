"""What the status of a CustomResourceDefinition says: names, conditions, stored versions. Pure.

Source: apiextensions-apiserver pkg/controller/{status,establish,apiapproval,nonstructuralschema,finalizer}, pkg/apihelpers.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import Cause
from sampan.schema.objects import Object
from sampan.schema.structure import check_structural

CLEANUP = "customresourcecleanup.apiextensions.k8s.io"
APPROVAL = "api-approved.kubernetes.io"
PROTECTED = ("k8s.io", "kubernetes.io")
PULL = "see https://github.com/kubernetes/enhancements/pull/1111"
SINGLE_NAMES = (("plural", "Plural"), ("singular", "Singular"), ("kind", "Kind"), ("listKind", "ListKind"))


class Condition(NamedTuple):
    type: str
    status: str
    reason: str
    message: str


def is_true(definition: Object, kind: str) -> bool:
    found = find_condition(definition, kind)
    return found is not None and found.get("status") == "True"


def established(definition: Object) -> bool:
    return is_true(definition, "Established")


def find_condition(definition: Object, kind: str) -> Object | None:
    for condition in items(definition, "status", "conditions"):
        if condition.get("type") == kind:
            return condition  # type: ignore[no-any-return]
    return None


def set_condition(definition: Object, condition: Condition, at: str) -> None:
    """Put a condition into the status, in place; its time changes with its status only."""
    status = definition.setdefault("status", {})
    conditions = list(items(status, "conditions"))
    made = {"type": condition.type, "status": condition.status, "lastTransitionTime": at}
    made |= {"reason": condition.reason, "message": condition.message}
    for index, known in enumerate(conditions):
        if known.get("type") == condition.type:
            if known.get("status") == condition.status:
                made["lastTransitionTime"] = known.get("lastTransitionTime") or at
            conditions[index] = made
            break
    else:
        conditions.append(made)
    status["conditions"] = conditions


def remove_condition(definition: Object, kind: str) -> None:
    conditions = items(definition, "status", "conditions")
    definition["status"]["conditions"] = [one for one in conditions if one.get("type") != kind]


def storage_version(definition: Object) -> str:
    return next((v.get("name") or "" for v in items(definition, "spec", "versions") if v.get("storage")), "")


def storage_versions(definition: Object) -> list[str]:
    """Return the names of those that say so; a definition that is right has one."""
    return [text(version, "name") for version in items(definition, "spec", "versions") if version.get("storage")]


def add_stored_version(definition: Object) -> None:
    """The storage version is among those that objects may be stored in."""
    status = definition.setdefault("status", {})
    known = items(status, "storedVersions")
    added = [name for name in storage_versions(definition)[:1] if name not in known]
    if added:
        status["storedVersions"] = [*known, *added]


# names


def used_names(definitions: Iterable[Object]) -> tuple[set[str], set[str]]:
    """Return the resources and the kinds that the definitions of a group have taken."""
    resources: set[str] = set()
    kinds: set[str] = set()
    for definition in definitions:
        names = mapping(definition, "status", "acceptedNames")
        resources |= {names.get("plural") or "", names.get("singular") or "", *items(names, "shortNames")}
        kinds |= {names.get("kind") or "", names.get("listKind") or ""}
    return resources - {""}, kinds - {""}


def judge_names(definition: Object, resources: set[str], kinds: set[str]) -> tuple[Object, Condition]:
    """Return the names that can be accepted beside those in use, and what to say of it."""
    asked, had = mapping(definition, "spec", "names"), mapping(definition, "status", "acceptedNames")
    accepted: Object = dict(had)
    problem: tuple[str, str] | None = None

    def judge(key: str, word: str, used: set[str]) -> None:
        nonlocal problem
        wanted = asked.get(key) or ""
        if wanted and wanted != had.get(key) and wanted in used:
            problem = (f"{word}Conflict", f'"{wanted}" is already in use')
        elif wanted:
            accepted[key] = wanted

    for key, word in SINGLE_NAMES[:2]:
        judge(key, word, resources)
    shorts, ours = items(asked, "shortNames"), items(had, "shortNames")
    taken = [short for short in shorts if short not in ours and short in resources]
    if taken:
        problem = ("ShortNamesConflict", aggregate(f'"{short}" is already in use' for short in taken))
    else:
        accepted["shortNames"] = shorts
    for key, word in SINGLE_NAMES[2:]:
        judge(key, word, kinds)
    accepted["categories"] = items(asked, "categories")
    named = {"plural": "", "kind": "", **{key: value for key, value in accepted.items() if value}}
    if problem is not None:
        return named, Condition("NamesAccepted", "False", *problem)
    return named, Condition("NamesAccepted", "True", "NoConflicts", "no conflicts found")


def aggregate(messages: Iterable[str]) -> str:
    """Return several messages as Kubernetes' ``utilerrors.Aggregate`` shows them."""
    found = list(dict.fromkeys(messages))
    return found[0] if len(found) == 1 else "[" + ", ".join(found) + "]"


def judge(definition: Object, others: Iterable[Object], at: str) -> None:
    """Bring the status of a definition up to date beside others of its group, in place."""
    resources, kinds = used_names([*others, definition])
    accepted, condition = judge_names(definition, resources, kinds)
    status = definition.setdefault("status", {})
    status.setdefault("conditions", [])
    status["acceptedNames"] = accepted
    set_condition(definition, condition, at)
    if condition.status == "True":
        if not established(definition):
            made = Condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
            set_condition(definition, made, at)
    elif not established(definition):
        refused = Condition("Established", "False", "NotAccepted", "not all names are accepted")
        set_condition(definition, refused, at)
    for kind, found in (
        ("NonStructuralSchema", structural_condition(definition)),
        ("KubernetesAPIApprovalPolicyConformant", approval_condition(definition)),
    ):
        if found is not None:
            set_condition(definition, found, at)
        elif find_condition(definition, kind) is not None:
            remove_condition(definition, kind)


# schemas and approval


def structural_condition(definition: Object) -> Condition | None:
    """Return the condition of schemas that are not structural, which old definitions may have."""
    causes: list[Cause] = []
    if mapping(definition, "spec").get("preserveUnknownFields"):
        field = "spec.preserveUnknownFields"
        causes.append(Cause(field, "FieldValueInvalid", "Invalid value: true: must be false"))
    for index, version in enumerate(items(definition, "spec", "versions")):
        schema = dig(version, "schema", "openAPIV3Schema")
        if isinstance(schema, dict):
            causes += check_structural(schema, f"spec.versions[{index}].schema.openAPIV3Schema")
    if not causes:
        return None
    message = aggregate(f"{cause.field}: {cause.message}" for cause in causes)
    return Condition("NonStructuralSchema", "True", "Violations", message)


def is_protected(group: str) -> bool:
    return group in PROTECTED or group.endswith(tuple(f".{name}" for name in PROTECTED))


def approval_state(annotations: Any) -> tuple[str, str]:
    """Return ``(Missing|Unapproved|Approved|Invalid, why)`` of the approval that protected groups need (KEP-1111)."""
    given = (annotations or {}).get(APPROVAL) or ""
    if not given:
        return "Missing", f'protected groups must have approval annotation "{APPROVAL}", {PULL}'
    if given.startswith("unapproved"):
        return "Unapproved", f'not approved: "{given}"'
    try:
        url = urlsplit(given)
    except ValueError:
        url = None
    if url is not None and url.scheme and url.netloc:
        return "Approved", f"approved in {given}"
    why = f'protected groups must have approval annotation "{APPROVAL}" with either a URL or a reason starting with'
    return "Invalid", f'{why} "unapproved", {PULL}'


def approval_condition(definition: Object) -> Condition | None:
    if not is_protected(text(definition, "spec", "group")):
        return None
    state, why = approval_state(dig(definition, "metadata", "annotations"))
    status = "True" if state == "Approved" else "False"
    return Condition("KubernetesAPIApprovalPolicyConformant", status, f"{state}Annotation", why)


# deletion


def begin_deletion(definition: Object, at: str) -> None:
    """Mark a definition whose deletion begins, in place: it stays until its objects are gone."""
    metadata = definition["metadata"]
    if CLEANUP not in items(metadata, "finalizers"):
        metadata["finalizers"] = [*items(metadata, "finalizers"), CLEANUP]
    metadata.pop("deletionGracePeriodSeconds", None)
    message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
    set_condition(definition, Condition("Terminating", "True", "InstanceDeletionPending", message), at)
