"""Laws of server-side apply that hold for any objects (hypothesis)."""

import copy

from hypothesis import given
from hypothesis import strategies as st

from sampan.schema import fields
from sampan.schema.apply import Conflicts, apply, same, track_update
from sampan.schema.types import type_system

POD = type_system("1.37").type_for("", "v1", "Pod")
OPTIONS = {"type": POD, "api_version": "v1"}

ports = st.lists(
    st.fixed_dictionaries({"containerPort": st.integers(1, 3)}, optional={"protocol": st.sampled_from(["TCP", "UDP"])}),
    max_size=3,
    unique_by=lambda port: (port["containerPort"], port.get("protocol", "TCP")),
)
containers = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from("abc")},
        optional={
            "image": st.sampled_from("12"),
            "ports": ports,
            "command": st.lists(st.sampled_from("xy"), max_size=2),
        },
    ),
    min_size=1,  # who applies nothing but an empty list owns nothing, and the next apply is a first one again
    max_size=3,
    unique_by=lambda container: container["name"],
)
labels = st.dictionaries(st.sampled_from("pqr"), st.sampled_from("12"), max_size=3)
pods = st.builds(
    lambda metadata, spec: {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", **metadata}, "spec": spec},
    st.fixed_dictionaries(
        {},
        optional={
            "labels": labels,
            "finalizers": st.lists(st.sampled_from(["a/a", "b/b", "c/c"]), max_size=3, unique=True),
        },
    ),
    st.fixed_dictionaries(
        {"containers": containers},
        optional={
            "hostNetwork": st.booleans(),
            "nodeSelector": labels,
            "tolerations": st.lists(st.fixed_dictionaries({"key": st.sampled_from("kl")}), max_size=2),
        },
    ),
)
managers = st.sampled_from(["one", "two", "three"])
steps = st.lists(st.tuples(st.sampled_from(["apply", "force", "update"]), managers, pods), max_size=5)


def plain(obj):
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def run(history):
    """Play a history; refused applies change nothing."""
    live = None
    for number, (verb, manager, pod) in enumerate(history):
        now = f"2026-01-01T00:00:{number:02d}Z"
        pod = copy.deepcopy(pod)
        if verb == "update":
            track_update(live, pod, manager=manager, now=now, **OPTIONS)
            live = pod
            continue
        try:
            live = apply(live, pod, manager=manager, now=now, force=verb == "force", **OPTIONS)
        except Conflicts as conflicts:
            assert verb == "apply"
            assert all(conflict.manager != manager or "using" in conflict.message for conflict in conflicts.conflicts)
    return live


def holds(obj, part):
    """Whether all that ``part`` says is so in ``obj``."""
    if part in ({}, []):
        return obj is None or isinstance(obj, type(part))  # names no item, and what goes may leave nothing
    if isinstance(part, dict):
        return isinstance(obj, dict) and all(holds(obj.get(key), value) for key, value in part.items())
    if isinstance(part, list) and part and isinstance(part[0], dict) and isinstance(obj, list):
        return all(any(holds(item, wanted) for item in obj) for wanted in part)
    if isinstance(part, list) and isinstance(obj, list):
        return all(item in obj for item in part)
    return obj == part


@given(steps, managers, pods)
def test_apply_is_idempotent_and_says_what_it_was_told(history, manager, config):
    live = run(history)
    once = apply(live, config, manager=manager, now="2027-01-01T00:00:00Z", force=True, **OPTIONS)
    assert holds(plain(once), config)
    again = apply(once, config, manager=manager, now="2028-01-01T00:00:00Z", **OPTIONS)
    POD.check(again)
    POD.check(once)
    assert same(again, once)


@given(steps)
def test_every_owner_owns_something_that_is_there(history):
    live = run(history)
    if live is None:
        return
    everything = fields.ensure_named(POD, fields.created_set(POD, live))
    keys = set()
    for entry in live["metadata"].get("managedFields", []):
        tree = entry["fieldsV1"]
        assert tree and fields.is_set(tree)
        extra = fields.difference(tree, everything)
        assert not [path for path in fields.paths(extra) if not path.endswith("]")], (entry["manager"], extra)
        key = (entry["manager"], entry["operation"])
        assert key not in keys
        keys.add(key)


@given(steps, managers, pods)
def test_a_refused_apply_names_fields_of_others(history, manager, config):
    live = run(history)
    before = copy.deepcopy((live, config))
    try:
        apply(live, config, manager=manager, now="2027-01-01T00:00:00Z", **OPTIONS)
    except Conflicts as conflicts:
        entries = live["metadata"].get("managedFields")
        if entries is None:  # nobody was tracked: all that is there belongs to "before-first-apply"
            everything = fields.ensure_named(POD, fields.created_set(POD, live))
            entries = [{"manager": "before-first-apply", "operation": "Update", "fieldsV1": everything}]
        owners = {
            path
            for entry in entries
            for path in fields.paths(entry["fieldsV1"])
            if (entry["manager"], entry["operation"]) != (manager, "Apply")
        }
        assert {conflict.field for conflict in conflicts.conflicts} <= owners
    assert (live, config) == before


@given(pods, pods)
def test_applying_nothing_gives_back_what_was_there(base, config):
    live = run([("update", "base", base)])
    merged = apply(live, config, manager="one", now="2027-01-01T00:00:00Z", force=True, **OPTIONS)
    nothing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}}
    left = apply(merged, nothing, manager="one", now="2027-01-02T00:00:00Z", **OPTIONS)
    assert not [entry for entry in left["metadata"]["managedFields"] if entry["manager"] == "one"]


trees = st.recursive(
    st.just({}),
    lambda inner: st.dictionaries(
        st.sampled_from(["f:a", "f:b", 'k:{"n":1}', 'v:"x"']), inner, min_size=1, max_size=3
    ).flatmap(lambda tree: st.sampled_from([tree, {".": {}, **tree}])),
    max_leaves=8,
)
field_sets = st.dictionaries(st.sampled_from(["f:a", "f:b", "f:c"]), trees, max_size=3)


def members(tree):
    return set(fields.paths(tree))


@given(field_sets, field_sets)
def test_sets_are_sets(a, b):
    before = copy.deepcopy((a, b))
    assert members(fields.union(a, b)) == members(a) | members(b)
    assert members(fields.intersection(a, b)) == members(a) & members(b)
    assert members(fields.difference(a, b)) == members(a) - members(b)
    assert fields.difference(a, a) == {}
    assert (a, b) == before


@given(pods, pods)
def test_comparison_covers_every_difference(old, new):
    changed, removed = fields.compare(POD, old, new)
    if old == new:
        assert changed is None and removed is None
    old_set, new_set = (fields.created_set(POD, obj) for obj in (old, new))
    gone = members(fields.difference(old_set, new_set)) - members(changed or {})
    kept = members(new_set)
    assert members(removed or {}) >= {path for path in gone if not any(other.startswith(path) for other in kept)}
    assert not members(fields.intersection(changed or {}, fields.difference(old_set, new_set)))
