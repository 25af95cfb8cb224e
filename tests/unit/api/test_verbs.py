"""The verbs over ASGI: what a client sees for good and bad input."""

from __future__ import annotations

from typing import Any

from sampan.api.resource import Resource

CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"


def config_map(name: str = "a", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"k": "v"}, **fields}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "busybox"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": containers, **spec},
    }


def deployment(name: str = "d") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "busybox"}]}},
        },
    }


async def test_create_get_update_delete(http: Any) -> None:
    created = await http("POST", CONFIG_MAPS, config_map())
    assert created.status == 201, created.body
    metadata = created.json["metadata"]
    assert metadata["namespace"] == "default"
    assert metadata["uid"] and metadata["creationTimestamp"] and metadata["resourceVersion"]
    assert metadata["managedFields"][0]["operation"] == "Update"

    got = await http("GET", f"{CONFIG_MAPS}/a")
    assert got.status == 200 and got.json == created.json

    changed = {**created.json, "data": {"k": "w"}}
    updated = await http("PUT", f"{CONFIG_MAPS}/a", changed)
    assert updated.status == 200 and updated.json["data"] == {"k": "w"}
    assert updated.json["metadata"]["resourceVersion"] != metadata["resourceVersion"]

    stale = await http("PUT", f"{CONFIG_MAPS}/a", changed)
    assert stale.status == 409 and stale.json["reason"] == "Conflict"
    assert "the object has been modified; please apply your changes to the latest version" in stale.json["message"]

    same = await http("PUT", f"{CONFIG_MAPS}/a", updated.json)
    assert same.json["metadata"]["resourceVersion"] == updated.json["metadata"]["resourceVersion"]

    deleted = await http("DELETE", f"{CONFIG_MAPS}/a")
    assert deleted.status == 200 and deleted.json["status"] == "Success"
    assert deleted.json["details"]["uid"] == metadata["uid"]
    missing = await http("GET", f"{CONFIG_MAPS}/a")
    assert missing.status == 404 and missing.json["message"] == 'configmaps "a" not found'


async def test_create_twice(http: Any) -> None:
    await http("POST", CONFIG_MAPS, config_map())
    again = await http("POST", CONFIG_MAPS, config_map())
    assert again.status == 409 and again.json["reason"] == "AlreadyExists"
    assert again.json["message"] == 'configmaps "a" already exists'


async def test_generate_name(http: Any) -> None:
    body = config_map()
    body["metadata"] = {"generateName": "web-"}
    names = {(await http("POST", CONFIG_MAPS, body)).json["metadata"]["name"] for _ in range(5)}
    assert len(names) == 5 and all(name.startswith("web-") and len(name) == 9 for name in names)


