"""``sampan security check``: files, standard input, levels, exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from sampan.cli import main

MANIFESTS = """
apiVersion: v1
kind: Pod
metadata: {name: hard}
spec:
  securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
  containers:
  - name: c
    image: i
    securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: soft}
spec: {template: {spec: {containers: [{name: c, image: i}]}}}
---
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Service, metadata: {name: s}, spec: {}}
- {apiVersion: batch/v1, kind: CronJob, metadata: {name: loose},
   spec: {jobTemplate: {spec: {template: {spec: {hostPID: true, containers: [{name: c, image: i}]}}}}}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "manifests.yaml"
    path.write_text(MANIFESTS)
    return path


def test_the_strictest_level_that_each_meets(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["security", "check", str(file)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"{file}: pod/hard: restricted"
    assert said[1] == f"{file}: deployment/soft: baseline"
    assert said[2].startswith('  violates restricted:latest: allowPrivilegeEscalation != false (container "c" must set')
    assert said[3:] == [
        f"{file}: cronjob/loose: privileged",
        "  violates baseline:latest: host namespaces (hostPID=true)",
    ]


def test_a_level_asked_for_decides(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["security", "check", "--level", "baseline:v1.30", "-o", "json", str(file.parent)]) == 1
    found = json.loads(capsys.readouterr().out)
    assert [(one["name"], one["level"], one["violates"]) for one in found] == [
        ("pod/hard", "restricted", ""),
        ("deployment/soft", "baseline", ""),
        ("cronjob/loose", "privileged", "baseline:v1.30"),
    ]
    assert main.main(["security", "check", "--level", "privileged", str(file)]) == 0


def test_the_strictest_level_of_each_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = {"securityContext": {"runAsNonRoot": True}, "containers": [{"name": "c", "image": "i"}]}
    (tmp_path / "x.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec})
    )
    assert main.main(["security", "check", "--versions", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "  restricted v1.0-v1.7, baseline v1.8-v1.37"


def test_who_is_let_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def pod(name: str, namespace: str, **spec: object) -> dict[str, object]:
        metadata = {"name": name, "namespace": namespace, "labels": {"app": name}}
        whole = {"hostPID": True, "containers": [{"name": "c", "image": "i"}], **spec}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": whole}

    exemption = {
        "apiVersion": "security.sampan.dev/v1",
        "kind": "PodSecurityExemption",
        "metadata": {"name": "agent", "namespace": "b"},
        "spec": {"selector": {"matchLabels": {"app": "agent"}}, "checks": ["hostNamespaces"], "reason": "r"},
    }
    items = [
        pod("all", "a"),
        pod("agent", "b"),
        pod("other", "b"),
        pod("kata", "c", runtimeClassName="kata"),
        exemption,
    ]
    (tmp_path / "all.json").write_text(json.dumps({"kind": "List", "items": items}))
    config = {"kind": "PodSecurityConfiguration", "exemptions": {"namespaces": ["a"], "runtimeClasses": ["kata"]}}
    plugins = [{"name": "PodSecurity", "configuration": config}]
    (tmp_path / "config").write_text(json.dumps({"kind": "AdmissionConfiguration", "plugins": plugins}))
    words = ("--level", "baseline", "--config", str(tmp_path / "config"), "-o", "json", str(tmp_path / "all.json"))
    assert main.main(["security", "check", *words]) == 1
    found = {one["name"]: (one["violates"], one["exempt"]) for one in json.loads(capsys.readouterr().out)}
    assert found == {
        "pod/all": ("", "namespace a"),
        "pod/agent": ("", "hostNamespaces by agent"),
        "pod/other": ("baseline:latest", ""),
        "pod/kata": ("", "runtimeClass kata"),
    }


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(MANIFESTS.split("---")[1]))
    assert main.main(["security", "check", "--level", "baseline", "-"]) == 0
    assert capsys.readouterr().out == "-: deployment/soft: baseline\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--level", "strict"), "must be one of privileged, baseline, restricted"),
        (("--level", "baseline:1.30"), 'must be "latest" or "v1.x"'),
    ],
)
def test_levels_that_are_none(
    words: tuple[str, ...], said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main(["security", "check", *words, str(file)]) == 2
    assert said in capsys.readouterr().err


def test_what_is_no_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for content in ("a: [", "- 1\n- 2\n"):
        (tmp_path / "x.yaml").write_text(content)
        assert main.main(["security", "check", str(tmp_path / "x.yaml")]) == 2
        assert "x.yaml" in capsys.readouterr().err
    assert main.main(["security", "check", str(tmp_path / "none.yaml")]) == 1
