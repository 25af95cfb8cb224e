"""What a batch has given back the next one takes: a process of its own tells, by its page faults."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
from sampan.logs import memory
if sys.argv[1] == "keep":
    assert memory.keep()
def batch():
    text = b"x" * (8 << 20)
    return len(text + b"y")
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
def resident():
    return int(open("/proc/self/statm").read().split()[1])
kept = resident()
memory.give_back()
print((kept - resident()) * resource.getpagesize())
"""


def ran(word: str) -> tuple[int, int]:
    """Return page faults, and bytes that were given back at last."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, word], capture_output=True, text=True, check=True)
    faults, given_back = map(int, done.stdout.split())
    return faults, given_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's")
def test_batches_take_the_memory_of_those_before() -> None:
    faults, given_back = ran("keep")
    assert faults < ran("not")[0] / 4
    assert given_back >= 8 << 20
