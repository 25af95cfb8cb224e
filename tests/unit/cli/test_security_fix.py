"""``sampan security fix``: a patch that reaches a level, told losses, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.cli import main

DEPLOYMENT = """---
# ours
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: soft}
spec:
  template:
    spec:
      hostPID: true
      containers:
      - {name: a, image: i, securityContext: {privileged: true}}
      - {name: b, image: i}
---
apiVersion: v1
kind: Service
metadata: {name: s}
spec: {}
"""
AT = "/spec/template/spec"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "deployment.yaml"
    path.write_text(DEPLOYMENT)
    return path


def test_the_patch_and_what_it_takes_away(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["security", "fix", str(file), "--level", "baseline"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == [
        {"op": "remove", "path": f"{AT}/containers/0/securityContext/privileged"},
        {"op": "remove", "path": f"{AT}/hostPID"},
    ]
    assert "deployment/soft: a is no longer privileged" in said.err


def test_templates_reach_restricted(file: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main.main(["security", "fix", str(file), "-o", "yaml"]) == 0
    fixed = capsys.readouterr().out
    assert fixed.startswith("---\n# ours\n---\napiVersion: apps/v1\n") and fixed.endswith("\nspec: {}\n"), (
        "all else stays"
    )
    (tmp_path / "fixed.yaml").write_text(fixed)
    assert main.main(["security", "check", "--level", "restricted", str(tmp_path / "fixed.yaml")]) == 0


def test_what_needs_no_fix_gets_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["security", "fix", str(file), "--level", "privileged", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"object": "deployment/soft", "patch": []}]


def test_levels_and_kinds_that_are_none(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["security", "fix", str(file), "--level", "strict"]) == 2
    assert main.main(["security", "fix", "service/x"]) == 2
    assert "'service' makes no pods" in capsys.readouterr().err
