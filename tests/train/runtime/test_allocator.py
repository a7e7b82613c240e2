"""Memory that was freed is given out again instead of being asked of the system, page by page."""

import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from usae_train.runtime.allocator import keep_memory
import torch
if "keep" in sys.argv:
    print(keep_memory(), end=" ")
for _ in range(20):  # what lies between two blocks may keep them apart for a while
    torch.ones(20_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    torch.ones(20_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(*arguments: str, **environment: str) -> list[str]:
    command = [sys.executable, "-c", FAULTS, *arguments]
    return subprocess.run(command, env=environment or None, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_pages_are_asked_for_once() -> None:
    (without,) = faults("as-it-is")
    told, kept = faults("keep")
    if told == "False":
        pytest.skip("another C library, or an allocator that was told something")
    assert int(kept) < int(without) / 10


@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_what_the_user_told_the_allocator_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    assert faults("keep")[0] == "False"
