"""Whatever comes in gets a Status, never a 500: wild bodies, queries, paths and headers against the app itself."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

spec = importlib.util.spec_from_file_location("api_fuzz_conftest", Path(__file__).parent / "conftest.py")
assert spec and spec.loader
conftest = importlib.util.module_from_spec(spec)
sys.modules["api_fuzz_conftest"] = conftest
spec.loader.exec_module(conftest)

FIELDS = [
    *("apiVersion", "kind", "metadata", "spec", "status", "data", "name", "generateName", "namespace", "labels"),
    *("finalizers", "ownerReferences", "annotations", "uid", "resourceVersion", "managedFields", "deletionTimestamp"),
    *("containers", "selector", "template", "replicas", "preconditions", "gracePeriodSeconds", "propagationPolicy"),
]
WORDS = ["v1", "apps/v1", "ConfigMap", "Pod", "Deployment", "a", "-1", "0", "9" * 30, "\x00", "é", "kubernetes", "true"]
scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.sampled_from(WORDS) | st.text()
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS) | st.text(), inner, max_size=5),
    max_leaves=12,
)
PATHS = [
    "/api/v1/namespaces/default/configmaps",
    "/api/v1/namespaces/default/configmaps/a",
    "/api/v1/namespaces/default/pods/a",
    "/api/v1/namespaces/default/pods/a/status",
    "/api/v1/namespaces/a",
    "/api/v1/namespaces/default/pods",
    "/apis/apps/v1/namespaces/default/deployments",
    "/apis/apps/v1/namespaces/default/deployments/a",
    "/apis/apps/v1/namespaces/default/deployments/a/scale",
    "/apis/apps/v1/namespaces/default/deployments/a/status",
]
PARAMETERS = [
    *("limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector", "dryRun"),
    *("fieldManager", "fieldValidation", "force", "propagationPolicy", "gracePeriodSeconds", "orphanDependents"),
    *("pretty", "includeObject", "sendInitialEvents", "timeoutSeconds"),
]
MEDIA = [
    *("application/json", "application/yaml", "application/json-patch+json", "application/merge-patch+json"),
    *("application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain", ""),
    "application/vnd.kubernetes.protobuf",
]
ACCEPTS = ["", "*/*", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io", "x/y", ";;q=a,"]
GOOD: list[Any] = [
    {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}},
    {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c"}]}},
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}},
    {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "a"},
        "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c"}]}},
        },
    },
]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """Wild values, wild bytes, and good objects with one part made wild."""
    if draw(st.integers(0, 5)) == 0:
        return draw(st.binary(max_size=60))
    if draw(st.booleans()):
        return dumps(draw(values))
    body: Any = orjson.loads(orjson.dumps(draw(st.sampled_from(GOOD))))
    at = body
    for _ in range(draw(st.integers(0, 3))):
        below = [value for value in at.values() if isinstance(value, dict)] if isinstance(at, dict) else []
        at = draw(st.sampled_from(below)) if below else at
    at[draw(st.sampled_from(FIELDS))] = draw(values)
    return dumps(body)


def dumps(value: Any) -> bytes:
    try:
        return orjson.dumps(value)
    except TypeError:
        return repr(value).encode("utf-8", "replace")


operations = st.lists(
    st.fixed_dictionaries(
        {"op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x"])},
        optional={
            "path": st.sampled_from(["", "/", "/metadata", "/metadata/name", "/spec/replicas", "/data/-", "/a/b", "x"]),
            "from": st.sampled_from(["/metadata", "/spec", "/nowhere"]),
            "value": values,
        },
    ),
    max_size=4,
).map(dumps)


@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"]),
    path=st.sampled_from(PATHS) | st.text(max_size=30).map(lambda text: "/" + text),
    body=bodies() | operations,
    query=st.dictionaries(st.sampled_from(PARAMETERS), st.sampled_from(WORDS) | st.text(max_size=12), max_size=3),
    media=st.sampled_from(MEDIA),
    accept=st.sampled_from(ACCEPTS),
    prepared=st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_no_input_gives_a_500(
    method: str, path: str, body: bytes, query: dict[str, str], media: str, accept: str, prepared: bool
) -> None:
    async def send() -> None:
        http = conftest.Asgi(conftest.make_api())
        if prepared:
            for where, good in zip((PATHS[0], PATHS[5], "/api/v1/namespaces", PATHS[6]), GOOD, strict=True):
                assert (await http("POST", where, good)).status == 201
        text = "&".join(f"{name}={quote(value, errors='replace')}" for name, value in query.items())
        headers = {"content-type": media, "accept": accept}
        answer = await http(method, path.replace("?", ""), body, query=text, headers=headers)
        assert answer.status < 500 or answer.status == 504, answer.body
        if answer.status >= 400 and answer.headers["content-type"] == "application/json" and method != "HEAD":
            status = answer.json
            assert status["kind"] == "Status" and status["code"] == answer.status and status["message"]

    asyncio.run(send())
