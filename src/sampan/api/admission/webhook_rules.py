"""Which webhooks a request is for: rules, scope, equivalent versions, selectors. Pure, compiled once a configuration.

Source: kubernetes/apiserver pkg/admission/plugin/webhook/predicates, generic/webhook.go (ShouldCallHook).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sampan.api.admission.admission_review import Subject
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector

EXEMPT = (
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
)
"""Kinds that are never sent to webhooks, so that a wrong configuration can always be mended."""

VIRTUAL = {
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authentication.k8s.io", "tokenreviews"),
    ("authorization.k8s.io", "localsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authorization.k8s.io", "subjectaccessreviews"),
}
"""Questions that policies never see, and webhooks not since 1.37: who intercepts them can break a cluster."""


class Kind(NamedTuple):
    """A kind of request: all that rules look at. ``equivalents`` are other versions of the same resource."""

    asked: Subject
    operation: str
    cluster: bool
    """Whether it is about the cluster's scope (Namespaces are)."""
    equivalents: Sequence[Subject] = ()


class Hook(NamedTuple):
    """One webhook of a configuration. ``key`` names it among all."""

    key: str
    name: str
    webhook: Object
    rules: tuple[Object, ...]
    namespaces: LabelSelector
    objects: LabelSelector
    client_config: Object
    timeout_seconds: float
    ignores_failure: bool
    reinvoked: bool
    exact: bool


class Call(NamedTuple):
    """A webhook that wants a request, and the version it wants it in."""

    hook: Hook
    subject: Subject


def hooks_of(configuration: Object) -> Iterator[Hook]:
    """Yield the webhooks of a configuration, in order."""
    seen: dict[str, int] = {}
    for webhook in items(configuration, "webhooks"):
        name = webhook["name"]
        seen[name] = seen.get(name, -1) + 1
        yield Hook(
            key=f"{configuration['metadata']['name']}/{name}/{seen[name]}/{configuration['kind']}",
            name=name,
            webhook=webhook,
            rules=tuple(items(webhook, "rules")),
            namespaces=label_selector(mapping(webhook, "namespaceSelector")),
            objects=label_selector(mapping(webhook, "objectSelector")),
            client_config=mapping(webhook, "clientConfig"),
            timeout_seconds=float(webhook.get("timeoutSeconds") or 10),
            ignores_failure=webhook.get("failurePolicy") == "Ignore",
            reinvoked=webhook.get("reinvocationPolicy") == "IfNeeded",
            exact=webhook.get("matchPolicy") == "Exact",
        )


def calls_for(hooks: Iterable[Hook], request: Kind) -> list[Call]:
    """Return the hooks whose rules want a kind of request, each with the version it is sent in."""
    found = []
    for hook in hooks:
        subject = wanted_subject(hook, request)
        if subject is not None:
            found.append(Call(hook, subject))
    return found


def wanted_subject(hook: Hook, request: Kind) -> Subject | None:
    if any(rule_wants(rule, request.asked, request) for rule in hook.rules):
        return request.asked
    if not hook.exact:
        for rule in hook.rules:  # earlier rules first
            for subject in request.equivalents:
                if rule_wants(rule, subject, request):
                    return subject
    return None


def rule_wants(rule: Object, subject: Subject, request: Kind) -> bool:
    return (
        (rule.get("scope") or "*") in ("*", "Cluster" if request.cluster else "Namespaced")
        and named(items(rule, "operations"), request.operation)
        and named(items(rule, "apiGroups"), subject.group)
        and named(items(rule, "apiVersions"), subject.version)
        and any(resource_wants(entry, subject) for entry in items(rule, "resources"))
    )


def named(wanted: list[Any], value: str) -> bool:
    return "*" in wanted or value in wanted


def resource_wants(entry: str, subject: Subject) -> bool:
    plural, _, subresource = entry.partition("/")
    return plural in ("*", subject.plural) and subresource in ("*", subject.subresource)


def object_selected(hook: Hook, new: Object | None, old: Object | None) -> bool:
    if hook.objects.empty:
        return True
    return any(obj is not None and hook.objects.matches(mapping(obj, "metadata", "labels")) for obj in (new, old))
