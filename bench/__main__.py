"""``python -m bench [SUBJECT…]``: all subjects, or those named."""

from __future__ import annotations

import importlib
import os
import sys

from bench.table import show

SUBJECTS = (
    "start",
    "testing",
    "api",
    "pods",
    "rollout",
    "workloads",
    "security",
    "gateway",
    "gateway_peers",
    "gateway_files",
    "gateway_cluster",
    "gateway_scale",
    "plugins",
    "scheduling",
    "network",
    "proxies",
    "policies",
    "dns",
    "memory",
    "lab",
    "logs",
    "logs_outputs",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SUBJECTS]
    if unknown:
        print(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(SUBJECTS)}", file=sys.stderr)
        return 2
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # whoever has Sampan installed has it compiled
    for name in names or SUBJECTS:
        print(f"\n{name}")
        show(importlib.import_module(f"bench.{name}").rows())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
