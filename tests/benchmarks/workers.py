"""Wall and processor seconds of commands with all cores, in several builds of the project, in one run.

Each build is a folder with the two packages in it; they take turns. The last is measured with --workers too, and its
files are compared with those of one worker. Beside the seconds stand how many cores were really had (processor by wall
seconds): where other programs run, the wall seconds are theirs too. Run from the project's root:

    git worktree add /some/place 6c9b1b9
    python tests/benchmarks/workers.py /some/place . [--concepts 8] [--steps 96] [--only maximize]

Measured (6c9b1b9 and this, --only maximize --concepts 4 --steps 12, two cores beside a load of 8: a third to a half of
one core was had): processor 21.2 and 21.5 s, with one worker 20.0, the same files of any number. Wall seconds (68, 39,
36 with one worker) told of the neighbours and not of the workers: to be measured where nothing else runs.

`--only evaluate` on two cores with nothing beside it, wall seconds: 74.3 and 40.1 (0.54), with one worker 66.4.

Explorer, processor seconds of 6c9b1b9 and this beside a load of 5 to 9, by hand, one run each: `explore demo` 45.1 and
9.8 (0.22); a run of eight concepts of the demo 9.7 and 3.7 (0.38); `photos` alone 4.8 and 3.9 (0.82); `photos` with 118
photographs 20.7 and 16.0 (0.77, before imports took less). No quarter is to be had of the last three: `import torch`
takes 2.0 to 2.3 s, timm with torchvision, which import torch._dynamo, 2 more where networks are built, and one pass of
the photographs 3.7.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIKE = {".js", ".html", ".lock"}  # whose bytes say when and where


@dataclass(frozen=True)
class Taken:
    """What a command took."""

    wall: float
    processor: float
    files: str  # hash of what it wrote


def commands(concepts: int, steps: int, pictures: int) -> dict[str, list[str]]:
    """What is measured, without --out."""
    return {
        "maximize": ["usae_viz", "maximize", "-c", f"top:{concepts}", "--steps", str(steps)],
        "invert": ["usae_viz", "invert", "PICTURE", "--steps", str(steps)],
        "explore": ["usae_viz", "explore", "demo"],
        "explore-run": ["usae_viz", "explore", "RUN"],
        "explore-photos": ["usae_viz", "explore", "photos", "--images", "PHOTOGRAPHS"],
        "explore-photos-alone": ["usae_viz", "explore", "photos"],
        "evaluate": ["usae_train", "evaluate", "demo", "demo:test", "--limit", str(pictures), "--no-fill"],
    }


def measured(build: str, words: list[str], more: list[str], replacements: dict[str, str]) -> Taken:
    """Run a command once, one thread a process; what is given takes the place of the words in capitals."""
    words = [replacements.get(word, word) for word in words]
    with tempfile.TemporaryDirectory() as room:
        before, began = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", *words, *more, "--out", f"{room}/out", "--device", "cpu", "--quiet"],
            env={**os.environ, "PYTHONPATH": str(Path(build).resolve()), "OMP_NUM_THREADS": "1"},
            cwd=room,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wall, after = time.perf_counter() - began, os.times()
        files = hashlib.sha256("".join(_hashes(Path(room) / "out")).encode()).hexdigest()
    user, kernel = after.children_user - before.children_user, after.children_system - before.children_system
    return Taken(wall, user + kernel, files)


def _hashes(folder: Path) -> Iterator[str]:
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix not in UNLIKE and file.name not in ("lock", "report.json"):
            yield f"{file.relative_to(folder)} {hashlib.sha256(file.read_bytes()).hexdigest()}\n"


def main() -> None:
    """Measure, and print a line a command and build."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="+", help="older ones first; the last has --workers")
    parser.add_argument("--concepts", type=int, default=8)
    parser.add_argument("--steps", type=int, default=96)
    parser.add_argument("--pictures", type=int, default=512, help="of `evaluate`")
    parser.add_argument("--photographs", default=f"{os.environ.get('USAE_REAL', '')}/photos/held", help="a folder")
    parser.add_argument("--only", action="append", help="one command; may be given more than once")
    parser.add_argument("--turns", type=int, default=1)
    chosen = parser.parse_args()
    every = commands(chosen.concepts, chosen.steps, chosen.pictures)
    with tempfile.TemporaryDirectory() as room:
        replacements = {
            "PICTURE": str(_picture(Path(room) / "noise.png")),
            "PHOTOGRAPHS": str(Path(chosen.photographs).resolve()),
        }
        for name in chosen.only or every:
            if "RUN" in every[name]:
                replacements["RUN"] = str(_run(chosen.builds[0], chosen.concepts, Path(room) / "run"))
            ways = [(build, list[str]()) for build in chosen.builds] + [(chosen.builds[-1], ["--workers", "1"])]
            best: dict[int, Taken] = {}
            for _ in range(chosen.turns):
                for place, (build, more) in enumerate(ways):
                    taken = measured(build, every[name], more, replacements)
                    best[place] = min(best.get(place, taken), taken, key=lambda each: each.wall)
            first = best[0]
            for place, (build, more) in enumerate(ways):
                this = best[place]
                same = "" if this.files != best[len(ways) - 1].files else ", the same files as of one worker"
                print(
                    f"{name}: {build} {' '.join(more)}: wall {this.wall:.1f} s ({this.wall / first.wall:.2f}), "
                    f"processor {this.processor:.1f} s ({this.processor / first.processor:.2f}), "
                    f"{this.processor / this.wall:.2f} cores had{same}",
                    flush=True,
                )


def _run(build: str, concepts: int, out: Path) -> Path:
    """A run of the oldest build, which all of them read: what is drawn does not matter here."""
    words = ["usae_viz", "maximize", "-c", f"top:{concepts}", "--steps", "2", "--out", str(out), "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(Path(build).resolve()), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", *words, "--quiet"], env=environment, cwd=out.parent, check=True)
    return out


def _picture(file: Path) -> Path:
    from PIL import Image

    Image.effect_noise((96, 96), 60).convert("RGB").save(file)
    return file


if __name__ == "__main__":
    main()
