"""What a node that died in the middle of an end has left: found by the uid in its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.node import cgroup_limits, orphans, pod_cgroups


def test_logs_of_pods_that_nobody_knows(tmp_path: Path) -> None:
    for name in ("shop_web-1_u1", "shop_my_pod_u2"):
        (tmp_path / name).mkdir()
    assert [path.name for path in orphans.logs(tmp_path, {"u1"})] == ["shop_my_pod_u2"]
    assert orphans.logs(tmp_path / "none", set()) == []


@pytest.mark.parametrize("v2", [True, False])
def test_cgroups_of_pods_that_nobody_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, v2: bool) -> None:
    for module in (cgroup_limits, orphans, pod_cgroups):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    if v2:
        (tmp_path / "cgroup.controllers").touch()
    roots = [tmp_path] if v2 else [tmp_path / "memory", tmp_path / "pids"]
    for root in roots:
        for level in ("", "/burstable", "/besteffort"):
            for uid in ("u1", "u2"):
                (root / f"c/kubepods{level}/pod{uid}/container").mkdir(parents=True)
    orphans.remove_cgroups("/c", {"u1"})
    left = {path.name for root in roots for path in root.rglob("pod*") if path.name != "kubepods"}
    assert left == {"podu1"}
