"""Which variant of the space is worth what? One table a world: known, the demo's pictures, real networks.

Each variant changes one thing of the `default` recipe (`published ...` of the published one) and is trained from two
starts. The columns: R² of held-out tokens from a backbone's own codes and from others' (around each feature's mean);
the share of the concepts that fire in held-out tokens through each backbone; how many are active a token; the mean
cosine of the two starts' atoms, matched one to one over all dictionaries; where the truth is known, the share of the
true shared atoms that one index has in every backbone (cosine >= 0.9), and in the demo that of colours, textures and
shapes for which one concept has a patch AUROC of 0.9 in all backbones; in a world that has pictures, those of
`--pictures` concepts that are read right (variant_pictures.py says by whom); and a step's processor time, each
variant's steps in turn with the default's, as a ratio of medians. Run from the project's root:

    OMP_NUM_THREADS=1 python tests/benchmarks/variants.py [--worlds known hard demo real paper] [--stores STORES]

STORES has the stores `train` and `held` of real networks (real_recipe.py says how they are made).

Measured with --steps 300 --pictures 4, one thread of a machine that four others used:

    known, 300 steps
                            own    off  active  live (a, b, c)           two starts  truth  read right     ms ratio
    topk                  0.812  0.703     8.0  0.98 0.98 0.98                0.711   0.96           -     10  1.00
    batchtopk             0.803  0.692     8.1  0.99 0.98 0.98                0.700   0.93           -     11  1.05
    jumprelu              0.816  0.705     8.1  0.99 1.00 0.99                0.674   0.98           -     13  1.30
    not nested            0.799  0.693     8.0  0.98 0.97 0.97                0.772   0.92           -     10  0.94
    1/16, 1/4, 1/2        0.811  0.704     8.0  0.96 0.99 0.99                0.722   0.96           -     11  1.08
    one drawn             0.806  0.700     8.0  0.98 0.98 0.98                0.729   0.96           -     10  0.99
    archetypal            0.787  0.678     8.0  0.95 0.96 0.95                0.667   0.82           -     13  1.27

    hard, 300 steps
                            own    off  active  live (a, b, c, noise)    two starts  truth  read right     ms ratio
    topk                  0.665  0.263     8.0  0.87 0.81 0.89 0.59           0.410   0.94           -      9  1.00
    batchtopk             0.671  0.262     8.0  0.83 0.87 0.85 0.58           0.399   0.91           -     10  1.11
    jumprelu              0.666  0.266     8.0  0.91 0.93 0.87 0.77           0.365   0.92           -     11  1.26
    not nested            0.644  0.259     8.0  0.84 0.84 0.86 0.60           0.477   0.91           -      8  0.99
    1/16, 1/4, 1/2        0.669  0.263     8.0  0.87 0.88 0.81 0.55           0.398   0.98           -      9  1.06
    one drawn             0.661  0.263     8.0  0.85 0.80 0.87 0.64           0.398   0.98           -      9  1.00
    archetypal            0.628  0.262     8.0  0.86 0.85 0.86 0.67           0.403   0.81           -     11  1.27

    demo, 300 steps
                            own    off  active  live (vit, dino, siglip) two starts  truth  read right     ms ratio
    topk                  0.860  0.680    24.0  1.00 1.00 1.00                0.515   0.66     9 of 12     34  1.00
    batchtopk             0.870  0.682    27.7  1.00 1.00 1.00                0.503   0.64     9 of 12     33  0.96
    jumprelu              0.877  0.685    27.1  1.00 1.00 1.00                0.522   0.68     9 of 12     31  0.91
    not nested            0.857  0.678    24.0  1.00 1.00 1.00                0.528   0.59    11 of 12     31  0.89
    1/16, 1/4, 1/2        0.860  0.679    24.0  1.00 1.00 1.00                0.514   0.68     9 of 12     38  1.11
    one drawn             0.859  0.678    24.0  1.00 1.00 1.00                0.525   0.64     9 of 12     33  0.96
    archetypal            0.845  0.665    24.0  1.00 1.00 1.00                0.508   0.64     9 of 12     36  1.03

    real, 300 steps
                            own    off  active  live (dino, lite0, lite2) two starts  truth  read right     ms ratio
    topk                  0.611  0.376    12.0  0.99 0.99 0.98                0.569      -     4 of 24     30  1.00
    batchtopk             0.631  0.378    13.3  0.99 0.98 0.97                0.554      -     8 of 24     32  1.06
    jumprelu              0.635  0.388    12.8  0.99 0.98 0.98                0.541      -     6 of 24     33  1.12
    not nested            0.609  0.380    12.0  0.98 0.98 0.98                0.610      -     0 of 24     26  0.88
    1/16, 1/4, 1/2        0.610  0.375    12.0  0.99 0.98 0.98                0.561      -     5 of 24     36  1.19
    one drawn             0.610  0.378    12.0  0.97 0.98 0.98                0.570      -     6 of 24     29  0.98
    archetypal            0.595  0.377    12.0  0.95 1.00 1.00                0.529      -     3 of 24     33  1.11

    paper (768/384/768, 6144 concepts, k = 32, 1568 tokens), steps 10 to 30 of 60: step times alone
                                   ms ratio
    topk                          280  1.00
    batchtopk                     343  1.22  (steps 10 to 26 of 52; 1.35 before pre-codes were gone through once)
    jumprelu                      391  1.40  (1.90 before what is below its threshold was left out of sums)
    not nested                    272  0.97
    1/16, 1/4, 1/2                300  1.07
    one drawn                     281  1.00
    archetypal                    397  1.42

    the same, later (steps 10 to 40 of 80, nothing beside it, an AMD EPYC): topk 225, batchtopk 271 (1.20),
    jumprelu 311 (1.38), archetypal 296 (1.31)

    with inner products by torch's sparse matrices, archetypal rows in one matrix, and the recipe of 0.9 (the same
    steps): topk 253, jumprelu 288 (1.14), archetypal 322 (1.27); in a run of 30 batchtopk 1.22, jumprelu 1.23 and
    archetypal 1.40; under load jumprelu 1.26, archetypal 1.43. With memory kept from step to step and nothing beside it
    (the same 20 steps, four at once): topk 214, batchtopk 260 (1.21), jumprelu 257 (1.20), archetypal 291 (1.36).

At most 1.3 was asked for. JumpReLU computes what is near below a threshold as well, for the threshold's gradient: 160
entries a token, whose inner products are most of what its step costs more (sparse_ops.py); what is near is found by
bits in 1.3 ms and not 6.5.

Pictures read right are of the first start alone; in the demo a picture in each of three backbones, so not twelve
independent ones, and without nesting fewer factors have a concept to be drawn (truth). With --pictures 8 and by 0.8's
recipe the demo had topk 19 of 24, batchtopk 20, jumprelu 21, archetypal 21, not nested 24, by a copy of this script in
ten processes. Of real networks each picture is read by the two others; it is drawn with 24 steps of two views at 224
px, more were not tried. So few pictures do not tell the kinds of sparsity apart.

By these `topk` stays the default: `jumprelu` explains a little more in all four, and in three of them its two starts
agree less; what `batchtopk` wins of own tokens it hardly wins of others'. Without nesting starts agree most, and in the
demo fewer factors have a concept. A quick look before: thresholds that learn at the recipe's own rate lag behind
pre-codes that shrink (real, 200 steps: R² 0.53 of own and 0.30 of others' tokens; at five times it 0.60 and 0.36), and
without decay a third of JumpReLU's concepts are silent in the known world.
"""

