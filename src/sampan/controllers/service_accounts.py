"""The ``default`` ServiceAccount and the ``kube-root-ca.crt`` ConfigMap of every namespace."""

from __future__ import annotations

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CONFIG_MAPS, SERVICE_ACCOUNTS
from sampan.schema.objects import Object

ROOT_CA = "kube-root-ca.crt"
DESCRIPTION = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as"


class NamespaceDefaults(Controller):
    """Keeps both objects in each namespace that is not going away."""

    name = "service-account-controller"

    def __init__(
        self, client: Client, namespaces: Informer, accounts: Informer, config_maps: Informer, root_ca: str
    ) -> None:
        super().__init__(client)
        self.namespaces = namespaces
        self.accounts = accounts
        self.config_maps = config_maps
        self.root_ca = root_ca
        self.watch(namespaces)
        self.watch(accounts, lambda obj: self._namespace_if(obj, "default"))
        self.watch(config_maps, lambda obj: self._namespace_if(obj, ROOT_CA))

    @staticmethod
    def _namespace_if(obj: Object, name: str) -> list[str]:
        metadata = obj["metadata"]
        return [metadata["namespace"]] if metadata["name"] == name else []

    async def reconcile(self, key: str) -> float | None:
        namespace = self.namespaces.get(key)
        if namespace is None or "deletionTimestamp" in namespace["metadata"]:
            return None
        if self.accounts.get(f"{key}/default") is None:
            account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": key}}
            await self._create(SERVICE_ACCOUNTS, account)
        there = self.config_maps.get(f"{key}/{ROOT_CA}")
        if there is None:
            await self._create(CONFIG_MAPS, self._root_ca(key))
        elif there.get("data", {}).get("ca.crt") != self.root_ca:
            await self.client.patch(CONFIG_MAPS, ROOT_CA, {"data": {"ca.crt": self.root_ca}}, key)
        return None

    def _root_ca(self, namespace: str) -> Object:
        note = f"{DESCRIPTION} service account tokens."
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": ROOT_CA,
                "namespace": namespace,
                "annotations": {"kubernetes.io/description": note},
            },
            "data": {"ca.crt": self.root_ca},
        }

    async def _create(self, resource: ResourceType, obj: Object) -> None:
        try:
            await self.client.create(resource, obj)
        except ApiError as error:
            if not error.already_exists:
                raise
