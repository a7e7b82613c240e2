"""How long does a typical mistake take to be answered? Processor seconds of refused commands, in several builds.

    python tests/benchmarks/mistakes.py [NAME=CHECKOUT ...]

runs each of `MISTAKES` as a command of its own, once with each build in turn, and prints its processor seconds (user
and system) in each. A build is a checkout of the project; this one by default.

Measured on a Xeon beside other work, `--every 4`: before these were asked first, and now.

    before   now
      4.80  0.50   viz maximize --concept 999
      4.88  0.48   viz maximize --objective Concept(12)-0.5*Conzept(7)
      4.90  0.50   viz maximize --concept 12 --labels broken.json
      6.22  0.42   viz maximize --concept 12 --out picture.png
      4.89  0.44   viz render objective.yaml
      4.74  0.51   viz explain picture.png --labels broken.json
      4.97  0.55   viz intervene picture.png --in lite0 --set 12:0
      4.74  0.35   train fit vit=nowhere.npy --out new
      5.14  0.36   train evaluate nowhere demo --out new
      4.37  0.32   train spectrum nowhere --out new.safetensors
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[2]
# What is typed, a word of the answer, and the exit status. NAME stands for a file of `write_files`.
MISTAKES: list[tuple[str, str, int]] = [
    ("viz maximize --concept 999", "no concept 999", 1),
    ("viz maximize --concept 12 --usae demos", "the nearest: demo", 1),
    ("viz maximize --concept stripy", "the nearest labels", 1),
    ("viz maximize --concept 12-3", "the smaller number first", 1),
    ("viz maximize --objective Concept(12)-0.5*Conzept(7)", "did you mean Concept", 2),
    ("viz maximize --objective Concept(12,backbone='dyno')", "unknown backbone 'dyno'", 1),
    ("viz maximize --objective Logit('lite0',5000) --usae photos", "no class 5000", 1),
    ("viz maximize --concept 12 --start nowhere.png", "there is no such file", 1),
    ("viz maximize --concept 12 --labels broken.json", "broken.json", 1),
    ("viz maximize --concept 12 --edit lite0:12=0", "unknown backbone 'lite0'", 1),
    ("viz maximize --concept 12 --decay 1 --parameterization maco", "decay is for the parameterization fourier", 1),
    ("viz maximize --concept 12 --verify 256", "no concept 256", 1),
    ("viz maximize --concept 12 --out picture.png", "picture.png", 1),
    ("viz maximize --concept 12 --images nowhere", "no folder 'nowhere'", 1),
    ("viz invert nowhere.png", "there is no such file", 1),
    ("viz invert picture.png --match vit,dyno", "unknown backbone 'dyno'", 1),
    ("viz render first-lock", "no recipe 'first-lock'", 1),
    ("viz render nowhere.yaml", "nowhere.yaml", 1),
    ("viz render key.yaml", "did you mean 'concepts'", 1),
    ("viz render concept.yaml", "no concept 999", 1),
    ("viz render objective.yaml", "did you mean Concept", 1),
    ("viz render code.yaml", "add --allow-code", 1),
    ("viz render concept.yaml --usae nowhere", "unknown USAE 'nowhere'", 1),
    ("viz explain nowhere.jpg", "there is no such file", 1),
    ("viz explain picture.png --labels broken.json", "broken.json", 1),
    ("viz explain picture.png --class 5000", "no class 5000", 1),
    ("viz explain picture.png --run nowhere", "not a run folder", 1),
    ("viz intervene picture.png --in lyte0 --set 12=0", "did you mean 'lite0'", 1),
    ("viz intervene picture.png --in lite0 --set 12:0", "the edit '12:0'", 1),
    ("viz intervene picture.png --in lite0 --set 12=1e9", "expected a number from", 1),
    ("viz maximize --concept 12 --parameterization maco --spectrum no.safetensors", "there is no no.safetensors", 1),
    ("viz render nowhere.png", "there is no such file", 1),
    ("viz show picture.png", "picture.png", 1),
    ("viz explore picture.png", "is a file; expected a run folder", 1),
    ("viz concepts --usae nowhere", "unknown USAE 'nowhere'", 1),
    ("viz explore nowhere", "no such folder", 1),
    ("viz rate nowhere", "not a run folder", 1),
    ("train fit nowhere --out new", "no folder 'nowhere'", 1),
    ("train fit demo --backbones key.yaml --out new", "key.yaml", 1),
    ("train fit demo --recipe nowhere --out new", "unknown recipe 'nowhere'", 2),
    ("train fit vit=nowhere.npy --out new", "there is no nowhere.npy", 1),
    ("train fit demo --backbones demo --out full", "full exists already", 1),
    ("train fit demo --n-concepts 8 --k 9 --out new", "k is 9", 2),
    ("train fit vit=nowhere.npy --limit 3 --out new", "--limit would do nothing there", 2),
    ("train fit demo --independent --backbones demo --out picture.png", "picture.png is a file", 1),
    ("train extract nowhere --out new", "no folder 'nowhere'", 1),
    ("train extract demo --backbones demo --out full", "full exists already", 1),
    ("train evaluate nowhere demo --out new", "unknown USAE 'nowhere'", 1),
    ("train evaluate demo nowhere --out new", "no folder 'nowhere'", 1),
    ("train evaluate demo demo --independent-saes nowhere --out new", "nowhere has no vit", 1),
    ("train add-backbone demo demo --backbone paper --out new", "add one at a time", 1),
    ("train consensus demo nowhere --data demo --out new", "unknown USAE 'nowhere'", 1),
    ("train consensus demo demo --data vit=nowhere.npy --out new", "there is no nowhere.npy", 1),
    ("train spectrum nowhere --out new.safetensors", "no folder 'nowhere'", 1),
    ("train name demo nowhere --out new.json", "no folder 'nowhere'", 1),
    ("train import-sae nowhere --out new", "no folder or file", 1),
    ("train export-sae demo --out new", "say whose to write", 1),
    ("train import-published nowhere.yaml --out new", "nowhere.yaml", 1),
]


def write_files(folder: Path) -> None:
    """What the mistakes name: a picture, recipes, labels, a folder that holds something."""
    from PIL import Image

    Image.new("RGB", (64, 48), "tomato").save(folder / "picture.png")
    (folder / "broken.json").write_text('{"schema": 1, "labels": [')
    (folder / "key.yaml").write_text("usae: demo\nconcept: [12]\n")
    (folder / "concept.yaml").write_text("usae: demo\nconcepts: [12, 999]\n")
    (folder / "objective.yaml").write_text("usae: demo\nobjectives: [Conzept(12)]\n")
    (folder / "code.yaml").write_text("usae: demo\nobjectives: ['mine:smooth']\n")
    (folder / "full").mkdir()
    (folder / "full" / "note.txt").write_text("mine")


def words_of(typed: str) -> list[str]:
    """The command line of a mistake, without the interpreter."""
    package, *words = typed.split()
    return ["-m", f"usae_{package}", *words]


def seconds(checkout: Path, typed: str, folder: Path) -> float:
    """Processor seconds of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    alone = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, *words_of(typed)], cwd=folder, env=alone, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Print a row for each mistake."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", help="NAME=CHECKOUT of the project")
    parser.add_argument("--every", type=int, default=1, help="take each so-manyth mistake only")
    args = parser.parse_args()
    builds = {name: Path(place) for name, _, place in (each.partition("=") for each in args.builds)} or {"here": HERE}
    with tempfile.TemporaryDirectory() as room:
        write_files(Path(room))
        print("  ".join(f"{name:>8}" for name in builds))
        for typed, _, _ in MISTAKES[:: args.every]:
            taken = [seconds(checkout, typed, Path(room)) for checkout in builds.values()]
            print("  ".join(f"{each:8.2f}" for each in taken), f"  {typed}", flush=True)


if __name__ == "__main__":
    main()