import argparse
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from known_world import draw, recovered
from real_recipe import tokens_of, whole
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from train_speed import N_CONCEPTS, TOKENS, WIDTHS, K
from variant_pictures import Reading, read_in_photographs, read_in_scenes

import usae_train as ut
from usae_train.backbones.spec import BackboneSpec
from usae_train.demo.activations import known_world
from usae_train.evaluation.ground_truth.truth import RECOVERED_AUROC, codes_auroc, factor_truth
from usae_train.evaluation.measures import Measures
from usae_train.evaluation.metrics import r2_summary
from usae_train.images.sources import DemoImages
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.signals import Stopped
from usae_train.tokens.paired import PairedTokens, TokenSource, collect_tokens
from usae_train.tokens.store import ActivationStore
from usae_train.training.checkpointing import TrainingCheckpointer, TrainingState
from usae_train.training.loop import EXACT_STEPS, fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe

CHANGES: dict[str, dict[str, Any]] = {
    "topk": {},
    "batchtopk": {"sparsity": "batchtopk"},
    "jumprelu": {"sparsity": "jumprelu"},
    "not nested": {"matryoshka_fractions": ()},
    "1/16, 1/4, 1/2": {"matryoshka_fractions": (1 / 16, 1 / 4, 1 / 2)},
    "one drawn": {"matryoshka_fractions": (1 / 16,), "matryoshka": "drawn"},
    "archetypal": {"dictionary": "archetypal"},
}
VARIANTS = {
    name if base is DEFAULT else f"published {name}": TrainingRecipe(**{**dict(base), **change})
    for base in (DEFAULT, PUBLISHED)
    for name, change in CHANGES.items()
}
USUAL = [name for name, recipe in VARIANTS.items() if recipe.name == DEFAULT.name]


