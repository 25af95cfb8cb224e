"""``sampan ls``: the clusters of this machine."""

from __future__ import annotations

import argparse

SUMMARY = "list the clusters of this machine"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults()


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    print(f"{'NAME':20} {'STATE':8} {'KUBERNETES':11} {'PODS':10} API")
    for name in lifecycle.names():
        try:
            settings = lifecycle.load(name)
        except lifecycle.ClusterError as error:
            print(f"{name:20} spoilt   {error}")
            continue
        state = "up" if lifecycle.ask(settings, "status") else "stopped"
        url = f"https://127.0.0.1:{settings.api_port}"
        print(f"{name:20} {state:8} {settings.kubernetes_version:11} {settings.pods:10} {url}")
    return 0
