"""What the host is told, and who undoes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sampan.network.cluster_link import has_family
from sampan.network.families import IPV4, IPV6


@pytest.mark.parametrize(
    "text, four, six",
    [
        (json.dumps({"name": "a"}), True, False),
        (json.dumps({"ip_family": "dual"}), True, True),
        (json.dumps({"ip_family": "ipv6"}), False, True),
        ("{", True, True),
    ],
)
def test_which_clusters_need_what_is_forwarded(tmp_path: Path, text: str, four: bool, six: bool) -> None:
    path = tmp_path / "cluster.json"
    path.write_text(text)
    assert (has_family(path, IPV4), has_family(path, IPV6)) == (four, six)
