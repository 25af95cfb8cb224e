"""A kopf operator: every Greeting gets a ConfigMap, and says so in its status."""

from typing import Any

import kopf
import kubernetes


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    settings.posting.level = 30  # events of warnings and worse


@kopf.on.create("demo.sampan.dev", "v1", "greetings")
@kopf.on.update("demo.sampan.dev", "v1", "greetings", field="spec")
def greet(spec: kopf.Spec, name: str, namespace: str, patch: kopf.Patch, **_: Any) -> None:
    text = f"{spec['salutation']}, {spec['name']}"
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"text": text}}
    kopf.adopt(body)  # the garbage collector takes it along with the Greeting
    api = kubernetes.client.CoreV1Api()
    try:
        api.create_namespaced_config_map(namespace, body)
    except kubernetes.client.ApiException as error:
        if error.status != 409:
            raise
        api.patch_namespaced_config_map(name, namespace, body)
    patch.status["text"] = text


@kopf.on.delete("demo.sampan.dev", "v1", "greetings")
def farewell(name: str, namespace: str, **_: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"farewell-{name}"}}
    kubernetes.client.CoreV1Api().create_namespaced_config_map(namespace, body)
