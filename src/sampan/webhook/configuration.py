"""The ValidatingWebhookConfiguration that sends an API's requests here. Pure. Source: admissionregistration.k8s.io/v1.

Two webhooks: one for pods, which refuses and so is failed on as its user wants; one for what makes pods and for namespaces,
which mostly warns and is never waited for in vain.
"""

from __future__ import annotations

import base64
from typing import Any

from sampan.schema.objects import Object

NAME = "pod-security.sampan.dev"
PATH = "/validate"
TIMEOUT_SECONDS = 5


def rule(groups: list[str], resources: list[str]) -> Object:
    return {"apiGroups": groups, "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": resources}


PODS = [rule([""], ["pods", "pods/ephemeralcontainers"])]
OTHERS = [
    rule([""], ["namespaces", "podtemplates", "replicationcontrollers"]),
    rule(["apps"], ["daemonsets", "deployments", "replicasets", "statefulsets"]),
    rule(["batch"], ["cronjobs", "jobs"]),
]


def configuration(client: Object, ca: bytes, failure_policy: str, spared: list[str]) -> Object:
    """Return the object. ``client``: ``url`` or ``service`` of its clientConfig; ``spared``: namespaces that are never sent,
    so that what this server itself needs can always start."""
    config = {**client, "caBundle": base64.b64encode(ca).decode()}
    selector: Any = {}
    if spared:
        names = {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": spared}
        selector = {"matchExpressions": [names]}

    def webhook(name: str, rules: list[Object], policy: str) -> Object:
        return {
            "name": f"{name}.{NAME}",
            "rules": rules,
            "clientConfig": config,
            "failurePolicy": policy,
            "namespaceSelector": selector,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": TIMEOUT_SECONDS,
        }

    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": NAME},
        "webhooks": [webhook("pods", PODS, failure_policy), webhook("workloads", OTHERS, "Ignore")],
    }
