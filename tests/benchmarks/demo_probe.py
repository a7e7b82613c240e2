"""Nine figures: have the demo backbones learned something? Linear probes on their tokens, on held-out scenes.

Run from the project's root (about three minutes on 2 cores):

    python tests/benchmarks/demo_probe.py [--usae demo] [--scenes 1500]
"""

import argparse

import usae_train as ut
from usae_train.demo.factors import FACTORS
from usae_train.demo.probe import probe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--scenes", type=int, default=1500, help="to train the probes on; half as many to test them")
    chosen = parser.parse_args()
    usae = ut.load(chosen.usae)
    assert usae.grid is not None
    print("backbone  " + "  ".join(f"{factor:>8s}" for factor in FACTORS))
    for name, accuracies in probe(usae.backbones, usae.grid, chosen.scenes).items():
        print(f"{name:9s} " + "  ".join(f"{accuracies[factor]:8.3f}" for factor in FACTORS))


if __name__ == "__main__":
    main()
