"""What declarative validation (1.37) says in other words than the versions before, and rules about volumes and pods that are
easily read wrong."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources.pod_spec import pull_policy

from .conftest import causes, declared

FLOW = "flowcontrol.apiserver.k8s.io"


def level(kind: str, **parts: Any) -> dict[str, Any]:
    return {"metadata": {"name": "l"}, "spec": {"type": kind, **parts}}


QUEUE = {"limitResponse": {"type": "Queue"}}
REJECT = {"limitResponse": {"type": "Reject", "queuing": {}}}


@pytest.mark.parametrize(
    ("spec", "before", "now"),
    [
        (level("", limited={"limitResponse": {}}), {"type": 'Unsupported value: "": supported values: "Exempt", "Limited"'},
         {"type": "Required value", "limited": "Forbidden", "limited.limitResponse.type": "Required value"}),
        (level("X", exempt={}), {"type": 'Unsupported value: "X": supported values: "Exempt", "Limited"'},
         {"type": 'Unsupported value: "X": supported values: "Exempt", "Limited"', "exempt": "Forbidden"}),
        (level("Limited", exempt={}),
         {"exempt": "Forbidden: must be nil if the type is Limited",
          "limited": "Required value: must not be empty when type is Limited"},
         {"exempt": "Forbidden", "limited": "Required value"}),
        (level("Limited", limited=QUEUE),
         {"limited.limitResponse.queuing": "Required value: must not be empty if limited.limitResponse.type is Limited"},
         {"limited.limitResponse.queuing": "Required value"}),
        (level("Limited", limited=REJECT),
         {"limited.limitResponse.queuing": "Forbidden: must be nil if limited.limitResponse.type is not Limited"},
         {"limited.limitResponse.queuing": "Forbidden"}),
    ],
)  # fmt: skip
def test_parts_of_a_priority_level(spec: dict[str, Any], before: dict[str, str], now: dict[str, str]) -> None:
    for minor, said in ((36, before), (37, now)):
        found = causes(declared("PriorityLevelConfiguration", FLOW, minor=minor), spec)
        assert {key.removeprefix("spec."): value for key, value in found.items()} == said


def test_a_distinguisher_is_shown_as_the_struct_that_it_is() -> None:
    spec = {"priorityLevelConfiguration": {"name": "l"}, "distinguisherMethod": {"type": "X"}}
    found = causes(declared("FlowSchema", FLOW), {"metadata": {"name": "f"}, "spec": spec})
    assert found == {
        "spec.distinguisherMethod.type": 'Unsupported value: {"Type":"X"}: supported values: "ByNamespace", "ByUser"'
    }


@pytest.mark.parametrize(
    ("most", "before", "now"),
    [
        (0, "Invalid value: 0: must be greater than 0", "Required value"),
        (-1, "Invalid value: -1: must be greater than 0", "Invalid value: -1: must be greater than or equal to 1"),
    ],
)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_most_replicas(version: str, most: int, before: str, now: str) -> None:
    spec = {"maxReplicas": most, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}
    for minor, said in ((36, before), (37, now)):
        found = causes(
            declared("HorizontalPodAutoscaler", "autoscaling", version, minor), {"spec": spec}, default=False
        )
        assert found == {"spec.maxReplicas": said}


def attachment(**spec: Any) -> dict[str, Any]:
    return {"spec": {"attacher": "d.example", "nodeName": "n", **spec}}


def attached(obj: dict[str, Any], minor: int = 37) -> dict[str, str]:
    found = causes(declared("VolumeAttachment", "storage.k8s.io", minor=minor), obj)
    return {key.removeprefix("spec."): value.partition("(")[0].strip() for key, value in found.items()}


def test_who_attaches() -> None:
    bad = attachment(attacher="A_", source={"persistentVolumeName": "v"})
    subdomain = (
        "RFC 1123 subdomain must consist of {}alphanumeric characters, '-' or '.', and must start and end with an"
    )
    end = " alphanumeric character"
    now, before = attached(bad)["attacher"], attached(bad, 36)["attacher"]
    assert now == f'Invalid value: "A_": an {subdomain.format("")}{end}'
    assert before == f'Invalid value: "A_": a lowercase {subdomain.format("lower case ")}{end}'
    assert attached(attachment(attacher="Driver.Example", source={"persistentVolumeName": "v"})) == {}


def test_a_volume_within_an_attachment() -> None:
    csi = {"driver": "d.example", "volumeHandle": "h"}
    good = {
        "csi": csi,
        "accessModes": ["ReadWriteOnce"],
        "persistentVolumeReclaimPolicy": "Retain",
        "volumeMode": "Filesystem",
    }
    assert attached(attachment(source={"inlineVolumeSpec": good})) == {}
    bad = {
        "local": {"path": "/x"},
        "capacity": {"storage": "1Gi"},
        "claimRef": {"name": "c"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": []}},
        "persistentVolumeReclaimPolicy": "Delete",
        "storageClassName": "s",
        "volumeMode": "Block",
    }
    inline, needed = "in the context of inline volumes", "Required value: Local volume requires node affinity"
    at = "source.inlineVolumeSpec"
    assert attached(attachment(source={"inlineVolumeSpec": bad})) == {
        f"{at}.claimRef": f"Forbidden: may not be specified {inline}",
        f"{at}.capacity": f"Forbidden: may not be specified {inline}",
        f"{at}.csi": f"Required value: has to be specified {inline}",
        f"{at}.accessModes": "Required value",
        f"{at}.persistentVolumeReclaimPolicy": f"Forbidden: may only be Retain {inline}",
        f"{at}.nodeAffinity": f"Forbidden: may not be specified {inline} | {needed}",
        f"{at}.storageClassName": f"Forbidden: may not be specified {inline}",
        f"{at}.volumeMode": f"Forbidden: may not specify volumeMode other than Filesystem {inline}",
    }


def test_a_source_too_many() -> None:
    """Of several the first is judged, and flexVolume always; of a local one that is not there is no node affinity wanted."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "capacity": {"storage": "1Gi"},
        "nfs": {"server": "s", "path": "/"},
        "flexVolume": {},
        "local": {"path": "/x"},
    }
    found = causes(declared("PersistentVolume"), {"metadata": {"name": "v"}, "spec": spec})
    assert found == {
        "spec.flexVolume.driver": "Required value",
        "spec.local": "Forbidden: may not specify more than 1 volume type",
    }


