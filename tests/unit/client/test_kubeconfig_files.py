"""Kubeconfig files: contexts, certificates inline and as files, tokens, what is missing, the ServiceAccount of a pod."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from sampan.client import kubeconfig
from sampan.client.kubeconfig import KubeconfigError, in_cluster, load


def write(path: Path, **changes: Any) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "one", "cluster": {"server": "https://one:6443/", "certificate-authority": "ca.pem"}},
            {"name": "two", "cluster": {"server": "http://two", "insecure-skip-tls-verify": True}},
        ],
        "users": [
            {"name": "ann", "user": {"client-certificate-data": base64.b64encode(b"CERT").decode(),
                                     "client-key-data": base64.b64encode(b"KEY").decode()}},
            {"name": "bob", "user": {"tokenFile": "token"}},
        ],
        "contexts": [
            {"name": "a", "context": {"cluster": "one", "user": "ann"}},
            {"name": "b", "context": {"cluster": "two", "user": "bob"}},
        ],
        "current-context": "a",
        **changes,
    }  # fmt: skip
    (path / "ca.pem").write_bytes(b"CA")
    (path / "token").write_text("secret\n")
    file = path / "config"
    file.write_text(json.dumps(document))
    return file


def test_the_current_context(tmp_path: Path) -> None:
    connection = load(write(tmp_path))
    assert connection == kubeconfig.Connection("https://one:6443", ca=b"CA", certificate=b"CERT", key=b"KEY")


def test_another_context(tmp_path: Path) -> None:
    connection = load(write(tmp_path), context="b")
    assert (connection.server, connection.token, connection.verify) == ("http://two", "secret", False)
    assert connection.ssl_context() is None


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"current-context": "c"}, "no context named 'c'"),
        ({"clusters": []}, "no cluster named 'one'"),
        ({"users": None}, "no user named 'ann'"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, changes: Any, words: str) -> None:
    with pytest.raises(KubeconfigError, match=words):
        load(write(tmp_path, **changes))


def test_no_file_and_no_yaml(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="No such file"):
        load(tmp_path / "none")
    (tmp_path / "bad").write_text("a: [")
    with pytest.raises(KubeconfigError, match="is not YAML"):
        load(tmp_path / "bad")
    (tmp_path / "text").write_text("just text")
    with pytest.raises(KubeconfigError, match="is no kubeconfig"):
        load(tmp_path / "text")


def test_several_files_as_one(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first = write(tmp_path / "one", contexts=[], users=[], **{"current-context": "b"})
    second = write(tmp_path / "two")
    (tmp_path / "two" / "token").write_text("second")
    connection = load(f"{tmp_path / 'missing'}:{first}:{second}")
    assert (connection.server, connection.token) == ("http://two", "second")


def test_in_a_pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubeconfig, "SERVICE_ACCOUNT_DIR", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    with pytest.raises(KubeconfigError, match="not in a pod"):
        in_cluster()
    (tmp_path / "token").write_text("T")
    (tmp_path / "ca.crt").write_bytes(b"CA")
    assert in_cluster() == kubeconfig.Connection(
        "https://[fd00::1]:6443", ca=b"CA", token="T", token_file=tmp_path / "token"
    )
