"""Server-side apply: who owns what, conflicts, pruning, and managedFields as clients see them."""

import copy
import json

import orjson
import pytest

from sampan.schema import fields
from sampan.schema.apply import LAST_APPLIED, ApplyError, Conflicts, apply, same, track_update
from sampan.schema.types import type_system

DEPLOYMENT = type_system("1.37").type_for("apps", "v1", "Deployment")
CONFIG_MAP = type_system("1.37").type_for("", "v1", "ConfigMap")
SERVICE = type_system("1.37").type_for("", "v1", "Service")


def deployment(labels: dict | None = None, **spec: object) -> dict:
    metadata = {"name": "x", "namespace": "n", **({"labels": labels} if labels else {})}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}


def template(*containers: dict) -> dict:
    return {"spec": {"containers": list(containers)}}


def do(live, config, manager="one", now="2026-01-01T00:00:00Z", **options):
    return apply(live, config, type=DEPLOYMENT, manager=manager, api_version="apps/v1", now=now, **options)


def updated(live, new, manager="editor", now="2026-01-02T00:00:00Z", **options):
    new = copy.deepcopy(new)
    track_update(live, new, type=DEPLOYMENT, manager=manager, api_version="apps/v1", now=now, **options)
    return new


def entries(obj):
    return {entry["manager"]: entry for entry in obj["metadata"].get("managedFields", [])}


def owned(obj, manager):
    return set(fields.paths(entries(obj)[manager]["fieldsV1"]))


def plain(obj):
    metadata = {key: value for key, value in obj["metadata"].items() if key != "managedFields"}
    return {**obj, "metadata": metadata}


def test_first_apply_creates_and_owns():
    config = deployment({"a": "1"}, replicas=2, template=template({"name": "c", "image": "i"}))
    obj = do(None, config)
    assert plain(obj) == config
    assert obj["metadata"]["managedFields"] == [
        {
            "apiVersion": "apps/v1",
            "fieldsType": "FieldsV1",
            "fieldsV1": {
                "f:metadata": {"f:labels": {"f:a": {}}},
                "f:spec": {
                    "f:replicas": {},
                    "f:template": {
                        "f:spec": {"f:containers": {'k:{"name":"c"}': {".": {}, "f:name": {}, "f:image": {}}}}
                    },
                },
            },
            "manager": "one",
            "operation": "Apply",
            "time": "2026-01-01T00:00:00Z",
        }
    ]


def test_nothing_given_is_changed_or_shared():
    config = deployment(replicas=2, template=template({"name": "c"}))
    live = do(None, config)
    before = copy.deepcopy((live, config))
    result = do(live, config, "two")
    result["spec"]["template"]["spec"]["containers"].clear()
    result["metadata"]["managedFields"].clear()
    assert (live, config) == before


def test_applying_again_changes_nothing_not_even_times():
    config = deployment({"a": "1"}, replicas=2)
    live = do(None, config)
    assert do(live, config, now="2027-01-01T00:00:00Z") == live


def test_equal_values_are_shared_without_conflict():
    live = do(None, deployment(replicas=2))
    both = do(live, deployment(replicas=2), "two")
    assert owned(both, "one") == owned(both, "two") == {".spec.replicas"}


def test_conflict_message():
    live = do(None, deployment(replicas=2))
    with pytest.raises(Conflicts) as error:
        do(live, deployment(replicas=3), "two")
    assert error.value.message == 'Apply failed with 1 conflict: conflict with "one": .spec.replicas'
    conflict = error.value.conflicts[0]
    assert (conflict.manager, conflict.field, conflict.message) == ("one", ".spec.replicas", 'conflict with "one"')


def test_conflicts_with_updaters_name_version_and_subresource():
    live = updated(None, deployment(replicas=2, paused=True), subresource="scale")
    with pytest.raises(Conflicts) as error:
        do(live, deployment(replicas=3, paused=False))
    assert error.value.message == (
        'Apply failed with 2 conflicts: conflicts with "editor" with subresource "scale" using apps/v1:\n'
        "- .spec.paused\n- .spec.replicas"
    )


