"""From which share of a picture's side on should a concept be shown? Crops of several ranges, judged at every scale.

Concepts that are recoverable (as verdicts.py says it) are drawn with each range of crops, and read under views that no
picture is optimized on. A line has, for the pictures that were drawn for a backbone (`shared`: for all): how many are
`strong`, how many pass the 99.9th percentile of natural pictures, the mean code in nearly the whole picture and in
crops of 0.7 and 0.5 of its side, the mean code in the backbones that they were not drawn for, and seconds of a core.
From the project's root; fifteen concepts of the demo take five minutes a range, six of three real networks ten:

    OMP_NUM_THREADS=1 python tests/benchmarks/crops.py [--usae demo] [--concepts 15] [--mode shared] [--least 0.2 0.5]

Measured on an EPYC, one thread, beside other work, by an earlier form of this script, which drew the demo's colours and
textures (15 of its concepts) and six drawn ones of a space of 512 over dino, lite0 and lite2 of shared/real:

    demo, per-model          strong   p99.9    whole   0.7    0.5   others
    vit     from 0.2 on      11/15    8/15     7.18   7.40   7.05    5.84
            from 0.35        14/15   12/15     7.66   7.74   7.35    5.95
            from 0.5         15/15   15/15     8.17   8.03   7.09    5.89
            from 0.6         15/15   15/15     8.24   8.18   5.89    5.85
    dino    from 0.2 on      14/15   11/15     7.92   7.99   7.70    5.16
            from 0.35        15/15   13/15     8.36   8.40   8.07    5.43
            from 0.5         15/15   15/15     8.79   8.68   7.80    5.62
            from 0.6         15/15   15/15     9.01   8.73   7.01    5.65
    siglip  from 0.2 on      13/15   10/15     7.63   7.74   7.57    5.33
            from 0.35        14/15   13/15     8.12   8.13   7.95    5.52
            from 0.5         15/15   15/15     8.57   8.54   7.78    5.65
            from 0.6         15/15   15/15     8.75   8.55   7.02    5.56
    shared  from 0.5         15/15   10/15     8.06   8.11   7.27      -    (from 0.2: 8 strong, 2 beyond)
    coupled from 0.5         45/45   42/45     8.27   8.23   7.34    6.72   (from 0.2: 34 strong, 22 beyond)

    real, per-model
    dino    from 0.2 on       6/6     6/6      8.37   8.14   7.90    3.02
            from 0.35         6/6     6/6      9.31   9.05   8.36    2.85
            from 0.5          6/6     6/6      9.98   9.59   8.21    3.04
    lite0   from 0.2 on       6/6     3/6      5.74   5.76   5.88    3.18
            from 0.35         6/6     4/6      6.21   6.37   6.25    3.29
            from 0.5          6/6     5/6      6.74   6.83   5.73    3.42
    lite2   from 0.2 on       5/6     2/6      5.61   5.83   5.78    2.82
            from 0.35         6/6     3/6      6.16   6.09   5.84    2.97
            from 0.5          6/6     3/6      6.61   6.64   5.62    3.01

So from 0.5, which is the default of what is not a class. A class, whose things have a size of their own, is read from
nearer where small crops are shown (real_reader.py).
"""

import argparse
import time
from statistics import fmean

import torch
from verdicts import recoverable

import usae_train as ut
import usae_viz as uv
from usae_train.files.validation import check_settings
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.held_out import CLOSER_SHARES
from usae_viz.verification.score import Score

STRONG = 99.9  # percentile of natural pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--concepts", type=int, default=15, help="recoverable ones that are drawn")
    parser.add_argument("--mode", default="per-model")
    parser.add_argument("--least", type=float, nargs="+", default=[0.2, 0.35, 0.5, 0.6], help="smallest shares")
    parser.add_argument("--seed", type=int, default=0, help="which concepts")
    chosen = parser.parse_args()
    usae = ut.load(chosen.usae)
    concepts = recoverable(usae, usae.names)
    order = torch.randperm(len(concepts), generator=torch.Generator().manual_seed(chosen.seed))
    objectives = [uv.Concept(concepts[place]) for place in order[: chosen.concepts].tolist()]
    closer = "".join(f"{share:7}" for share in CLOSER_SHARES)
    print(f"picture   least  strong   p{STRONG}    whole{closer}   others  (of {len(concepts)} recoverable concepts)")
    for least in chosen.least:
        settings = check_settings(MaximizeSettings, mode=chosen.mode, augmentation={"crop": (least, 1.0)})
        began, scores = time.process_time(), dict[str, list[dict[str, Score]]]()
        others: dict[str, list[float]] = {}
        for result in uv.maximize_each(usae, objectives, settings):
            assert result.scores is not None
            for image, by_backbone in result.scores.table.items():
                drawn_for = result.scores.drawn_for[image]
                read = {name: score for name, score in by_backbone.items() if isinstance(score, Score)}
                scores.setdefault(image, []).append({name: read[name] for name in drawn_for})
                others.setdefault(image, []).extend(read[name].code for name in read if name not in drawn_for)
        for image, rows in scores.items():
            print(line(image, least, rows, others[image]), flush=True)
        print(f"{time.process_time() - began:.0f} s", flush=True)


def line(image: str, least: float, rows: list[dict[str, Score]], others: list[float]) -> str:
    """Of the pictures of one name, each with its scores in the backbones that it was drawn for."""
    strong = sum(all(score.judge()[0] == "strong" for score in row.values()) for row in rows)
    beyond = sum(all((score.percentile or 0.0) >= STRONG for score in row.values()) for row in rows)
    flat = [score for row in rows for score in row.values()]
    means = [
        fmean(score.code for score in flat),
        *(fmean(s.closer[f"{share:g}"] for s in flat) for share in CLOSER_SHARES),
    ]
    codes = "".join(f"{mean:7.2f}" for mean in means)
    elsewhere = f"{fmean(others):7.2f}" if others else "      -"
    return f"{image:8s} {least:6.2f}  {strong:3d}/{len(rows)}  {beyond:3d}/{len(rows)} {codes} {elsewhere}"


if __name__ == "__main__":
    main()
