"""``sampan dns serve``: the DNS server by itself, on any Kubernetes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.client.kubeconfig import Connection
    from sampan.client.protocol import Client

SUMMARY = "the DNS server by itself, on any Kubernetes"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kubeconfig", metavar="FILE", help="of the cluster (default: the pod's own account, else $KUBECONFIG)"
    )
    parser.add_argument(
        "--listen", action="append", metavar="ADDRESS[:PORT]", help="default: [::]:53, IPv4 too; again for another"
    )
    parser.add_argument("--config", metavar="FILE", help="a Corefile, read again when it changes")
    parser.add_argument("--config-map", metavar="NAMESPACE/NAME", help="a ConfigMap with the key Corefile, followed")
    parser.add_argument(
        "--cluster-domain", default="cluster.local", metavar="DOMAIN", help="without a Corefile (default: %(default)s)"
    )
    parser.add_argument(
        "--service-ip", action="append", metavar="ADDRESS", help="what ns.dns.DOMAIN is (default: kube-system/kube-dns)"
    )


def run(options: argparse.Namespace) -> int:
    import asyncio
    import logging

    import uvloop

    from sampan.api.memory import be_lean
    from sampan.client.errors import ApiError
    from sampan.client.kubeconfig import KubeconfigError
    from sampan.dns.corefile.grammar import CorefileError

    if options.config and options.config_map:
        print("sampan: --config and --config-map exclude each other", file=sys.stderr)
        return 2
    be_lean()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        listen, port = listening(options.listen or ["[::]:53"])
        if options.config:
            from sampan.dns.corefile.configuration import read

            read(Path(options.config).read_text(), port=port)  # what is wrong is said before anything starts
        uvloop.run(serve(options, listen, port))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except BaseExceptionGroup as group:  # of the tasks that serve: the first says what is wrong
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        print(f"sampan: {error or type(error).__name__}", file=sys.stderr)
        return 1
    except (KubeconfigError, ApiError, CorefileError, ValueError) as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        where = f": {error.filename}" if error.filename else f" (--listen {', '.join(options.listen or ['[::]:53'])})"
        print(f"sampan: {error.strerror or error}{where}", file=sys.stderr)
        return 1
    return 0


async def serve(options: argparse.Namespace, listen: tuple[str, ...], port: int) -> None:
    from sampan.cli.scheduler import until_told
    from sampan.dns.server import DnsConfig
    from sampan.dns.server import serve as serve_dns

    connection = connection_of(options.kubeconfig)
    config = DnsConfig(
        connection=connection,
        listen=listen,
        service_ips=tuple(options.service_ip or await service_ips(connection)) or listen,
        cluster_domain=options.cluster_domain,
        port=port,
        corefile=Path(options.config) if options.config else None,
        config_map=options.config_map or "",
    )
    await until_told(serve_dns(config, lambda port: print(f"ready {', '.join(listen)} port {port}", flush=True)))


def connection_of(file: str | None) -> Connection:
    """Return what leads to the API. Raises ``KubeconfigError``."""
    import os

    from sampan.client.kubeconfig import in_cluster, load

    if file is None and os.environ.get("KUBERNETES_SERVICE_HOST") and not os.environ.get("KUBECONFIG"):
        return in_cluster()
    return load(Path(file or os.environ.get("KUBECONFIG") or "~/.kube/config").expanduser())


async def service_ips(connection: Connection) -> list[str]:
    """Return the addresses of the Service kube-dns, none where it is not there."""
    from sampan.client.http import HttpClient

    client = HttpClient(connection)
    try:
        return await service_ips_of(client)
    finally:
        await client.close()


async def service_ips_of(client: Client) -> list[str]:
    from sampan.client.errors import ApiError
    from sampan.client.resources import SERVICES

    try:
        spec = (await client.get(SERVICES, "kube-dns", "kube-system"))["spec"]
    except ApiError as error:
        if error.is_not_found:
            return []
        raise
    return [address for address in spec.get("clusterIPs") or [spec.get("clusterIP")] if address and address != "None"]


def listening(texts: list[str], option: str = "--listen") -> tuple[tuple[str, ...], int]:
    """Return the addresses and the one port of ``ADDRESS[:PORT]``. Raises ``ValueError``."""
    from ipaddress import ip_address

    addresses, ports = [], set()
    for text in texts:
        host, colon, port = text.rpartition(":")
        if (
            (text.startswith("[") and text.endswith("]"))
            or not colon
            or (text.count(":") > 1 and not text.startswith("["))
        ):
            host, port = text, "53"
        try:
            addresses.append(str(ip_address(host.strip("[]") or "::")))
            if not port.isdecimal() or int(port) > 65535:
                raise ValueError(f"{port or 'nothing'} is no port: a number from 0 to 65535")
            ports.add(int(port))
        except ValueError as error:
            raise ValueError(f"{option} {text}: {error}") from error
    if len(ports) > 1:
        raise ValueError(f"{option}: all addresses have one port")
    return tuple(addresses), ports.pop()
