"""What Go makes of zero values: gone where it leaves them out, there where it always writes them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.schema import zeros
from sampan.schema.go_fields import fields_of, table
from sampan.schema.types import Type, type_system


def type_of(kind: str, group: str = "", version: str = "v1") -> Type:
    found = type_system("1.37").type_for(group, version, kind)
    assert found is not None
    return found


def stored(type: Type, obj: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = type.check(copy.deepcopy(obj)).object
    type.fill(made)
    return made


def test_scalars_that_are_zero_are_as_if_they_were_not_there() -> None:
    container = {"name": "c", "image": "", "tty": False, "stdin": True, "env": [{"name": "A", "value": ""}]}
    made = stored(type_of("Pod"), {"metadata": {"name": "p", "generation": 0}, "spec": {"containers": [container]}})
    assert made["metadata"] == {"name": "p"}
    assert made["spec"]["containers"] == [{"name": "c", "stdin": True, "env": [{"name": "A"}], "resources": {}}]
    assert made["status"] == {}


def test_a_pointer_to_zero_stays() -> None:
    spec = {"replicas": 0, "minReadySeconds": 0, "template": {}}
    made = stored(type_of("Deployment", "apps"), {"metadata": {}, "spec": spec})
    assert made["spec"]["replicas"] == 0 and "minReadySeconds" not in made["spec"]


def test_what_go_always_writes_is_written() -> None:
    made = stored(type_of("StatefulSet", "apps"), {"metadata": {"name": "s"}, "spec": {}})
    assert made["spec"] == {
        "serviceName": "",
        "template": {"metadata": {}, "spec": {"containers": None}},
        "updateStrategy": {},
    }
    assert made["status"] == {"replicas": 0, "availableReplicas": 0}
    made = stored(type_of("Event"), {"metadata": {"name": "e"}, "involvedObject": {}})
    assert made["eventTime"] is made["firstTimestamp"] is made["lastTimestamp"] is None
    assert (made["reportingComponent"], made["reportingInstance"], made["source"]) == ("", "", {})


def test_a_second_time_nothing_is_written() -> None:
    type = type_of("CronJob", "batch")
    once = stored(type, {"metadata": {"name": "c"}, "spec": {"jobTemplate": {"spec": {"template": {}}}}})
    again = copy.deepcopy(once)
    type.fill(again)
    assert again == once


def test_zeros_that_only_the_old_object_has_are_no_difference() -> None:
    type = type_of("StatefulSet", "apps")
    new = {"metadata": {"name": "s"}, "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}}}
    old = stored(type, new)
    before, undo = copy.deepcopy(old), []
    zeros.level(type, new, old, undo)
    assert old == new
    zeros.restore(undo)
    assert old == before


def test_what_the_old_object_says_is_one() -> None:
    type = type_of("StatefulSet", "apps")
    old = {"spec": {"serviceName": "web"}, "status": {"replicas": 3, "availableReplicas": 0}}
    kept = copy.deepcopy(old)
    zeros.level(type, {"spec": {}}, old, [])
    assert old == kept


def test_another_version_has_its_own_zeros() -> None:
    old, new = (type_of("PodCertificateRequest", "certificates.k8s.io", version) for version in ("v1beta1", "v1"))
    obj = stored(old, {"metadata": {"name": "r"}, "spec": {"stubPKCS10Request": "eA=="}})
    assert obj["spec"]["pkixPublicKey"] is None
    zeros.refill(new, obj)
    assert "pkixPublicKey" not in obj["spec"] and not new.check(copy.deepcopy(obj)).unknown


@pytest.mark.parametrize("name", ["core/v1.Container", "meta/v1.ObjectMeta", "rbac/v1.Role"])
def test_the_table_has_the_types(name: str) -> None:
    assert name in table() and fields_of(name)


def test_no_field_is_both_left_out_and_always_written() -> None:
    for name in table():
        assert not any(field.dropped and field.written for field in fields_of(name))