async def test_bad_bodies(http: Any) -> None:
    for body, status, reason in (
        (b"{", 400, "BadRequest"),
        (b"[]", 400, "BadRequest"),
        (b"null", 400, "BadRequest"),
        (b"", 400, "BadRequest"),
        ({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x"}}, 400, "BadRequest"),
        ({"kind": "ConfigMap", "apiVersion": "v2", "metadata": {"name": "x"}}, 400, "BadRequest"),
        (config_map(metadata=[]), 400, "BadRequest"),
        (config_map(metadata={}), 422, "Invalid"),
        (config_map("UPPER"), 422, "Invalid"),
        (config_map(data={"k": 1}), 400, "BadRequest"),
        (config_map(metadata={"name": "a", "namespace": "other"}), 400, "BadRequest"),
        (config_map(metadata={"name": "a", "resourceVersion": "5"}), 400, "BadRequest"),
    ):
        answer = await http("POST", CONFIG_MAPS, body)
        assert (answer.status, answer.json["reason"]) == (status, reason), (body, answer.body)
        assert answer.json["kind"] == "Status" and answer.json["message"]


async def test_field_validation(http: Any) -> None:
    body = config_map(nonsense=1)
    strict = await http("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", body)
    assert strict.status == 400 and 'strict decoding error: unknown field "nonsense"' in strict.json["message"]
    warned = await http("POST", f"{CONFIG_MAPS}?fieldValidation=Warn", body)
    assert warned.status == 201 and warned.headers["warning"] == '299 - "unknown field \\"nonsense\\""'
    assert "nonsense" not in warned.json
    ignored = await http("POST", f"{CONFIG_MAPS}?fieldValidation=Ignore", {**body, "metadata": {"name": "b"}})
    assert ignored.status == 201 and "warning" not in ignored.headers
    wrong = await http("POST", f"{CONFIG_MAPS}?fieldValidation=Perhaps", body)
    assert wrong.status == 422


async def test_dry_run_writes_nothing(http: Any) -> None:
    answer = await http("POST", f"{CONFIG_MAPS}?dryRun=All", config_map())
    assert answer.status == 201 and answer.json["metadata"]["uid"]
    assert (await http("GET", f"{CONFIG_MAPS}/a")).status == 404
    assert (await http("POST", f"{CONFIG_MAPS}?dryRun=Some", config_map())).status == 422


async def test_media_types(http: Any) -> None:
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yy\ndata:\n  a: b\n"
    created = await http("POST", CONFIG_MAPS, yaml, headers={"content-type": "application/yaml"})
    assert created.status == 201 and created.json["data"] == {"a": "b"}
    got = await http("GET", f"{CONFIG_MAPS}/yy", headers={"accept": "application/yaml"})
    assert got.headers["content-type"] == "application/yaml" and b"kind: ConfigMap" in got.body
    protobuf = "application/vnd.kubernetes.protobuf"
    assert (await http("GET", f"{CONFIG_MAPS}/yy", headers={"accept": protobuf})).body.startswith(b"k8s\x00")
    assert (await http("GET", f"{CONFIG_MAPS}/yy", headers={"accept": "text/html"})).status == 406
    preferred = await http("GET", f"{CONFIG_MAPS}/yy", headers={"accept": f"{protobuf},application/json"})
    assert preferred.status == 200
    assert (await http("POST", CONFIG_MAPS, b"x", headers={"content-type": "text/plain"})).status == 415
    assert (await http("PATCH", f"{CONFIG_MAPS}/yy", {}, headers={"content-type": "application/json"})).status == 415
    assert (await http("POST", CONFIG_MAPS, b" " * (3 * 1024 * 1024 + 1))).status == 413


async def test_methods_and_paths(http: Any) -> None:
    assert (await http("PUT", CONFIG_MAPS, config_map())).status == 405
    assert (await http("BREW", f"{CONFIG_MAPS}/a")).status == 405
    assert (await http("POST", "/api/v1/configmaps", config_map())).status == 405
    for path in ("/api/v1/nonsense", "/apis/x/v1/y", "/nowhere", f"{CONFIG_MAPS}/a/status", "/api/v1/configmaps/a"):
        answer = await http("GET", path)
        assert answer.status == 404 and answer.json["reason"] == "NotFound", path


async def test_forbidden(http: Any) -> None:
    answer = await http("GET", f"{CONFIG_MAPS}/a", headers={"x-user": "eve"})
    assert answer.status == 403
    assert answer.json["message"] == (
        'configmaps "a" is forbidden: User "eve" cannot get resource "configmaps" in API group "" '
        'in the namespace "default"'
    )
    assert (await http("GET", "/metrics", headers={"x-user": "eve"})).json["message"] == (
        'forbidden: User "eve" cannot get path "/metrics"'
    )


async def test_impersonation(http: Any) -> None:
    answer = await http("GET", CONFIG_MAPS, headers={"impersonate-user": "eve"})
    assert answer.status == 403 and 'User "eve"' in answer.json["message"]
    both = {"impersonate-user": "eve", "impersonate-group": "system:masters"}
    assert (await http("GET", CONFIG_MAPS, headers=both)).status == 200
    assert (await http("GET", CONFIG_MAPS, headers={**both, "x-user": "mallory"})).status == 403


async def test_status_is_apart(http: Any) -> None:
    body = {**pod(), "status": {"phase": "Running"}}
    created = await http("POST", PODS, body)
    assert created.status == 201 and created.json["status"] == {}
    created.json["status"] = {"phase": "Running"}
    changed = {**created.json, "status": {"phase": "Running"}}
    assert (await http("PUT", f"{PODS}/p", changed)).json["status"] == {}
    changed["spec"] = {**changed["spec"], "nodeName": "elsewhere"}
    after = await http("PUT", f"{PODS}/p/status", changed)
    assert after.status == 200 and after.json["status"] == {"phase": "Running"}
    assert "nodeName" not in after.json["spec"]
    media = {"content-type": "application/merge-patch+json"}
    patched = await http("PATCH", f"{PODS}/p/status", {"status": {"phase": "Failed"}}, headers=media)
    assert patched.json["status"]["phase"] == "Failed"


async def test_generation(http: Any) -> None:
    created = await http("POST", DEPLOYMENTS, deployment())
    assert created.status == 201, created.body
    assert created.json["metadata"]["generation"] == 1
    media = {"content-type": "application/merge-patch+json"}
    labelled = await http("PATCH", f"{DEPLOYMENTS}/d", {"metadata": {"labels": {"a": "b"}}}, headers=media)
    assert labelled.json["metadata"]["generation"] == 1
    scaled = await http("PATCH", f"{DEPLOYMENTS}/d", {"spec": {"replicas": 5}}, headers=media)
    assert scaled.json["metadata"]["generation"] == 2


async def test_patches(http: Any) -> None:
    await http("POST", DEPLOYMENTS, deployment())
    strategic = {"spec": {"template": {"spec": {"containers": [{"name": "side", "image": "x"}]}}}}
    headers = {"content-type": "application/strategic-merge-patch+json"}
    answer = await http("PATCH", f"{DEPLOYMENTS}/d", strategic, headers=headers)
    assert answer.status == 200, answer.body
    assert {c["name"] for c in answer.json["spec"]["template"]["spec"]["containers"]} == {"c", "side"}
    headers = {"content-type": "application/json-patch+json"}
    operations = [{"op": "replace", "path": "/spec/replicas", "value": 7}]
    answer = await http("PATCH", f"{DEPLOYMENTS}/d", operations, headers=headers)
    assert answer.json["spec"]["replicas"] == 7
    operations = [{"op": "test", "path": "/spec/replicas", "value": 8}]
    answer = await http("PATCH", f"{DEPLOYMENTS}/d", operations, headers=headers)
    assert answer.status == 422 and answer.json["reason"] == "Invalid"
    rename = [{"op": "replace", "path": "/metadata/name", "value": "other"}]
    assert (await http("PATCH", f"{DEPLOYMENTS}/d", rename, headers=headers)).status == 400
    stale = {"metadata": {"resourceVersion": "1"}, "spec": {"replicas": 1}}
    merge = {"content-type": "application/merge-patch+json"}
    assert (await http("PATCH", f"{DEPLOYMENTS}/d", stale, headers=merge)).status in (200, 409)
    stale["metadata"]["resourceVersion"] = "99999"
    assert (await http("PATCH", f"{DEPLOYMENTS}/d", stale, headers=merge)).status == 409


async def test_apply(http: Any) -> None:
    headers = {"content-type": "application/apply-patch+yaml"}
    path = f"{CONFIG_MAPS}/s"
    assert (await http("PATCH", path, config_map("s"), headers=headers)).status == 422
    first = await http("PATCH", f"{path}?fieldManager=one", config_map("s"), headers=headers)
    assert first.status == 201, first.body
    assert first.json["metadata"]["managedFields"][0]["operation"] == "Apply"
    again = await http("PATCH", f"{path}?fieldManager=one", config_map("s"), headers=headers)
    assert again.status == 200
    assert again.json["metadata"]["resourceVersion"] == first.json["metadata"]["resourceVersion"]
    other = config_map("s", data={"k": "other"})
    conflict = await http("PATCH", f"{path}?fieldManager=two", other, headers=headers)
    assert conflict.status == 409 and conflict.json["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = await http("PATCH", f"{path}?fieldManager=two&force=true", other, headers=headers)
    assert forced.status == 200 and forced.json["data"] == {"k": "other"}


async def test_scale(http: Any) -> None:
    await http("POST", DEPLOYMENTS, deployment())
    scale = await http("GET", f"{DEPLOYMENTS}/d/scale")
    assert scale.json["spec"]["replicas"] == 2 and scale.json["status"]["selector"] == "app=d"
    merge = {"content-type": "application/merge-patch+json"}
    patched = await http("PATCH", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": 4}}, headers=merge)
    assert patched.status == 200 and patched.json["spec"]["replicas"] == 4
    put = await http("PUT", f"{DEPLOYMENTS}/d/scale", {**patched.json, "spec": {"replicas": 1}})
    assert put.status == 200, put.body
    assert (await http("GET", f"{DEPLOYMENTS}/d")).json["spec"]["replicas"] == 1
    assert (await http("PUT", f"{DEPLOYMENTS}/d/scale", {"spec": {"replicas": -1}})).status == 422


async def test_finalizers(http: Any) -> None:
    body = config_map()
    body["metadata"]["finalizers"] = ["example.com/hold"]
    await http("POST", CONFIG_MAPS, body)
    marked = await http("DELETE", f"{CONFIG_MAPS}/a")
    assert marked.json["metadata"]["deletionTimestamp"] and marked.json["metadata"]["deletionGracePeriodSeconds"] == 0
    merge = {"content-type": "application/merge-patch+json"}
    added = {"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}
    assert (await http("PATCH", f"{CONFIG_MAPS}/a", added, headers=merge)).status == 422
    gone = await http("PATCH", f"{CONFIG_MAPS}/a", {"metadata": {"finalizers": None}}, headers=merge)
    assert gone.status == 200
    assert (await http("GET", f"{CONFIG_MAPS}/a")).status == 404


async def test_propagation_and_preconditions(http: Any) -> None:
    created = await http("POST", CONFIG_MAPS, config_map())
    wrong = await http("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "nope"}})
    assert wrong.status == 409 and "does not match the UID in record" in wrong.json["message"]
    options = {"propagationPolicy": "Foreground", "preconditions": {"uid": created.json["metadata"]["uid"]}}
    marked = await http("DELETE", f"{CONFIG_MAPS}/a", options)
    assert marked.json["metadata"]["finalizers"] == ["foregroundDeletion"]
    orphaned = await http("DELETE", f"{CONFIG_MAPS}/a?propagationPolicy=Orphan")
    assert orphaned.json["metadata"]["finalizers"] == ["orphan"]


async def test_graceful_deletion(http: Any) -> None:
    await http("POST", PODS, pod(nodeName="n"))
    marked = await http("DELETE", f"{PODS}/p")
    assert marked.json["metadata"]["deletionGracePeriodSeconds"] == 30
    shorter = await http("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 5})
    assert shorter.json["metadata"]["deletionGracePeriodSeconds"] == 5
    assert (await http("GET", f"{PODS}/p")).status == 200
    assert (await http("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})).status == 200
    assert (await http("GET", f"{PODS}/p")).status == 404


async def test_held_deletion(http: Any) -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}, "spec": {"finalizers": ["kubernetes"]}}
    await http("POST", "/api/v1/namespaces", body)
    marked = await http("DELETE", "/api/v1/namespaces/n")
    assert marked.json["status"]["phase"] == "Terminating"
    assert (await http("GET", "/api/v1/namespaces/n")).status == 200


async def test_delete_collection(http: Any) -> None:
    for name in ("a", "b", "c"):
        await http("POST", PODS, pod(name))
    answer = await http("DELETE", f"{PODS}?labelSelector=app in (a,b)".replace(" ", "%20"))
    assert answer.status == 200 and len(answer.json["items"]) == 2
    assert [item["metadata"]["name"] for item in (await http("GET", PODS)).json["items"]] == ["c"]


async def test_health(http: Any) -> None:
    assert (await http("GET", "/readyz")).body == b"ok"
    assert b"[+]ping ok" in (await http("GET", "/livez?verbose")).body
    assert (await http("GET", "/version")).json["gitVersion"].startswith("v1.37")
    await http("GET", PODS)
    assert 'verb="LIST",group="",version="v1",resource="pods"' in (await http("GET", "/metrics")).body.decode()


async def test_versions_share_storage(http: Any, api: Any) -> None:
    def to_v1(obj: Any) -> None:
        obj["size"] = int(obj.pop("scale"))

    def from_v1(obj: Any) -> None:
        obj["scale"] = str(obj.pop("size"))

    common: dict[str, Any] = {"group": "x.dev", "kind": "Widget", "plural": "widgets", "custom": True}
    api.catalog.add(Resource(version="v1", **common))
    v2 = {"version": "v2", "stored_version": "v1", "to_stored": to_v1, "from_stored": from_v1, **common}
    api.catalog.add(Resource(**v2))
    old, new = "/apis/x.dev/v1/namespaces/n/widgets", "/apis/x.dev/v2/namespaces/n/widgets"
    body = {"apiVersion": "x.dev/v2", "kind": "Widget", "metadata": {"name": "w"}, "scale": "7"}
    created = await http("POST", new, body)
    assert created.status == 201 and created.json["scale"] == "7" and created.json["apiVersion"] == "x.dev/v2"
    stored = (await http("GET", f"{old}/w")).json
    assert stored["size"] == 7 and stored["apiVersion"] == "x.dev/v1" and "scale" not in stored
    assert (await http("GET", new)).json["items"][0]["scale"] == "7"
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    assert (await http("PATCH", f"{old}/w", {"size": 8}, headers=strategic)).status == 415
    unconditional = {**stored, "metadata": {"name": "w"}}
    assert (await http("PUT", f"{old}/w", unconditional)).status == 422
    api.catalog.remove("x.dev", "v2", "widgets")
    assert (await http("GET", new)).status == 404 and (await http("GET", old)).status == 200