class World(NamedTuple):
    """Tokens to train on and to judge by, how large a space is, which of the truth a USAE has found, what it shows."""

    train: Mapping[str, Tensor]  # {backbone: (n, width)}
    held: PairedTokens
    sizes: dict[str, int]
    found: Callable[[USAE], float] | None = None
    read: Callable[[USAE, int], Reading] | None = None  # pictures of so many concepts
    specs: Mapping[str, BackboneSpec] = MappingProxyType({})  # of the backbones that draw them
    grid: tuple[int, int] | None = None


def known(name: str) -> World:
    """A world whose true code is known, laid out as pictures of ten tokens."""
    train, held = draw(name)
    images = {backbone: tokens.view(-1, 10, tokens.shape[1]) for backbone, tokens in held.tokens.items()}
    numbers = torch.arange(len(next(iter(images.values()))))
    sizes = {"n_concepts": 256, "k": 8, "batch": 1024}
    return World(train.tokens, PairedTokens(images, numbers), sizes, lambda usae: recovered(usae, train))


def demo() -> World:
    """Scenes as the demo's backbones see them."""
    usae = ut.load("demo")
    assert usae.grid is not None
    tokens_of = {
        split: collect_tokens(TokenSource(usae.backbones, DemoImages(count, split), usae.grid), batch=64)
        for split, count in (("train", 300), ("held-out", 100))
    }
    truth = factor_truth(DemoImages(100), tokens_of["held-out"].numbers, usae.grid)
    flat = {name: own.float() for name, own in tokens_of["held-out"].flat().items()}

    def areas(trained: USAE) -> Tensor:  # (values, concepts)
        codes = {name: trained.encode(name, rows) for name, rows in flat.items()}
        return codes_auroc(codes, trained.n_concepts, truth).nan_to_num(0.0).amin(0)

    def found(trained: USAE) -> float:
        return (areas(trained).amax(-1) >= RECOVERED_AUROC).float().mean().item()

    def read(trained: USAE, count: int) -> Reading:
        return read_in_scenes(trained, areas(trained), count)

    train = {name: own.float() for name, own in tokens_of["train"].flat().items()}
    sizes = {"n_concepts": 256, "k": 24, "batch": 2048}
    return World(train, tokens_of["held-out"], sizes, found, read, usae.specs, usae.grid)