def test_force_takes_the_field():
    live = do(None, deployment(replicas=2, paused=True))
    forced = do(live, deployment(replicas=3), "two", force=True)
    assert forced["spec"] == {"replicas": 3, "paused": True}
    assert owned(forced, "one") == {".spec.paused"}
    assert owned(forced, "two") == {".spec.replicas"}


def test_what_is_no_longer_applied_goes():
    config = deployment({"a": "1", "b": "2"}, replicas=2, template=template({"name": "c"}, {"name": "d"}))
    live = do(None, config)
    less = do(live, deployment({"a": "1"}, template=template({"name": "c"})))
    assert plain(less) == deployment({"a": "1"}, template=template({"name": "c"}))


def test_what_another_owns_stays():
    live = do(None, deployment({"a": "1"}, replicas=2))
    live = do(live, deployment({"a": "1"}), "two")
    less = do(live, deployment(replicas=2))
    assert less["metadata"]["labels"] == {"a": "1"}
    assert do(less, deployment(), "two")["metadata"].get("labels") is None


def test_what_an_updater_set_stays():
    live = do(None, deployment(replicas=2))
    live = updated(live, {**live, "spec": {"replicas": 5}})
    assert owned(live, "editor") == {".spec.replicas"}
    assert "one" not in entries(live)
    assert do(live, deployment())["spec"] == {"replicas": 5}


def test_fields_nobody_owns_stay():
    live = do(None, deployment(replicas=2))
    live["spec"]["paused"] = True  # as a default would
    assert do(live, deployment())["spec"] == {"paused": True}


def test_items_keep_what_others_put_into_them():
    live = do(None, deployment(template=template({"name": "c", "image": "1"}, {"name": "d", "image": "1"})))
    new = copy.deepcopy(live)
    new["spec"]["template"]["spec"]["containers"][0]["tty"] = True
    live = updated(live, new)
    less = do(live, deployment(template=template({"name": "d", "image": "1"})))
    assert less["spec"]["template"]["spec"]["containers"] == [
        {"name": "c", "tty": True},
        {"name": "d", "image": "1"},
    ] or (less["spec"]["template"]["spec"]["containers"] == [{"name": "d", "image": "1"}])


def test_ports_have_the_default_protocol_in_their_key():
    config = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}}
    options = {"type": SERVICE, "api_version": "v1", "now": "2026-01-01T00:00:00Z"}
    live = apply(None, config, manager="one", **options)
    assert next(iter(fields.paths(entries(live)["one"]["fieldsV1"]))) == '.spec.ports[port=80,protocol="TCP"]'
    live["spec"]["ports"][0]["protocol"] = "TCP"
    assert apply(live, config, manager="one", **options)["spec"]["ports"] == [{"port": 80, "protocol": "TCP"}]


def test_atomic_fields_are_taken_whole():
    live = do(None, deployment(selector={"matchLabels": {"a": "1"}}))
    with pytest.raises(Conflicts, match=r"\.spec\.selector$"):
        do(live, deployment(selector={"matchLabels": {"b": "1"}}), "two")
    forced = do(live, deployment(selector={"matchLabels": {"b": "1"}}), "two", force=True)
    assert forced["spec"]["selector"] == {"matchLabels": {"b": "1"}}


def test_sets_merge_by_value():
    live = do(None, {**deployment(), "metadata": {"name": "x", "finalizers": ["a/b"]}})
    both = do(live, {**deployment(), "metadata": {"name": "x", "finalizers": ["c/d"]}}, "two")
    assert both["metadata"]["finalizers"] == ["a/b", "c/d"]
    less = do(both, {**deployment(), "metadata": {"name": "x"}})
    assert less["metadata"]["finalizers"] == ["c/d"]
    assert owned(both, "two") == {'.metadata.finalizers[="c/d"]', ".spec"}


