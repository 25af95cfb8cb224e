"""No input may give a 500: wild bodies, paths, queries and headers, made by hypothesis, sent over real HTTPS."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import Kubectl

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ["metadata", "spec", "status", "data", "name", "labels", "annotations", "ownerReferences", "finalizers"]
FIELDS += ["containers", "selector", "template", "ports", "replicas", "image", "env", "volumes", "matchLabels", "rules"]
shaped = st.recursive(
    json_values,
    lambda inner: st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=20,
)
RESOURCES = {
    "/api/v1/namespaces/default/configmaps": ("v1", "ConfigMap"),
    "/api/v1/namespaces/default/pods": ("v1", "Pod"),
    "/api/v1/namespaces/default/services": ("v1", "Service"),
    "/api/v1/namespaces": ("v1", "Namespace"),
    "/apis/apps/v1/namespaces/default/deployments": ("apps/v1", "Deployment"),
    "/apis/batch/v1/namespaces/default/jobs": ("batch/v1", "Job"),
    "/apis/rbac.authorization.k8s.io/v1/clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions": (
        "apiextensions.k8s.io/v1",
        "CustomResourceDefinition",
    ),
    "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": (
        "authorization.k8s.io/v1",
        "SelfSubjectAccessReview",
    ),
}
PATCHES = ["json-patch+json", "merge-patch+json", "strategic-merge-patch+json", "apply-patch+yaml"]
QUERIES = ["limit", "continue", "resourceVersion", "resourceVersionMatch", "labelSelector", "fieldSelector"]
QUERIES += ["fieldValidation", "dryRun", "propagationPolicy", "gracePeriodSeconds", "fieldManager", "pretty"]
quick = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


class Caller:
    """Sends one request on a kept connection; returns the code, after checking that a refusal is a Status."""

    def __init__(self, server: str, token: str) -> None:
        self.host = urlsplit(server).netloc
        self.headers = {"Authorization": f"Bearer {token}"}
        self.connection = self.connect()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self.host, context=ssl._create_unverified_context(), timeout=60)

    def __call__(self, method: str, path: str, body: bytes = b"", content_type: str = "application/json") -> int:
        headers = {**self.headers, "Content-Type": content_type, "Accept": "application/json"}
        try:
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        except (http.client.HTTPException, ConnectionError):
            self.connection.close()
            self.connection = self.connect()
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
        text = answer.read()
        assert answer.status < 500, f"{method} {path} {body!r}: {answer.status} {text!r}"
        if answer.status >= 400:
            status = json.loads(text)
            assert status["kind"] == "Status" and status["code"] == answer.status and status["message"], text
        return answer.status


@pytest.fixture(scope="module")
def call(kubectl: Kubectl) -> Iterator[Caller]:
    kubectl("create", "serviceaccount", "fuzz")
    kubectl("create", "clusterrolebinding", "fuzz", "--clusterrole=cluster-admin", "--serviceaccount=default:fuzz")
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    caller = Caller(server, kubectl("create", "token", "fuzz").strip())
    yield caller
    caller.connection.close()
    kubectl("delete", "clusterrolebinding/fuzz", "serviceaccount/fuzz")


@quick
@given(path=st.sampled_from(sorted(RESOURCES)), body=st.binary(max_size=200))
def test_any_bytes_as_body(call: Caller, path: str, body: bytes) -> None:
    assert call("POST", f"{path}?dryRun=All", body) >= 400


@quick
@given(path=st.sampled_from(sorted(RESOURCES)), parts=st.dictionaries(st.sampled_from(FIELDS), shaped, max_size=6))
def test_any_object_is_created_or_refused(call: Caller, path: str, parts: dict[str, object]) -> None:
    api_version, kind = RESOURCES[path]
    body = {"apiVersion": api_version, "kind": kind, "metadata": {"generateName": "fuzz-"}, **parts}
    call("POST", f"{path}?dryRun=All", json.dumps(body).encode())


@quick
@given(
    path=st.sampled_from(sorted(RESOURCES)), content=st.sampled_from(PATCHES), patch=shaped, name=st.just("kubernetes")
)
def test_any_patch(call: Caller, path: str, content: str, patch: object, name: str) -> None:
    target = f"{path}/{name}?dryRun=All&fieldManager=fuzz"
    call("PATCH", target, json.dumps(patch).encode(), f"application/{content}")


@quick
@given(
    path=st.sampled_from(sorted(RESOURCES)),
    query=st.dictionaries(st.sampled_from(QUERIES), st.text(max_size=20), max_size=3),
)
def test_any_query(call: Caller, path: str, query: dict[str, str]) -> None:
    text = "&".join(f"{key}={quote(value, safe='')}" for key, value in query.items())
    call("GET", f"{path}?{text}")


@quick
@given(parts=st.lists(st.text(min_size=1, max_size=10), max_size=7), method=st.sampled_from(["GET", "PUT", "DELETE"]))
def test_any_path(call: Caller, parts: list[str], method: str) -> None:
    call(method, "/apis/fuzz/" + "/".join(quote(part, safe="") for part in parts) + "?dryRun=All")


def test_yaml_that_is_not_yaml(call: Caller) -> None:
    path = "/api/v1/namespaces/default/configmaps"
    assert call("POST", path, b"{: [", "application/yaml") == 400


def test_a_body_over_the_limit(call: Caller) -> None:
    body = json.dumps(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "x" * (4 << 20)}}
    )
    assert call("POST", "/api/v1/namespaces/default/configmaps", body.encode()) == 413