def real(stores: Path) -> World:
    """400 photographs as three real networks see them, judged by others."""
    feed = tokens_of(stores / "train", "drawn")
    train, held = feed.pick(torch.arange(len(feed))), whole(stores / "held")
    record = ActivationStore(stores / "held").record
    sizes = {"n_concepts": 512, "k": 12, "batch": 2048}
    return World(
        train,
        held,
        sizes,
        read=lambda trained, count: read_in_photographs(trained, held, count),
        specs=record.backbones,
        grid=record.grid,
    )


def settings_of(world: World, recipe: TrainingRecipe, steps: int, seed: int = 0) -> FitSettings:
    """A start is what both seeds decide."""
    return FitSettings(steps=steps, seed=seed, init_seed=seed, recipe=recipe, **world.sizes)


def trained(world: World, settings: FitSettings) -> USAE:
    """A training that knows the backbones its tokens are from."""
    widths = {name: rows.shape[1] for name, rows in world.train.items()}
    return fit_tokens(world.train, settings, new_usae(widths, settings, specs=world.specs, grid=world.grid))


def matched_cosine(one: USAE, other: USAE) -> float:
    """Mean cosine of two trainings' atoms, matched one to one by the mean over the backbones' dictionaries."""
    cosines = torch.stack([one.dictionary(name) @ other.dictionary(name).T for name in one.names]).mean(0)
    return float(cosines.numpy()[linear_sum_assignment(-cosines.numpy())].mean())


def judged(world: World, usae: USAE) -> tuple[float, float, list[float], float]:
    """R² own and off-diagonal, live shares, and active concepts a token, of held-out tokens."""
    measures = Measures(usae)
    tokens = {name: world.held.tokens[name].float() for name in usae.names}
    measures.add(PairedTokens(tokens, world.held.numbers), 0)
    summary = r2_summary(measures.total().r2)
    active = [(usae.encode(name, own.flatten(0, 1)).values > 0).sum(-1).float().mean() for name, own in tokens.items()]
    live = (1 - measures.firing.statistics().dead_share).tolist()
    own, off = summary["diagonal"], summary["off_diagonal"]
    assert own is not None
    assert off is not None
    return own, off, live, torch.stack(active).mean().item()


class Turns:
    """Lets several trainings, each in a thread, take their steps in turn, and times them on the processor."""

    def __init__(self, count: int, steps: int) -> None:
        self.count, self.steps, self.next = count, steps, 0
        self.changed = threading.Condition()
        self.seconds: list[list[float]] = [[] for _ in range(count)]

    def wait(self, number: int) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.next % self.count == number)

    def passed(self) -> None:
        with self.changed:
            self.next += 1
            self.changed.notify_all()


