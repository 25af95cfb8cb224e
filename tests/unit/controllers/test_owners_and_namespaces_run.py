"""Garbage collection, namespaces, ServiceAccounts and token Secrets on the real in-process API."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DEPLOYMENTS,
    NAMESPACES,
    PODS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
)
from sampan.controllers.claiming import set_owners
from sampan.schema.objects import Object

ADMISSION = "admissionregistration.k8s.io"
BOATS = ResourceType("example.org", "v1", "boats", "Boat")


def config_map(name: str, *owners: Object, namespace: str = "default", **metadata: Any) -> Object:
    references = [
        {
            "apiVersion": owner["apiVersion"],
            "kind": owner["kind"],
            "name": owner["metadata"]["name"],
            "uid": owner["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        for owner in owners
    ]
    metadata = {"name": name, "namespace": namespace, "ownerReferences": references, **metadata}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def boats_definition() -> Object:
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "boats.example.org"},
        "spec": {
            "group": "example.org",
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


async def served(cluster: Any) -> None:
    def established(crd: Object) -> bool:
        conditions = crd.get("status", {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    await cluster.client.create(CUSTOM_RESOURCE_DEFINITIONS, boats_definition())
    await cluster.until(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.org", established, None)


def boat(name: str) -> Object:
    return {"apiVersion": "example.org/v1", "kind": "Boat", "metadata": {"name": name, "namespace": "default"}}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_deployment_goes_with_everything_of_it(cluster: Any, policy: str) -> None:
    await cluster.deploy("web", 3)
    await cluster.rolled_out("web")
    await cluster.client.delete(DEPLOYMENTS, "web", "default", propagation_policy=policy)
    await cluster.gone(DEPLOYMENTS, "web")
    if policy == "Foreground":
        assert not (await cluster.client.list(PODS, "default")).items
    await cluster.until_all(REPLICA_SETS, lambda sets: not sets)
    await cluster.until_all(PODS, lambda pods: not pods)


async def test_one_of_two_owners_is_enough(cluster: Any) -> None:
    first = await cluster.client.create(CONFIG_MAPS, config_map("first"))
    second = await cluster.client.create(CONFIG_MAPS, config_map("second"))
    await cluster.client.create(CONFIG_MAPS, config_map("both", first, second))
    await cluster.client.delete(CONFIG_MAPS, "first", "default", propagation_policy="Foreground")
    kept = await cluster.until(CONFIG_MAPS, "both", lambda obj: len(obj["metadata"]["ownerReferences"]) == 1)
    assert kept["metadata"]["ownerReferences"][0]["name"] == "second"
    await cluster.gone(CONFIG_MAPS, "first")
    await cluster.client.delete(CONFIG_MAPS, "second", "default")
    await cluster.gone(CONFIG_MAPS, "both")


async def test_foreground_waits_for_a_dependent_that_is_held(cluster: Any) -> None:
    owner = await cluster.client.create(CONFIG_MAPS, config_map("owner"))
    await cluster.client.create(CONFIG_MAPS, config_map("held", owner, finalizers=["example.org/hold"]))
    await cluster.client.delete(CONFIG_MAPS, "owner", "default", propagation_policy="Foreground")
    await cluster.until(CONFIG_MAPS, "held", lambda obj: "deletionTimestamp" in obj["metadata"])
    assert (await cluster.client.get(CONFIG_MAPS, "owner", "default"))["metadata"]["finalizers"]
    await cluster.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "default")
    await cluster.gone(CONFIG_MAPS, "owner")


async def test_a_circle_of_owners_goes(cluster: Any) -> None:
    one = await cluster.client.create(CONFIG_MAPS, config_map("one"))
    two = await cluster.client.create(CONFIG_MAPS, config_map("two", one))
    three = await cluster.client.create(CONFIG_MAPS, config_map("three", two))
    owners = config_map("one", three)["metadata"]["ownerReferences"]
    await cluster.client.patch(CONFIG_MAPS, "one", {"metadata": {"ownerReferences": owners}}, "default")
    await cluster.client.delete(CONFIG_MAPS, "one", "default", propagation_policy="Foreground")
    for name in ("one", "two", "three"):
        await cluster.gone(CONFIG_MAPS, name)


async def test_a_dependent_of_an_owner_that_never_was(cluster: Any) -> None:
    ghost = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "no-such-uid"}}
    await cluster.client.create(CONFIG_MAPS, config_map("haunted", ghost))
    await cluster.gone(CONFIG_MAPS, "haunted")


async def test_custom_resources_own_and_are_owned(cluster: Any) -> None:
    await served(cluster)
    made = await cluster.client.create(BOATS, boat("sampan"))
    await cluster.client.create(CONFIG_MAPS, config_map("oar", made))
    await cluster.client.delete(BOATS, "sampan", "default")
    await cluster.gone(CONFIG_MAPS, "oar")
    await cluster.client.delete(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.org")
    await cluster.gone(CUSTOM_RESOURCE_DEFINITIONS, "boats.example.org", None)
    await served(cluster)
    made = await cluster.client.create(BOATS, boat("junk"))
    await cluster.client.create(CONFIG_MAPS, config_map("sail", made))
    await cluster.client.delete(BOATS, "junk", "default")
    await cluster.gone(CONFIG_MAPS, "sail")


async def test_a_namespace_goes_with_everything_in_it(cluster: Any) -> None:
    await served(cluster)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    await cluster.client.create(NAMESPACES, namespace)
    await cluster.until(SERVICE_ACCOUNTS, "default", lambda _: True, "shop")
    ca = await cluster.until(CONFIG_MAPS, "kube-root-ca.crt", lambda _: True, "shop")
    assert ca["data"]["ca.crt"].startswith("-----BEGIN")
    body = await cluster.deploy("unrelated", 1)
    body = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": body["spec"]}
    await cluster.client.create(DEPLOYMENTS, {**body, "metadata": {"name": "web", "namespace": "shop"}})
    await cluster.client.create(BOATS, {**boat("sampan"), "metadata": {"name": "sampan", "namespace": "shop"}})
    await cluster.client.create(CONFIG_MAPS, config_map("held", namespace="shop", finalizers=["example.org/hold"]))
    await cluster.client.delete(NAMESPACES, "shop")

    def waits_for_one(obj: Object) -> bool:
        conditions = {c["type"]: c for c in obj.get("status", {}).get("conditions") or ()}
        return conditions.get("NamespaceContentRemaining", {}).get("message") == (
            "Some resources are remaining: configmaps. has 1 resource instances"
        )

    waiting = await cluster.until(NAMESPACES, "shop", waits_for_one, None)
    assert waiting["status"]["phase"] == "Terminating"
    held = next(c for c in waiting["status"]["conditions"] if c["type"] == "NamespaceFinalizersRemaining")
    assert held["message"] == (
        "Some content in the namespace has finalizers remaining: example.org/hold in 1 resource instances"
    )
    with pytest.raises(ApiError) as refused:
        await cluster.client.create(CONFIG_MAPS, config_map("late", namespace="shop"))
    assert refused.value.code == 403
    await cluster.client.patch(CONFIG_MAPS, "held", {"metadata": {"finalizers": None}}, "shop")
    await cluster.gone(NAMESPACES, "shop", None)
    for resource in (PODS, CONFIG_MAPS, SERVICE_ACCOUNTS, BOATS):
        assert not (await cluster.client.list(resource, "shop")).items
    assert len(await cluster.pods("unrelated")) == 1


async def test_a_namespace_says_what_its_deletion_fails_at(cluster: Any) -> None:
    """An extension server that does not answer may have objects in the namespace; a policy may hold others."""
    spec = {"group": "far.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    spec |= {"service": {"namespace": "default", "name": "not-there"}, "insecureSkipTLSVerify": True}
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    await cluster.client.create(API_SERVICES, {**kind, "metadata": {"name": "v1.far.example.com"}, "spec": spec})
    policies = ResourceType(
        ADMISSION, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False
    )
    binding = "ValidatingAdmissionPolicyBinding"
    bindings = ResourceType(ADMISSION, "v1", f"{binding.lower()}s", binding, namespaced=False)
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["DELETE"], "resources": ["configmaps"]}
    policy = {
        "matchConstraints": {"resourceRules": [rule]},
        "validations": [{"expression": "oldObject.metadata.name != 'precious'", "message": "it stays"}],
    }
    kept = {"policyName": "keep", "validationActions": ["Deny"]}
    await cluster.client.create(policies, {"metadata": {"name": "keep"}, "spec": policy})
    await cluster.client.create(bindings, {"metadata": {"name": "keep"}, "spec": kept})
    await cluster.client.create(NAMESPACES, {"metadata": {"name": "stuck"}})
    await cluster.client.create(CONFIG_MAPS, config_map("precious", namespace="stuck"))
    await cluster.client.delete(NAMESPACES, "stuck")

    def conditions(obj: Object) -> dict[str, tuple[str, str]]:
        listed = obj.get("status", {}).get("conditions") or ()
        return {c["type"].removeprefix("Namespace"): (c["status"], c["message"]) for c in listed}

    def both(obj: Object) -> bool:
        told = conditions(obj)
        wanted = ("DeletionDiscoveryFailure", "DeletionContentFailure")
        return all(told.get(name, ("", ""))[0] == "True" for name in wanted)

    told = conditions(await cluster.until(NAMESPACES, "stuck", both, None))
    unable = "unable to retrieve the complete list of server APIs"
    assert told["DeletionDiscoveryFailure"][1] == (
        f"Discovery failed for some groups, 1 failing: {unable}: far.example.com/v1: "
        "stale GroupVersion discovery: far.example.com/v1"
    )
    assert told["DeletionContentFailure"][1].startswith("Failed to delete all resource types, 1 remaining: ")
    assert "it stays" in told["DeletionContentFailure"][1]
    assert told["ContentRemaining"] == ("True", "Some resources are remaining: configmaps. has 1 resource instances")
    assert told["FinalizersRemaining"] == ("False", "All content successfully removed")
    assert told["DeletionGroupVersionParsingFailure"] == ("False", "All legacy kube types successfully parsed")
    await cluster.client.delete(bindings, "keep")
    await cluster.until(NAMESPACES, "stuck", lambda obj: conditions(obj)["ContentRemaining"][0] == "False", None)
    await cluster.client.delete(API_SERVICES, "v1.far.example.com")
    await cluster.gone(NAMESPACES, "stuck", None)


async def test_pods_of_a_namespace_go_first(cluster: Any) -> None:
    await cluster.client.create(NAMESPACES, {"metadata": {"name": "ordered"}})
    await cluster.until(SERVICE_ACCOUNTS, "default", lambda _: True, "ordered")
    pod = {"metadata": {"name": "last", "finalizers": ["example.org/hold"]}}
    pod["spec"] = {"containers": [{"name": "main", "image": "pause"}]}
    await cluster.client.create(PODS, pod, "ordered")
    await cluster.client.create(CONFIG_MAPS, config_map("read-at-the-end", namespace="ordered"))
    await cluster.client.delete(NAMESPACES, "ordered")

    def waits(obj: Object) -> bool:
        return any("pods. has 1" in c["message"] for c in obj.get("status", {}).get("conditions") or ())

    await cluster.until(NAMESPACES, "ordered", waits, None)
    assert await cluster.client.get(CONFIG_MAPS, "read-at-the-end", "ordered")
    await cluster.client.patch(PODS, "last", {"metadata": {"finalizers": None}}, "ordered")
    await cluster.gone(NAMESPACES, "ordered", None)


async def test_defaults_of_a_namespace_come_back(cluster: Any) -> None:
    first = await cluster.until(SERVICE_ACCOUNTS, "default", lambda _: True)
    await cluster.client.delete(SERVICE_ACCOUNTS, "default", "default")
    await cluster.until(SERVICE_ACCOUNTS, "default", lambda a: a["metadata"]["uid"] != first["metadata"]["uid"])
    await cluster.client.patch(CONFIG_MAPS, "kube-root-ca.crt", {"data": {"ca.crt": "other"}}, "default")
    await cluster.until(CONFIG_MAPS, "kube-root-ca.crt", lambda c: c["data"]["ca.crt"].startswith("-----BEGIN"))


async def test_a_token_secret_is_filled_and_goes_with_its_account(cluster: Any) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot", "namespace": "default"}}
    await cluster.client.create(SERVICE_ACCOUNTS, account)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "robot-token",
            "namespace": "default",
            "annotations": {"kubernetes.io/service-account.name": "robot"},
        },
    }
    await cluster.client.create(SECRETS, secret)
    filled = await cluster.until(SECRETS, "robot-token", lambda s: s.get("data", {}).get("token"))
    assert base64.b64decode(filled["data"]["token"]).count(b".") == 2
    assert base64.b64decode(filled["data"]["namespace"]) == b"default"
    await cluster.client.delete(SERVICE_ACCOUNTS, "robot", "default")
    await cluster.gone(SECRETS, "robot-token")


async def test_owners_that_others_wrote_meanwhile_are_kept(cluster: Any) -> None:
    first = await cluster.client.create(CONFIG_MAPS, config_map("first"))
    second = await cluster.client.create(CONFIG_MAPS, config_map("second"))
    old = await cluster.client.create(CONFIG_MAPS, config_map("child", first))
    both = config_map("child", first, second)["metadata"]["ownerReferences"]
    await cluster.client.patch(CONFIG_MAPS, "child", {"metadata": {"ownerReferences": both}}, "default")
    with pytest.raises(ApiError) as refused:
        await set_owners(cluster.client, old, [], CONFIG_MAPS)
    assert refused.value.is_conflict
    child = await cluster.client.get(CONFIG_MAPS, "child", "default")
    assert child["metadata"]["ownerReferences"] == both
    await set_owners(cluster.client, child, [], CONFIG_MAPS)
    child = await cluster.client.get(CONFIG_MAPS, "child", "default")
    assert not child["metadata"].get("ownerReferences")
