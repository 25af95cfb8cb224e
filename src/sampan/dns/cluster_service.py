"""The Service ``kube-dns`` and its EndpointSlice, by which pods find the server, and the ConfigMap with its Corefile."""

from __future__ import annotations

from collections.abc import Sequence

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS, ENDPOINT_SLICES, SERVICES
from sampan.schema.objects import Object

NAMESPACE, NAME = "kube-system", "kube-dns"


def service(service_ips: Sequence[str]) -> Object:
    families: Object = {}
    if len(service_ips) > 1:
        families = {"clusterIPs": list(service_ips), "ipFamilyPolicy": "PreferDualStack"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": NAME,
            "namespace": NAMESPACE,
            "labels": {
                "k8s-app": NAME,
                "kubernetes.io/cluster-service": "true",
                "kubernetes.io/name": "CoreDNS",
            },
        },
        "spec": {
            "type": "ClusterIP",
            "clusterIP": service_ips[0],
            **families,
            "ports": [
                {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
                {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
                {"name": "metrics", "port": 9153, "protocol": "TCP", "targetPort": 9153},
            ],
        },
    }


def endpoint_slice(address: str, port: int) -> Object:
    family = "IPv6" if ":" in address else "IPv4"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{NAME}-sampan" + ("-ipv6" if family == "IPv6" else ""),
            "namespace": NAMESPACE,
            "labels": {
                "kubernetes.io/service-name": NAME,
                "endpointslice.kubernetes.io/managed-by": "sampan-dns",
            },
        },
        "addressType": family,
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}}],
        "ports": [
            {"name": "dns", "port": port, "protocol": "UDP"},
            {"name": "dns-tcp", "port": port, "protocol": "TCP"},
            {"name": "metrics", "port": 9153, "protocol": "TCP"},
        ],
    }


async def ensure(client: Client, service_ips: Sequence[str], addresses: Sequence[str], port: int) -> None:
    """Make the Service and a slice for each address, or make them so. Raises ``ApiError``."""
    try:
        await client.create(SERVICES, service(service_ips), NAMESPACE)
    except ApiError:
        # the address is taken where an earlier Service is being replaced, or kube-dns has it already
        if await _address(client) != service_ips[0]:
            raise
    for address in addresses:
        piece = endpoint_slice(address, port)
        try:
            await client.create(ENDPOINT_SLICES, piece, NAMESPACE)
        except ApiError as error:
            if not error.already_exists:
                raise
            change = {"endpoints": piece["endpoints"], "ports": piece["ports"]}
            await client.patch(ENDPOINT_SLICES, piece["metadata"]["name"], change, NAMESPACE)


async def ensure_config_map(client: Client, key: str, corefile: str) -> None:
    """Make the ConfigMap with a Corefile, where there is none. Raises ``ApiError``."""
    namespace, _, name = key.partition("/")
    labels = {"k8s-app": NAME}
    made = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
    }
    try:
        await client.create(CONFIG_MAPS, {**made, "data": {"Corefile": corefile}}, namespace)
    except ApiError as error:
        if not error.already_exists:
            raise


async def _address(client: Client) -> str:
    try:
        found = await client.get(SERVICES, NAME, NAMESPACE)
    except ApiError as error:
        if error.is_not_found:
            return ""
        raise
    return str(found["spec"].get("clusterIP") or "")
