"""``sampan gateway run``: a gateway in the foreground, from a directory of files or for any Kubernetes."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.gateway.alone.files import Problem

MOST_WORKERS = 1024
SUMMARY = "a gateway from a directory of files, without Kubernetes, or for any Kubernetes"


def arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--kubeconfig", metavar="FILE", help="of any Kubernetes; in-cluster: the pod's own account")
    source.add_argument("--config", metavar="DIR", help="manifests, YAML or JSON, followed as they change")
    parser.add_argument("--check", action="store_true", help="say what is wrong with the files, and start nothing")
    parser.add_argument(
        "--address",
        default="0.0.0.0",
        help="the host's address for Gateways that ask for none (default: every one, %(default)s)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="threads of Envoy that serve requests, at most one for each processor (default: %(default)s)",
    )
    parser.add_argument(
        "--metrics-port", type=int, default=0, metavar="PORT", help="Envoy's counters for Prometheus (default: nowhere)"
    )
    parser.add_argument(
        "--advertise",
        metavar="ADDRESS",
        default=os.environ.get("POD_IP", ""),
        help="with --kubeconfig: where the cluster reaches this machine's Envoy (default: $POD_IP)",
    )
    parser.add_argument(
        "--health-port",
        type=int,
        default=0,
        metavar="PORT",
        help="with --kubeconfig: /livez and /readyz for a kubelet's probes (default: nowhere)",
    )
    parser.add_argument(
        "--kinds",
        choices=("make", "there"),
        default="make",
        help="with --kubeconfig: make the kinds that are missing and bring Sampan's own up to date, or wait until they "
        "are there (default: %(default)s; `sampan gateway crds` prints them)",
    )
    parser.add_argument(
        "--class",
        dest="gateway_class",
        default="sampan",
        metavar="NAME",
        help="with --kubeconfig: the GatewayClass and IngressClass that this gateway makes and serves, and no other gateway "
        "of the cluster (default: %(default)s)",
    )
    parser.add_argument(
        "--secret-namespaces",
        default="",
        metavar="NAMESPACE,…",
        help="with --kubeconfig: read Secrets of these namespaces only, and need rights on no others (default: of all)",
    )
    parser.add_argument("--log-dir", metavar="DIR", help="of envoy.log and access.log (default: they are not kept)")


def run(options: argparse.Namespace) -> int:
    import asyncio
    import logging
    from ipaddress import ip_address

    import uvloop

    from sampan.api.memory import be_lean
    from sampan.gateway.alone.running import AloneConfig, check
    from sampan.gateway.alone.running import run as run_gateway

    if not 1 <= options.workers <= MOST_WORKERS:
        print(f"sampan: --workers: {options.workers} is not between 1 and {MOST_WORKERS}", file=sys.stderr)
        return 2
    if options.kubeconfig:
        from sampan.cli.gateway.replica import run_replica

        return run_replica(options)
    if options.health_port or options.kinds != "make" or options.gateway_class != "sampan" or options.secret_namespaces:
        print("sampan: --health-port, --kinds, --class and --secret-namespaces are for --kubeconfig", file=sys.stderr)
        return 2
    try:
        config = AloneConfig(
            directory=Path(options.config),
            address=str(ip_address(options.address)),
            metrics_port=options.metrics_port,
            workers=options.workers,
            log_dir=Path(options.log_dir) if options.log_dir else None,
        )
    except ValueError as error:
        print(f"sampan: --address: {error}", file=sys.stderr)
        return 2
    if not config.directory.is_dir():
        print(f"sampan: {config.directory}: there is no such directory", file=sys.stderr)
        return 2
    be_lean()
    level = logging.ERROR if options.check else logging.INFO
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("grpclib").setLevel(logging.ERROR)
    if options.check:
        problems = uvloop.run(check(config))
        for problem in problems:
            print(problem, file=sys.stderr)
        print(f"{config.directory}: {count(problems)}", file=sys.stderr)
        return 1 if problems else 0

    async def serve() -> None:
        from sampan.cli.scheduler import until_told

        await until_told(run_gateway(config, lambda problems: print(f"ready, {count(problems)}", flush=True)))

    try:
        uvloop.run(serve())
    except (KeyboardInterrupt, asyncio.CancelledError):
        pass
    except OSError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    return 0


def count(problems: list[Problem]) -> str:
    return "nothing is wrong" if not problems else f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
