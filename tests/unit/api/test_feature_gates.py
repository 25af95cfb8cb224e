"""Feature gates: known by version, refused where they cannot be honoured, and what those do that can."""

from __future__ import annotations

import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sampan.api import flags
from sampan.api.feature_gates import HONOURED, FeatureGates, known
from sampan.api.flags import FlagError

from .conftest import Asgi, Caller, HeaderAuthenticator

Open = Callable[..., Awaitable[Caller]]


async def opened(open_whole: Open, *gates: str, version: str = "1.37", **more: Any) -> Asgi:
    given = flags.parse({"feature-gates": list(gates), **more})
    caller = await open_whole(kubernetes_version=version, flags=given)
    caller.api.authenticator = HeaderAuthenticator()
    return Asgi(caller.api)


def test_every_version_has_its_gates() -> None:
    assert not FeatureGates("1.31").enabled("WatchList") and FeatureGates("1.32").enabled("WatchList")
    assert not FeatureGates("1.33").enabled("WatchList") and FeatureGates("1.34").enabled("WatchList")
    assert "WatchList" not in known(26) and known(27)["WatchList"].stage == "ALPHA"
    assert known(31)["ValidatingAdmissionPolicy"].locked and "ValidatingAdmissionPolicy" not in known(32)
    assert FeatureGates("1.37").past("ValidatingAdmissionPolicy")
    assert not FeatureGates("1.29").past("ValidatingAdmissionPolicy") and not FeatureGates("1.25").past("WatchList")
    for name in HONOURED:
        assert any(name in known(version) for version in range(25, 38)), name


@pytest.mark.parametrize(
    ("version", "gate", "why"),
    [
        ("1.37", "Nonsense=true", "unrecognized feature gate: Nonsense"),
        ("1.26", "WatchList=true", "unrecognized feature gate: WatchList"),
        ("1.37", "WatchList", "missing bool value for WatchList"),
        ("1.37", "WatchList=maybe", 'invalid value of WatchList: maybe, err: strconv.ParseBool: parsing "maybe"'),
        (
            "1.31",
            "ValidatingAdmissionPolicy=false",
            "cannot set feature gate ValidatingAdmissionPolicy to false, feature is",
        ),
        ("1.37", "StorageVersionAPI=true", "there is nothing here that it switches"),
    ],
)
def test_gates_that_are_refused(version: str, gate: str, why: str) -> None:
    with pytest.raises(FlagError) as refused:
        FeatureGates(version, [gate])
    assert why in str(refused.value)


def test_what_is_so_anyway_may_be_said() -> None:
    assert not FeatureGates("1.37", ["StorageVersionAPI=false"]).enabled("StorageVersionAPI")


async def test_without_watch_list(open_whole: Open) -> None:
    http = await opened(open_whole, "WatchList=false")
    answer = await http("GET", "/api/v1/pods?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan")
    assert answer.status == 422
    assert "unless the WatchList feature gate is enabled" in answer.json["message"]


async def test_without_cbor(open_whole: Open) -> None:
    http = await opened(open_whole, "CBORServingAndStorage=false")
    accept = {"accept": "application/cbor"}
    assert (await http("GET", "/api/v1/namespaces/default", headers=accept)).status == 406
    answer = await http("GET", "/api/v1/namespaces/default", headers={"accept": "application/cbor,application/json"})
    assert answer.status == 200 and answer.json["kind"] == "Namespace"
    answer = await http("POST", "/api/v1/namespaces", b"\xa0", headers={"content-type": "application/cbor"})
    assert answer.status == 415


async def test_without_compression_and_hashes(open_whole: Open) -> None:
    http = await opened(open_whole, "APIResponseCompression=false", "StorageVersionHash=false")
    for name in "abcd":
        body = {"metadata": {"name": name}, "data": {"x": "y" * 100_000}}
        assert (await http("POST", "/api/v1/namespaces/default/configmaps", body)).status == 201
    accept = {"accept-encoding": "gzip"}
    path = "/api/v1/namespaces/default/configmaps"
    assert "content-encoding" not in (await http("GET", path, headers=accept)).headers
    assert b"storageVersionHash" not in (await http("GET", "/api/v1")).body
    usual = await opened(open_whole)
    for name in "abcd":
        body = {"metadata": {"name": name}, "data": {"x": "y" * 100_000}}
        await usual("POST", path, body)
    answer = await usual("GET", path, headers=accept)
    assert answer.headers["content-encoding"] == "gzip" and b"ConfigMapList" in gzip.decompress(answer.body)
    assert b"storageVersionHash" in (await usual("GET", "/api/v1")).body


