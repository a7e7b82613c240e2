"""Processor seconds of a network forward, and forward and backward, in several builds of the project, in one run.

Each build is a folder with `usae_train` in it, and runs in a process of its own; they take turns, and the best of each
is told. The networks are those of ../shared/real. Run from the project's root:

    python tests/benchmarks/backbone_speed.py [BUILD ...] [--backbones lite0,lite2] [--turns 3] [--pictures 6]
"""

import argparse
import json
import time
from pathlib import Path

import torch
from builds import in_turns
from real_networks import needs_real_folder

HERE = str(Path(__file__).parents[2])


def best_of(names: list[str], pictures: int) -> dict[str, list[float]]:
    """{backbone and precision: [forward, forward and backward]}, the best of three passes each, in this build."""
    from usae_train.backbones.backbone import Backbone
    from usae_train.model.spec_files import read_specs

    specs, results = read_specs(str(needs_real_folder() / "specs.yaml")), {}
    for name in names:
        backbone = Backbone(name, specs[name])
        canvas = torch.rand(pictures, 3, backbone.input_size, backbone.input_size)
        for half in (False, True):
            with torch.autocast("cpu", torch.bfloat16, enabled=half):
                taken = [[_seconds(backbone, canvas, backward) for backward in (False, True)] for _ in range(3)]
            results[f"{name} {'bfloat16' if half else 'float32'}"] = [min(each) for each in zip(*taken, strict=True)]
    return results


def _seconds(backbone: torch.nn.Module, canvas: torch.Tensor, backward: bool) -> float:
    began = time.process_time()
    with torch.set_grad_enabled(backward):
        tokens = backbone(canvas.clone().requires_grad_(backward))
        if backward:
            tokens.float().square().mean().backward()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("builds", nargs="*", default=[HERE])
    parser.add_argument("--backbones", default="lite0,lite2,dino")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=6)
    parser.add_argument("--this-build", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.this_build:
        print(json.dumps(best_of(chosen.backbones.split(","), chosen.pictures)))
        return
    arguments = ["--backbones", chosen.backbones, "--pictures", str(chosen.pictures), "--this-build"]
    runs = in_turns(chosen.builds, chosen.turns, __file__, arguments)
    for case in next(iter(runs.values()))[0]:
        for build, seconds in runs.items():
            forward, both = (min(run[case][kind] for run in seconds) for kind in (0, 1))
            print(f"{case:16s} {build}: forward {forward:.3f} s, and backward {both:.3f} s")


if __name__ == "__main__":
    main()
