"""Definitions and custom resources: the requests of ``scripts/definition_answers.py``, answered as a generic Kubernetes API
server (1.37) answered them: status codes, reasons, every cause with field and message, objects, warnings."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from .conftest import Asgi, HeaderAuthenticator

RECORDED = orjson.loads(Path(__file__).with_name("definition_answers.json").read_bytes())
CASES = {case["name"]: orjson.loads(orjson.dumps(case).replace(b"GROUP", case["group"].encode())) for case in RECORDED}
ELSEWHERE = {
    ("objects", 11): "a fraction where a whole number is wanted: Kubernetes adds a cause of the field <nil>",
    ("objects", 50): "the recorded server had CBOR switched off",
}
"""Steps whose answers differ on purpose."""
VOLATILE = ("uid", "creationTimestamp", "resourceVersion", "managedFields", "deletionTimestamp", "generation")
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def plain(answer: Any, *, definition: bool) -> Any:
    """Return an answer without what differs from run to run; of a definition's status what is known at once."""
    answer = copy.deepcopy(answer)
    if not isinstance(answer, dict):
        return answer
    if answer.get("kind") == "Status":
        return plain_status(answer)
    for obj in answer.get("items", [answer]):
        for field in VOLATILE:
            obj["metadata"].pop(field, None)
    for field in ("resourceVersion", "continue"):
        answer["metadata"].pop(field, None)
    if definition:
        status = answer.get("status", {})
        status["conditions"] = sorted(
            (one["type"], one["status"], one.get("reason"), one.get("message"))
            for one in status.get("conditions") or []
        )
    return answer


def plain_status(answer: Any) -> Any:
    details = answer.get("details") or {}
    causes = sorted({(c.get("field", ""), c.get("reason"), worded(c)) for c in details.get("causes") or []})
    kept = {"code": answer.get("code"), "reason": answer.get("reason"), "causes": causes}
    if not causes:
        kept["message"] = answer.get("message")
    return kept


def worded(cause: Any) -> str:
    """Return a cause's message; without the value where Kubernetes shows a whole Go struct."""
    message = str(cause.get("message"))
    if cause.get("field") == "spec.versions" or str(cause.get("field")).endswith("openAPIV3Schema"):
        return message.rpartition(": ")[2]
    return message


async def replay(http: Asgi, case: Any) -> list[tuple[Any, Any]]:
    """Return ``(ours, theirs)`` of each step of a case."""
    pairs = []
    for step, theirs in zip(case["steps"], case["answers"], strict=True):
        body = copy.deepcopy(step.get("body"))
        if step["method"] == "PUT" and not step.get("bare"):
            body["metadata"]["resourceVersion"] = (await http("GET", step["path"])).json["metadata"]["resourceVersion"]
        headers = {"content-type": step.get("media", "application/json")}
        answer = await http(step["method"], step["path"], body, headers=headers)
        told = theirs["told"]
        if isinstance(told, str):  # a path that nobody serves: plain text there, a Status here
            pairs.append((answer.status, theirs["code"]))
            continue
        is_definition = step["path"].startswith(CRDS)
        ours, expected = (plain(one, definition=is_definition) for one in (answer.json, told))
        if is_definition and step["method"] != "GET" and theirs["code"] < 300:
            # the controllers of Kubernetes come later: what they write is compared by the GET after it
            for one in (ours, expected):
                one.pop("status", None)
        pairs.append(
            ((answer.status, ours, sorted(answer.warnings)), (theirs["code"], expected, sorted(theirs["warnings"])))
        )
    return pairs


@pytest.fixture
async def http(local_api: Any) -> Asgi:
    local_api.authenticator = HeaderAuthenticator()
    return Asgi(local_api)


@pytest.mark.parametrize("name", CASES)
async def test_the_answers_are_those_of_kubernetes(http: Asgi, name: str) -> None:
    for index, (ours, theirs) in enumerate(await replay(http, CASES[name])):
        assert ours == theirs or (name, index) in ELSEWHERE, f"step {index}"
