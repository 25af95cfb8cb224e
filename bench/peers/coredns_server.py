"""CoreDNS with its ``kubernetes`` plugin (``coredns/main.go``, built by the Go toolchain on first use)."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.peers.etcd_apiserver import PeerMissing

SOURCE = Path(__file__).parent / "coredns"
BINARY = Path(tempfile.gettempdir()) / "sampan-bench" / "coredns"


def command(corefile: Path, port: int) -> list[str]:
    """Return what runs it. Raises ``PeerMissing`` where it cannot be built."""
    if not BINARY.exists():
        if not shutil.which("go"):
            raise PeerMissing("go is not installed (apt-get install golang)")
        BINARY.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["go", "build", "-o", str(BINARY), "."], cwd=SOURCE, check=True)
    return [str(BINARY), "-conf", str(corefile), "-dns.port", str(port)]
