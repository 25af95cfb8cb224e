"""``sampan gateway run --kubeconfig``: one of the gateways of any Kubernetes, with an Envoy of its own."""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import socket
import sys
import tempfile
from pathlib import Path


def run_replica(options: argparse.Namespace) -> int:
    import asyncio
    from ipaddress import ip_address

    import uvloop

    from sampan.api.memory import be_lean
    from sampan.cli.dns.serve import connection_of
    from sampan.cli.scheduler import until_told
    from sampan.client.errors import ApiError
    from sampan.client.kubeconfig import KubeconfigError
    from sampan.gateway.agent import serve
    from sampan.gateway.configuration import GatewayConfig
    from sampan.gateway.replicas import Replica
    from sampan.schema.names import dns1123_label

    if options.check:
        print("sampan: --check is for --config: a cluster's objects say in their status what is wrong", file=sys.stderr)
        return 2
    problems = dns1123_label(options.gateway_class)
    if problems:
        print(f"sampan: --class: {options.gateway_class!r}: {problems[0]}", file=sys.stderr)
        return 2
    namespaces = options.secret_namespaces.split(",") if options.secret_namespaces else []
    for namespace in namespaces:
        problems = dns1123_label(namespace)
        if problems:
            print(f"sampan: --secret-namespaces: {namespace!r}: {problems[0]}", file=sys.stderr)
            return 2
    folder = Path(tempfile.mkdtemp(prefix="sampan-gateway-"))
    try:
        config = GatewayConfig(
            node_ip=str(ip_address(options.address)),
            run_dir=folder,
            state_dir=folder,
            log_dir=Path(options.log_dir) if options.log_dir else folder,
            connection=connection_of(None if options.kubeconfig == "in-cluster" else options.kubeconfig),
            owns_envoy=True,
            metrics_port=options.metrics_port,
            workers=options.workers,
            health_port=options.health_port,
            makes_kinds=options.kinds == "make",
            gateway_class=options.gateway_class,
            secret_namespaces=tuple(dict.fromkeys(namespaces)),
            replica=Replica(
                name=os.environ.get("POD_NAME") or socket.gethostname().lower(),
                address=str(ip_address(options.advertise)),
                lease_namespace=os.environ.get("POD_NAMESPACE") or "kube-system",
                gateway_class=options.gateway_class,
            ),
        )
        be_lean()
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        logging.getLogger("grpclib").setLevel(logging.ERROR)
        uvloop.run(until_told(serve(config, lambda: print("ready", flush=True))))
    except (KeyboardInterrupt, asyncio.CancelledError):
        return 0
    except ValueError as error:
        print(f"sampan: --address and --advertise: {error}", file=sys.stderr)
        return 2
    except (KubeconfigError, ApiError, OSError) as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0
