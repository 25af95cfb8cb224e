"""apiextensions, apiregistration and admissionregistration.

Source: kubernetes staging/src/k8s.io/apiextensions-apiserver and kube-aggregator, pkg/apis/*, printers. What a
CustomResourceDefinition does beyond its own validation is in ``api/crds.py``.
"""

from __future__ import annotations

from typing import Any

from sampan.api.resource import Resource
from sampan.api.resources.admission_policies import (
    BINDING_COLUMNS,
    binding_by_version,
    default_binding,
    default_policy,
    policy_by_version,
    policy_columns,
    validate_policy_status,
)
from sampan.api.resources.api_services import API_SERVICE
from sampan.api.resources.checking import collect
from sampan.api.resources.definitions import CUSTOM_RESOURCE_DEFINITION
from sampan.api.resources.webhooks import COLUMNS as WEBHOOK_COLUMNS
from sampan.api.resources.webhooks import default_webhooks, webhooks_by_version

# admissionregistration.k8s.io


def registration(kind: str, plural: str, **extra: Any) -> Resource:
    group = "admissionregistration.k8s.io"
    return Resource(
        group=group, version="v1", kind=kind, plural=plural, namespaced=False, categories=("api-extensions",), **extra
    )


ADMISSION = (
    registration(
        "MutatingWebhookConfiguration",
        "mutatingwebhookconfigurations",
        default=default_webhooks,
        by_version=webhooks_by_version,
        trusts_definition=False,
        columns=WEBHOOK_COLUMNS,
    ),
    registration(
        "ValidatingWebhookConfiguration",
        "validatingwebhookconfigurations",
        default=default_webhooks,
        by_version=webhooks_by_version,
        trusts_definition=False,
        columns=WEBHOOK_COLUMNS,
    ),
    registration(
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        status=True,
        default=default_policy,
        by_version=policy_by_version,
        validates={"status": collect(validate_policy_status)},
        trusts_definition=False,
        columns=policy_columns("validations"),
    ),
    registration(
        "ValidatingAdmissionPolicyBinding",
        "validatingadmissionpolicybindings",
        default=default_binding,
        by_version=binding_by_version,
        trusts_definition=False,
        columns=BINDING_COLUMNS,
    ),
    registration(
        "MutatingAdmissionPolicy",
        "mutatingadmissionpolicies",
        default=default_policy,
        by_version=policy_by_version,
        trusts_definition=False,
        columns=policy_columns("mutations"),
    ),
    registration(
        "MutatingAdmissionPolicyBinding",
        "mutatingadmissionpolicybindings",
        default=default_binding,
        by_version=binding_by_version,
        trusts_definition=False,
        columns=BINDING_COLUMNS,
    ),
)

RESOURCES = (
    CUSTOM_RESOURCE_DEFINITION,
    API_SERVICE,
    *ADMISSION,
)
