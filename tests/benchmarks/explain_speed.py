"""What `explain` of one photograph costs beside the bare networks: a pass of each forward, and one backward.

    python tests/benchmarks/explain_speed.py PHOTOGRAPH [--usae USAE] [--times 5]

Processor seconds of one thread, the least of several turns: the networks forward and backward to the photograph;
`explain` with the importance of each classifier's top class (20 concepts taken away, each exactly), and its parts. Then
the peak of resident memory before and after.

A photograph of shared/real, one core beside other work, in turns with the version before (which ran what comes before
the read layer twice, the picture itself once more beside the 20, and encoded it once more):

                                                     forward and backward    explain      times    before
    `dino`, `lite0` and `lite2`                             0.34 s            0.32 s       0.94      1.05
    `photos`: both networks have an answer to ask about     0.11 to 0.12 s    0.22 to 0.23 s  1.91 to 1.98  2.31
    `demo`                                                  0.06 s            0.04 s       0.56      0.58

For `photos` 1.5 is out of reach: what follows the read layer of both networks is 13.3 billion operations for 20
pictures (torch's FlopCounterMode), three and a half times those of forward and backward of one, and 0.09 s at the speed
of this processor's matrix products (150 a nanosecond; the convolutions get 130 to 155); with the pass and its gradient
(0.06 s) that is 1.4 times, before a single activation, padding or depthwise convolution. Peak memory is that of the
bare networks, 0.96 GB.
"""

from __future__ import annotations

import argparse
import resource

import torch
from clocks import least_seconds
from torch import Tensor

import usae_train as ut
import usae_viz as uv
from usae_train.interventions.importance import class_view, without_each
from usae_train.model.usae import USAE


def peak() -> float:
    """The most memory that this process has had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def bare(usae: USAE, canvas: Tensor) -> None:
    """Each network forward, and backward to the photograph."""
    for backbone in usae.backbones.values():
        shown = canvas.clone().requires_grad_()
        output = backbone.logits(shown) if backbone.spec.classes else backbone(shown)
        output.amax().backward()


def explained(usae: USAE, photograph: str) -> uv.Explanation:
    """As the command does: the concepts' maps, and importance where there is an answer."""
    explanation = uv.explain(usae, photograph)
    for name in explanation.class_views:
        explanation.importance(name)
    return explanation


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photograph")
    parser.add_argument("--usae", default="photos")
    parser.add_argument("--times", type=int, default=5)
    args = parser.parse_args()
    torch.set_num_threads(1)
    usae = ut.load(args.usae)
    result = explained(usae, args.photograph)  # weights are read, and the sites found
    first = peak()
    without = least_seconds(lambda: bare(usae, result.canvas), args.times)
    print(f"{', '.join(usae.names)}: forward and backward {without:.3f} s, peak memory so far {peak():.2f} GB")
    whole = least_seconds(lambda: explained(usae, args.photograph), args.times)
    print(f"explain with importance {whole:.3f} s, {whole / without:.2f} times; peak memory {first:.2f} GB")
    for name in result.class_views:
        top = [[each.concept] for each in result.importance(name) if each.exact is not None]
        parts = {
            "forward": least_seconds(lambda name=name: forward(usae, name, result.canvas), args.times),  # type: ignore[misc]
            "class view": least_seconds(lambda name=name: class_view(usae, name, result.canvas), args.times),  # type: ignore[misc]
            f"{len(top)} taken away": least_seconds(
                lambda name=name, top=top: without_each(usae, name, result.canvas, top, result.class_views[name]),  # type: ignore[misc]
                args.times,
            ),
        }
        print(f"{name}: " + ", ".join(f"{part} {value:.3f} s" for part, value in parts.items()))


@torch.no_grad()
def forward(usae: USAE, backbone: str, canvas: Tensor) -> None:
    """One network forward."""
    usae.backbones[backbone].logits(canvas)


if __name__ == "__main__":
    main()
