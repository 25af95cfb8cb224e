"""Strategic merge patch: merge keys and every directive."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.patch import PatchError, strategic_merge_patch
from sampan.schema.types import type_system

POD = type_system("1.37").type_for("", "v1", "Pod")
DEPLOYMENT = type_system("1.37").type_for("apps", "v1", "Deployment")
SERVICE = type_system("1.37").type_for("", "v1", "Service")


def pod(*names: str, **spec: object) -> dict:
    return {"spec": {"containers": [{"name": name, "image": f"{name}:1"} for name in names], **spec}}


def names(obj: dict) -> list[str]:
    return [container["name"] for container in obj["spec"]["containers"]]


def test_items_merge_by_key_and_new_ones_come_first():
    patch = {"spec": {"containers": [{"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}}
    patched = strategic_merge_patch(pod("a", "b"), patch, POD)
    assert patched == {"spec": {"containers": [
        {"name": "a", "image": "a:1"}, {"name": "b", "image": "b:2"}, {"name": "c", "image": "c:1"}]}}  # fmt: skip


def test_nested_lists_merge():
    base = pod("a")
    base["spec"]["containers"][0]["env"] = [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]
    patch = {
        "spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "3"}, {"name": "X", "$patch": "delete"}]}]}
    }
    assert strategic_merge_patch(base, patch, POD)["spec"]["containers"][0]["env"] == [{"name": "Y", "value": "3"}]


def test_set_element_order():
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "c"}, {"name": "a"}],
                      "containers": [{"name": "c", "image": "c"}]}}  # fmt: skip
    assert names(strategic_merge_patch(pod("a", "b"), patch, POD)) == ["b", "c", "a"]


def test_order_alone():
    patch = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert names(strategic_merge_patch(pod("a", "b"), patch, POD)) == ["b", "a"]


def test_order_must_fit_the_patch():
    patch = {"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}}
    with pytest.raises(PatchError, match="doesn't match"):
        strategic_merge_patch(pod("a"), patch, POD)


def test_delete_and_replace_in_lists():
    patch = {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}
    assert names(strategic_merge_patch(pod("a", "b"), patch, POD)) == ["b"]
    patch = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}
    assert names(strategic_merge_patch(pod("a", "b"), patch, POD)) == ["z"]


def test_delete_and_replace_in_maps():
    base = {"metadata": {"labels": {"a": "1"}}}
    assert strategic_merge_patch(base, {"metadata": {"labels": {"$patch": "replace", "b": "2"}}}, POD) == {
        "metadata": {"labels": {"b": "2"}}
    }
    assert strategic_merge_patch(base, {"metadata": {"labels": {"$patch": "delete"}}}, POD) == {
        "metadata": {"labels": {}}
    }
    assert strategic_merge_patch(base, {"metadata": {"labels": {"a": None}}}, POD) == {"metadata": {"labels": {}}}


def test_primitive_lists_merge_and_delete():
    base = {"metadata": {"finalizers": ["a", "b"]}}
    assert strategic_merge_patch(base, {"metadata": {"finalizers": ["c", "b"]}}, POD)["metadata"]["finalizers"] == [
        "c",
        "a",
        "b",
    ]
    patch = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_merge_patch(base, patch, POD)["metadata"]["finalizers"] == ["b"]


def test_lists_without_strategy_are_replaced():
    base = pod("a", tolerations=[{"key": "x"}])
    assert strategic_merge_patch(base, {"spec": {"tolerations": [{"key": "y"}]}}, POD)["spec"]["tolerations"] == [
        {"key": "y"}
    ]


def test_retain_keys():
    base = {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}}
    assert strategic_merge_patch(base, patch, DEPLOYMENT) == {"spec": {"strategy": {"type": "Recreate"}}}
    patch = {"spec": {"strategy": {"$retainKeys": ["rollingUpdate"], "type": "Recreate"}}}
    with pytest.raises(PatchError, match="retainKeys"):
        strategic_merge_patch(base, patch, DEPLOYMENT)


def test_service_ports_merge_by_port():
    base = {"spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 443}]}}
    patched = strategic_merge_patch(base, {"spec": {"ports": [{"port": 80, "name": "http"}]}}, SERVICE)
    assert patched["spec"]["ports"] == [{"port": 80, "nodePort": 30000, "name": "http"}, {"port": 443}]


def test_new_parts_lose_their_directives_and_nulls():
    patch = {"spec": {"volumes": [{"name": "v", "emptyDir": {"sizeLimit": None}, "$retainKeys": ["name", "emptyDir"]}]}}
    assert strategic_merge_patch({"spec": {}}, patch, POD)["spec"] == {"volumes": [{"name": "v", "emptyDir": {}}]}


@pytest.mark.parametrize(
    ("patch", "code"),
    [
        ({"spec": {"containers": [{"image": "x"}]}}, 422),
        ({"spec": {"containers": ["x"]}}, 400),
        ({"spec": {"containers": [{"name": "a", "$patch": "burn"}]}}, 400),
        ({"spec": {"$patch": "burn"}}, 400),
        ({"spec": {"$setElementOrder/containers": "x"}}, 400),
        ({"metadata": {"$deleteFromPrimitiveList/finalizers": 1}}, 400),
        ([], 400),
    ],
)
def test_refusals(patch, code):
    with pytest.raises(PatchError) as error:
        strategic_merge_patch({**pod("a"), "metadata": {}}, patch, POD)
    assert error.value.code == code


containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abcd")},
        optional={
            "image": st.sampled_from(["1", "2"]),
            "env": st.lists(
                st.fixed_dictionaries({"name": st.sampled_from("XYZ")}, optional={"value": st.sampled_from("12")}),
                max_size=3,
                unique_by=lambda item: item["name"],
            ),
        },
    ),
    max_size=4,
    unique_by=lambda item: item["name"],
)


@given(containers, containers)
def test_merging_lists_of_containers(old, new):
    base, patch = {"spec": {"containers": old}}, {"spec": {"containers": new}}
    before = copy.deepcopy((base, patch))
    patched = strategic_merge_patch(base, patch, POD)
    assert (base, patch) == before
    assert set(names(patched)) == {item["name"] for item in (*old, *new)}
    assert len(names(patched)) == len(set(names(patched)))
    assert [name for name in names(patched) if name in [item["name"] for item in new]] == [item["name"] for item in new]
    assert strategic_merge_patch(patched, patch, POD) == patched


odd = st.recursive(
    st.none() | st.integers(0, 2) | st.sampled_from(["a", "delete", "replace", "merge"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["name", "spec", "containers", "env", "$patch", "$retainKeys", "$setElementOrder/containers", "metadata",
             "finalizers", "$deleteFromPrimitiveList/finalizers", "$setElementOrder/env", "image"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=14,
)  # fmt: skip


@given(odd, odd)
def test_any_patch_applies_or_raises_patch_error(base, patch):
    base = base if isinstance(base, dict) else {"spec": base}
    try:
        assert isinstance(strategic_merge_patch(base, patch, POD), dict)
    except PatchError as error:
        assert error.code in (400, 422)
