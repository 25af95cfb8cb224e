"""``sampan security webhook``: Pod Security by an admission webhook, on any Kubernetes, installed while it runs."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from sampan.cli import reaching

SUMMARY = "serve Pod Security as an admission webhook of any Kubernetes"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--listen", default="127.0.0.1:0", metavar="ADDRESS:PORT", help="(default: %(default)s, any port)"
    )
    parser.add_argument("--url", default="", help="where the API finds this server, if not there")
    parser.add_argument(
        "--service", default="", metavar="NAMESPACE/NAME", help="a Service that leads here, instead of a URL"
    )
    parser.add_argument("--config", metavar="FILE", help="a PodSecurityConfiguration: defaults and exemptions")
    parser.add_argument(
        "--failure-policy", choices=("Fail", "Ignore"), default="Fail", help="what of pods while this does not answer"
    )
    parser.add_argument(
        "--spare", action="append", default=[], metavar="NAMESPACE", help="never ask of this one (kube-system always)"
    )
    parser.add_argument(
        "--exemptions", action="store_true", help="install the kind PodSecurityExemption, and do nothing else"
    )
    reaching.arguments(parser, namespace=False)


def run(options: argparse.Namespace) -> int:
    return asyncio.run(install_exemptions(options) if options.exemptions else serve(options))


async def install_exemptions(options: argparse.Namespace) -> int:
    from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS
    from sampan.security.exemptions import CRD

    async with reaching.api(options) as client:
        await client.patch(
            CUSTOM_RESOURCE_DEFINITIONS, CRD["metadata"]["name"], CRD, type="apply", field_manager="sampan"
        )
    print(f"customresourcedefinition/{CRD['metadata']['name']}")
    return 0


async def serve(options: argparse.Namespace) -> int:
    from sampan.cli.security.manifests import read_configuration
    from sampan.cluster.lifecycle import ClusterError
    from sampan.webhook import WebhookConfig, serve

    host, _, port = options.listen.rpartition(":")
    if not host or not port.isdigit():
        raise ClusterError(f"--listen {options.listen}: no address and port", "127.0.0.1:8443")
    config = WebhookConfig(
        host=host.strip("[]"),
        port=int(port),
        url=options.url,
        service=options.service,
        failure_policy=options.failure_policy,
        configuration=read_configuration(options.config) if options.config else {},
        spared=("kube-system", *options.spare),
    )
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        async with reaching.api(options) as client:
            await serve(client, config, lambda where: print(f"serving {where}", flush=True))
    except asyncio.CancelledError:
        print("its configuration is taken away again", file=sys.stderr)
    return 0
