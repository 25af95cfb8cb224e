"""apiextensions, apiregistration and admissionregistration.

Source: kubernetes staging/src/k8s.io/apiextensions-apiserver and kube-aggregator, pkg/apis/*, printers. What a
CustomResourceDefinition does beyond its own validation is in ``api/crds.py``.
"""

from __future__ import annotations

from typing import Any

from sampan.api.resource import Column, Resource
from sampan.api.resources.api_services import API_SERVICE
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.definitions import CUSTOM_RESOURCE_DEFINITION
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.webhooks import COLUMNS as WEBHOOK_COLUMNS
from sampan.api.resources.webhooks import default_webhooks, validate_webhooks
from sampan.schema.objects import Object

# admissionregistration.k8s.io


def default_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("failurePolicy", "Fail")
    default_match(spec.get("matchConstraints"))


def default_policy_binding(binding: Object) -> None:
    default_match(dig(binding, "spec", "matchResources"))


def default_match(match: Any) -> None:
    if isinstance(match, dict):
        match.setdefault("matchPolicy", "Equivalent")
        match.setdefault("namespaceSelector", {})
        match.setdefault("objectSelector", {})
        for key in ("resourceRules", "excludeResourceRules"):
            for rule in items(match, key):
                rule.setdefault("scope", "*")


def parameter_kind(policy: Object) -> str:
    reference = mapping(policy, "spec", "paramKind")
    return f"{reference.get('apiVersion')}/{reference.get('kind')}" if reference else "<unset>"


def registration(kind: str, plural: str, **extra: Any) -> Resource:
    group = "admissionregistration.k8s.io"
    return Resource(
        group=group, version="v1", kind=kind, plural=plural, namespaced=False, categories=("api-extensions",), **extra
    )


def policy_columns(count: str) -> tuple[Column, ...]:
    return (
        NAME,
        Column(count.capitalize(), lambda o: len(items(o, "spec", count)), type="integer"),
        Column("ParamKind", parameter_kind),
        AGE,
    )


BINDING_COLUMNS = (
    NAME,
    Column("PolicyName", ".spec.policyName"),
    Column("ParamRef", lambda o: text(o, "spec", "paramRef", "name") or "<unset>"),
    AGE,
)
ADMISSION = (
    registration(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        default=default_webhooks,
        validate=collect(validate_webhooks),
        trusts_definition=False,
        columns=WEBHOOK_COLUMNS,
    ),
    registration(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        default=default_webhooks,
        validate=collect(validate_webhooks),
        trusts_definition=False,
        columns=WEBHOOK_COLUMNS,
    ),
    registration(
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        status=True,
        default=default_policy,
        columns=policy_columns("validations"),
    ),
    registration(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        default=default_policy_binding,
        columns=BINDING_COLUMNS,
    ),
    registration(
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        default=default_policy,
        columns=policy_columns("mutations"),
    ),
    registration(
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        default=default_policy_binding,
        columns=BINDING_COLUMNS,
    ),
)

RESOURCES = (
    CUSTOM_RESOURCE_DEFINITION,
    API_SERVICE,
    *ADMISSION,
)
