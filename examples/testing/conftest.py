"""Programs in Go that the examples build as their users do. The fixtures of clusters come with Sampan's pytest plugin."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

BUILD_SECONDS = 900


@pytest.fixture(scope="session")
def go(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a program: ``go("build", folder, "./...")``, ``go("test", folder)``. Skips where there is no Go."""
    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    out = tmp_path_factory.mktemp("go")

    def build(command: str, folder: Path, package: str = ".") -> Path:
        program = out / f"{folder.name}-{command}"
        words = ["go", command, *(["-c"] if command == "test" else []), "-o", str(program), package]
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=BUILD_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return program

    return build
