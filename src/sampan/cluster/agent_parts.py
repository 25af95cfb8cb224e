"""The processes of the agents: each is what its room runs, told where things are in this cluster."""

from __future__ import annotations

from sampan.cluster.parts import Ready
from sampan.cluster.settings import Settings


async def run_node(settings: Settings, ready: Ready) -> None:
    from sampan.network.agent import NetworkConfig
    from sampan.node import kubelet_config
    from sampan.node.agent import NodeConfig, serve

    network = NetworkConfig(
        node_name=settings.node_name,
        kubeconfig=settings.kubeconfig("network"),
        cni_socket=settings.cni_socket,
        cni_dir=settings.run_dir / "cni",
        state_dir=settings.state_dir / "network",
        pod_cidrs=settings.pod_cidrs,
        node_ips=settings.node_ips,
        cluster_cidrs=settings.cluster_cidrs,
        load_balancer_cidrs=settings.load_balancer_cidrs,
    )
    config = NodeConfig(
        name=settings.node_name,
        ips=tuple(map(str, settings.node_ips)),
        kubeconfig=settings.kubeconfig("node"),
        containerd_socket=settings.containerd_socket,
        kubelet_dir=settings.kubelet_dir,
        pod_log_dir=settings.pod_log_dir,
        pki_dir=settings.pki_dir,
        cgroup=settings.cgroup,
        cluster_dns=str(settings.dns_service_ip),
        cluster_domain=settings.cluster_domain,
        kubernetes_version=settings.kubernetes_version,
        network=network,
        kubelet=kubelet_config.read(settings.kubelet_config),
        own_runtime=not settings.cri_endpoint,
    )
    await serve(config, ready)


async def run_dns(settings: Settings, ready: Ready) -> None:
    from sampan.client.kubeconfig import load
    from sampan.dns.server import DnsConfig, serve

    config = DnsConfig(
        connection=load(settings.kubeconfig("dns")),
        listen=tuple(map(str, settings.node_ips)),
        service_ips=tuple(map(str, settings.dns_service_ips)),
        cluster_domain=settings.cluster_domain,
        config_map="kube-system/coredns",
        makes_service=True,
    )
    await serve(config, lambda port: ready())


async def run_gateway(settings: Settings, ready: Ready) -> None:
    from sampan.gateway.agent import serve
    from sampan.gateway.configuration import GatewayConfig

    config = GatewayConfig(
        kubeconfig=settings.kubeconfig("gateway"),
        node_ip=str(settings.node_ip),
        run_dir=settings.run_dir / "gateway",
        state_dir=settings.state_dir / "gateway",
        log_dir=settings.log_dir,
    )
    await serve(config, ready)
