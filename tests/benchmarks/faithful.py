"""Do the demo's pictures show what their concepts follow? One table a mode, measured here.

For every colour and texture whose best concept has a patch AUROC >= 0.90 on held-out scenes in all three backbones, the
concept is drawn and the picture's own colour or texture is read (tests/benchmarks/reader.py, which takes four minutes
to train its small ConvNet). A picture counts as firing when it fires after TopK in every backbone that it was drawn
for, and as strong when its code there passes the 99.9th percentile of the largest codes of natural scenes. Run from the
project's root; a mode takes five to ten minutes on 2 cores:

    python tests/benchmarks/faithful.py [--modes per-model,shared,coupled] [--out outputs/faithful] ...

`--variant parameterization=maco --variant steps=48,augmentation.noise=0.04` adds runs that differ in these; the last
table has a line for each.

What that gave (--modes per-model --only red,purple,grey,stripes,checker,dots,grid,speckle; of 24 pictures, 8 in each
of the three backbones; all of them fire):

    variant                     read right   strong
    default (6 crops, 96 steps,
    fourier, decay 1.5, noise
    of up to 0.15)                      23       24
    steps=48                            23       24
    steps=192                           21       24
    views=2                             23       24
    decay=1.0                           22       24
    image=maco                          19       24
    image=pixel                         18       15
    augmentation=lucid                  19       24
    augmentation=none                   12        0
    augmentation.noise=0.04             19       24

So augmentations are needed, noise among them, and Fourier rather than MACO; half the steps and a third of the crops
would do for these eight.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from reader import colour_accuracy, read_colour, train_texture_reader

import usae_train as ut
import usae_viz as uv
from usae_train.files.validation import check_settings
from usae_viz.concepts.followed import FOLLOWS_AUROC, best_concept
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.score import Score

FACTORS = ("colour", "texture")
STRONG = 99.9  # percentile of natural scenes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--side", type=int, default=96, help="px that the texture reader sees a picture at")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--modes", default="per-model,shared,coupled")
    parser.add_argument("--parameterization")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--views", type=int)
    parser.add_argument("--size", type=int)
    parser.add_argument("--learning-rate", type=float)
    parser.add_argument("--augmentation")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--only", help="comma-separated factor values")
    parser.add_argument(
        "--variant", action="append", default=[], help="comma-separated settings, such as image=maco,steps=48"
    )
    chosen = parser.parse_args()
    keys = ("parameterization", "steps", "views", "size", "learning_rate", "augmentation", "seed")

    usae = ut.load(chosen.usae)
    reader, accuracy = train_texture_reader()
    print(f"texture reader, held-out scenes: {accuracy:.3f} of the places right")
    print(f"colour reader, bare surfaces: {colour_accuracy():.3f} right")
    named = [(row, *name.partition(": ")) for row, name in enumerate(usae.factors)]
    values = [(row, factor, value) for row, factor, _, value in named if factor in FACTORS]
    best = {row: best_concept(usae, row) for row, _, _ in values}
    recovered = [v for v in values if best[v[0]][1] >= FOLLOWS_AUROC]
    print(f"recovered (AUROC >= {FOLLOWS_AUROC} in all backbones): {len(recovered)} of {len(values)}")
    values_to_draw = [v for v in recovered if not chosen.only or v[2] in chosen.only.split(",")]
    report: dict[str, Any] = {"reader": accuracy, "runs": {}}
    table = []
    options = {key: getattr(chosen, key) for key in keys if getattr(chosen, key) is not None}
    runs = [(mode, variant) for variant in ["", *chosen.variant] for mode in chosen.modes.split(",")]
    for mode, variant in runs:
        changes: dict[str, Any] = dict(part.split("=") for part in variant.split(",") if part)
        for key in [key for key in changes if "." in key]:  # a setting of settings
            outer, inner = key.split(".")
            changes.setdefault(outer, {})[inner] = changes.pop(key)
        settings = check_settings(MaximizeSettings, mode=mode, **{**options, **changes})
        tally: dict[str, list[tuple[bool, bool, bool]]] = {}
        rows = []
        drawn = uv.maximize_each(usae, [uv.Concept(best[row][0]) for row, _, _ in values_to_draw], settings)
        for (row, factor, value), result in zip(values_to_draw, drawn, strict=True):
            if chosen.out:
                result.save(chosen.out / mode / (variant or "default"))
            pictures = torch.stack(list(result.images.values()))
            read = read_colour(pictures) if factor == "colour" else reader.read(pictures, chosen.side)
            scores = result.scores
            assert scores is not None  # it was not told to leave them out
            for name, reading in zip(result.images, read, strict=True):
                own_scores = [scores[name][backbone] for backbone in scores.drawn_for[name]]
                percentiles = [score.percentile for score in own_scores if isinstance(score, Score)]
                strong = all(percentile is not None and percentile >= STRONG for percentile in percentiles)
                tally.setdefault(name, []).append((reading == value, scores.fired(name), strong))
            concept, auroc = best[row]
            readings = dict(zip(result.images, read, strict=True))
            rows.append({"value": value, "concept": concept, "auroc": auroc, "read": readings})
            words = "  ".join(f"{name}: {word}" for name, word in readings.items())
            print(f"{mode:9s} {value:8s} concept {concept:4d} AUROC {auroc:.3f}  {words}", flush=True)
        for name, marks in tally.items():
            right, fired, strong = (sum(column) for column in zip(*marks, strict=True))
            n = len(marks)
            table.append(f"{variant or 'default':28s} {mode:10s} {name:8s} {right:3d} {fired:3d} {strong:3d} of {n}")
            print(f"{table[-1]}  read right, fire, pass the {STRONG}th percentile", flush=True)
        kept = {"settings": settings.model_dump(mode="json"), "rows": rows, "tally": tally}
        report["runs"][f"{mode} {variant}".strip()] = kept
    print("\nvariant                      mode       picture  read right, fire, strong", *table, sep="\n")
    if chosen.out:
        (chosen.out / "faithful.json").write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
