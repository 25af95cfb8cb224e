"""Built-in types: what the decoder keeps, normalises and complains about."""

import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.types import VERSIONS, UnknownVersion, cannot_handle, strict_error, type_system


def deployment(**spec: object) -> dict:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "x"}, "spec": spec}


@pytest.fixture(scope="module")
def types():
    return type_system("1.37")


def test_every_version_loads_and_knows_pods():
    for version in VERSIONS:
        system = type_system(version)
        assert ("", "v1", "Pod") in set(system.kinds())
        assert system.definition_name("apps", "v1", "Deployment") == "io.k8s.api.apps.v1.Deployment"


def test_version_forms_are_one_system():
    assert type_system("v1.30.2") is type_system("1.30")


@pytest.mark.parametrize("version", ["1.24", "1.38", "", "latest", "1"])
def test_unknown_version_lists_the_known(version):
    with pytest.raises(UnknownVersion, match=r"1\.25, .*1\.37"):
        type_system(version)


def test_every_type_compiles(types):
    for kind in types.kinds():
        type = types.type_for(*kind)
        assert type is not None
        assert type.check({}).error == ""


def test_unknown_kind_is_none(types):
    assert types.type_for("apps", "v1", "Pod") is None


def test_clean_object_passes_unchanged(types):
    body = deployment(replicas=2, selector={"matchLabels": {"a": "b"}}, template={})
    checked = types.type_for("apps", "v1", "Deployment").check(body)
    assert checked.object is body
    assert (checked.unknown, checked.error) == ([], "")


def test_unknown_fields_are_named_and_pruned(types):
    body = deployment(foo=1, template={"spec": {"containers": [{"name": "a", "imagee": "x"}]}})
    checked = types.type_for("apps", "v1", "Deployment").check(body)
    assert checked.unknown == ['unknown field "spec.foo"', 'unknown field "spec.template.spec.containers[0].imagee"']
    assert checked.object["spec"] == {"template": {"spec": {"containers": [{"name": "a"}]}}}


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            {"replicas": "3"},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"replicas": 3.5},
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"replicas": 2**31},
            "json: cannot unmarshal number 2147483648 into Go struct field DeploymentSpec.spec.replicas of type int32",
        ),
        (
            {"paused": "yes"},
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
        (
            {"template": []},
            "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec",
        ),
        (
            {"template": {"spec": {"containers": "x"}}},
            "json: cannot unmarshal string into Go struct field PodSpec.spec.template.spec.containers "
            "of type []v1.Container",
        ),
        (
            {"template": {"spec": {"containers": [{"resources": {"limits": {"cpu": "one"}}}]}}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
    ],
)
def test_wrong_types_as_the_decoder_words_them(types, spec, error):
    assert types.type_for("apps", "v1", "Deployment").check(deployment(**spec)).error == error


def test_messages_around_an_error():
    assert cannot_handle("Deployment", "v1", "json: x") == (
        'Deployment in version "v1" cannot be handled as a Deployment: json: x'
    )
    lines = [f'line {line}: key "b" already set in map' for line in (2, 5)]
    assert strict_error([*lines, 'unknown field "a"']) == (
        'strict decoding error: yaml: unmarshal errors:\n  line 2: key "b" already set in map\n'
        '  line 5: key "b" already set in map, unknown field "a"'
    )
    assert strict_error(['unknown field "a"', 'duplicate field "b"']) == (
        'strict decoding error: unknown field "a", duplicate field "b"'
    )


def test_nulls_and_empty_optional_lists_go(types):
    pod = {"metadata": {"creationTimestamp": None, "labels": {}}, "spec": {"containers": [], "volumes": []}}
    checked = types.type_for("", "v1", "Pod").check(pod)
    assert checked.object == {"metadata": {}, "spec": {"containers": []}}


def test_empty_structs_stay(types):
    pod = {"spec": {"containers": [], "volumes": [{"name": "v", "emptyDir": {}}]}}
    assert types.type_for("", "v1", "Pod").check(pod).object["spec"]["volumes"] == [{"name": "v", "emptyDir": {}}]


def test_nulls_in_maps_become_zero_values(types):
    checked = types.type_for("", "v1", "ConfigMap").check({"data": {"a": None, "b": "c"}})
    assert checked.object["data"] == {"a": "", "b": "c"}
    assert checked.error == ""


def test_values_are_written_as_kubernetes_writes_them(types):
    container = {"name": "a", "resources": {"requests": {"cpu": "1000m", "memory": "0.5Gi", "x": 2}}}
    pod = {"metadata": {"deletionTimestamp": "2026-01-02T03:04:05.6+01:00"}, "spec": {"containers": [container]}}
    checked = types.type_for("", "v1", "Pod").check(pod)
    assert container["resources"]["requests"] == {"cpu": "1", "memory": "512Mi", "x": "2"}
    assert checked.object["metadata"]["deletionTimestamp"] == "2026-01-02T02:04:05Z"


def test_micro_time_keeps_microseconds(types):
    lease = {"spec": {"renewTime": "2026-01-02T03:04:05.123456Z"}}
    assert types.type_for("coordination.k8s.io", "v1", "Lease").check(lease).object["spec"] == {
        "renewTime": "2026-01-02T03:04:05.123456Z"
    }


@pytest.mark.parametrize(
    ("time", "error"),
    [
        ("x", 'parsing time "x" as "2006-01-02T15:04:05Z07:00": cannot parse "x" as "2006"'),
        ("2026-01-02", 'parsing time "2026-01-02" as "2006-01-02T15:04:05Z07:00": cannot parse "" as "T"'),
        ("2026-02-30T00:00:00Z", 'parsing time "2026-02-30T00:00:00Z": day out of range'),
        ("2026-01-02T03:04:05Zx", 'parsing time "2026-01-02T03:04:05Zx": extra text: "x"'),
    ],
)
def test_bad_times(types, time, error):
    assert types.type_for("", "v1", "Pod").check({"metadata": {"deletionTimestamp": time}}).error == error


def test_secret_data_is_base64(types):
    secret = types.type_for("", "v1", "Secret")
    assert secret.check({"data": {"a": "aGk="}}).error == ""
    assert secret.check({"data": {"a": "aGk=\n"}}).object["data"] == {"a": "aGk="}
    assert secret.check({"data": {"a": "a*b="}}).error == "illegal base64 data at input byte 1"


def test_int_or_string(types):
    service = types.type_for("", "v1", "Service")
    assert service.check({"spec": {"ports": [{"port": 1, "targetPort": "http"}, {"targetPort": 8}]}}).error == ""
    assert "of type int32" in service.check({"spec": {"ports": [{"targetPort": True}]}}).error


def test_free_content_is_left_alone(types):
    revision = {"data": {"anything": [None, {"x": None}]}, "revision": 1}
    assert types.type_for("apps", "v1", "ControllerRevision").check(revision).object == revision


def test_recursive_types(types):
    crd = types.type_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    schema = {"type": "object", "properties": {"a": {"type": "object", "properties": {"b": {"bad": 1}}}}}
    checked = crd.check({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}})
    where = "spec.versions[0].schema.openAPIV3Schema.properties.a.properties.b.bad"
    assert checked.unknown == [f'unknown field "{where}"']


