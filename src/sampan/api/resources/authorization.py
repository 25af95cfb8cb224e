"""rbac.authorization.k8s.io and the review kinds. Source: kubernetes pkg/apis/rbac (defaults, validation), printers."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, label_selector, one_of, subdomain
from sampan.api.resources.columns import AGE, NAME, WIDE
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import NO_MAP, invalid, not_supported, required
from sampan.schema.names import path_segment
from sampan.schema.objects import Object

GROUP = "rbac.authorization.k8s.io"


def default_binding(binding: Object) -> None:
    reference = binding.setdefault("roleRef", {})
    if isinstance(reference, dict) and not reference.get("apiGroup"):
        reference["apiGroup"] = GROUP
    for subject in items(binding, "subjects"):
        if subject.get("kind") in ("User", "Group") and not subject.get("apiGroup"):
            subject["apiGroup"] = GROUP


def default_role(role: Object) -> None:
    role.setdefault("rules", None)


def rules(role: Object, path: str, namespaced: bool) -> Iterator[Cause]:
    for index, rule in enumerate(items(role, "rules")):
        field = f"{path}[{index}]"
        if not items(rule, "verbs"):
            yield required(f"{field}.verbs")
        if items(rule, "nonResourceURLs"):
            if namespaced:
                message = "namespaced rules cannot apply to non-resource URLs"
                yield invalid(f"{field}.nonResourceURLs", rule["nonResourceURLs"], message)
            if any(items(rule, key) for key in ("apiGroups", "resources", "resourceNames")):
                message = "rules cannot apply to both regular resources and non-resource URLs"
                yield invalid(f"{field}.nonResourceURLs", rule["nonResourceURLs"], message)
            continue
        if not items(rule, "apiGroups"):
            yield required(f"{field}.apiGroups", "resource rules must supply at least one api group")
        if not items(rule, "resources"):
            yield required(f"{field}.resources", "resource rules must supply at least one resource")


def validate_role(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from rules(new, "rules", True)


def validate_cluster_role(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from rules(new, "rules", False)
    aggregation = new.get("aggregationRule")
    if aggregation is not None and not items(aggregation, "clusterRoleSelectors"):
        yield required(
            "aggregationRule.clusterRoleSelectors",
            "at least one clusterRoleSelector required if aggregationRule is non-nil",
        )
    for index, selector in enumerate(items(aggregation, "clusterRoleSelectors")):
        path = f"aggregationRule.clusterRoleSelectors[{index}]"
        wrong = list(label_selector(path, selector))
        yield from wrong
        if wrong:
            yield invalid(path, NO_MAP, "invalid label selector.")


def validate_binding(new: Object, old: Object | None) -> Iterator[Cause]:
    reference = mapping(new, "roleRef")
    namespaced = new.get("kind") == "RoleBinding"
    if reference.get("apiGroup") != GROUP:
        yield not_supported("roleRef.apiGroup", reference.get("apiGroup") or "", (GROUP,))
    kinds = ("Role", "ClusterRole") if namespaced else ("ClusterRole",)
    yield from one_of("roleRef.kind", reference.get("kind") or "", kinds)
    if not reference.get("name"):
        yield required("roleRef.name")
    for message in path_segment(text(reference, "name")):
        yield invalid("roleRef.name", reference["name"], message)
    for index, subject in enumerate(items(new, "subjects")):
        yield from subject_of(subject, f"subjects[{index}]", namespaced)
    if old is not None and mapping(old, "roleRef") != reference:
        yield invalid("roleRef", reference, "cannot change roleRef")


def subject_of(subject: Object, path: str, namespaced: bool) -> Iterator[Cause]:
    kind = subject.get("kind") or ""
    if not subject.get("name"):
        yield required(f"{path}.name")
    if kind == "ServiceAccount":
        yield from subdomain(f"{path}.name", subject.get("name"), needed=False)
        if subject.get("apiGroup"):
            yield not_supported(f"{path}.apiGroup", subject["apiGroup"], ("",))
        if not subject.get("namespace") and not namespaced:
            yield required(f"{path}.namespace")
    elif kind in ("User", "Group"):
        if subject.get("apiGroup") != GROUP:
            yield not_supported(f"{path}.apiGroup", subject.get("apiGroup") or "", (GROUP,))
    else:
        yield not_supported(f"{path}.kind", kind, ("ServiceAccount", "User", "Group"))


def role_cell(binding: Object) -> str:
    return f"{text(binding, 'roleRef', 'kind')}/{text(binding, 'roleRef', 'name')}"


def subject_cell(kind: str) -> Column:
    def cell(binding: Object) -> str:
        names = []
        for subject in items(binding, "subjects"):
            if subject.get("kind") == kind:
                namespace = f"{subject['namespace']}/" if kind == "ServiceAccount" and subject.get("namespace") else ""
                names.append(f"{namespace}{subject.get('name')}")
        return ", ".join(names)

    return Column(f"{kind}s", cell, priority=WIDE)


ROLE_COLUMNS = (NAME, Column("Created At", ".metadata.creationTimestamp"))
BINDING_COLUMNS = (
    NAME,
    Column("Role", role_cell),
    AGE,
    subject_cell("User"),
    subject_cell("Group"),
    subject_cell("ServiceAccount"),
)


def rbac(kind: str, plural: str, *, namespaced: bool) -> Resource:
    binding = kind.endswith("Binding")
    check = validate_binding if binding else validate_role if namespaced else validate_cluster_role
    return Resource(
        group=GROUP,
        version="v1",
        kind=kind,
        plural=plural,
        namespaced=namespaced,
        generation=False,
        name_is="path",
        default=default_binding if binding else default_role,
        validate=collect(check),
        trusts_definition=False,
        columns=BINDING_COLUMNS if binding else ROLE_COLUMNS,
    )


def review(group: str, kind: str, *, namespaced: bool = False) -> Resource:
    """A kind that is asked and answered, never stored."""
    return Resource(
        group=group,
        version="v1",
        kind=kind,
        plural=kind.lower() + "s",
        namespaced=namespaced,
        verbs=("create",),
        generation=False,
    )


REVIEWS = (
    review("authentication.k8s.io", "TokenReview"),
    review("authentication.k8s.io", "SelfSubjectReview"),
    review("authorization.k8s.io", "LocalSubjectAccessReview", namespaced=True),
    review("authorization.k8s.io", "SelfSubjectAccessReview"),
    review("authorization.k8s.io", "SelfSubjectRulesReview"),
    review("authorization.k8s.io", "SubjectAccessReview"),
)

RESOURCES = (
    rbac("ClusterRole", "clusterroles", namespaced=False),
    rbac("ClusterRoleBinding", "clusterrolebindings", namespaced=False),
    rbac("Role", "roles", namespaced=True),
    rbac("RoleBinding", "rolebindings", namespaced=True),
    *REVIEWS,
)
