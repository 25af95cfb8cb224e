"""How the verbs reach an API and the node beside it: a cluster of ours (``--name``), or any Kubernetes (``--kubeconfig``)."""

from __future__ import annotations

import argparse
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sampan.client.http import HttpClient
    from sampan.cluster.settings import Settings
    from sampan.node.inspection import Inspection


def arguments(parser: argparse.ArgumentParser, *, namespace: bool = True) -> None:
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")
    parser.add_argument(
        "--kubeconfig",
        metavar="FILE",
        help="any Kubernetes, instead of a cluster of ours (in a pod: the pod's own account)",
    )
    if namespace:
        parser.add_argument("-n", "--namespace", default="default", help="the namespace (default: %(default)s)")


@asynccontextmanager
async def api(options: argparse.Namespace) -> AsyncIterator[HttpClient]:
    """Connect to the API that the options name. Raises ``ClusterError`` where that cannot be done."""
    from sampan.client.errors import ApiError, ApiUnreachable
    from sampan.client.http import HttpClient
    from sampan.client.kubeconfig import KubeconfigError, in_cluster, load
    from sampan.cluster import lifecycle

    try:
        if not options.kubeconfig and os.environ.get("KUBERNETES_SERVICE_HOST"):
            client = HttpClient(in_cluster())  # a pod has its own account
        else:
            file = options.kubeconfig or lifecycle.load(options.name).kubeconfig("admin")
            client = HttpClient(load(Path(file)))
    except KubeconfigError as error:
        raise lifecycle.ClusterError(str(error)) from error
    try:
        yield client
    except ApiUnreachable as error:
        raise lifecycle.ClusterError(f"the API does not answer: {error}") from error
    except ApiError as error:
        raise lifecycle.ClusterError(str(error)) from error
    finally:
        await client.close()


@asynccontextmanager
async def node(options: argparse.Namespace) -> AsyncIterator[Inspection]:
    """Connect to the node of a cluster of ours. Raises ``ClusterError`` where it has none that runs."""
    from sampan.cluster import lifecycle
    from sampan.node.inspection import Inspection
    from sampan.node.runtime import Runtime, RuntimeFailure

    if options.kubeconfig:
        raise lifecycle.ClusterError("the node's processes can be seen of a cluster of ours only", "use --name")
    settings = running(options.name)
    runtime = Runtime(settings.containerd_socket)
    try:
        yield Inspection(
            runtime,
            containerd_dir=settings.containerd_dir,
            bundles=settings.run_dir / "containerd",
            netns=settings.netns_path,
            kubelet_dir=settings.kubelet_dir,
            seccomp_default=bool(settings.kubelet_config.get("seccompDefault")),
        )
    except RuntimeFailure as error:
        raise lifecycle.ClusterError(f"the runtime refuses: {error}") from error
    finally:
        runtime.close()


def pod_key(text: str, namespace: str) -> str:
    """Return ``namespace/name`` of a pod that is called NAME, NAMESPACE/NAME or pod/NAME."""
    text = text.removeprefix("pod/")
    return text if "/" in text else f"{namespace}/{text}"


def kubectl(options: argparse.Namespace) -> str:
    """Return how a person runs kubectl on what the options name."""
    if options.kubeconfig:
        return f"kubectl --kubeconfig {options.kubeconfig}"
    return "sampan kubectl" if options.name == "default" else f"sampan kubectl --name {options.name}"


def running(name: str) -> Settings:
    """Return the settings of a cluster whose containers run. Raises ``ClusterError``."""
    from sampan.cluster import lifecycle

    settings = lifecycle.load(name)
    if settings.pods != "real":
        raise lifecycle.ClusterError(f"cluster {settings.name!r} has no containers", "`sampan up --pods=real`")
    if lifecycle.ask(settings, "status") is None:
        raise lifecycle.ClusterError(f"cluster {settings.name!r} is stopped", f"`sampan up --name {settings.name}`")
    return settings
