"""Bodies: JSON and YAML in, JSON values out; duplicate fields; no input raises anything but DecodeError."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.schema.canonical import dumps
from sampan.schema.decode import MAX_DEPTH, DecodeError, decode
from sampan.store.protocol import with_resource_version

YAML = "application/yaml"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def yaml_of(text: str):
    return decode(text.encode(), YAML).object


@given(st.binary(max_size=200), st.sampled_from(["application/json", YAML]))
def test_any_bytes_decode_or_raise_decode_error(data, content_type):
    try:
        decoded = decode(data, content_type, duplicates=True)
    except DecodeError as error:
        assert error.message
    else:
        orjson.dumps(decoded.object)


@given(st.text(alphabet="{}[]:,\"\\- \n&*!|>?%@`#'abc123.~<eE+_", max_size=60))
def test_yaml_like_text_decodes_or_raises_decode_error(text):
    try:
        decoded = decode(text.encode(), YAML, duplicates=True)
    except DecodeError:
        return
    orjson.dumps(decoded.object)


@given(json_values)
def test_json_comes_back_as_it_was(value):
    data = orjson.dumps(value)
    decoded = decode(data, duplicates=True)
    assert decoded.object == orjson.loads(data)
    assert decoded.duplicates == []


@given(json_values, st.sampled_from([None, 1, 2, "\t"]))
def test_spacing_never_makes_a_duplicate(value, indent):
    data = json.dumps(value, indent=indent, separators=(" , ", " : ")).encode()
    assert decode(data, duplicates=True).duplicates == []


@given(st.dictionaries(st.text(max_size=5), json_values, min_size=1, max_size=3), st.data())
def test_a_repeated_field_is_always_found(value, data):
    key = data.draw(st.sampled_from(sorted(value)))
    inner = json.dumps(value)[1:-1]
    body = f"{{{inner},{json.dumps(key)}:{json.dumps(data.draw(json_values))}}}".encode()
    assert f'duplicate field "{key}"' in decode(body, duplicates=True).duplicates


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"spec":{"x":1,"x":2}}', ['duplicate field "spec.x"']),
        (b'{"a":[{"b":1},{"b":1,"b":2}]}', ['duplicate field "a[1].b"']),
        (b'{"a":1,"\\u0061":2}', ['duplicate field "a"']),
        (b'{"a" :1,"a": 2}', ['duplicate field "a"']),
        (b'{"a":"\\":","a":"\\":"}', ['duplicate field "a"']),
        (b'{"a":{"b":1},"c":{"b":1}}', []),
    ],
)
def test_duplicates(body, found):
    assert decode(body, duplicates=True).duplicates == found
    assert decode(body).duplicates == []


def test_the_last_of_duplicates_wins():
    assert decode(b'{"a":1,"a":2}').object == {"a": 2}
    assert yaml_of("a: 1\na: 2\n") == {"a": 2}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"{", "couldn't get version/kind; json parse error: unexpected end of JSON input"),
        (b"", "unexpected end of JSON input"),
        (b'{"a"}', "invalid character '}'"),
        (b"[1,]", "json parse error"),
        (b"\xff", "json parse error"),
        (b"NaN", "invalid character 'N'"),
    ],
)
def test_malformed_json(body, text):
    with pytest.raises(DecodeError) as error:
        decode(body)
    assert text in error.value.message


@pytest.mark.parametrize("content_type", ["application/json", YAML])
def test_depth_is_bounded(content_type):
    decode(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, content_type)
    for depth in (MAX_DEPTH + 1, 100_000):
        with pytest.raises(DecodeError):
            decode(b"[" * depth + b"]" * depth, content_type)


def test_many_braces_without_depth_are_fine():
    decode(orjson.dumps([{}] * 5000))
    decode(orjson.dumps("{" * 5000))


def test_yaml_scalars_as_in_go():
    text = """
    port: 80:80
    date: 2001-01-01
    on: yes
    mode: 0777
    hex: 0x10
    one: 1.0
    half: .5
    big: 1e3
    null: ~
    text: "1"
    tagged: !!str 5
    plain: 1.2.3
    """
    assert yaml_of("\n".join(line[4:] for line in text.splitlines())) == {
        "port": "80:80", "date": "2001-01-01", "true": True, "mode": 511, "hex": 16, "one": 1, "half": 0.5, "big": 1000,
        "null": None, "text": "1", "tagged": "5", "plain": "1.2.3",
    }  # fmt: skip


def test_yaml_anchors_and_merge_keys():
    assert yaml_of("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: *x\n") == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 3},
        "c": {"p": 1, "q": 2},
    }


def test_yaml_bombs_are_refused():
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(DecodeError, match="excessive aliasing"):
        yaml_of("\n".join(lines))


@pytest.mark.parametrize("text", ["a: *x", "a: [", "\tx: 1", ".nan", "a: .inf", "? [a]\n: b", "a: {<<: 1}"])
def test_yaml_that_is_refused(text):
    with pytest.raises(DecodeError, match="error converting YAML to JSON: yaml: "):
        yaml_of(text)


def test_yaml_duplicates():
    assert decode(b"a:\n  b: 1\n  b: 2\n", YAML, duplicates=True).duplicates == ['line 3: key "b" already set in map']
    assert decode(b'{"a": 1,\n"a": 2}', YAML, duplicates=True).duplicates == ['line 2: key "a" already set in map']
    assert decode(b"a:\n- 1: x\n  1: y\n", YAML, duplicates=True).duplicates == ["line 3: key 1 already set in map"]


def test_json_under_a_yaml_type():
    assert decode(b'{"a": {"b": [1]}}', YAML).object == {"a": {"b": [1]}}
    assert decode(b"{a: 1}", YAML).object == {"a": 1}


def test_canonical_bytes_begin_with_the_head():
    obj = {"spec": {"metadata": {}}, "metadata": {"resourceVersion": "5", "name": "x"}, "kind": "K", "apiVersion": "v1"}
    assert dumps(obj) == b'{"apiVersion":"v1","kind":"K","metadata":{"name":"x"},"spec":{"metadata":{}}}'
    assert obj["metadata"]["resourceVersion"] == "5"


@given(st.dictionaries(st.text(max_size=5), json_values, max_size=4), st.text(max_size=20))
def test_the_store_can_splice_a_resource_version(extra, kind):
    obj = {
        **extra,
        "apiVersion": '"metadata":{',
        "kind": kind,
        "metadata": {"name": "x", "annotations": {"a": '"metadata":{'}},
    }
    served = orjson.loads(with_resource_version(dumps(obj), 7))
    assert served["metadata"].pop("resourceVersion") == "7"
    assert served == obj
