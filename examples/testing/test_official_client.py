"""The official Python client: objects, watches, informers of one's own, leader election, the dynamic client."""

import queue
from pathlib import Path
from typing import Any

import kubernetes
import pytest
from kubernetes import client, dynamic, informer, watch

CRD = Path(__file__).parent.parent / "operator-go" / "config" / "crd.yaml"


@pytest.fixture
def api(cluster: Any) -> Any:
    with kubernetes.config.new_client_from_config(str(cluster.kubeconfig)) as connection:
        yield connection


def deployment(name: str, replicas: int) -> client.V1Deployment:
    labels = {"app": name}
    containers = [client.V1Container(name="main", image="shop:1")]
    pod = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=containers)
    )
    selector = client.V1LabelSelector(match_labels=labels)
    spec = client.V1DeploymentSpec(replicas=replicas, selector=selector, template=pod)
    return client.V1Deployment(metadata=client.V1ObjectMeta(name=name), spec=spec)


def test_a_deployment_is_rolled_out_and_watched(api: Any) -> None:
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment("default", deployment("web", 2))
    available = []
    for event in watch.Watch().stream(apps.list_namespaced_deployment, "default", timeout_seconds=20):
        available.append(event["object"].status.available_replicas or 0)
        if available[-1] == 2:
            break
    assert available[0] <= available[-1] == 2
    pods = client.CoreV1Api(api).list_namespaced_pod("default", limit=1)
    assert len(pods.items) == 1 and pods.metadata._continue and pods.metadata.remaining_item_count == 1


def test_a_watch_goes_on_where_a_list_ended(api: Any) -> None:
    core = client.CoreV1Api(api)
    listed = core.list_namespaced_config_map("default")
    core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="new")))
    stream = watch.Watch().stream(
        core.list_namespaced_config_map,
        "default",
        resource_version=listed.metadata.resource_version,
        timeout_seconds=10,
    )
    event = next(iter(stream))
    assert (event["type"], event["object"].metadata.name) == ("ADDED", "new")


def test_an_informer_follows(api: Any) -> None:
    core = client.CoreV1Api(api)
    shared = informer.SharedInformer(core.list_namespaced_config_map, namespace="default")
    added: queue.Queue[str] = queue.Queue()
    shared.add_event_handler("ADDED", lambda obj: added.put(obj.metadata.name))
    shared.start()
    try:
        assert added.get(timeout=10) == "kube-root-ca.crt"
        core.create_namespaced_config_map("default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="new")))
        assert added.get(timeout=10) == "new"
        assert {obj.metadata.name for obj in shared.cache.list()} == {"kube-root-ca.crt", "new"}
    finally:
        shared.stop()


def test_conflicts_and_patches(api: Any) -> None:
    core = client.CoreV1Api(api)
    made = core.create_namespaced_config_map(
        "default", client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c"), data={"a": "1"})
    )
    core.patch_namespaced_config_map("c", "default", [{"op": "add", "path": "/data/b", "value": "2"}])
    made.data = {"a": "3"}
    with pytest.raises(client.ApiException) as refused:
        core.replace_namespaced_config_map("c", "default", made)
    assert refused.value.status == 409


@pytest.mark.kubernetes(crds=CRD)
def test_the_dynamic_client_knows_custom_resources(api: Any) -> None:
    greetings = dynamic.DynamicClient(api).resources.get(api_version="demo.sampan.dev/v1", kind="Greeting")
    body = {
        "kind": "Greeting",
        "apiVersion": "demo.sampan.dev/v1",
        "metadata": {"name": "w"},
        "spec": {"name": "world"},
    }
    greetings.create(body, namespace="default")
    assert greetings.get("w", namespace="default").spec.salutation == "Hello"
    greetings.server_side_apply(
        {**body, "spec": {"name": "moon"}}, namespace="default", field_manager="t", force_conflicts=True
    )
    assert [item.spec.name for item in greetings.get(namespace="default").items] == ["moon"]
    [event] = list(greetings.watch(namespace="default", timeout=1))[:1]
    assert event["object"].metadata.name == "w"


def test_leader_election(api: Any, tmp_path: Path) -> None:
    from kubernetes.leaderelection import electionconfig, leaderelection
    from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock

    client.Configuration.set_default(api.configuration)
    led: list[str] = []

    def lead() -> None:
        led.append("one")

    config = electionconfig.Config(
        LeaseLock("leader", "default", "one"),
        lease_duration=3,
        renew_deadline=2,
        retry_period=1,
        onstarted_leading=lead,
        onstopped_leading=None,
    )
    election = leaderelection.LeaderElection(config)
    assert election.acquire()
    lease = client.CoordinationV1Api(api).read_namespaced_lease("leader", "default")
    assert lease.spec.holder_identity == "one"
