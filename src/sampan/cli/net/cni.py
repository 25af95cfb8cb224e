"""``sampan net cni install``: the CNI plugin for any kubelet or CRI runtime, without a Sampan cluster."""

from __future__ import annotations

import argparse
import ipaddress
from pathlib import Path

SUMMARY = "install the CNI plugin for another runtime: an executable and its configuration"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install",), help="write the files")
    parser.add_argument(
        "--bin-dir", default="/opt/cni/bin", help="where the runtime has its plugins (default: %(default)s)"
    )
    parser.add_argument("--conf-dir", default="/etc/cni/net.d", help="where it has its networks (default: %(default)s)")
    parser.add_argument("--network", default="sampan", metavar="NAME", help="the network's name (default: %(default)s)")
    parser.add_argument(
        "--range",
        action="append",
        default=[],
        metavar="CIDR",
        help="a range: each pod gets an address of every one",
    )
    parser.add_argument("--bridge", default="", help="the bridge's name (default: sampan0)")
    parser.add_argument("--no-masquerade", action="store_true", help="pods' packets leave with the pods' own addresses")
    parser.add_argument(
        "--then", action="append", default=[], metavar="PLUGIN", help="one that follows: portmap, tuning, …"
    )


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network.cni_call import CniError
    from sampan.network.cni_install import NetworkChoice, install

    try:
        ranges = [ipaddress.ip_network(text) for text in options.range]
    except ValueError as error:
        raise ClusterError(f"--range: {error}") from error
    if not ranges and options.then:
        raise ClusterError("--then without --range", "--range says that a configuration is to be written")
    choice = None
    if ranges:
        choice = NetworkChoice(options.network, ranges, options.bridge, not options.no_masquerade, options.then)
    try:
        written = install(Path(options.bin_dir), Path(options.conf_dir), choice)
    except CniError as error:
        raise ClusterError(str(error)) from error
    for path in written:
        print(path)
    return 0
