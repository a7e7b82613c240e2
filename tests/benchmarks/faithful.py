"""Do the demo's pictures show what their concepts follow? One table, measured here.

For every colour and texture whose best concept has a patch AUROC >= 0.90 on held-out scenes in all three backbones, the
concept is drawn and the picture's own colour or texture is read (tests/benchmarks/reader.py). Run from the project's
root; about ten minutes on 2 cores with the default settings:

    python tests/benchmarks/faithful.py [--usae demo] [--out outputs/faithful] [--mode shared] [--image maco] ...
"""

import argparse
import json
from pathlib import Path

import torch
from reader import read_colour, train_texture_reader

import usae_train as ut
import usae_viz as uv
from usae_viz.concepts import FOLLOWS, best_concept

FACTORS = ("colour", "texture")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--mode", default="per-model")
    parser.add_argument("--image", default="fourier")
    parser.add_argument("--steps", type=int, default=128)
    parser.add_argument("--crops", type=int, default=6)
    parser.add_argument("--size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--augmentation", default="default")
    parser.add_argument("--only", help="factor values with commas")
    chosen = parser.parse_args()
    settings = {
        key: getattr(chosen, key)
        for key in ("mode", "image", "steps", "crops", "size", "learning_rate", "augmentation")
    }

    usae = ut.load(chosen.usae)
    reader, accuracy = train_texture_reader()
    print(f"texture reader, held-out scenes: {accuracy:.3f} of the places right")
    values = [(row, *name.split(": ")) for row, name in enumerate(usae.factors) if name.startswith(FACTORS)]
    found = {row: best_concept(usae, row) for row, _, _ in values}
    recovered = [row for row in found if found[row][1] >= FOLLOWS]
    print(f"recovered (AUROC >= {FOLLOWS} in all backbones): {len(recovered)} of {len(values)}")
    right: dict[str, list[bool]] = {}
    fired: dict[str, list[bool]] = {}
    rows = []
    for row, factor, value in values:
        concept, auroc = found[row]
        if auroc < FOLLOWS or (chosen.only and value not in chosen.only.split(",")):
            print(f"{value:10s} concept {concept:4d} AUROC {auroc:.3f}  left out")
            continue
        result = uv.maximize(usae, uv.Concept(concept), **settings)
        if chosen.out:
            result.save(chosen.out)
        pictures = torch.stack(list(result.images.values()))
        read = read_colour(pictures) if factor == "colour" else reader.read(pictures)
        for name, seen in zip(result.images, read, strict=True):
            right.setdefault(name, []).append(seen == value)
            fired.setdefault(name, []).append(result.scores.fired(name))
        rows.append(
            {"value": value, "concept": concept, "auroc": auroc, "read": dict(zip(result.images, read, strict=True))}
        )
        print(
            f"{value:10s} concept {concept:4d} AUROC {auroc:.3f}  "
            + "  ".join(f"{n}: {r}" for n, r in rows[-1]["read"].items()),
            flush=True,
        )
    for name in right:
        n = len(right[name])
        print(f"{name}: {sum(right[name])}/{n} read right ({sum(right[name]) / n:.0%}), {sum(fired[name])}/{n} fire")
    if chosen.out:
        (chosen.out / "faithful.json").write_text(
            json.dumps({"settings": settings, "reader": accuracy, "rows": rows}, indent=1)
        )


if __name__ == "__main__":
    main()
