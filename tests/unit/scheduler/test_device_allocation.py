"""Which devices claims get: selectors, counts, alternatives, constraints, taints, shared counters; each given once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.scheduler.device_allocation import Inventory, allocate, devices_of
from sampan.scheduler.devices import DeviceError, pools_of
from sampan.schema.objects import Object

DRIVER = "gpu.example.com"
CLASSES: dict[str, Object] = {
    "gpu": {
        "metadata": {"name": "gpu"},
        "spec": {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]},
    },
    "any": {"metadata": {"name": "any"}, "spec": {"config": [{"opaque": {"driver": DRIVER, "parameters": {}}}]}},
}


def device(name: str, model: str = "A", memory: str = "10Gi", **more: Any) -> Object:
    attributes = {"model": {"string": model}, **more.pop("attributes", {})}
    return {"name": name, "attributes": attributes, "capacity": {"memory": {"value": memory}}, **more}


def published(*devices: Object, pool: str = "one", generation: int = 1, count: int = 1, **place: Any) -> Object:
    where = place or {"nodeName": "one"}
    whole = {"name": pool, "generation": generation, "resourceSliceCount": count}
    return {
        "metadata": {"name": f"{pool}-{generation}"},
        "spec": {"driver": DRIVER, "pool": whole, "devices": list(devices), **where},
    }


def request(name: str = "r", **wish: Any) -> Object:
    exactly = {"deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 1, **wish}
    if isinstance(exactly.get("selectors"), str):
        exactly["selectors"] = [{"cel": {"expression": exactly["selectors"]}}]
    return {"name": name, "exactly": exactly}


def claim(*requests: Object, **devices: Any) -> Object:
    return {"metadata": {"name": "c"}, "spec": {"devices": {"requests": list(requests), **devices}}}


def names(claims: list[Object], slices: list[Object], taken: tuple[str, ...] = (), node: str = "one") -> Any:
    """Return the devices that each claim gets, None where they do not suffice."""
    pools = pools_of(slices)
    used = frozenset(one.id for pool in pools for one in pool.devices() if one.id.device in taken)
    found = allocate(claims, Inventory(pools, CLASSES, used), node, {"zone": "z"})
    return None if found is None else [[one["device"] for one in each["devices"]["results"]] for each in found]


TWO = published(device("a"), device("b", "B", "40Gi"))
IN_ZONE = {"key": "zone", "operator": "In", "values": ["z"]}


@pytest.mark.parametrize(
    ("wish", "taken", "got"),
    [
        ({}, (), [["a"]]),
        ({}, ("a",), [["b"]]),
        ({}, ("a", "b"), None),
        ({"count": 2}, (), [["a", "b"]]),
        ({"count": 3}, (), None),
        ({"allocationMode": "All"}, (), [["a", "b"]]),
        ({"allocationMode": "All"}, ("b",), None),
        ({"adminAccess": True}, ("a", "b"), [["a"]]),
        ({"selectors": f'device.attributes["{DRIVER}"].model == "B"'}, (), [["b"]]),
        ({"selectors": f'device.capacity["{DRIVER}"].memory.compareTo(quantity("20Gi")) >= 0'}, (), [["b"]]),
        ({"selectors": '"other.org" in device.attributes && device.attributes["other.org"].size() == 0'}, (), [["a"]]),
    ],
)  # fmt: skip
def test_what_a_request_gets(wish: Object, taken: tuple[str, ...], got: Any) -> None:
    assert names([claim(request(**wish))], [TWO], taken) == got


def test_a_selector_that_fails_is_told() -> None:
    with pytest.raises(DeviceError, match=r"claim c, request r: selector #0: CEL runtime error: no such key: nope"):
        names([claim(request(selectors=f'device.attributes["{DRIVER}"].nope == 1'))], [TWO])


def test_what_leads_to_no_end_is_given_back() -> None:
    picky = request("picky", selectors=f'device.attributes["{DRIVER}"].model == "A"')
    assert names([claim(request("first"), picky)], [TWO]) == [["b", "a"]]
    assert names([claim(request("first")), claim(picky)], [TWO]) == [["b"], ["a"]]


def test_the_first_alternative_that_works() -> None:
    one = {"name": "best", "deviceClassName": "gpu", "allocationMode": "ExactCount", "count": 3}
    two = {**one, "name": "good", "count": 2}
    found = allocate(
        [claim({"name": "r", "firstAvailable": [one, two]})],
        Inventory(pools_of([TWO]), CLASSES, frozenset()),
        "one",
        {},
    )
    assert found is not None
    assert [result["request"] for result in found[0]["devices"]["results"]] == ["r/good", "r/good"]


@pytest.mark.parametrize(
    ("constraint", "got"),
    [
        ({"matchAttribute": f"{DRIVER}/model"}, [["b", "c"]]),
        ({"matchAttribute": f"{DRIVER}/none"}, None),
        ({"distinctAttribute": f"{DRIVER}/model"}, [["a", "b"]]),
        ({"matchAttribute": f"{DRIVER}/model", "requests": ["other"]}, [["a", "b"]]),
    ],
)
def test_constraints(constraint: Object, got: Any) -> None:
    slices = [published(device("a"), device("b", "B"), device("c", "B"))]
    assert names([claim(request(count=2), constraints=[constraint])], slices) == got


def test_taints_keep_away_unless_borne() -> None:
    taint = {"key": "broken", "effect": "NoSchedule"}
    slices = [published(device("a", taints=[taint]), device("b", taints=[{**taint, "effect": "None"}]))]
    assert names([claim(request())], slices) == [["b"]]
    borne = [{"key": "broken", "operator": "Exists"}]
    assert names([claim(request(tolerations=borne))], slices) == [["a"]]


def test_shared_counters_are_not_overdrawn() -> None:
    def part(name: str, memory: str) -> Object:
        return device(name, consumesCounters=[{"counterSet": "gpu", "counters": {"memory": {"value": memory}}}])

    shared = published(part("half", "20Gi"), part("other", "20Gi"), part("whole", "40Gi"))
    shared["spec"]["sharedCounters"] = [{"name": "gpu", "counters": {"memory": {"value": "40Gi"}}}]
    assert names([claim(request(count=2))], [shared]) == [["half", "other"]]
    assert names([claim(request(count=3))], [shared]) is None
    assert names([claim(request())], [shared], taken=("whole",)) is None
    assert names([claim(request())], [shared], taken=("half",)) == [["other"]]


@pytest.mark.parametrize(
    ("place", "node", "there"),
    [
        ({"nodeName": "one"}, "one", True),
        ({"nodeName": "one"}, "two", False),
        ({"allNodes": True}, "two", True),
        ({"nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [IN_ZONE]}]}}, "x", True),
    ],
)  # fmt: skip
def test_where_devices_are(place: Object, node: str, there: bool) -> None:
    assert (names([claim(request())], [published(device("a"), **place)], node=node) is not None) is there


def test_only_the_newest_whole_generation_of_a_pool_counts() -> None:
    old, new = published(device("old")), published(device("new"), generation=2)
    assert names([claim(request())], [old, new]) == [["new"]]
    assert names([claim(request())], [published(device("a"), count=2)]) is None


def test_what_is_written_into_the_claim() -> None:
    own = {"opaque": {"driver": DRIVER, "parameters": {"x": 1}}, "requests": ["r"]}
    found = allocate(
        [claim(request(deviceClassName="any"), config=[own])],
        Inventory(pools_of([TWO]), CLASSES, frozenset()),
        "one",
        {},
    )
    assert found is not None
    assert found[0]["devices"]["config"] == [
        {"source": "FromClass", "requests": ["r"], "opaque": {"driver": DRIVER, "parameters": {}}},
        {"source": "FromClaim", **own},
    ]
    field = {"key": "metadata.name", "operator": "In", "values": ["one"]}
    assert found[0]["nodeSelector"] == {"nodeSelectorTerms": [{"matchFields": [field]}]}
    assert [one.device for one in devices_of({"status": {"allocation": found[0]}})] == ["a"]


@settings(max_examples=60, deadline=None)
@given(
    models=st.lists(st.sampled_from("AB"), max_size=6),
    wishes=st.lists(st.sampled_from(["A", "B", ""]), min_size=1, max_size=5),
)
def test_no_device_is_given_twice_and_what_can_be_given_is(models: list[str], wishes: list[str]) -> None:
    slices = [published(*(device(f"d{n}", model) for n, model in enumerate(models)))]
    claims = [
        claim(request(selectors=f'device.attributes["{DRIVER}"].model == "{model}"' if model else "true"))
        for model in wishes
    ]
    found = names(claims, slices)
    possible = all(wishes.count(model) <= models.count(model) for model in "AB") and len(wishes) <= len(models)
    assert (found is not None) is possible
    if found is not None:
        got = [one for each in found for one in each]
        assert len(set(got)) == len(got)
        assert all(not wish or models[int(name[1:])] == wish for wish, name in zip(wishes, got, strict=True))
