"""Do the concepts that `explain` calls important carry the answer? Deletion and insertion on held-out photographs.

    python tests/benchmarks/explain_proof.py PHOTOGRAPHS [--usae photos] [--independent SAES] [--count 50]

For each photograph and each backbone's own top class the firing concepts are taken away one after the other (deletion),
or given back after all were taken (insertion), in six orders: by exact importance, each alone; in turn, each chosen
without those before it; by the estimate gradient x code; by peak code; at random (the mean of three); and by the exact
importance of an independent SAE's own concepts. Printed are the mean logit that is lost after the first few, the areas
under the curves of the class's probability, how often the curves by importance and in turn lie under the one by peak
code, and the rank correlation of estimate and exact change.

`photos`, 50 of the held-out photographs of shared/real, SAEs of the same settings; logit lost after five and after 50
concepts, and areas (insertion in turn was not measured on all 50):

    order          lite0      50   deletion  insertion      lite2      50   deletion  insertion
    importance      3.09    6.21      0.109      0.187       3.07    6.54      0.146      0.312
    in turn         3.40    9.00      0.063                  3.46    9.39      0.096
    estimate        2.62    5.41      0.150      0.128       2.69    5.94      0.204      0.186
    peak            1.16    6.66      0.201      0.186       0.41    6.72      0.291      0.274
    random          0.05    0.71      0.513      0.003       0.06    0.55      0.585      0.011
    independent     3.08    6.20      0.096      0.234       3.18    6.33      0.161      0.321

The mean curve in turn lies under the one by peak at every step (94 and 97% of all photographs and steps); the one by
importance but for its end (83 and 87%). There is no fault in the single changes: they do not add up. The 50 most
important concepts would cost lite0 7.8 if they did, and cost 6.2, for several say the same; the 50 of the largest codes
would cost 2.1, 23 of them speaking against the class alone, and cost 6.7, for they are most of what the picture is.
With all 297 that fire gone the logit has lost 8.5. Taken in turn, 15 of the 50 are such as speak against it alone.
Rank correlation of estimate and exact change: 0.89 and 0.90, the least of a photograph 0.82 and 0.81.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor

import usae_train as ut
from usae_train.interventions.importance import class_view, without_each
from usae_train.interventions.removal_order import removal_order
from usae_train.model.statistics import FIRING_THRESHOLD
from usae_train.model.usae import USAE
from usae_train.runtime.sampling import drawn_numbers

STEPS = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50)  # concepts that are taken away
RANDOM_ORDERS = 3


def orders_of(usae: USAE, backbone: str, canvas: Tensor, seed: int) -> tuple[dict[str, list[int]], float, int]:
    """The firing concepts in each order, the rank correlation of estimate and exact change, and the class."""
    view = class_view(usae, backbone, canvas)
    peaks = view.codes.dense(usae.n_concepts).amax(0)
    firing = (peaks > FIRING_THRESHOLD).nonzero().flatten().tolist()
    logits = without_each(usae, backbone, canvas, [[concept] for concept in firing], view)[:, view.class_]
    exact = dict(zip(firing, (logits[0] - logits[1:]).tolist(), strict=True))
    estimate = {concept: view.estimate[concept].item() for concept in firing}
    generator = torch.Generator().manual_seed(seed)
    orders = {
        "importance": sorted(firing, key=lambda k: -exact[k]),
        "in turn": _with_the_rest(removal_order(usae, backbone, canvas, view, firing, STEPS[-1]), firing, exact),
        "estimate": sorted(firing, key=lambda k: -estimate[k]),
        "peak": sorted(firing, key=lambda k: -peaks[k].item()),
    }
    for number in range(RANDOM_ORDERS):
        orders[f"random {number}"] = [firing[at] for at in torch.randperm(len(firing), generator=generator)]
    return orders, float(spearmanr(list(exact.values()), list(estimate.values())).statistic), view.class_


def _with_the_rest(taken: list[int], firing: Sequence[int], exact: Mapping[int, float]) -> list[int]:
    """All that fire: those that were taken in turn, then the others by what each costs alone."""
    return taken + sorted(set(firing) - set(taken), key=lambda k: -exact[k])


def curves(
    usae: USAE, backbone: str, canvas: Tensor, orders: Mapping[str, Sequence[int]], class_: int
) -> dict[str, Tensor]:
    """{order: (logit or probability, deletion or insertion, step)} of a class."""
    sets: list[Sequence[int]] = []
    for order in orders.values():
        sets += [order[:step] for step in STEPS] + [order[step:] for step in STEPS]
    logits = without_each(usae, backbone, canvas, sets)[1:]
    both = torch.stack([logits[:, class_], logits.softmax(-1)[:, class_]])  # (2, orders * 2 * steps)
    return dict(zip(orders, both.view(2, len(orders), 2, len(STEPS)).unbind(1), strict=True))


def with_mean_of_random(curves_of: dict[str, Tensor]) -> dict[str, Tensor]:
    """The random orders as one."""
    random = [curves_of.pop(f"random {number}") for number in range(RANDOM_ORDERS)]
    return {**curves_of, "random": torch.stack(random).mean(0)}


def area(curve: Tensor) -> Tensor:
    """Under curves (..., steps), over the steps from 0 to the last, as a share of the width."""
    return torch.trapezoid(curve, torch.tensor(STEPS, dtype=torch.float)) / STEPS[-1]


def report(backbone: str, curves_of: Mapping[str, Tensor], correlations: Sequence[float]) -> None:
    """Print one backbone's figures; `curves_of` is {order: (photograph, logit or probability, way, step)}."""
    count = len(curves_of["importance"])
    print(f"\n{backbone}, {count} photographs; logit lost after so many concepts, and the area under the curve of the")
    print("class's probability over 0 to 50 concepts (deletion: less is better; insertion: more is better)")
    print(f"{'order':<12}" + "".join(f"{step:>8}" for step in STEPS[1:]) + f"{'deletion':>10}{'insertion':>10}")
    for order, each in curves_of.items():
        drop = (each[:, 0, 0, :1] - each[:, 0, 0]).mean(0)
        deletion, insertion = area(each[:, 1]).mean(0)
        print(f"{order:<12}" + "".join(f"{value:8.2f}" for value in drop[1:]) + f"{deletion:10.3f}{insertion:10.3f}")
    five = STEPS.index(5)
    lost_five = {order: each[:, 0, 0, 0] - each[:, 0, 0, five] for order, each in curves_of.items()}
    times = lost_five["importance"].mean() / lost_five["random"].mean()
    print(f"after five, by importance over at random: {times:.1f} times (of the means)")
    for order in ("importance", "in turn"):
        _against_peak(order, curves_of)
    print(
        f"rank correlation of estimate and exact change: mean {sum(correlations) / count:.2f}, "
        f"least {min(correlations):.2f}"
    )


