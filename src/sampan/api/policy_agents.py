"""The roles of controllers and of this package's own agents (``sampan:*``), as data.

Source: kubernetes plugin/pkg/auth/authorizer/rbac/bootstrappolicy (controller_policy.go).
"""

# ruff: noqa: E501  (a table: one rule a line)

from __future__ import annotations

from typing import Any

from sampan.api.policy_rules import ALL, EVENTS, GROUP, READ, rule

CONTROLLERS: dict[str, list[dict[str, Any]]] = {
    "attachdetach-controller": [rule("core", "persistentvolumeclaims persistentvolumes", READ), rule("core", "nodes pods", READ), EVENTS],
    "clusterrole-aggregation-controller": [rule(GROUP, "clusterroles", "escalate get list patch update watch")],
    "cronjob-controller": [rule("batch", "cronjobs", "get list update watch"), rule("batch", "jobs", "create delete get list patch update watch"),
                           rule("batch", "cronjobs/finalizers cronjobs/status", "update"), rule("core", "pods", "delete list"), EVENTS],
    "daemon-set-controller": [rule("apps", "daemonsets", READ), rule("apps", "daemonsets/finalizers daemonsets/status", "update"),
                              rule("core", "nodes", "list watch"), rule("core", "pods", "create delete list patch watch"),
                              rule("core", "pods/binding", "create"),
                              rule("apps", "controllerrevisions", "create delete get list patch update watch"), EVENTS],
    "deployment-controller": [rule("apps", "deployments", "get list update watch"),
                              rule("apps", "deployments/finalizers deployments/status", "update"),
                              rule("apps", "replicasets", "create delete get list patch update watch"),
                              rule("core", "pods", "get list update watch"), EVENTS],
    "disruption-controller": [rule("apps", "deployments replicasets statefulsets", READ), rule("core", "replicationcontrollers pods", READ),
                              rule("policy", "poddisruptionbudgets", READ), rule("policy", "poddisruptionbudgets/status", "update"), EVENTS],
    "endpoint-controller": [rule("core", "pods services", READ), rule("core", "endpoints", "create delete get list update"),
                            rule("core", "endpoints/restricted", "create"), EVENTS],
    "endpointslice-controller": [rule("core", "nodes pods services", READ), rule("core", "services/finalizers", "update"),
                                 rule("discovery.k8s.io", "endpointslices", "create delete get list update"), EVENTS],
    "generic-garbage-collector": [EVENTS, rule("*", "*", "delete get list patch update watch")],
    "horizontal-pod-autoscaler": [rule("autoscaling", "horizontalpodautoscalers", READ),
                                  rule("autoscaling", "horizontalpodautoscalers/status", "update"), rule("*", "*/scale", "get update"),
                                  rule("core", "pods", "list"), rule("metrics.k8s.io", "pods", "list"), EVENTS],
    "job-controller": [rule("batch", "jobs", "get list patch update watch"), rule("batch", "jobs/finalizers jobs/status", "update"),
                       rule("core", "pods", "create delete list patch watch"), EVENTS],
    "namespace-controller": [rule("core", "namespaces", "delete get list watch"), rule("core", "namespaces/finalize namespaces/status", "update"),
                             rule("*", "*", "delete deletecollection get list")],
    "node-controller": [rule("core", "nodes", "delete get list patch update"), rule("core", "nodes/status", "patch update"),
                        rule("core", "pods", "delete get list"), rule("core", "pods/status", "patch update"), EVENTS],
    "persistent-volume-binder": [rule("core", "persistentvolumes", "create delete get list update watch"),
                                 rule("core", "persistentvolumes/status persistentvolumeclaims/status", "update"),
                                 rule("core", "persistentvolumeclaims", "get list update watch"),
                                 rule("storage.k8s.io", "storageclasses", READ), EVENTS],
    "pod-garbage-collector": [rule("core", "pods", "delete list watch"), rule("core", "nodes", "get list"), rule("core", "pods/status", "patch")],
    "replicaset-controller": [rule("apps", "replicasets", "get list update watch"),
                              rule("apps", "replicasets/finalizers replicasets/status", "update"),
                              rule("core", "pods", "create delete list patch watch"), EVENTS],
    "replication-controller": [rule("core", "replicationcontrollers", "get list update watch"),
                               rule("core", "replicationcontrollers/finalizers replicationcontrollers/status", "update"),
                               rule("core", "pods", "create delete list patch watch"), EVENTS],
    "resourcequota-controller": [rule("*", "*", "list watch"), rule("core", "resourcequotas/status", "update"), EVENTS],
    "root-ca-cert-publisher": [rule("core", "configmaps", "create update"), EVENTS],
    "service-account-controller": [rule("core", "serviceaccounts", "create"), EVENTS],
    "statefulset-controller": [rule("core", "pods", READ), rule("apps", "statefulsets", READ),
                               rule("apps", "statefulsets/finalizers statefulsets/status", "update"), rule("core", "pods", "create delete patch update"),
                               rule("apps", "controllerrevisions", "create delete get list patch update watch"),
                               rule("core", "persistentvolumeclaims", "create delete get list update watch"), EVENTS],
    "ttl-after-finished-controller": [rule("batch", "jobs", "delete get list watch"), EVENTS],
}  # fmt: skip

GATEWAY_API = "gateway.networking.k8s.io"
GATEWAY_API_EXPERIMENTAL = "gateway.networking.x-k8s.io"
SAMPAN = {
    "dns": [
        rule("core", "services pods namespaces endpoints", READ),
        rule("core", "services endpoints", "create patch update"),
        rule("core", "configmaps", (*READ, "create")),
        rule("discovery.k8s.io", "endpointslices", (*READ, "create", "patch", "update")),
        rule("networking.k8s.io", "ingresses", READ),
        rule(GATEWAY_API, "gateways httproutes grpcroutes", READ),
        rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
        EVENTS,
    ],
    "gateway": [
        rule("core", "services", (*READ, "create", "delete", "patch", "update")),
        rule("core", "endpoints pods namespaces nodes configmaps secrets", READ),
        rule("discovery.k8s.io", "endpointslices", (*READ, "create", "delete", "patch", "update")),
        rule(
            f"{GATEWAY_API} {GATEWAY_API_EXPERIMENTAL} gateway.sampan.dev gateway.sampan.io sampan.dev sampan.io traefik.io",
            "*",
            ALL,
        ),
        rule("networking.k8s.io", "ingresses", READ),
        rule("networking.k8s.io", "ingressclasses", (*READ, "create")),
        rule("networking.k8s.io", "ingresses/status", "patch update"),
        rule("apiextensions.k8s.io", "customresourcedefinitions", (*READ, "create", "patch", "update")),
        rule("coordination.k8s.io", "leases", "create get list patch update watch"),
        EVENTS,
    ],
    "network": [
        rule("core", "services pods nodes namespaces endpoints", READ),
        rule("core", "services/status nodes/status", "patch update"),
        rule("core", "nodes services", "patch update"),
        rule("discovery.k8s.io", "endpointslices", READ),
        rule("networking.k8s.io", "networkpolicies", READ),
        rule("policy.networking.k8s.io", "clusternetworkpolicies", READ),
        rule("apiextensions.k8s.io", "customresourcedefinitions", READ),
        EVENTS,
    ],
}
