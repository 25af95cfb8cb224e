"""What image verbs read: Dockerfiles, registries' addresses, credentials, who uses an image."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from sampan.cli.image.build import bases
from sampan.node import cri_pb2 as cri
from sampan.node.image_transfer import credentials, is_loopback
from sampan.node.image_uses import Held, held, volume_users
from sampan.node.images import imported

DOCKERFILE = """
# FROM none
from --platform=linux/amd64 busybox:1 AS base
FROM base
COPY --from=me/tools:2 /x /x
COPY --from=base /y /y
FROM gone:1
FROM scratch
"""


def test_images_that_a_dockerfile_begins_with() -> None:
    there = [Held("i", ["docker.io/library/busybox:1"], 1, []), Held("j", ["docker.io/me/tools:2"], 1, [])]
    assert bases(DOCKERFILE, there) == ["docker.io/library/busybox:1", "docker.io/me/tools:2"]


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("localhost:5000", True),
        ("127.0.0.1:5000", True),
        ("[::1]:5000", True),
        ("docker.io", False),
        ("10.0.0.1:5000", False),
        ("localhost.example", False),
    ],
)
def test_registries_of_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_credentials_of_docker_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert credentials("r.example/a:1") == ""
    secret = base64.b64encode(b"jane:pw:x").decode()
    (tmp_path / "config.json").write_text(
        json.dumps({"auths": {"https://r.example/v2/": {"auth": secret}}, "credsStore": "x"})
    )
    assert credentials("r.example/a:1") == "jane:pw:x"
    assert credentials("other.example/a:1") == ""


@pytest.mark.parametrize(
    "told",
    [
        "unpacking docker.io/library/web:1 (sha256:0)...done\n",
        "docker.io/library/web:1             \tsaved\t\napplication/vnd.oci sha256:0\nImporting\telapsed: 0.2 s\ttotal: 0\n",
    ],
)
def test_names_that_an_archive_had(told: str) -> None:
    assert imported(told) == ["docker.io/library/web:1"]


def test_who_uses_an_image() -> None:
    labels = {
        "io.kubernetes.pod.namespace": "shop",
        "io.kubernetes.pod.name": "web",
        "io.kubernetes.container.name": "c",
    }
    containers = [
        cri.Container(image_ref="sha256:a", labels=labels),
        cri.Container(image_ref="sha256:z", labels=labels),
    ]
    listed = [
        cri.Image(id="sha256:b", repo_digests=["x@sha256:1"]),
        cri.Image(id="sha256:a", repo_tags=["web:1"], size=5),
        cri.Image(id="sha256:p", repo_tags=["sampan.dev/pause:1"]),
    ]
    volumes = [
        {"name": "v", "image": {"reference": "x@sha256:" + 32 * "1"}},
        {"name": "w", "image": {"reference": "tool"}},
    ]
    pod = {"metadata": {"namespace": "shop", "name": "reads"}, "spec": {"volumes": volumes}}
    ended = {"metadata": {"namespace": "shop", "name": "old"}, "spec": pod["spec"], "status": {"phase": "Succeeded"}}
    listed.append(cri.Image(id="sha256:t", repo_tags=["docker.io/library/tool:latest"]))
    found = {one.id: one for one in held(listed, containers, volume_users([pod, ended]))}
    assert found["sha256:t"].users == ["shop/reads/w"] and found["sha256:t"].needed
    assert found["sha256:a"] == Held("sha256:a", ["web:1"], 5, ["shop/web/c"])
    assert [found[f"sha256:{name}"].needed for name in "abp"] == [True, False, True]
