"""The cluster's mount namespace can be pinned wherever `up` runs: inside a container's mount namespace, on any CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .netns_sandbox import needs_root

pytestmark = needs_root

PIN = """
import os, sys
from sampan.cluster.namespaces import CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, _call, mount, unshare_mounts
outer, inner, folder = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
everywhere = os.sched_getaffinity(0)
os.sched_setaffinity(0, {outer})
_call("unshare", CLONE_NEWNS)
mount("none", "/", MS_REC | MS_PRIVATE)
entered, leave = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.sched_setaffinity(0, {inner})
    os.sched_setaffinity(0, everywhere)  # where it is now, it stays: nothing moves it but load
    unshare_mounts()
    os.write(entered[1], b"x")
    os.read(leave[0], 1)
    os._exit(0)
os.read(entered[0], 1)
file = os.path.join(folder, "mnt")
open(file, "w").close()
try:
    mount(f"/proc/{child}/ns/mnt", file, MS_BIND)
finally:
    os.write(leave[1], b"x")
    os.waitpid(child, 0)
"""


@pytest.mark.parametrize("outer", sorted(os.sched_getaffinity(0))[:2])
@pytest.mark.parametrize("inner", sorted(os.sched_getaffinity(0))[:2])
def test_a_mount_namespace_is_pinned_in_another_one(outer: int, inner: int, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PIN, str(outer), str(inner), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
