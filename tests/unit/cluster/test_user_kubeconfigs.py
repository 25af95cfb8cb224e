"""The user's kubeconfig: our context goes in and out, everything else stays."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from sampan.cluster import kubeconfig, pki


@pytest.fixture(scope="module")
def text() -> str:
    authority = pki.issue("ca", None)
    client = pki.issue("kubernetes-admin", authority, organizations=("system:masters",))
    return pki.kubeconfig_text("one", "https://127.0.0.1:1", authority, client)


THEIRS = {
    "apiVersion": "v1",
    "kind": "Config",
    "clusters": [{"name": "work", "cluster": {"server": "https://work"}}],
    "users": [{"name": "work", "user": {"token": "t"}}],
    "contexts": [{"name": "work", "context": {"cluster": "work", "user": "work"}}],
    "current-context": "work",
    "extensions": [{"name": "kept"}],
}


def test_a_context_is_merged_and_made_the_current_one(tmp_path: Path, text: str) -> None:
    file = tmp_path / "deep" / "config"
    assert kubeconfig.merge(file, text) == "sampan-one"
    assert file.stat().st_mode & 0o777 == 0o600
    assert yaml.safe_load(file.read_text())["current-context"] == "sampan-one"


def test_what_others_put_there_stays(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    file.write_text(yaml.safe_dump(THEIRS))
    kubeconfig.merge(file, text)
    kubeconfig.merge(file, text)
    merged = yaml.safe_load(file.read_text())
    assert [entry["name"] for entry in merged["clusters"]] == ["work", "sampan-one"]
    assert merged["extensions"] == THEIRS["extensions"]
    assert kubeconfig.remove(file, "sampan-one")
    left = yaml.safe_load(file.read_text())
    assert left == {**THEIRS, "current-context": ""}
    assert not kubeconfig.remove(file, "sampan-one")


def test_a_file_that_was_made_for_us_goes_with_us(tmp_path: Path, text: str) -> None:
    file = tmp_path / "config"
    kubeconfig.merge(file, text)
    assert kubeconfig.remove(file, "sampan-one")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_locked_is_left_alone(tmp_path: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "LOCK_SECONDS", 0.05)
    file = tmp_path / "config"
    (tmp_path / "config.lock").touch()
    with pytest.raises(kubeconfig.KubeconfigBusy, match="is locked by another program"):
        kubeconfig.merge(file, text)
    assert not file.exists()


@pytest.mark.parametrize("content", ["a: [", "just words", "\x00\x01"])
def test_a_file_that_is_no_kubeconfig_is_left_alone(tmp_path: Path, text: str, content: str) -> None:
    file = tmp_path / "config"
    file.write_text(content)
    with pytest.raises(kubeconfig.KubeconfigError, match="is not a kubeconfig"):
        kubeconfig.merge(file, text)
    assert file.read_text() == content
    assert not (tmp_path / "config.lock").exists()


def test_which_file_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", f"/first{os.pathsep}/second")
    assert kubeconfig.user_file() == Path("/first")
    assert kubeconfig.user_file("/given") == Path("/given")
    monkeypatch.delenv("KUBECONFIG")
    monkeypatch.setenv("HOME", "/somewhere")
    assert kubeconfig.user_file() == Path("/somewhere/.kube/config")