def test_order_of_items_follows_the_configuration():
    live = do(None, deployment(template=template({"name": "a"}, {"name": "b"})))
    live = updated(live, {**live, "spec": {"template": template({"name": "a"}, {"name": "x"}, {"name": "b"})}})
    result = do(live, deployment(template=template({"name": "b"}, {"name": "a"})))
    assert [item["name"] for item in result["spec"]["template"]["spec"]["containers"]] == ["x", "b", "a"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({**deployment(), "apiVersion": "apps/v2"}, "Incorrect version specified in apply patch."),
        (
            {**deployment(), "metadata": {"name": "x", "managedFields": [{}]}},
            "metadata.managedFields must be nil",
        ),
        (
            deployment(template=template({"name": "a"}, {"name": "a"})),
            "failed to create typed patch object (n/x; apps/v1, Kind=Deployment): "
            '.spec.template.spec.containers: duplicate entries for key [name="a"]',
        ),
        (
            deployment(template=template({"image": "a"})),
            'element 0: associative list with keys has an element that omits all key fields ["name"]',
        ),
    ],
)  # fmt: skip
def test_bad_configurations(config, message):
    with pytest.raises(ApplyError) as error:
        do(do(None, deployment(replicas=1)), config)
    assert message in str(error.value)


def test_create_is_tracked():
    obj = updated(None, {**deployment({"a": "1"}, replicas=2), "status": {}})
    assert entries(obj)["editor"]["operation"] == "Update"
    assert entries(obj)["editor"]["fieldsV1"]["f:metadata"] == {"f:labels": {".": {}, "f:a": {}}}
    assert owned(obj, "editor") == {".metadata.labels", ".metadata.labels.a", ".spec.replicas", ".status"}


def test_update_moves_only_what_changed():
    live = updated(None, deployment({"a": "1"}, replicas=2, paused=True), "creator")
    new = {**live, "spec": {"replicas": 3, "paused": True}}
    result = updated(live, new, "scaler", now="2026-03-01T00:00:00Z", subresource="scale")
    assert owned(result, "scaler") == {".spec.replicas"}
    assert entries(result)["scaler"]["subresource"] == "scale"
    assert ".spec.replicas" not in owned(result, "creator")
    assert entries(result)["creator"]["time"] == entries(live)["creator"]["time"]


def test_update_that_changes_nothing_keeps_everything():
    live = updated(None, deployment(replicas=2), "creator")
    again = updated(live, live, "other", now="2030-01-01T00:00:00Z")
    assert again == live
    assert same(again, live)


def test_removed_fields_have_no_owner():
    live = updated(None, deployment({"a": "1"}, replicas=2), "creator")
    result = updated(live, deployment({"a": "1"}))
    assert owned(result, "creator") == {".metadata.labels", ".metadata.labels.a"}
    assert "editor" not in entries(result)


def test_same_manager_gathers_its_fields():
    live = updated(None, deployment(replicas=2), "editor")
    live = updated(live, {**live, "spec": {"replicas": 2, "paused": True}}, "editor", now="2026-05-01T00:00:00Z")
    assert owned(live, "editor") == {".spec.replicas", ".spec.paused"}
    assert entries(live)["editor"]["time"] == "2026-05-01T00:00:00Z"


def test_reset_ends_tracking_until_the_next_apply():
    live = updated(None, deployment(replicas=2), "creator")
    reset = updated(live, {**live, "metadata": {"name": "x", "managedFields": [{}]}})
    assert "managedFields" not in reset["metadata"]
    assert "managedFields" not in updated(reset, {**reset, "spec": {"replicas": 3}})["metadata"]
    applied = do(reset, deployment(paused=True))
    assert owned(applied, "before-first-apply") == {".spec.replicas"}
    assert owned(applied, "one") == {".spec.paused"}


