"""What a gateway keeps on disk is for its own user where it is secret."""

from __future__ import annotations

import stat
from pathlib import Path

from sampan.gateway.configuration import GatewayConfig


def test_folders_with_secrets_are_for_nobody_else(tmp_path: Path) -> None:
    config = GatewayConfig("127.0.0.1", tmp_path / "run", tmp_path / "state", tmp_path / "log")
    config.make_folders()
    config.make_folders()
    for folder in (config.run_dir, config.state_dir / "plugins"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert config.log_dir.is_dir()
