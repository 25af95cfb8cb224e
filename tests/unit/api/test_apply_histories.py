"""Histories of applies and patches of a custom resource, each answer compared with what a generic Kubernetes API server
(1.37) said to the same request: conflicts, force, ownership transfer, status, lists of all kinds, removal, defaulting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.errors import StatusError
from sampan.api.request import User
from sampan.api.routing import parse_query

ADMIN = User("admin", ("system:masters", "system:authenticated"))
RECORDED = orjson.loads((Path(__file__).with_name("kubernetes_apply_histories.json")).read_bytes())
WIDGETS = "/apis/ex.io/v1/namespaces/default/widgets"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


async def call(api: Any, method: str, path: str, query: str, body: Any, media: str) -> tuple[int, Any]:
    headers = {"content-type": media}
    routed = api.routed(ADMIN, method, path, parse_query(query.encode()), headers, orjson.dumps(body))
    try:
        answer = await api.answer(routed)
    except StatusError as error:
        return error.code, error.status()
    return answer.status, orjson.loads(answer.body)


@pytest.fixture
async def widgets(local_api: Any) -> Any:
    """An API that serves the custom resource of the histories."""
    code, made = await call(local_api, "POST", CRDS, "", RECORDED["definition"], "application/json")
    assert code == 201, made
    return local_api


def told(answer: Any) -> Any:
    """Return what of an answer does not change from run to run."""
    if answer["kind"] == "Status":
        return {"message": answer["message"]}
    metadata = {
        key: value
        for key, value in answer["metadata"].items()
        if key not in ("uid", "creationTimestamp", "resourceVersion", "name", "namespace")
    }
    entries = [
        {key: part for key, part in entry.items() if key != "time"} for entry in metadata.get("managedFields", ())
    ]
    metadata["managedFields"] = sorted(entries, key=lambda entry: orjson.dumps(entry, option=orjson.OPT_SORT_KEYS))
    return {"metadata": metadata, "spec": answer.get("spec"), "status": answer.get("status")}


@pytest.mark.parametrize("history", RECORDED["histories"], ids=lambda history: f"{len(history)} steps")
async def test_a_history_is_answered_as_kubernetes_does(widgets: Any, history: list[Any]) -> None:
    for path, query, media, body, code, expected in history:
        answer = await call(widgets, "PATCH", f"{WIDGETS}/h0{path}", query, body, f"application/{media}")
        assert (answer[0], told(answer[1])) == (code, expected), (path, query, body)