def test_clients_may_leave_managed_fields_out_or_send_them_back():
    live = updated(None, deployment(replicas=2), "creator")
    without = updated(live, plain(live))
    assert without["metadata"]["managedFields"] == live["metadata"]["managedFields"]
    bad = updated(live, {**live, "metadata": {"name": "x", "managedFields": [{"operation": "Steal"}]}})
    assert bad["metadata"]["managedFields"] == live["metadata"]["managedFields"]
    renamed = copy.deepcopy(live)
    renamed["metadata"]["managedFields"][0]["manager"] = "another"
    assert list(entries(updated(live, renamed))) == ["another"]
    assert list(entries(updated(live, renamed, subresource="status"))) == ["creator"]


def test_old_updaters_are_gathered():
    live = updated(None, deployment(replicas=1), "m0", now="2026-01-01T00:00:00Z")
    names = ("minReadySeconds", "paused", "progressDeadlineSeconds", "revisionHistoryLimit", "replicas")
    for number in range(1, 15):
        spec = {**live["spec"], names[number % 5]: number, f"label{number}": 1}
        new = {
            **live,
            "spec": spec,
            "metadata": {**live["metadata"], "labels": {f"l{n}": "1" for n in range(number + 1)}},
        }
        live = updated(live, new, f"m{number}", now=f"2026-01-{number + 1:02d}T00:00:00Z")
    found = live["metadata"]["managedFields"]
    assert len(found) == 10
    assert "ancient-changes" in entries(live)
    assert ".metadata.labels.l1" in owned(live, "ancient-changes")


def test_entries_are_sorted_as_in_kubernetes():
    live = updated(None, deployment(replicas=2), "z", now="2026-01-05T00:00:00Z")
    live = updated(live, {**live, "spec": {"replicas": 2, "paused": True}}, "a", now="2026-01-06T00:00:00Z")
    live = do(live, deployment(minReadySeconds=1), "one", now="2026-01-07T00:00:00Z")
    assert [entry["manager"] for entry in live["metadata"]["managedFields"]] == ["one", "z", "a"]


def test_same_ignores_times_but_not_values():
    live = updated(None, deployment(replicas=1), "a")
    later = copy.deepcopy(live)
    later["metadata"]["managedFields"][0]["time"] = "2040-01-01T00:00:00Z"
    later["metadata"]["resourceVersion"] = "9"
    assert same(live, later)
    assert not same(live, {**later, "spec": {"replicas": True}})
    assert not same(live, {**later, "spec": {"replicas": 2}})


def test_kubectl_upgrades_its_client_side_apply():
    config = deployment({"a": "1"}, replicas=2)
    first = copy.deepcopy(config)
    first["metadata"]["annotations"] = {LAST_APPLIED: json.dumps(config)}
    live = updated(None, first, "kubectl-client-side-apply")
    changed = deployment({"a": "1"}, replicas=3)
    with pytest.raises(Conflicts):
        do(live, changed, "someone")
    result = do(live, changed, "kubectl")
    assert result["spec"] == {"replicas": 3}
    assert ".spec.replicas" not in owned(result, "kubectl-client-side-apply")
    assert orjson.loads(result["metadata"]["annotations"][LAST_APPLIED]) == changed


def test_version_of_an_applier_may_change():
    live = do(None, deployment(replicas=2))
    live["metadata"]["managedFields"][0]["apiVersion"] = "apps/v1beta1"
    result = do(live, deployment(replicas=2), now="2026-02-01T00:00:00Z")
    assert [entry["apiVersion"] for entry in result["metadata"]["managedFields"]] == ["apps/v1"]


def test_free_content_without_a_type():
    options = {"type": None, "api_version": "v1", "now": "2026-01-01T00:00:00Z"}
    config = {"apiVersion": "v1", "kind": "K", "metadata": {"name": "x"}, "spec": {"m": {"a": 1}, "l": [1]}}
    live = apply(None, config, manager="one", **options)
    both = apply(live, {**config, "spec": {"m": {"b": 2}}}, manager="two", **options)
    assert both["spec"] == {"m": {"a": 1, "b": 2}, "l": [1]}
    with pytest.raises(Conflicts, match=r"\.spec\.l$"):
        apply(live, {**config, "spec": {"l": [2]}}, manager="two", **options)
