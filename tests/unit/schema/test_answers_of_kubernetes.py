"""The same patches and apply histories as Kubernetes itself answers them.

``kubernetes_answers.json`` holds random inputs and what the Go libraries made of them (apimachinery 0.37
``strategicpatch`` and ``managedfields`` over structured-merge-diff 6.4, client-go's type converter). Ownership of a
struct or list as such (``.``) depends there on Go's pointers, and nulls stand where fields were pruned: both are left
out of the comparison.
"""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.schema import fields
from sampan.schema.apply import Conflicts, apply, track_update
from sampan.schema.patch import strategic_merge_patch
from sampan.schema.types import type_system

ANSWERS = json.loads((Path(__file__).parent / "kubernetes_answers.json").read_text())
POD = type_system("1.37").type_for("", "v1", "Pod")
ALWAYS_THERE = (".spec", ".resources", ".containers")


def bare(value: Any) -> Any:
    """Without nulls and empty collections."""
    if isinstance(value, dict):
        kept = {key: bare(item) for key, item in value.items() if item is not None}
        return {key: item for key, item in kept.items() if item not in ({}, [])}
    return [bare(item) for item in value] if isinstance(value, list) else value


def normal(answer: Any) -> Any:
    if isinstance(answer, str):
        return sorted(answer.split())
    answer = copy.deepcopy(answer)
    entries = answer["metadata"].pop("managedFields", None) or []
    inner = {path for entry in entries for path in fields.paths(entry["fieldsV1"])}
    owners = {}
    for entry in entries:
        paths = set(fields.paths(entry["fieldsV1"]))
        leaves = {path for path in paths if not any(other.startswith((path + ".", path + "[")) for other in inner)}
        owners[entry["manager"] + entry["operation"]] = {path for path in leaves if not path.endswith(ALWAYS_THERE)}
    return bare(answer), {name: paths for name, paths in owners.items() if paths}


@pytest.mark.parametrize("number", range(len(ANSWERS["patches"])))
def test_strategic_merge_patch(number):
    base, patch, answer = ANSWERS["patches"][number]
    assert bare(strategic_merge_patch(base, patch, POD)) == bare(answer)


@pytest.mark.parametrize("number", range(len(ANSWERS["histories"])))
def test_apply_and_update(number):
    steps, answers = ANSWERS["histories"][number]
    live = None
    for (verb, manager, pod), answer in zip(steps, answers, strict=True):
        pod = copy.deepcopy(pod)
        options = {"type": POD, "manager": manager, "api_version": "v1", "now": "2026-01-01T00:00:00Z"}
        if verb == "update":
            track_update(live, pod, **options)
            live = pod
        else:
            try:
                live = apply(live, pod, force=verb == "force", **options)
            except Conflicts as conflicts:
                assert normal(f"conflict {conflicts.message}") == normal(answer)
                continue
        assert normal(live) == normal(answer)
