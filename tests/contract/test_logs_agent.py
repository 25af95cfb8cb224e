"""``sampan logs agent --kubeconfig``: labels of pods from the API, and the rule that an annotation asks for."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import orjson

from sampan.client.http import HttpClient
from sampan.client.kubeconfig import load
from sampan.client.resources import PODS
from tests.conftest import start_api_server

ANNOTATIONS = {
    "logs.sampan.dev/rule.main": "sections", "logs.sampan.dev/level": "info", "logs.sampan.dev/level.other": "fatal",
    "logs.sampan.dev/outputs": "nowhere", "resource.opentelemetry.io/team": "tea",
}  # fmt: skip
RULES = "rules: [{name: sections, multiline: {start: '^== ', continue: '^[^=]'}}]\n"


async def make_pod(kubeconfig: Path) -> str:
    client = HttpClient(load(kubeconfig))
    try:
        metadata = {"name": "web", "labels": {"app": "shop"}, "annotations": ANNOTATIONS}
        spec = {"nodeName": "n1", "containers": [{"name": "main", "image": "shop:1"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        made = await client.create(PODS, pod, "default")
        return str(made["metadata"]["uid"])
    finally:
        await client.close()


def test_labels_and_the_rule_of_a_pod(tmp_path: Path) -> None:
    api = start_api_server(tmp_path, store=False)
    try:
        uid = asyncio.run(make_pod(api.kubeconfig))
        log = tmp_path / "pods" / f"default_web_{uid}" / "main" / "0.log"
        log.parent.mkdir(parents=True)
        log.write_text(
            "".join(f"2026-11-30T10:00:00Z stdout F {line}\n" for line in ("== a", "x", "y", "== DEBUG b", "== b"))
        )
        (tmp_path / "rules.yaml").write_text(RULES)
        word = [sys.executable, "-m", "sampan.cli.main", "logs", "agent", "--once", "--kubeconfig", str(api.kubeconfig)]
        word += ["--path", str(tmp_path / "pods"), "--state", str(tmp_path / "state"), "--node", "n1"]
        done = subprocess.run([*word, "--rules", str(tmp_path / "rules.yaml")], capture_output=True, check=True)
    finally:
        api.process.terminate()
        api.process.wait(60)
    first, second = map(orjson.loads, done.stdout.splitlines())
    assert (first["text"], first["rule"], second["text"]) == ("== a\nx\ny", "sections", "== b")
    assert {name: first[name] for name in ("pod", "container", "node", "image", "labels.app", "resource.team")} == {
        "pod": "web", "container": "main", "node": "n1", "image": "shop:1", "labels.app": "shop", "resource.team": "tea",
    }  # fmt: skip
    # what the pod's annotations ask of processing: of this container only, and what cannot be is said
    assert (
        b"pod default/web asks for what cannot be: logs.sampan.dev/outputs: there is no output 'nowhere'" in done.stderr
    )