def pod(**spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
    return {"metadata": {"name": "p"}, "spec": {"containers": [container], **spec}}


def test_search_paths_begin_with_an_underscore() -> None:
    config = {"searches": ["_tcp.example.com", "a._b", "."]}
    assert causes(declared("Pod"), pod(dnsConfig=config)) == {}
    refused = causes(declared("Pod"), pod(dnsConfig={"searches": ["__a", "A"]}))
    assert list(refused) == ["spec.dnsConfig.searches[0]", "spec.dnsConfig.searches[1]"]


@pytest.mark.parametrize(
    ("minor", "operator", "known"),
    [
        (34, "Gt", '"Equal", "Exists"'),
        (37, "Gt", '"Equal", "Exists", "Lt", "Gt"'),
        (37, "X", '"Equal", "Exists"'),
    ],
)
def test_tolerations_do_not_compare(minor: int, operator: str, known: str) -> None:
    toleration = {"key": "k", "operator": operator, "value": "1"}
    found = causes(declared("Pod", minor=minor), pod(tolerations=[toleration]))
    assert found == {"spec.tolerations[0].operator": f'Unsupported value: "{operator}": supported values: {known}'}


def test_amounts_are_kept_by_the_thousandth() -> None:
    node = {"status": {"capacity": {"x.example/a": "1n", "cpu": "1"}}}
    default = declared("Node").default
    assert default is not None
    default(node)
    assert node["status"]["allocatable"] == node["status"]["capacity"] == {"x.example/a": "1m", "cpu": "1"}


SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


@pytest.mark.parametrize(
    ("spec", "field", "said"),
    [
        ({"activeDeadlineSeconds": 0}, "activeDeadlineSeconds",
         "Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"runtimeClassName": ""}, "runtimeClassName", f'Invalid value: "": {SUBDOMAIN}'),
        ({"hostnameOverride": ""}, "hostnameOverride", f'Invalid value: "": {SUBDOMAIN}'),
        ({"dnsPolicy": "None", "dnsConfig": {}}, "dnsConfig.nameservers",
         "Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"),
        ({"securityContext": {"windowsOptions": {"gmsaCredentialSpecName": ""}}},
         "securityContext.windowsOptions.gmsaCredentialSpecName", f'Invalid value: "": {SUBDOMAIN}'),
        ({"topologySpreadConstraints": [
            {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["::1"]}]},
         "topologySpreadConstraints[0].matchLabelKeys", "Forbidden: must not be specified when labelSelector is not set"),
        ({"volumes": [{"name": "v", "csi": {}}]}, "volumes[0].csi.driver", "Required value"),
        ({"volumes": [{"name": "v", "image": {}}]}, "volumes[0].image.reference", "Required value"),
    ],
)  # fmt: skip
def test_what_is_empty_may_be_wrong(spec: dict[str, Any], field: str, said: str) -> None:
    assert causes(declared("Pod"), pod(**spec)) == {f"spec.{field}": said}


def test_no_grace_is_a_second() -> None:
    made = pod(terminationGracePeriodSeconds=-1)
    default = declared("Pod").default
    assert default is not None
    default(made)
    assert made["spec"]["terminationGracePeriodSeconds"] == 1


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("Registry.example:5000/a/b__c", "Always"),
        ("localhost/x", "Always"),
        ("[::1]:5000/x", "Always"),
        ("nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "0" * 64, "IfNotPresent"),
        (" nginx", "IfNotPresent"),
        ("Nginx", "IfNotPresent"),
        ("a//b", "IfNotPresent"),
        ("f" * 64, "IfNotPresent"),
    ],
)
def test_which_images_are_pulled(image: str, policy: str) -> None:
    assert pull_policy(image) == policy