def _against_peak(order: str, curves_of: Mapping[str, Tensor]) -> None:
    """Print where an order's deletion curve lies under the one by peak code."""
    drops, peak = curves_of[order][:, 1, 0, 1:], curves_of["peak"][:, 1, 0, 1:]
    above = [step for step, over in zip(STEPS[1:], drops.mean(0) >= peak.mean(0), strict=True) if over]
    where = "at every step" if not above else f"but for after {', '.join(map(str, above))} concepts"
    print(f"{order}, under the curve by peak: the mean {where}; {(drops < peak).float().mean():.0%} of all")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs")
    parser.add_argument("--usae", default="photos")
    parser.add_argument("--independent", type=Path, help="what `usae-train fit --independent` wrote")
    parser.add_argument("--count", type=int, default=50)
    args = parser.parse_args()
    usae, source = ut.load(args.usae), ut.open_images(args.photographs)
    numbers = drawn_numbers(len(source), args.count).tolist()
    for backbone in (name for name, spec in usae.specs.items() if spec.classes):
        alone = None if args.independent is None else ut.load(args.independent / backbone)
        curves_of: dict[str, list[Tensor]] = {}
        correlations = []
        for number in numbers:
            canvas = source.read(number, usae.backbones[backbone].input_size)[None]
            orders, correlation, class_ = orders_of(usae, backbone, canvas, number)
            correlations.append(correlation)
            canvas_curves = with_mean_of_random(curves(usae, backbone, canvas, orders, class_))
            if alone is not None:
                theirs, _, _ = orders_of(alone, backbone, canvas, number)
                by = {"independent": theirs["importance"]}
                canvas_curves |= curves(alone, backbone, canvas, by, class_)
            for order, each in canvas_curves.items():
                curves_of.setdefault(order, []).append(each)
        report(backbone, {order: torch.stack(each) for order, each in curves_of.items()}, correlations)


if __name__ == "__main__":
    main()
