"""``sampan gateway convert`` prints YAML that can be applied, tells what it changed, and exits as asked."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from sampan.cli.main import main

INGRESS = """
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/server-snippet: x}}
spec:
  rules:
  - host: a.example
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: w, port: {number: 80}}}}]}
---
apiVersion: v1
kind: Service
metadata: {name: w}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    file = tmp_path / "web.yaml"
    file.write_text(INGRESS)
    return str(file)


def test_yaml_and_notes(manifest: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "convert", manifest, "--gateway-class", "edge"]) == 0
    told = capsys.readouterr()
    gateway, route = yaml.safe_load_all(told.out)
    assert gateway["spec"]["gatewayClassName"] == "edge" and route["kind"] == "HTTPRoute"
    assert "ingress/web: metadata.annotations[nginx.ingress.kubernetes.io/server-snippet]: NOT CONVERTED" in told.err
    assert "1 objects of other kinds" in told.err


def test_strict(manifest: str) -> None:
    assert main(["gateway", "convert", manifest, "--strict"]) == 1


@pytest.mark.parametrize("option", ["metrics", "metrics=x", "=1", "metrics=70000"])
def test_entry_points_that_are_none(manifest: str, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gateway", "convert", manifest, "--entry-point", option]) == 2
    assert "NAME=PORT is expected" in capsys.readouterr().err


def test_nothing_to_convert(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("apiVersion: v1\nkind: Service\nmetadata: {name: w}\n")
    assert main(["gateway", "convert", str(file)]) == 2
    assert "no Ingress" in capsys.readouterr().err


def test_a_broken_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: [")
    assert main(["gateway", "convert", str(file)]) == 2
    assert "x.yaml" in capsys.readouterr().err
