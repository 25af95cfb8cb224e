"""``sampan net proxy``: Services on a node of any Kubernetes, in the place of kube-proxy."""

from __future__ import annotations

import argparse
import asyncio
import gc
import ipaddress
import logging
import signal
import socket

from sampan.cli import reaching

SUMMARY = "lead packets to Services on this node of any Kubernetes, in the place of kube-proxy"
PATIENCE_SECONDS = 120.0


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--node", default=socket.gethostname().lower(), help="this node's name (default: %(default)s)")
    parser.add_argument(
        "--cluster-cidr",
        action="append",
        default=[],
        metavar="CIDR",
        help="the range of all pods, one for each family (default: those of this node)",
    )
    parser.add_argument(
        "--nodeport-address",
        action="append",
        default=[],
        metavar="ADDRESS",
        help="where node ports answer (default: the node's InternalIPs)",
    )
    parser.add_argument(
        "--load-balancer-pool",
        action="append",
        default=[],
        metavar="CIDR",
        help="give Services of type LoadBalancer addresses of this range, which is routed to the nodes",
    )
    parser.add_argument(
        "--load-balancer-class",
        metavar="CLASS",
        help="give them to Services of this class only (default: to those of none, and of sampan.dev/load-balancer)",
    )
    parser.add_argument("--healthz-port", type=int, default=10256, metavar="PORT", help="default: %(default)s")
    parser.add_argument(
        "--metrics-port", type=int, default=10249, metavar="PORT", help="on 127.0.0.1 (default: %(default)s)"
    )
    parser.add_argument(
        "--cleanup", action="store_true", help="delete the rules that an earlier run has left, and do nothing else"
    )
    reaching.arguments(parser, namespace=False)


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network import nft, service_table
    from sampan.network.node_facts import NodeUnknown

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        if options.cleanup:
            nft.run(service_table.removal())
            return 0
        return asyncio.run(serve(options))
    except (nft.NftError, NodeUnknown) as error:
        raise ClusterError(str(error)) from error
    except ValueError as error:
        raise ClusterError(f"not a range or an address: {error}") from error


async def serve(options: argparse.Namespace) -> int:
    """Work until a signal. The rules stay, so that a restart interrupts nobody."""
    # what is made until the first rules are in the kernel stays: to look it through again and again is a tenth of the start
    gc.disable()
    from sampan.network import service_agent
    from sampan.network.load_balancer_pool import LOAD_BALANCER_CLASS
    from sampan.network.node_facts import node_of, proxy_config

    cluster = [ipaddress.ip_network(text) for text in options.cluster_cidr]
    ports = [ipaddress.ip_address(text) for text in options.nodeport_address]
    pools = tuple(ipaddress.ip_network(text) for text in options.load_balancer_pool)
    async with reaching.api(options) as client:
        node = await node_of(client, options.node, PATIENCE_SECONDS)
        config = service_agent.ServicesConfig(
            proxy_config(node, cluster, ports),
            pools,
            load_balancer_class=options.load_balancer_class or LOAD_BALANCER_CLASS,
            default_load_balancer=options.load_balancer_class is None,
            healthz_port=options.healthz_port,
            metrics_port=options.metrics_port,
            many_nodes=True,
        )
        work = asyncio.create_task(service_agent.serve(client, config, started), name="services")
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, work.cancel)
        try:
            await work
        except asyncio.CancelledError:
            return 0
    return 0


def started() -> None:
    """Say that all rules are in the kernel; garbage is collected from now on."""
    gc.freeze()
    gc.enable()
    print("ready", flush=True)
