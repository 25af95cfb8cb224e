"""``sampan logs search``: records of an index that have certain words."""

from __future__ import annotations

import argparse
import sqlite3
import sys
from pathlib import Path

SUMMARY = "find records in an index that the agent has written (--output sqlite:FILE)"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", type=Path, metavar="FILE", help="the index")
    parser.add_argument("words", help='words, "a phrase", AND, OR, NOT, NEAR, pre*: an expression of SQLite\'s FTS5')
    parser.add_argument("-n", "--namespace", default="", help="records of this namespace only")
    parser.add_argument("--pod", default="", help="records of this pod only")
    parser.add_argument("--newest", type=int, default=100, metavar="N", help="so many at most (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.logs.outputs.index import search

    if not options.index.is_file():
        raise ClusterError(f"there is no index {options.index}", "`sampan logs agent --output sqlite:FILE` writes one")
    try:
        found = search(
            options.index, options.words, newest=options.newest, namespace=options.namespace, pod=options.pod
        )
    except sqlite3.Error as error:
        raise ClusterError(f"{options.words!r} cannot be searched for: {error}") from error
    for record in found:
        whose = "/".join(part for part in (record.namespace, record.pod, record.container) if part)
        head = " ".join(part for part in (record.time, whose or record.labels.get("file", "")) if part)
        sys.stdout.write(f"{head}\t{record.text}\n")
    return 0 if found else 1