def test_required_missing(types):
    causes = types.type_for("", "v1", "Pod").required_missing({"spec": {"containers": [{}, {"name": "x"}]}})
    assert [(cause.field, cause.message) for cause in causes] == [("spec.containers[0].name", "Required value")]


def test_patch_and_apply_facts(types):
    spec = types.type_for("", "v1", "Pod").fields["spec"]
    containers = spec.fields["containers"]
    assert (containers.merge_key, containers.strategies, containers.list_type) == ("name", ("merge",), "map")
    ports = containers.element.fields["ports"]
    assert ports.map_keys == ("containerPort", "protocol")
    assert ports.key_defaults == {"protocol": "TCP"}
    assert spec.fields["nodeSelector"].atomic
    assert spec.fields["volumes"].strategies == ("merge", "retainKeys")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(allow_nan=False) | st.sampled_from(["", "a", "5"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["metadata", "labels", "spec", "containers", "name", "ports", "containerPort", "resources", "limits",
                         "cpu", "data", "replicas", "template", "x", "livenessProbe", "httpGet", "creationTimestamp"]),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(json_values, st.sampled_from([("", "v1", "Pod"), ("apps", "v1", "Deployment"), ("", "v1", "Secret")]))
def test_any_value_is_checked_and_checking_again_finds_nothing(value, kind):
    type = type_system("1.37").type_for(*kind)
    first = type.check(copy.deepcopy(value))
    assert isinstance(first.object, dict)
    if not first.error:
        second = type.check(copy.deepcopy(first.object))
        assert second == (first.object, [], "")
    type.required_missing(first.object)


def test_schemas_inside_of_schemas(types):
    crd = types.type_for("apiextensions.k8s.io", "v1", "CustomResourceDefinition")

    def check(schema: dict) -> tuple:
        return crd.check({"spec": {"versions": [{"schema": {"openAPIV3Schema": schema}}]}})[1:]

    assert check({"additionalProperties": True, "items": {"type": "string"}}) == ([], "")
    assert check({"items": {"bad": 1}})[0] == ['unknown field "spec.versions[0].schema.openAPIV3Schema.items.bad"']
    assert "of type v1.JSONSchemaProps" in check({"additionalProperties": {"properties": {"a": 1}}})[1]
    assert "cannot unmarshal bool" in check({"items": True})[1]
