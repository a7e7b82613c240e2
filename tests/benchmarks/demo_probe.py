"""Nine figures: have the demo backbones learned something? Linear probes on their tokens, on held-out scenes.

Run from the project's root (about three minutes on 2 cores):

    python tests/benchmarks/demo_probe.py [--usae demo] [--scenes 1500] [--values]

With --values a table more: the AUROC of a linear direction that was taught a factor value, which is about what a
concept for it could reach at best.
"""

import argparse

import usae_train as ut
from usae_train.demo.probe import linear_areas, probe
from usae_train.scenes.factors import FACTOR_VALUES, FACTORS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--scenes", type=int, default=1500, help="to train the probes on; half as many to test them")
    parser.add_argument("--values", action="store_true", help="AUROC of a taught direction for each value as well")
    chosen = parser.parse_args()
    usae = ut.load(chosen.usae)
    assert usae.grid is not None
    print("backbone  " + "  ".join(f"{factor:>8s}" for factor in FACTORS))
    for name, accuracies in probe(usae.backbones, usae.grid, chosen.scenes).items():
        print(f"{name:9s} " + "  ".join(f"{accuracies[factor]:8.3f}" for factor in FACTORS), flush=True)
    if chosen.values:
        areas = linear_areas(usae.backbones, usae.grid, chosen.scenes)
        print(f"{'':20s}" + "".join(f"{name:>9s}" for name in areas))
        for value in FACTOR_VALUES:
            print(f"{value:20s}" + "".join(f"{own[value]:9.3f}" for own in areas.values()))


if __name__ == "__main__":
    main()
