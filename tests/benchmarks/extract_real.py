"""Processor seconds (user and kernel) of `usae-train extract` over real photographs, in several builds, in one run.

Each build is a folder with `usae_train` in it, and runs in a process of its own; they take turns, and the best of each
is told, of `--limit` photographs of ../shared/real through its three networks. Run from the project's root:

    python tests/benchmarks/extract_real.py [BUILD ...] [--limit 943] [--turns 1]

Measured (BEFORE NOW --limit 256, one thread, while other processes ran; BEFORE: commit a572b30, without what backbones/
does now about batch norms, the order of channels, the allocator and attention): 71.1 s, 28.3 of them the kernel's, and
35.3 s, 1.0 of them the kernel's; starting and what is measured afterwards included.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from real_networks import needs_real_folder

HERE = str(Path(__file__).parents[2])


def seconds(build: str, limit: int) -> tuple[float, float]:
    """User and kernel seconds of one extraction."""
    real, before = needs_real_folder(), os.times()
    with tempfile.TemporaryDirectory() as room:
        words = ["extract", str(real / "photos" / "train"), "--backbones", str(real / "specs.yaml"), "--quiet"]
        subprocess.run(
            [sys.executable, "-m", "usae_train", *words, "--limit", str(limit), "--out", f"{room}/store"],
            env={**os.environ, "PYTHONPATH": build, "OMP_NUM_THREADS": "1"},
            cwd=room,
            check=True,
        )
    after = os.times()
    return after.children_user - before.children_user, after.children_system - before.children_system


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", default=[HERE])
    parser.add_argument("--limit", type=int, default=943)
    parser.add_argument("--turns", type=int, default=1)
    chosen = parser.parse_args()
    runs: dict[str, list[tuple[float, float]]] = {build: [] for build in chosen.builds}
    for _ in range(chosen.turns):
        for build, of_build in runs.items():
            of_build.append(seconds(build, chosen.limit))
    for build, of_build in runs.items():
        user, kernel = min(of_build, key=sum)
        print(f"{build}: {user + kernel:.1f} s, {kernel:.1f} of them the kernel's; {chosen.limit} photographs")


if __name__ == "__main__":
    main()
