"""Validation, defaults and cells of storage, scheduling, coordination, node, certificates, flow control and device kinds."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import pytest

from sampan.api.resource import Resource
from sampan.api.resources import declarations
from sampan.api.resources.certificates import signing_condition, trust_anchors
from sampan.api.resources.device_requests import IDENTIFIER_MESSAGE
from sampan.api.resources.dynamic_resources import CONVERSIONS, claim_state
from sampan.api.resources.flow_control import MANDATORY_LEVELS, MANDATORY_SCHEMAS, entropy_bits, url_problem
from sampan.schema.cel.parser import STARTS
from sampan.schema.names import short_name, validate_metadata

DECLARED = {
    (one.kind, one.version): one if one.by_version is None else replace(one, **one.by_version(37))
    for one in declarations()
    if one.group not in ("events.k8s.io", "apps")
}
LONG = "a" * 254


def resource(kind: str, version: str = "v1") -> Resource:
    return DECLARED[kind, version]


def judged(kind: str, new: Any, old: Any = None, *, version: str = "v1", subresource: str = "") -> list[str]:
    """Return what is wrong with a defaulted object: ``field: message``."""
    declared = resource(kind, version)
    made = [copy.deepcopy(one) for one in (new, old) if one is not None]
    for one in made:
        one.setdefault("metadata", {}).setdefault("name", "x")
        one["apiVersion"], one["kind"] = declared.api_version, kind
        if declared.default is not None:
            declared.default(one)
    check = declared.validates.get(subresource, declared.validate)
    assert check is not None
    return [f"{cause.field}: {cause.message}" for cause in check(made[0], made[1] if old is not None else None)]


CLASS = {"provisioner": "p.example"}
ATTACHMENT = {"spec": {"attacher": "a.x", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}
LEVEL: dict[str, Any] = {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}}}
EXACTLY = {"deviceClassName": "gpu"}


def level(**limited: Any) -> dict[str, Any]:
    made = copy.deepcopy(LEVEL)
    made["limited"].update(limited)
    return {"spec": made}


def schema(**spec: Any) -> dict[str, Any]:
    rule = {
        "subjects": [{"kind": "User", "user": {"name": "u"}}],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }
    return {"spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [rule], **spec}}


def rule(**parts: Any) -> dict[str, Any]:
    return schema(rules=[{"subjects": [{"kind": "User", "user": {"name": "u"}}], **parts}])


def device_claim(**request: Any) -> dict[str, Any]:
    return {"spec": {"devices": {"requests": [{"name": "r", **request}]}}}


def device_slice(**spec: Any) -> dict[str, Any]:
    pool = {"name": "p", "generation": 1, "resourceSliceCount": 1}
    return {"spec": {"driver": "d.x", "pool": pool, "nodeName": "n", **spec}}


GOOD = [
    ("StorageClass", CLASS),
    ("CSIDriver", {"spec": {}}),
    ("CSINode", {"spec": {"drivers": [{"name": "d.x", "nodeID": "i", "topologyKeys": ["a.b/c"]}]}}),
    ("CSIStorageCapacity", {"storageClassName": "c", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"a": "b"}}}),
    ("VolumeAttachment", ATTACHMENT),
    ("VolumeAttributesClass", {"driverName": "d.x", "parameters": {"a": "b"}}),
    ("PriorityClass", {"value": 1}),
    ("PriorityClass", {"value": 2_000_000_000, "metadata": {"name": "system-cluster-critical"}}),
    ("Lease", {"spec": {"leaseDurationSeconds": 1, "leaseTransitions": 0, "strategy": "OldestEmulationVersion"}}),
    ("RuntimeClass", {"handler": "runc", "overhead": {"podFixed": {"cpu": "1", "x.y/z": "1"}}}),
    ("FlowSchema", schema()),
    ("FlowSchema", {"metadata": {"name": "exempt"}, "spec": MANDATORY_SCHEMAS["exempt"]}),
    ("PriorityLevelConfiguration", level()),
    ("PriorityLevelConfiguration", {"metadata": {"name": "exempt"}, "spec": {"type": "Exempt"}}),
    ("PriorityLevelConfiguration", {"metadata": {"name": "catch-all"}, "spec": MANDATORY_LEVELS["catch-all"]}),
    ("ResourceClaim", device_claim(exactly=EXACTLY)),
    ("ResourceClaim", device_claim(firstAvailable=[{"name": "a", **EXACTLY}])),
    ("ResourceSlice", device_slice(devices=[{"name": "g", "attributes": {"x.y/m": {"version": "1.2.3"}}}])),
]


@pytest.mark.parametrize(("kind", "obj"), GOOD)
def test_what_is_fine(kind: str, obj: Any) -> None:
    assert judged(kind, obj) == []


SIX = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
BINDING: dict[str, Any] = {
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
    "subjects": [{"kind": "ServiceAccount", "name": "s"}],
    "kind": "RoleBinding",
}
BAD = [
    (
        "RoleBinding",
        {**BINDING, "roleRef": {**BINDING["roleRef"], "kind": "Cluster"}},
        'roleRef.kind: Unsupported value: "Cluster": supported values: "Role", "ClusterRole"',
    ),
    (
        "ClusterRoleBinding",
        {**BINDING, "roleRef": {**BINDING["roleRef"], "kind": "ClusterRole", "name": "a/b"}},
        "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
        "subjects[0].namespace: Required value",
    ),
    (
        "ClusterRole",
        {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "-"}}]}},
        'aggregationRule.clusterRoleSelectors[0].matchLabels: Invalid value: "-": a valid label must be an empty string or '
        "consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. "
        "'MyValue',  or 'my_value',  or '12345', regex used for validation is "
        "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
        "aggregationRule.clusterRoleSelectors[0]: Invalid value: null: invalid label selector.",
    ),
    (
        "Role",
        {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
        'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs',
    ),
    ("StorageClass", {"provisioner": ""}, "provisioner: Required value"),
    (
        "StorageClass",
        {**CLASS, "reclaimPolicy": "Recycle"},
        'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
    ),
    ("StorageClass", {**CLASS, "parameters": {"": "x"}}, 'parameters: Invalid value: "": field can not be empty.'),
    (
        "StorageClass",
        {**CLASS, "allowedTopologies": [{"matchLabelExpressions": [{"key": "a", "values": ["b", "b"]}]}]},
        'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "b"',
    ),
    (
        "CSIDriver",
        {"spec": {"tokenRequests": [{"audience": "a"}, {"audience": "a", "expirationSeconds": 5}]}},
        'spec.tokenRequests[1].audience: Duplicate value: "a"',
        "spec.tokenRequests[1].expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes",
    ),
    ("CSINode", {"spec": {"drivers": [{"name": "d.x"}]}}, "spec.drivers[0].nodeID: Required value"),
    (
        "VolumeAttachment",
        {"spec": {"attacher": "a.x", "nodeName": "n", "source": {}}},
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
    ),
    (
        "VolumeAttributesClass",
        {"driverName": "d.x"},
        "parameters: Required value: must contain at least one key/value pair",
    ),
    (
        "PriorityClass",
        {"value": 2_000_000_000},
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    ),
    (
        "PriorityClass",
        {"value": 1, "metadata": {"name": "system-mine"}},
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: "
        "system-mine is not a known system priority class",
    ),
    (
        "Lease",
        {"spec": {"leaseDurationSeconds": 0}},
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    ),
    (
        "Lease",
        {"spec": {"preferredHolder": "x"}},
        "spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined",
    ),
    ("RuntimeClass", {"handler": ""}, "handler: Required value"),
    (
        "RuntimeClass",
        {"handler": "a", "scheduling": {"tolerations": [{"operator": "Equal", "tolerationSeconds": 1}]}},
        'scheduling.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which '
        'means "match all values and all keys"',
        "scheduling.tolerations[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
    (
        "FlowSchema",
        schema(matchingPrecedence=1),
        "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
    ),
    (
        "FlowSchema",
        schema(matchingPrecedence=10001),
        "spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000",
    ),
    (
        "FlowSchema",
        schema(rules=[{"subjects": []}]),
        "spec.rules[0].subjects: Required value: subjects must contain at least one value",
        "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
    ),
    (
        "FlowSchema",
        rule(resourceRules=[{"verbs": ["*", "get"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"]}]),
        'spec.rules[0].resourceRules[0].verbs: Invalid value: ["*","get"]: if \'*\' is present, must not specify other verbs',
    ),
    (
        "FlowSchema",
        rule(resourceRules=[{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]),
        "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply "
        "at least one namespace",
    ),
    (
        "PriorityLevelConfiguration",
        {"spec": {"type": "Exempt"}},
        "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
    ),
    (
        "PriorityLevelConfiguration",
        level(limitResponse={"type": "Queue", "queuing": {"queues": 512, "handSize": 8}}),
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 "
        "should not be greater than 60",
    ),
    (
        "PriorityLevelConfiguration",
        level(lendablePercent=101),
        "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
    ),
    (
        "ResourceClaim",
        device_claim(),
        "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
    ),
    (
        "ResourceClaim",
        device_claim(exactly={**EXACTLY, "allocationMode": "All", "count": 2}),
        "spec.devices.requests[0].exactly.count: Invalid value: 2: must not be specified when allocationMode is 'All'",
    ),
    (
        "ResourceClaim",
        {"spec": {"devices": {"requests": [], "constraints": [{"requests": ["gone"], "matchAttribute": "m"}]}}},
        'spec.devices.constraints[0].requests[0]: Invalid value: "gone": must be the name of a request in the claim or the '
        "name of a request and a subrequest separated by '/'",
        'spec.devices.constraints[0].matchAttribute: Invalid value: "m": a fully qualified name must be a domain and a name '
        "separated by a slash",
    ),
    ("ResourceSlice", {"spec": {**device_slice()["spec"], "nodeName": None}}, f"spec: Required value: {SIX}"),
    (
        "ResourceSlice",
        device_slice(allNodes=True),
        f'spec: Invalid value: "{{`nodeName`, `allNodes`}}": {SIX}, but multiple fields are set',
    ),
    (
        "ResourceSlice",
        device_slice(devices=[{"name": "g", "attributes": {"m": {"string": "x", "bool": True}}}]),
        'spec.devices[0].attributes[m]: Invalid value: "{bool, string}": must specify exactly one of: `int`, `bool`, '
        "`string`, `version`, `ints`, `bools`, `strings`, `versions`",
    ),
    (
        "ResourceSlice",
        device_slice(devices=[{"name": "g"}, {"name": "g"}]),
        'spec.devices[1]: Duplicate value: "g"',
    ),
    (
        "DeviceClass",
        {"spec": {"selectors": [{"cel": {"expression": "device.driver"}}, {"cel": {"expression": ""}}]}},
        'spec.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool or the unknown type, not '
        "string",
        f'spec.selectors[1].cel.expression: Invalid value: "": compilation failed: ERROR: <input>:1:0: Syntax error: '
        f"mismatched input '<EOF>' expecting {{{STARTS}}}",
    ),
    ("DeviceTaintRule", {"spec": {"taint": {"key": "a"}}}, "spec.taint.effect: Required value"),
    (
        "StorageVersionMigration",
        {"spec": {"resource": {"group": "a"}}},
        "spec.resource.resource: Required value: resource is required to be set",
    ),
]


@pytest.mark.parametrize(("kind", "obj", "said"), [(one[0], one[1], one[2:]) for one in BAD])
def test_what_is_refused(kind: str, obj: Any, said: tuple[str, ...]) -> None:
    assert judged(kind, obj) == list(said)


CHANGES = [
    (
        "StorageClass",
        CLASS,
        {"provisioner": "q.example"},
        "provisioner: Forbidden: updates to provisioner are forbidden.",
    ),
    (
        "StorageClass",
        CLASS,
        {**CLASS, "volumeBindingMode": "WaitForFirstConsumer"},
        'volumeBindingMode: Invalid value: "WaitForFirstConsumer": field is immutable',
    ),
    ("PriorityClass", {"value": 1}, {"value": 2}, "value: Forbidden: may not be changed in an update."),
    ("RuntimeClass", {"handler": "a"}, {"handler": "b"}, 'handler: Invalid value: "b": field is immutable'),
    (
        "VolumeAttributesClass",
        {"driverName": "d.x", "parameters": {"a": "b"}},
        {"driverName": "d.x", "parameters": {"a": "c"}},
        "parameters: Forbidden: updates to parameters are forbidden.",
    ),
    (
        "ResourceSlice",
        device_slice(),
        device_slice(driver="e.x"),
        'spec.driver: Invalid value: "e.x": field is immutable',
    ),
]


@pytest.mark.parametrize(("kind", "old", "new", "said"), CHANGES)
def test_what_never_changes(kind: str, old: Any, new: Any, said: str) -> None:
    assert judged(kind, new, old) == [said]


def test_a_claims_spec_never_changes() -> None:
    old, new = device_claim(exactly=EXACTLY), device_claim(exactly={"deviceClassName": "tpu"})
    (said,) = judged("ResourceClaim", new, old)
    assert said.startswith("spec: Invalid value: ") and said.endswith("field is immutable")


def test_old_shapes_are_judged_as_the_new_ones() -> None:
    flat = {"spec": {"devices": {"requests": [{"name": "r", "deviceClassName": "A!"}]}}}
    (said,) = judged("ResourceClaim", flat, version="v1beta1")
    assert said.startswith('spec.devices.requests[0].exactly.deviceClassName: Invalid value: "A!"')


@pytest.mark.parametrize("flat", ["v1beta1", "v1alpha3"])
@pytest.mark.parametrize("nested", ["v1", "v1beta2"])
def test_slices_and_claims_come_back_from_the_other_shape(nested: str, flat: str) -> None:
    devices = [{"name": "g", "attributes": {"m": {"int": 1}}, "capacity": {"memory": {"value": "1Gi"}}}]
    originals = {
        "ResourceSlice": device_slice(devices=devices),
        "ResourceClaim": device_claim(exactly={"deviceClassName": "gpu", "count": 2}),
        "ResourceClaimTemplate": {"spec": device_claim(firstAvailable=[{"name": "a", **EXACTLY}])},
    }
    for kind, original in originals.items():
        obj = {**copy.deepcopy(original), "kind": kind}
        CONVERSIONS["resource.k8s.io", kind, nested, flat](obj)
        CONVERSIONS["resource.k8s.io", kind, flat, nested](obj)
        assert obj == {**original, "kind": kind}


def test_a_consumer_needs_an_allocation() -> None:
    claim = device_claim(exactly=EXACTLY)
    reserved = {**claim, "status": {"reservedFor": [{"resource": "pods", "name": "p", "uid": "1"}]}}
    assert judged("ResourceClaim", reserved, claim, subresource="status") == [
        "status.reservedFor: Forbidden: may not be specified when `allocated` is not set"
    ]
    results = [{"request": "r", "driver": "d.x", "pool": "p", "device": "g"}]
    reserved["status"]["allocation"] = {"devices": {"results": results}}
    assert judged("ResourceClaim", reserved, claim, subresource="status") == []
    results[0]["request"] = "other"
    assert (
        "status.allocation.devices.results[0].request"
        in judged("ResourceClaim", reserved, claim, subresource="status")[0]
    )


def test_approval_only_by_the_approval_subresource() -> None:
    old = {"spec": {"signerName": "a.b/c"}, "status": {}}
    new = {**old, "status": {"conditions": [{"type": "Approved", "status": "True"}]}}
    said = 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    assert judged("CertificateSigningRequest", new, old) == [said]
    assert judged("CertificateSigningRequest", new, old, subresource="status") == [said]
    assert judged("CertificateSigningRequest", new, old, subresource="approval") == []
    both = {**old, "status": {"conditions": [*new["status"]["conditions"], {"type": "Denied", "status": "True"}]}}
    assert judged("CertificateSigningRequest", both, old, subresource="approval") == [
        'status.conditions[1].type: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    ]
    assert judged("CertificateSigningRequest", old, new, subresource="approval") == [
        'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    ]


def test_trust_anchors() -> None:
    said = [cause.message for cause in trust_anchors("spec.trustBundle", "nothing")]
    assert said == ['Invalid value: "<value omitted>": at least one trust anchor must be provided']
    block = "-----BEGIN KEY-----\neA==\n-----END KEY-----\n"
    (wrong,) = trust_anchors("spec.trustBundle", block)
    assert wrong.message == 'Invalid value: "<value omitted>": entry 0 has bad block type: KEY'


def test_entropy_is_that_of_shuffle_sharding() -> None:
    assert [entropy_bits(*dealt) for dealt in ((64, 8), (128, 6), (512, 7), (512, 8))] == [48, 42, 63, 72]


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("/", ""),
        ("/healthz/*", ""),
        ("healthz", "must start with slash"),
        ("/a//b", "must not contain double slash"),
        ("/a*", "wildcard can only do suffix matching"),
        ("/a b", "must not contain white-space"),
    ],
)
def test_urls_of_flow_schemas(url: str, problem: str) -> None:
    assert url_problem(url) == problem


def test_cells() -> None:
    assert (
        signing_condition({"status": {"conditions": [{"type": "Approved"}], "certificate": "x"}}) == "Approved,Issued"
    )
    assert signing_condition({}) == "Pending"
    assert claim_state({"status": {"allocation": {}, "reservedFor": [{}]}}) == "allocated,reserved"
    assert claim_state({"metadata": {"deletionTimestamp": "x"}}) == "deleted"


CANDIDATE = {
    "leaseName": "l",
    "binaryVersion": "1.2.0",
    "emulationVersion": "1.1.0",
    "strategy": "OldestEmulationVersion",
}


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, []),
        ({"strategy": "example.com/mine", "emulationVersion": ""}, []),
        ({"strategy": "mine"},
         ['spec.strategy.strategy: Unsupported value: "mine": supported values: "OldestEmulationVersion"']),
        ({"strategy": ""}, ["spec.strategy: Required value"]),
        ({"leaseName": "", "binaryVersion": ""},
         ["spec.leaseName: Required value", "spec.binaryVersion: Required value"]),
        ({"binaryVersion": "1"},
         ['spec.binaryVersion: Invalid value: "1": must be a valid semantic version',
          'spec.binaryVersion: Invalid value: "1": must be greater than or equal to `emulationVersion`']),
        ({"binaryVersion": "1.1.0-rc.2"},
         ['spec.binaryVersion: Invalid value: "1.1.0-rc.2": must be greater than or equal to `emulationVersion`']),
        ({"binaryVersion": "1.1.0-rc.10", "emulationVersion": "1.1.0-rc.9"}, []),
        ({"emulationVersion": ""},
         ["spec.emulationVersion: Required value: must be specified when `strategy` is 'OldestEmulationVersion'"]),
    ],
)  # fmt: skip
def test_candidates_for_a_lease(spec: dict[str, str], told: list[str]) -> None:
    assert judged("LeaseCandidate", {"spec": {**CANDIDATE, **spec}}, version="v1beta1") == told


def test_candidates_are_named_as_keys() -> None:
    assert resource("LeaseCandidate", "v1beta1").name_is == "key"
    assert validate_metadata({"metadata": {"name": "A_b", "namespace": "n"}}, "key") == []
    assert [cause.message for cause in validate_metadata({"metadata": {"name": "..", "namespace": "n"}}, "key")] == [
        "Invalid value: \"..\": must not be '..'"
    ]


LABEL_KEY = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
    "character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is "
    "'([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)


OVERLAP = "bindingFailureConditions must not overlap with bindingConditions"


@pytest.mark.parametrize(
    ("device", "told"),
    [
        ({"bindingConditions": ["a"], "bindingFailureConditions": ["b"]}, []),
        ({"bindingConditions": ["a"]},
         ["bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions"]),
        ({"bindingFailureConditions": ["a"]},
         ["bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions"]),
        ({"bindingConditions": ["a", "a", "?"], "bindingFailureConditions": ["a"]},
         [f'bindingConditions[2]: Invalid value: "?": {LABEL_KEY}',
          'bindingConditions[1]: Duplicate value: "a"',
          f'bindingFailureConditions[0]: Invalid value: "a": {OVERLAP}']),
        ({"attributes": {"é": {}}},
         [f'attributes: Invalid value: "é": {IDENTIFIER_MESSAGE}',
          'attributes[é]: Invalid value: "": must specify one of: `int`, `bool`, `string`, `version`, `ints`, `bools`, '
          "`strings`, `versions`"]),
        ({"attributes": {"a/b/c": {"int": 1}}}, []),
        ({"consumesCounters": [{"counterSet": "s", "counters": {"A": {"value": "1"}}}]},
         [f'consumesCounters[0].counters: Invalid value: "A": {short_name("A")[0]}']),
        ({"taints": [{"effect": "NoSchedule"}]},
         ['taints[0].key: Invalid value: "": name part must be non-empty', f'taints[0].key: Invalid value: "": {LABEL_KEY}']),
    ],
)  # fmt: skip
def test_devices_of_a_slice(device: dict[str, Any], told: list[str]) -> None:
    found = judged("ResourceSlice", device_slice(devices=[{"name": "g", **device}]))
    assert [one.removeprefix("spec.devices[0].") for one in found] == told


def test_the_nodes_of_a_slice_are_selected_by_one_term() -> None:
    term = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    chosen: dict[str, Any] = {"nodeName": None, "nodeSelector": {"nodeSelectorTerms": [term]}}
    assert judged("ResourceSlice", device_slice(**chosen)) == []
    chosen["nodeSelector"]["nodeSelectorTerms"] = [
        term,
        {"matchFields": [{"key": "x", "operator": "In", "values": ["n"]}]},
    ]
    shown = (
        '[{"MatchExpressions":[{"Key":"a","Operator":"Exists","Values":null}],"MatchFields":null},'
        '{"MatchExpressions":null,"MatchFields":[{"Key":"x","Operator":"In","Values":["n"]}]}]'
    )
    at = "spec.nodeSelector.nodeSelectorTerms"
    assert judged("ResourceSlice", device_slice(**chosen)) == [
        f'{at}[1].matchFields[0].key: Invalid value: "x": not a valid field selector key',
        f"{at}: Invalid value: {shown}: must have exactly one node selector term",
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("example.com/gpu", []),
        ("gpu", ["a name must be a domain-prefixed path, such as 'example.com/my-prop'"]),
        ("a.kubernetes.io/gpu", ['must not have "kubernetes.io/" domain']),
        ("requests.x/gpu", ['must not have "requests." prefix']),
        ("example.com/" + "g" * 64, ["name part must be no more than 63 bytes"]),
    ],
)
def test_extended_resources_of_a_class(name: str, told: list[str]) -> None:
    found = judged("DeviceClass", {"spec": {"extendedResourceName": name}})
    assert found == [f'spec.extendedResourceName: Invalid value: "{name}": {one}' for one in told]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, []),
        ({"limit": 0}, ["spec.limit: Invalid value: 0: must be greater than or equal to 1"]),
        ({"limit": 1001}, ["spec.limit: Invalid value: 1001: must be less than or equal to 1000"]),
        ({"poolName": "a//b"}, ['spec.poolName: Invalid value: "a//b": segment 1: must not be empty']),
        ({"driver": ""}, ["spec.driver: Required value"]),
    ],
)
def test_requests_for_the_status_of_a_pool(spec: dict[str, Any], told: list[str]) -> None:
    asked = {"spec": {"driver": "Driver.Example", **spec}}
    assert judged("ResourcePoolStatusRequest", asked, version="v1alpha3") == told


def test_the_attribute_of_a_constraint() -> None:
    request = {"name": "r", "exactly": EXACTLY}
    found = judged("ResourceClaim", {"spec": {"devices": {"requests": [request, request], "constraints": [{}]}}})
    wish = '{"deviceClassName":"gpu","allocationMode":"ExactCount","count":1}'
    assert found == [
        f'spec.devices.requests[1]: Duplicate value: {{"name":"r","exactly":{wish}}}',
        'spec.devices.constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, '
        "but multiple fields are set",
    ]