class InTurn(TrainingCheckpointer):
    """Keeps no states: it waits for its turn after each step."""

    def __init__(self, turns: Turns, number: int) -> None:
        super().__init__(Path("unused"))
        self.turns, self.number = turns, number

    def restore(self, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> int:  # noqa: ARG002
        self.turns.wait(self.number)
        self.began = time.thread_time()
        return 0

    def after(self, step: int, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> None:  # noqa: ARG002
        self.turns.seconds[self.number].append(time.thread_time() - self.began)
        self.turns.passed()
        if step == self.turns.steps:
            raise Stopped("all turns were taken")
        self.turns.wait(self.number)
        self.began = time.thread_time()


def paper() -> World:
    """Tokens of the paper's sizes, for step times alone: as train_speed.py has them."""
    drawn = known_world(4 * TOKENS, torch.Generator().manual_seed(0), WIDTHS, shared=512, active=16).tokens
    sizes = {"n_concepts": N_CONCEPTS, "k": K, "batch": TOKENS}
    return World(drawn, PairedTokens({}, torch.arange(0)), sizes)


def step_ratios(world: World, names: list[str], steps: int, schedule: int = 10_000) -> dict[str, tuple[float, float]]:
    """{variant: (milliseconds of a step, median; as a multiple of the first one's)}, all in turn.

    Args:
        world: what is trained on.
        names: the variants.
        steps: of each that are taken.
        schedule: steps that the training would have; figures are taken at the first alone.
    """
    turns = Turns(len(names), steps)

    def train(number: int, name: str) -> None:
        settings = settings_of(world, VARIANTS[name], schedule)
        with suppress(Stopped):
            fit_tokens(world.train, settings, checkpointer=InTurn(turns, number), log_every=schedule)

    threads = [threading.Thread(target=train, args=pair) for pair in enumerate(names)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    medians = [torch.tensor(seconds[EXACT_STEPS:]).median().item() for seconds in turns.seconds]
    return {name: (1000 * seconds, seconds / medians[0]) for name, seconds in zip(names, medians, strict=True)}


def read_right(world: World, space: USAE, count: int) -> str:
    """Of the pictures of so many concepts how many were read right; `-` for no picture."""
    if world.read is None or not count:
        return "-"
    right, read = world.read(space, count)
    return f"{right} of {read}"


def table(title: str, world: World, names: list[str], steps: int, turns: int, pictures: int) -> None:
    """Train, judge and print a world's rows."""
    began = time.process_time()
    ratios = step_ratios(world, names, turns)
    lives = f"live ({', '.join(world.train)})"
    print(f"\n{title}, {steps} steps")
    print(f"{'':26s}    own    off  active  {lives:24s} two starts  truth  read right     ms ratio")
    for name in names:
        pair = [trained(world, settings_of(world, VARIANTS[name], steps, seed)) for seed in (0, 1)]
        own, off, live, active = judged(world, pair[0])
        found = "   -" if world.found is None else f"{sum(map(world.found, pair)) / 2:.2f}"
        shares = " ".join(f"{share:.2f}" for share in live)
        print(
            f"{name:26s} {own:6.3f} {off:6.3f} {active:7.1f}  {shares:24s} {matched_cosine(*pair):10.3f} {found:>6s} "
            f"{read_right(world, pair[0], pictures):>11s} {ratios[name][0]:6.0f} {ratios[name][1]:5.2f}",
            flush=True,
        )
    print(f"{time.process_time() - began:.0f} s of the processor", flush=True)


def timed_table(title: str, world: World, names: list[str], turns: int) -> None:
    """Print a world's step times; the schedule is short, so that thresholds have gone where they go."""
    print(f"\n{title}, steps {EXACT_STEPS} to {turns} of {2 * turns}")
    for name, (milliseconds, ratio) in step_ratios(world, names, turns, 2 * turns).items():
        print(f"{name:26s} {milliseconds:6.0f} {ratio:5.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--worlds", nargs="*", default=["known", "hard", "demo"], choices=("known", "hard", "demo", "real", "paper")
    )
    parser.add_argument("--stores", type=Path, help="folder with the stores `train` and `held`, for `real`")
    parser.add_argument(
        "--only", nargs="*", choices=VARIANTS, default=USUAL, help="variants; the first is compared with"
    )
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--turns", type=int, default=30, help="steps that are timed")
    parser.add_argument("--pictures", type=int, default=4, help="concepts that are drawn; 0 for none")
    chosen = parser.parse_args()
    worlds: dict[str, Callable[[], World]] = {
        "known": lambda: known("easy"),
        "hard": lambda: known("hard"),
        "demo": demo,
        "real": lambda: real(chosen.stores),
    }
    for name in chosen.worlds:
        if name == "paper":
            timed_table(name, paper(), chosen.only, chosen.turns)
            continue
        table(name, worlds[name](), chosen.only, chosen.steps, chosen.turns, chosen.pictures)


if __name__ == "__main__":
    main()
