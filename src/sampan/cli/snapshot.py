"""``sampan snapshot``: the state of a cluster, saved while it runs, restored, or made another cluster of."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampan.cluster.settings import Settings

SUMMARY = "save and restore a cluster's state, or fork another cluster from it"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    save = verbs.add_parser("save", help="save the state of a cluster, which goes on running")
    restore = verbs.add_parser("restore", help="make a cluster's state that of a snapshot, while it runs")
    verbs.add_parser("ls", help="the snapshots of this machine and user")
    remove = verbs.add_parser("rm", help="remove a snapshot")
    fork = verbs.add_parser("fork", help="make and start a new cluster from a snapshot")
    for verb in (save, restore, remove, fork):
        verb.add_argument("snapshot", help="the snapshot's name")
    fork.add_argument("cluster", help="the new cluster's name")
    fork.add_argument("--pods", choices=("real", "simulated", "none"), help="(default: as the cluster that was saved)")
    fork.add_argument("--kubeconfig", metavar="FILE", help="where to put the context (default: as kubectl finds it)")
    for verb in (save, restore):
        verb.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.store import StoreError

    try:
        code: int = VERBS[options.verb](options)
        return code
    except StoreError as error:
        raise ClusterError(str(error), "`sampan snapshot ls` shows what there is") from error


def path_of(name: str) -> Path:
    """Return where a snapshot is, or would be. Raises ``ClusterError`` for what is a path and no name."""
    from sampan.api.store_routes import NAME
    from sampan.cluster.lifecycle import ClusterError
    from sampan.cluster.settings import snapshots_root

    if not NAME.fullmatch(name):
        raise ClusterError(
            f"{name!r} cannot be a snapshot's name: lower case letters, digits, - and .",
            f"snapshots are files of {snapshots_root()}, named without their folder",
        )
    return snapshots_root() / f"{name}.snapshot"


def request(options: argparse.Namespace, method: str, path: str, body: Any = None) -> Any:
    """Return the answer of a running cluster's API. Raises ``ClusterError``."""
    from sampan.client.errors import ApiUnreachable
    from sampan.cluster import lifecycle
    from sampan.cluster.stored import running

    settings = lifecycle.load(options.name)
    if lifecycle.ask(settings, "status") is None:
        raise lifecycle.ClusterError(f"cluster {settings.name} is stopped", f"`sampan up --name {settings.name}` first")

    async def ask() -> Any:
        async with running(settings) as client:
            return await client(method, f"/sampan/snapshots/{path}", body=body)

    try:
        return asyncio.run(ask())
    except ApiUnreachable as error:
        raise lifecycle.ClusterError(f"the API does not answer: {error}") from error


def placed(settings: Settings) -> dict[str, str]:
    """Return what of a cluster its objects are full of: only ``fork`` can bring them elsewhere."""
    return {"serviceCIDR": ",".join(map(str, settings.service_cidrs)), "nodeName": settings.node_name}