POLICY = {
    "metadata": {"name": "marks"},
    "spec": {
        "matchConstraints": {
            "resourceRules": [
                {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
            ]
        },
        "reinvocationPolicy": "Never",
        "mutations": [
            {
                "patchType": "ApplyConfiguration",
                "applyConfiguration": {"expression": "Object{metadata: Object.metadata{labels: {'marked': 'yes'}}}"},
            }
        ],
    },
}


@pytest.mark.parametrize(
    ("version", "gate", "on"), [("1.34", "true", True), ("1.34", "false", False), ("1.37", "", True)]
)
async def test_mutating_policies_need_their_gate(open_whole: Open, version: str, gate: str, on: bool) -> None:
    group = "admissionregistration.k8s.io/v1beta1"
    gates = [f"MutatingAdmissionPolicy={gate}"] if gate else []
    http = await opened(open_whole, *gates, version=version, **{"runtime-config": f"{group}=true"})
    path = f"/apis/{group}/mutatingadmissionpolicies"
    assert (await http("POST", path, POLICY)).status == 201
    binding = {"metadata": {"name": "marks"}, "spec": {"policyName": "marks"}}
    assert (await http("POST", f"{path[:-3]}ybindings", binding)).status == 201
    answer = await http("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    assert answer.json["metadata"].get("labels") == ({"marked": "yes"} if on else None)


async def test_configuration_files_need_their_gates(open_whole: Open) -> None:
    for flag, gate in (
        ("authorization-config", "StructuredAuthorizationConfiguration"),
        ("authentication-config", "StructuredAuthenticationConfiguration"),
    ):
        with pytest.raises(FlagError, match=gate):
            await opened(open_whole, f"{gate}=false", version="1.31", **{flag: "/not/read"})


async def test_gates_and_pages_are_shown(open_whole: Open) -> None:
    http = await opened(open_whole, "StorageVersionHash=false", version="1.36")
    text = (await http("GET", "/metrics")).body.decode()
    assert 'kubernetes_feature_enabled{name="StorageVersionHash",stage="BETA"} 0' in text
    assert 'kubernetes_feature_enabled{name="CustomResourceFieldSelectors",stage=""} 1' in text
    status = (await http("GET", "/statusz")).body.decode()
    assert status.startswith("\napiserver statusz\nWarning: ") and "\nEmulation version: 1.36\n" in status
    shown = (await http("GET", "/flagz")).body.decode()
    assert "\nfeature-gates=[StorageVersionHash=false]\n" in shown and "\nmax-requests-inflight=133\n" in shown
    asked = "application/json;v=v1beta1;g=config.k8s.io;as=Flagz"
    answer = await http("GET", "/flagz", headers={"accept": asked})
    assert answer.json["kind"] == "Flagz" and answer.json["flags"]["anonymous-auth"] == "true"
    assert (await http("GET", "/statusz", headers={"accept": "application/json"})).status == 406
    older = await opened(open_whole, version="1.35")
    assert (await older("GET", "/statusz")).status == 404
    asked_for = await opened(open_whole, "ComponentStatusz=true", version="1.35")
    assert (await asked_for("GET", "/statusz")).status == 200


@pytest.mark.parametrize("on", [False, True])
async def test_streams_of_logs_need_their_gate(open_whole: Open, on: bool) -> None:
    http = await opened(open_whole, f"PodLogsQuerySplitStreams={str(on).lower()}")
    pods = "/api/v1/namespaces/default/pods"
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})
    await http("POST", pods, {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
    wrong = {"stream=Both": 'stream: Unsupported value: "Both"', "stream=Stderr&tailLines=1": "mutually exclusive"}
    for query, why in wrong.items():
        answer = await http("GET", f"{pods}/p/log?{query}")
        assert (answer.status == 422 and why in answer.json["message"]) is on, answer.body
