"""``sampan logs``: what a part of the cluster has written, and the collector of logs. One file a verb.

``sampan logs PART`` came first, and stays: a word that is no verb is a part.
"""

from __future__ import annotations

import argparse
import importlib

SUMMARY = "show the log of a part (api, node, dns, …), or of pods; collect: show, agent, join, explain, search, process"
VERBS = ("show", "agent", "join", "explain", "search", "process")


def run_words(words: list[str]) -> int:
    """Run a verb, or show a part's log; return the exit code."""
    from sampan.cli.main import run_verb

    verb = words[0] if words and words[0] in VERBS else ""
    module = importlib.import_module(f"sampan.cli.logs.{verb or 'part'}")
    parser = argparse.ArgumentParser(prog=f"sampan logs {verb}".rstrip(), description=module.SUMMARY)
    if not verb:
        parser.epilog = "verbs: " + ", ".join(f"`sampan logs {name}`" for name in VERBS)
    module.arguments(parser)
    return run_verb(module.run, parser.parse_args(words[1:] if verb else words))
