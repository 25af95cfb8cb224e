"""The rest of the core group: volumes and claims, nodes, namespaces, limits, quotas, configuration, events."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sampan.api.resources.claims import prepare_claim

from .conftest import causes, changed, declared

VOLUME: dict[str, Any] = {
    "metadata": {"name": "v"},
    "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}},
}
CLAIM: dict[str, Any] = {
    "metadata": {"name": "c"},
    "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
}
BOUND = changed(changed(CLAIM, "spec.volumeName", "v"), "status", {"phase": "Bound", "capacity": {"storage": "1Gi"}})
IMMUTABLE = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
NODE: dict[str, Any] = {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.0.0.0/24", "podCIDRs": ["10.0.0.0/24"]}}
QUOTA: dict[str, Any] = {"metadata": {"name": "q"}, "spec": {"hard": {"pods": "10", "requests.cpu": "1"}}}


@pytest.mark.parametrize(
    ("kind", "good", "path", "value", "field", "message"),
    [
        ("PersistentVolume", VOLUME, "spec.accessModes", [], "spec.accessModes", "Required value"),
        ("PersistentVolume", VOLUME, "spec.hostPath", None, "spec", "Required value: must specify a volume type"),
        ("PersistentVolume", VOLUME, "spec.nfs", {"server": "s", "path": "/"}, "spec.nfs",
         "Forbidden: may not specify more than 1 volume type"),
        ("PersistentVolume", VOLUME, "spec.capacity", {"storage": "0"}, "spec.capacity[storage]",
         'Invalid value: "0": must be greater than zero'),
        ("PersistentVolume", changed(VOLUME, "spec.hostPath", None), "spec.local", {"path": "/x"}, "spec.nodeAffinity",
         "Required value: Local volume requires node affinity"),
        ("PersistentVolume", VOLUME, "spec.accessModes", ["ReadWriteOncePod", "ReadOnlyMany"], "spec.accessModes",
         "Forbidden: may not use ReadWriteOncePod with other access modes"),
        ("PersistentVolumeClaim", CLAIM, "spec.accessModes", [], "spec.accessModes",
         "Required value: at least 1 access mode is required"),
        ("PersistentVolumeClaim", CLAIM, "spec.resources", {}, "spec.resources[storage]", "Required value"),
        ("PersistentVolumeClaim", CLAIM, "spec.volumeMode", "Tape", "spec.volumeMode",
         'Unsupported value: "Tape": supported values: "Block", "Filesystem"'),
        ("PersistentVolumeClaim", CLAIM, "spec.dataSource", {"kind": "Snapshot", "name": "s"}, "spec.dataSource",
         'Invalid value: "Snapshot": must be \'PersistentVolumeClaim\' when referencing the default apiGroup'),
        ("Node", NODE, "spec.taints", [{"key": "a"}], "metadata.taints[0].effect", "Required value"),
        ("Node", NODE, "spec.podCIDRs", ["10.0.0.0/24", "10.1.0.0/24"], "spec.podCIDRs",
         'Invalid value: ["10.0.0.0/24","10.1.0.0/24"]: may specify no more than one CIDR for each IP family'),
        ("Node", NODE, "status.capacity", {"pods": "1500m"}, "status.capacity.pods",
         'Invalid value: "1500m": must be an integer'),
        ("Namespace", {"metadata": {"name": "n"}}, "spec.finalizers", ["mine"], "spec.finalizers",
         'Invalid value: "mine": name is neither a standard finalizer name nor is it fully qualified'),
        ("LimitRange", {"spec": {"limits": [{"type": "Pod"}]}}, "spec.limits.0.default", {"cpu": "1"},
         "spec.limits[0].default", "Forbidden: may not be specified when `type` is 'Pod'"),
        ("LimitRange", {"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}}]}}, "spec.limits.0.max",
         {"cpu": "1"}, "spec.limits[0].min[cpu]", None),
        ("ResourceQuota", QUOTA, "spec.hard", {"fish": "1"}, "spec.hard[fish]", None),
        ("ResourceQuota", QUOTA, "spec.scopes", ["BestEffort"], "spec.scopes",
         'Invalid value: ["BestEffort"]: unsupported scope applied to resource'),
        ("ResourceQuota", QUOTA, "spec.hard", {"pods": "-1"}, "spec.hard[pods]",
         'Invalid value: "-1": must be greater than or equal to 0'),
        ("ConfigMap", {"data": {}}, "data", {"a b": "x"}, "data[a b]", None),
        ("ConfigMap", {"data": {}}, "data", {"": "x"}, "data[]", None),
        ("Secret", {"data": {}}, "data", {"": "eA=="}, "data[]", None),
        ("ConfigMap", {"data": {"a": "x"}}, "binaryData", {"a": "eA=="}, "data[a]",
         'Invalid value: "a": duplicate of key present in binaryData'),
        ("ConfigMap", {}, "data", {"a": "é" * 600_000}, "[]", "Too long: may not be more than 1048576 bytes"),
        ("Secret", {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}, "metadata", {}, "data[tls.key]",
         "Required value"),
        ("Secret", {"type": "kubernetes.io/dockerconfigjson"}, "data", {".dockerconfigjson": ""},
         "data[.dockerconfigjson]", 'Invalid value: "<secret contents redacted>": unexpected end of JSON input'),
        ("ReplicationController", {"spec": {"template": {"spec": {}}}}, "spec.replicas", -1, "spec.replicas",
         "Invalid value: -1: must be greater than or equal to 0"),
    ],
)  # fmt: skip
def test_one_wrong_thing(kind: str, good: Any, path: str, value: Any, field: str, message: str | None) -> None:
    good = {"metadata": {"name": "x"}, **good}
    found = causes(declared(kind), changed(good, path, value))
    assert field in found, found
    if message is not None:
        assert found[field] == message


# volumes and claims


def test_what_is_behind_a_volume_stays() -> None:
    found = causes(declared("PersistentVolume"), changed(VOLUME, "spec.hostPath.path", "/y"), VOLUME)
    assert found == {
        "spec.persistentvolumesource": "Forbidden: spec.persistentvolumesource is immutable after creation\n"
        '- hostPath.path: "/x"\n+ hostPath.path: "/y"'
    }


def test_a_claim_is_bound_once_and_grows() -> None:
    resource = declared("PersistentVolumeClaim")
    assert causes(resource, BOUND, CLAIM) == {}
    assert causes(resource, changed(BOUND, "spec.resources.requests.storage", "2Gi"), BOUND) == {}
    assert causes(resource, changed(BOUND, "spec.storageClassName", "fast"), BOUND) == {}
    other = causes(resource, changed(BOUND, "spec.volumeName", "w"), BOUND)
    assert other == {"spec": f'Forbidden: {IMMUTABLE}\n- volumeName: "v"\n+ volumeName: "w"'}
    less = causes(resource, changed(BOUND, "spec.resources.requests.storage", "512Mi"), BOUND)
    assert less == {"spec.resources.requests.storage": "Forbidden: field can not be less than status.capacity"}
    unbound = causes(resource, changed(CLAIM, "spec.resources.requests.storage", "2Gi"), CLAIM)
    assert list(unbound) == ["spec"]


def test_data_sources_are_kept_equal() -> None:
    source = {"kind": "PersistentVolumeClaim", "name": "from"}
    new = changed(CLAIM, "spec.dataSource", source)
    prepare_claim(new, None)
    assert new["spec"]["dataSourceRef"] == source and new["status"] == {"phase": "Pending"}


# nodes and namespaces


def test_what_of_a_node_stays() -> None:
    resource = declared("Node")
    moved = changed(changed(NODE, "spec.podCIDRs", ["10.9.0.0/24"]), "spec.providerID", "p")
    assert causes(resource, moved, NODE) == {
        "spec.podCIDRs": 'Forbidden: node updates may not change podCIDR except from "" to valid'
    }
    assert causes(resource, changed(moved, "spec.providerID", "q"), moved) == {
        "spec.providerID": 'Forbidden: node updates may not change providerID except from "" to valid'
    }
    twice = changed(NODE, "status.addresses", [{"type": "InternalIP", "address": "10.0.0.1"}] * 2)
    assert list(causes(resource, twice, NODE, "status")) == ["status.addresses[1]"]


def test_a_namespace_is_active_until_it_is_deleted() -> None:
    resource = declared("Namespace")
    gone = {"metadata": {"name": "n"}, "status": {"phase": "Terminating"}}
    why = "Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"
    assert causes(resource, gone, gone, "status") == {"status.Phase": why}
    assert list(causes(resource, changed(gone, "spec.finalizers", ["mine"]), gone, "finalize")) == [
        "spec.finalizers[0]"
    ]


# quotas


def test_scopes_of_a_quota() -> None:
    resource = declared("ResourceQuota")
    pods = changed(QUOTA, "spec.hard", {"pods": "1"})
    both = changed(pods, "spec.scopes", ["BestEffort", "NotBestEffort"])
    assert causes(resource, both) == {
        "spec.scopes": 'Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes'
    }
    assert causes(resource, changed(pods, "spec.scopes", ["BestEffort"]), pods) == {
        "spec.scopes": 'Invalid value: ["BestEffort"]: field is immutable'
    }
    selector = {"matchExpressions": [{"scopeName": "PriorityClass", "operator": "In", "values": []}]}
    why = "Required value: must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
    assert causes(resource, changed(pods, "spec.scopeSelector", selector)) == {
        "spec.scopeSelector.matchExpressions.values": why
    }


# configuration


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_is_sealed_stays_so(kind: str) -> None:
    data = {"a": base64.b64encode(b"x").decode()}
    old: dict[str, Any] = {"metadata": {"name": "x"}, "immutable": True, "data": data}
    why = "Forbidden: field is immutable when `immutable` is set"
    assert causes(declared(kind), changed(changed(old, "data", {}), "immutable", None), old) == {
        "immutable": why,
        "data": why,
    }


# events


EVENT: dict[str, Any] = {
    "metadata": {"name": "e", "namespace": "default"},
    "regarding": {"namespace": "default", "name": "p"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "reportingController": "example.com/c",
    "reportingInstance": "c-1",
    "action": "Start",
    "reason": "Started",
    "type": "Normal",
}


def test_events_of_the_newer_group_are_strict() -> None:
    resource = declared("Event", "events.k8s.io")
    assert causes(resource, EVENT) == {}
    assert causes(resource, changed(EVENT, "action", None)) == {"action": "Required value"}
    assert causes(resource, changed(EVENT, "note", "x" * 1025)) == {
        "message": 'Invalid value: "": can have at most 1024 characters'
    }
    assert causes(resource, changed(EVENT, "deprecatedCount", 1)) == {"count": 'Invalid value: "": needs to be unset'}
    assert causes(resource, changed(EVENT, "reason", "Other"), EVENT) == {
        "reason": 'Invalid value: "Other": field is immutable'
    }
    series = {"count": 1, "lastObservedTime": EVENT["eventTime"]}
    assert causes(resource, changed(EVENT, "series", series), EVENT) == {
        "series.count": 'Invalid value: "": should be at least 2'
    }


def test_old_events_need_only_a_namespace_that_fits() -> None:
    old = {"metadata": {"name": "e", "namespace": "a"}, "involvedObject": {"namespace": "b"}}
    why = 'Invalid value: "b": does not match event.namespace'
    assert causes(declared("Event"), old) == {"involvedObject.namespace": why}