def save(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    path, settings = path_of(options.snapshot), lifecycle.load(options.name)
    about = {"cluster": settings.name, "pods": settings.pods, **placed(settings)}
    answer = request(options, "PUT", options.snapshot, about)
    size = path.stat().st_size
    print(f"snapshot {options.snapshot}: revision {answer['revision']}, {size / 1e6:.1f} MB, {path}")
    return 0


def restore(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle
    from sampan.store import StoreError, snapshot

    path = path_of(options.snapshot)
    if not path.exists():
        raise StoreError(f"there is no snapshot {options.snapshot!r}")
    settings, saved = lifecycle.load(options.name), snapshot.about(path)
    for name, here in placed(settings).items():
        if name in saved and saved[name] != here:
            raise lifecycle.ClusterError(
                f"snapshot {options.snapshot} is of cluster {saved.get('cluster')}, whose {name} is {saved[name]}; "
                f"that of {settings.name} is {here}",
                f"`sampan snapshot fork {options.snapshot} NAME` makes another cluster of it",
            )
    answer = request(options, "POST", f"{options.snapshot}/restore")
    print(
        f"cluster {options.name} is as in {options.snapshot}: {answer['changed']} changes, revision {answer['revision']}"
    )
    return 0


def ls(options: argparse.Namespace) -> int:
    from sampan.cluster.settings import snapshots_root
    from sampan.store import StoreError, snapshot

    print(f"{'SNAPSHOT':20} {'CLUSTER':15} {'KUBERNETES':10} {'REVISION':>9} {'OBJECTS':>8} {'SIZE':>9}  TIME")
    for path in sorted(snapshots_root().glob("*.snapshot")):
        try:
            about = snapshot.about(path)
        except StoreError as error:
            print(f"{path.stem:20} {error}")
            continue
        row = [about.get(name, "") for name in ("cluster", "kubernetesVersion", "revision", "objects", "time")]
        size = f"{path.stat().st_size / 1e6:.1f} MB"
        print(f"{path.stem:20} {row[0]:15} {row[1]:10} {row[2]:>9} {row[3]:>8} {size:>9}  {row[4]}")
    return 0


def rm(options: argparse.Namespace) -> int:
    from sampan.cluster.settings import snapshots_root, state_root
    from sampan.store import StoreError

    path = path_of(options.snapshot)
    there = path.exists()
    path.unlink(missing_ok=True)
    for folder in (snapshots_root(), state_root()):  # the last one leaves no trace
        with contextlib.suppress(OSError):
            folder.rmdir()
    if not there:
        raise StoreError(f"there is no snapshot {options.snapshot!r}")
    print(f"snapshot {options.snapshot} is gone")
    return 0


def fork(options: argparse.Namespace) -> int:
    import ipaddress

    from sampan.api.flags import parse
    from sampan.cli import up
    from sampan.cluster import lifecycle
    from sampan.cluster.forks import make_folders, rehomed
    from sampan.controllers.local_provisioner import Folders
    from sampan.store import encryption, snapshot
    from sampan.store.sqlite import SqliteStore

    about = snapshot.about(path_of(options.snapshot))
    if options.cluster in lifecycle.names():
        raise lifecycle.ClusterError(f"cluster {options.cluster!r} exists", "give the fork another name")
    ranges = [ipaddress.ip_network(text) for text in about["serviceCIDR"].split(",")]
    family = "dual" if len(ranges) == 2 else f"ipv{ranges[0].version}"
    chosen: dict[str, Any] = {"ip_family": family}
    sealing = None
    if about.get("cluster") in lifecycle.names():
        saved = lifecycle.load(about["cluster"])
        chosen |= {name: getattr(saved, name) for name in ("api_flags", "kubelet_config", "scheduler_config")}
        file = parse(saved.api_flags).encryption_provider_config
        sealing = encryption.read(file) if file else None
    found = snapshot.read(path_of(options.snapshot), sealing)
    parser = argparse.ArgumentParser()
    up.arguments(parser)
    starting = parser.parse_args(["--name", options.cluster, "--pods", options.pods or about["pods"]])
    starting.kubernetes_version, starting.kubeconfig = about["kubernetesVersion"], options.kubeconfig
    up.check(starting)
    settings = lifecycle.choose(starting.name, starting.pods, starting.kubernetes_version, None, **chosen)
    folders = Folders(settings.volumes_dir if settings.pods == "real" else None)
    old = (ranges, about["nodeName"])
    puts = rehomed(found.image.records.values(), old, (settings.service_cidrs, settings.node_name), folders)

    async def fill() -> None:
        store = SqliteStore(settings.store_path, encryption=sealing)
        try:
            await store.commit(puts)
        finally:
            await store.close()

    asyncio.run(fill())
    print(f"cluster {options.cluster}: {len(puts)} objects of snapshot {options.snapshot}")
    empty = make_folders(puts, settings.node_name, folders) if settings.pods == "real" else 0
    if settings.pods == "real":
        print(
            f"its volumes on this machine begin empty ({empty}); images that were loaded by hand are to be loaded again:"
        )
        print(f"    sampan image load --name {options.cluster} FILE")
    return up.run(starting)


VERBS = {"save": save, "restore": restore, "ls": ls, "rm": rm, "fork": fork}
