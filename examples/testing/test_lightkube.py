"""lightkube: typed and generic resources, server-side apply, watches, waiting."""

from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, KubeConfig
from lightkube.generic_resource import load_in_cluster_generic_resources
from lightkube.models.core_v1 import Container, PodSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.core_v1 import ConfigMap, Namespace, Pod

CRD = Path(__file__).parent.parent / "operator-go" / "config" / "crd.yaml"


@pytest.fixture
def client(cluster: Any) -> Any:
    with_cluster = Client(KubeConfig.from_file(str(cluster.kubeconfig)), field_manager="example")
    yield with_cluster


def test_apply_watch_and_wait(client: Any) -> None:
    client.apply(ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"a": "1"}))
    client.apply(ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"b": "2"}))
    assert client.get(ConfigMap, "c", namespace="default").data == {"b": "2"}
    with pytest.raises(ApiError) as conflict:
        config = ConfigMap(metadata=ObjectMeta(name="c", namespace="default"), data={"b": "3"})
        client.apply(config, field_manager="another")
    assert conflict.value.status.reason == "Conflict"
    client.create(
        Pod(metadata=ObjectMeta(name="p", namespace="default"), spec=PodSpec([Container("main", image="shop:1")]))
    )
    assert client.wait(Pod, "p", for_conditions=["Ready"], namespace="default").status.phase == "Running"
    operation, pod = next(iter(client.watch(Pod, namespace="default", server_timeout=5)))
    assert operation == "ADDED" and pod.metadata.name == "p"
    client.deletecollection(Pod, namespace="default")
    assert "kube-system" in {namespace.metadata.name for namespace in client.list(Namespace)}


async def test_coroutines(cluster: Any) -> None:
    client = AsyncClient(KubeConfig.from_file(str(cluster.kubeconfig)))
    made = await client.create(ConfigMap(metadata=ObjectMeta(generateName="m-", namespace="default")))
    async for operation, seen in client.watch(
        ConfigMap, namespace="default", fields={"metadata.name": made.metadata.name}
    ):
        assert operation == "ADDED" and seen.metadata.uid == made.metadata.uid
        break
    await client.close()


@pytest.mark.kubernetes(crds=CRD)
def test_custom_resources_are_found_in_the_cluster(client: Any) -> None:
    load_in_cluster_generic_resources(client)
    from lightkube.generic_resource import get_generic_resource

    greeting = get_generic_resource("demo.sampan.dev/v1", "Greeting")
    assert greeting is not None
    client.create(greeting(metadata={"name": "w", "namespace": "default"}, spec={"name": "world"}))
    assert client.get(greeting, "w", namespace="default").spec["salutation"] == "Hello"
