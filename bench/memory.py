"""Memory (PSS) of every process of an idle cluster after ``up``, as ``sampan status`` adds it up."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.sampan import cluster, run
from bench.table import Row


def rows() -> Iterator[Row]:
    with cluster("bench-memory", pods="real") as ours:
        printed = run("sampan", "status", "--name", ours.name)
    _, _, table = printed.partition("PART")
    for line in table.splitlines():
        found = re.search(r"^(\S+)\s.*?([\d.]+) MB", line)
        if found:
            whole = found[1] == "all"
            yield Row(f"memory of {found[1]}", float(found[2]), "MB", None, "", "<= 300 MB" if whole else "")
