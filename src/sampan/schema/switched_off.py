"""Fields that Kubernetes knows and drops from what is written: their feature gates have been off in every version so far.

They stand in the definitions, and a client that sends them is not told that they are unknown; nothing of them is stored.
Source: the tags ``+featureGate`` in k8s.io/api 0.37, the gates in kubernetes 1.37 pkg/features, ``dropDisabledFields`` of the
strategies. Not in here: what our own node agent does with fields of such gates (``stopSignal``), and kinds behind a gate
(``api/resources/enabling.py``).
"""

from __future__ import annotations

OF_DEVICES = {
    "DeviceAttribute": "bools ints strings versions",
    "DeviceCounterConsumption": "compatibilityGroups",
    "DeviceRequestAllocationResult": "skipNodeOperations",
    "DeviceSubRequest": "derivedAttributes",
    "ResourceSliceSpec": "partitionTypeAttribute skipNodeOperations",
}
OF_NESTED_DEVICES = {
    **OF_DEVICES,
    "Device": "nodeAllocatableResources",
    "ExactDeviceRequest": "derivedAttributes",
}
OF_FLAT_DEVICES = {
    **OF_DEVICES,
    "BasicDevice": "nodeAllocatableResources",
    "DeviceRequest": "derivedAttributes",
}
OF_GROUPS = {
    "CompositePodGroupTemplate": "preemptionPolicy",
    "PodGroupSpec": "preemptionPolicy resourceClaims schedulingConstraints",
    "PodGroupTemplate": "preemptionPolicy resourceClaims schedulingConstraints",
}
DROPPED: dict[str, dict[str, str]] = {
    "io.k8s.api.batch.v1": {"JobSpec": "scheduling"},
    "io.k8s.api.core.v1": {
        "ClusterTrustBundleProjection": "user",
        "ConfigMapVolumeSource": "defaultUser",
        "DownwardAPIVolumeFile": "user",
        "DownwardAPIVolumeSource": "defaultUser",
        "EmptyDirVolumeSource": "mode",
        "GRPCAction": "mode",
        "HTTPGetAction": "protocol",
        "KeyToPath": "user",
        "NodeSpec": "configSource podPreemptionPolicy",
        "NodeStatus": "config",
        "PodSpec": "evictionResponders",
        "PersistentVolumeClaimStatus": "healthStatus",
        "PodCertificateProjection": "user",
        "ProjectedVolumeSource": "defaultUser",
        "SecretVolumeSource": "defaultUser",
        "ServiceAccountTokenProjection": "user",
        "VolumeMount": "bindMountOptions",
    },
    "io.k8s.api.resource.v1": OF_NESTED_DEVICES,
    "io.k8s.api.resource.v1alpha3": {"ResourcePoolStatusRequestSpec": "defaultPartitionTypeAttribute"},
    "io.k8s.api.resource.v1beta1": OF_FLAT_DEVICES,
    "io.k8s.api.resource.v1beta2": OF_NESTED_DEVICES,
    "io.k8s.api.scheduling.v1alpha3": {**OF_GROUPS, "CompositePodGroupSpec": "preemptionPolicy"},
    "io.k8s.api.scheduling.v1beta1": OF_GROUPS,
    "io.k8s.api.storage.v1": {"CSINodeStatus": "storageHealth"},
}


def dropped_of(definition: str) -> frozenset[str]:
    """Return the fields of a definition (``io.k8s.api.core.v1.VolumeMount``) that are never stored."""
    package, _, short = definition.rpartition(".")
    return frozenset(DROPPED.get(package, {}).get(short, "").split())
