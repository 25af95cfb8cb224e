"""The same request gets the same answer from kube-apiserver and from us: objects of every kind, good and wild.

Runs where ``KUBE_APISERVER`` names one of the newest version that we emulate (``docs/foreign-kubernetes.md``);
``SAMPAN_COMPARED=200`` makes so many objects of every kind. What differs on purpose stands in ``OURS``.
"""

from __future__ import annotations

import contextlib
import copy
import json
import os
import random
import re
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import aiohttp
import pytest

from sampan.api.resource import Resource
from sampan.schema.types import type_system
from tests import foreign_server
from tests.unit.api.test_fuzz_resources import GOOD, Wild, collection, created, grafted

pytestmark = pytest.mark.skipif(not foreign_server.wanted(), reason="KUBE_APISERVER names no kube-apiserver")

ROUNDS = int(os.environ.get("SAMPAN_COMPARED", "8"))
VERSION = "1.37"
SERVER_OWNED = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generateName")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OURS = {
    "flowschemas": "that a level is missing is told at once, not by a controller",
}


NO_SUCH = {"kind": "Status", "status": "Failure", "code": 404, "reason": "NotFound"}


def plain(answer: Any) -> Any:
    """Return an answer without what must differ: times, names and addresses that are drawn, who wrote it."""
    text = UUID.sub("UID", json.dumps(answer))
    text = re.sub(r"kube-api-access-[a-z0-9]{5}", "kube-api-access", text)
    text = re.sub(r'"10\.96\.\d+\.\d+"', '"CLUSTER-IP"', text)
    obj = json.loads(re.sub(r'"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"', '"TIME"', text))
    if obj.get("kind") == "Status" and obj.get("status") == "Failure":
        return {"code": obj["code"], "reason": obj.get("reason")}
    for key in SERVER_OWNED:
        obj["metadata"].pop(key, None)
    return obj


@pytest.fixture(scope="module")
def both(start_server: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Any]]:
    """Kubernetes and our API, each on a store of its own."""
    flags: dict[str, object] = {"runtime-config": "api/all=true"}
    theirs = start_server(tmp_path_factory.mktemp("theirs"), version=VERSION, flags=flags)
    variable = os.environ.pop(foreign_server.VARIABLE)
    try:
        ours = start_server(tmp_path_factory.mktemp("ours"), version=VERSION, flags=flags)
    finally:
        os.environ[foreign_server.VARIABLE] = variable
    for server in (theirs, ours):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
        path = f"{server.url}/api/v1/namespaces/default/serviceaccounts"
        body = json.dumps(account).encode()
        request = urllib.request.Request(path, data=body, headers={"Content-Type": "application/json"})
        with contextlib.suppress(urllib.error.HTTPError):  # who has controllers has made it
            urllib.request.urlopen(request, context=admin(server)).close()
    yield theirs, ours


def admin(server: Any) -> ssl.SSLContext:
    """Return the TLS of a cluster administrator."""
    server.authority.write("compared", "admin", ("system:masters",))
    context = ssl._create_unverified_context()
    context.load_cert_chain(server.pki_dir / "compared.crt", server.pki_dir / "compared.key")
    return context


def objects(resource: Resource, rounds: int) -> Iterator[dict[str, Any]]:
    rng = random.Random(f"same {resource.plural} {resource.version}")
    wild, good = Wild(type_system(VERSION), rng), GOOD.get(resource.plural)
    for number in range(rounds):
        made = wild.whole(resource)
        if good is None:
            yield made
            continue
        head = {
            "apiVersion": made["apiVersion"],
            "kind": made["kind"],
            "metadata": {"name": "fuzz", "labels": {"a": "b"}},
        }
        base = {**head, **copy.deepcopy(good)}
        yield grafted(base, made, rng) if number else base


@pytest.mark.parametrize(
    "resource", list(created(VERSION)), ids=lambda resource: f"{resource.plural}.{resource.version}.{resource.group}"
)
async def test_what_is_made_of_an_object(both: tuple[Any, Any], resource: Resource) -> None:
    why = OURS.get(resource.plural)
    if why:
        pytest.skip(why)
    differing = []
    ways = [(server, admin(server)) for server in both]
    async with aiohttp.ClientSession() as session:
        for obj in objects(resource, ROUNDS):
            answers = []
            for server, context in ways:
                url = f"{server.url}{collection(resource)}?dryRun=All"
                async with session.post(url, json=obj, ssl=context) as response:
                    missing = response.status == 404 and response.content_type == "text/plain"  # a group without kinds
                    answers.append(plain(NO_SUCH if missing else await response.json()))
            theirs, ours = answers
            if theirs != ours:
                differing.append(f"{json.dumps(obj)}\n  theirs {json.dumps(theirs)}\n  ours   {json.dumps(ours)}")
    assert not differing, "\n".join(differing)
