"""Logs of real pods: shown to people through the API, by the cluster's name and by any kubeconfig; collected by the chart's
agent. Its pods have busybox for an image, and the machine's Python with this sampan by volumes: no registry is needed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from .eventually import eventually
from .space import SAMPAN, Space, pod

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "charts/logs")
TRACE = 'Traceback (most recent call last):\\n  File "a.py", line 1, in f\\n    g()\\nValueError: x\\n'
PLAIN = "2026-11-30 10:00:00 INFO order $i taken"
SCRIPT = (
    f"i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo {PLAIN}; done; sleep 0.3; printf '{TRACE}' >&2; sleep 0.3; "
    """echo '{"level":"warn","ms":70}'"""
)
"""The pauses keep both streams in this order: the API gives one text of them."""


def test_records_of_many_pods(space: Space, tmp_path: Path) -> None:
    space.apply(*(pod(f"shop-{number}", f"{SCRIPT}; exec sleep 1000") for number in range(2)))
    space.ready("shop-0")
    space.ready("shop-1")
    word = [SAMPAN, "logs", "show", "-n", space.name]
    ours = ["--name", space.cluster.name]
    anywhere = ["--kubeconfig", str(space.cluster.settings.kubeconfig("admin"))]

    def show(*words: str) -> list[str]:
        done = subprocess.run([*word, *words], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    for name in ("shop-0", "shop-1"):
        eventually("all is written", lambda name=name: len(show(*ours, name)) == 25)  # type: ignore[misc]
    traces = [orjson.loads(line) for line in show(*anywhere, "--grep", "^Traceback", "-o", "json")]
    assert {(found["pod"], found["lines"]) for found in traces} == {("shop-0", 4), ("shop-1", 4)}
    assert show(*ours, "-l", "app=shop-1", "--field", "ms=70") == ['{"level":"warn","ms":70}']
    assert len(show(*ours, "--level", "warn", "--tail=-1")) == 2
    assert show(*ours, "shop-0", "--tail=1", "--grep", "taken|warn") == ['{"level":"warn","ms":70}']

    with following([*word, *ours, "-f", "--grep", "taken|Value", "--since=1h"], tmp_path / "followed") as followed:
        eventually("what is there", lambda: followed.read_text().count("taken") == 40)
        space.apply(pod("late", f"{SCRIPT}; sleep 1; echo last words are taken", {"restartPolicy": "Never"}))
        eventually("what comes", lambda: f"{space.name}/late/main last words are taken\n" in followed.read_text())
        text = followed.read_text()
        assert text.count(f"{space.name}/late/main 2026") == 20
        assert text.count("/main Traceback (most recent call last):\n    File") == 3


@contextmanager
def following(words: list[str], into: Path) -> Iterator[Path]:
    with into.open("w") as file, subprocess.Popen(words, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            yield into
        finally:
            process.terminate()
            assert process.wait(60) == 0


def test_helm_finds_nothing_wrong(helm: Callable[..., str]) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)
    assert "values don't meet the specifications" in helm("template", CHART, "--set", "paths={a}", code=1)
    assert "values don't meet the specifications" in helm("template", CHART, "--set", "podLogs.paths={/etc}", code=1)
    assert "/var/log/pods/shop_*" in helm("template", CHART, "--set", "podLogs.paths={shop_*}")


OUTPUT = {"name": "all", "type": "json", "path": "/var/lib/sampan-logs/out.json"}


def values_of(space: Space, state: Path, processing: list[dict[str, Any]]) -> dict[str, Any]:
    home = {str(Path(sys.prefix)), str(Path(sys.base_prefix)), str(ROOT / "src")}
    folders = sorted({*home, "/usr", "/lib", "/lib64"})
    volumes = [{"name": f"host-{number}", "hostPath": {"path": path}} for number, path in enumerate(folders)]
    mounts = [{"name": f"host-{n}", "mountPath": path, "readOnly": True} for n, path in enumerate(folders)]
    return {
        "image": {"repository": "busybox", "tag": "1"},
        "command": [sys.executable, "-m", "sampan.cli.main"],
        "extraEnv": [{"name": "PYTHONPATH", "value": str(ROOT / "src")}],
        "podLogs": {"hostPath": str(space.cluster.settings.pod_log_dir), "paths": [f"{space.name}_*"]},
        "state": {"hostPath": str(state)},
        "config": {"processing": processing, "outputs": [OUTPUT]},
        "extraVolumes": volumes,
        "extraVolumeMounts": mounts,
    }


def test_the_agent_as_a_daemon_set(space: Space, helm: Callable[..., str], tmp_path: Path) -> None:
    state, values = tmp_path / "state", tmp_path / "values.json"
    kubeconfig = {"KUBECONFIG": str(space.cluster.settings.kubeconfig("admin"))}

    def install(*processing: dict[str, Any]) -> None:
        values.write_text(json.dumps(values_of(space, state, list(processing))))
        words = ("upgrade", "--install", "logs", CHART, "-n", space.name, "-f", str(values), "--wait", "--timeout=120s")
        helm(*words, **kubeconfig)

    def texts(of: str) -> list[str]:
        out = state / "out.json"
        whole = out.read_bytes().rpartition(b"\n")[0] if out.exists() else b""  # the last line may be half written
        found = [orjson.loads(line) for line in whole.splitlines()]
        return [record["text"] for record in found if record["pod"] == of]

    try:
        install({"parse": "auto"})
        early = pod("early", f"{SCRIPT}; exec sleep 1000")
        early["metadata"]["annotations"] = {"logs.sampan.dev/level": "warn"}
        space.apply(early, pod("plain", f"{SCRIPT}; exec sleep 1000"))
        eventually("all that plain wrote", lambda: len(texts("plain")) == 22)
        trace = next(text for text in texts("plain") if text.startswith("Traceback"))
        assert trace == TRACE.replace("\\n", "\n").strip()
        [record] = [
            orjson.loads(line) for line in (state / "out.json").read_bytes().splitlines() if b'"ms":70' in line
        ][:1]
        assert (record["namespace"], record["labels.app"], record["node"]) == (
            space.name,
            record["pod"],
            space.cluster.settings.node_name,
        )
        assert not any("taken" in text for text in texts("early")), "its annotation wants warnings and worse"
        agent = json.loads(space("get", "pods", "-l", "app.kubernetes.io/name=sampan-logs", "-o", "json"))["items"][0]
        path = f"/api/v1/namespaces/{space.name}/pods/{agent['metadata']['name']}:10297/proxy/metrics"
        assert "sampan_logs_" in space("get", "--raw", path)
        install({"parse": "auto"}, {"redact": {}})
        space.apply(pod("late", "echo 2026-11-30 10:00:00 INFO the new one; exec sleep 1000"))
        eventually("what comes after it has changed", lambda: texts("late") != [])
        assert len(texts("plain")) == 22, "nothing came twice"
    finally:
        helm("uninstall", "logs", "-n", space.name, "--wait", "--timeout=60s", **kubeconfig)
    assert space("get", "daemonsets", "-o", "name") == ""
