"""How fast is a training step? Against the published arithmetic, built from the `overcomplete` package, in one run.

Needs the `bench` extra. The paper's size: widths 768/384/768, 6144 concepts, k = 32, 1568 tokens per step. Run from the
project's root; it takes about four minutes on 2 cores:

    python tests/benchmarks/train_speed.py [--steps 16]
    python tests/benchmarks/train_speed.py --losses [--steps 50] [--shrink 4]

The peer is TopKSAE with its own encoder (Linear, BatchNorm, ReLU, TopK) and dictionary layer, L1 loss with the
auxiliary term 0.1, AdamW, one optimizer a pair, as the authors' loop has it. Ours is `fit_tokens` as it stands; after
each of its steps the peer takes one, so that whatever else the machine does hits both alike. Medians of all steps but
the first ten, whose products `published` takes in float32 (EXACT_STEPS of training/loop.py), on the clock and in
processor time. A token is one position that every backbone saw: a step has 1568 in every row, and each is encoded once
(`default`: a third by each backbone) and decoded by all three dictionaries.

`--losses`: our `published` recipe and the peer, from the same weights on the same batches; the largest relative
difference of their losses should be below 1e-4.

Measured on two cores of an EPYC with avx512_bf16, nothing beside it:

    default     2 threads                       117 to 124 ms a step, overcomplete 2485 to 2525: 20.2, 20.7 and 21.2
    published   2 threads                       522 ms a step, overcomplete 2570 ms:  4.9
    default     OMP_NUM_THREADS=1               191 ms a step, overcomplete 4442 ms: 23.2
    published   OMP_NUM_THREADS=1              1025 ms a step, overcomplete 4946 ms:  4.8
    losses      --losses                        apart by 6.5e-5 at most, with OMP_NUM_THREADS=1 by 7.6e-5, where the
                                                target is 1e-4; 1123 ms a step, overcomplete 4574 ms: 4.1 (every pair's
                                                figures are computed at every step)

What keeps them apart is products in bfloat16 and what they turn in the steps after, most of all in AdamW's first ones:
apart by 1.2e-4 at most from our own losses in float32, with the first ten steps in float32 by 6e-5. Without that, at a
quarter of the size (--losses --shrink 4, where all in bfloat16 is 2.5e-4 apart) with some of `training/products.py` in
float32 by hand, over all 50 steps and over the first 10:

    all in float32                                          4.6e-6   3.4e-6
    gradient of the encoder's weight                        1.8e-4   8.2e-5
    gradient of the auxiliary term's codes                  2.6e-4   1.3e-4
    gradient of its dictionary                              3.0e-4   1.1e-4
    all three                                               2.5e-4   1.4e-4
    its forward product and the encoder's gradient          1.7e-4   3.1e-5
    these two and the gradient of its dictionary            1.3e-4   3.0e-5
    these two and the gradient of its codes                 5.3e-5   1.1e-5

At the whole size all in float32 took 1778 ms a step, 2.6 times as fast as overcomplete.
"""

import argparse
import os
import statistics
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import matplotlib.cm
import torch
from clocks import clocks, since
from torch import Tensor, nn

from usae_train.demo.activations import known_world
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.signals import Stopped
from usae_train.tokens.feeding import Batches, MemoryFeed
from usae_train.training.checkpointing import TrainingCheckpointer, TrainingState
from usae_train.training.initialization import initialize, standardization_rows
from usae_train.training.kernels.products import product_dtype
from usae_train.training.loop import EXACT_STEPS, fit_tokens, learning_rate, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings

WIDTHS = {"siglip": 768, "dino": 384, "vit": 768}
TOKENS, N_CONCEPTS, K = 1568, 6144, 32
CPU = torch.device("cpu")
TARGETS = {"default": 20, "published": 4}


class PublishedPeer:
    """The authors' training loop (github.com/YorkUCVIL/UniversalSAE, universal_sae/train.py) on overcomplete's parts.

    Args:
        start: the USAE whose weights it begins with.
        settings: the `published` recipe's, for the schedule.
    """

    def __init__(self, start: USAE, settings: FitSettings) -> None:
        # overcomplete 0.3 asks for it, matplotlib 3.9 took it away
        vars(matplotlib.cm)["get_cmap"] = matplotlib.colormaps.get_cmap
        from overcomplete.sae import TopKSAE

        self.settings, recipe = settings, settings.recipe
        self.saes, self.optimizers = {}, {}
        for name, width in start.widths.items():
            sae = TopKSAE(width, settings.n_concepts, top_k=settings.k, encoder_module="mlp_bn_1").train()
            linear, encoder = sae.encoder.final_block[0], start.encoder(name)
            with torch.no_grad():
                linear.weight.copy_(encoder.linear.weight)
                linear.bias.copy_(encoder.linear.bias)
                sae.dictionary._weights.copy_(start.decoder(name).weight)
            self.saes[name] = sae
            self.optimizers[name] = torch.optim.AdamW(
                sae.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
            )

    def step(self, number: int, batch: dict[str, Tensor], drawn: str) -> float:
        """One step on standardized tokens (tokens, width); its loss."""
        optimizer = self.optimizers[drawn]
        optimizer.zero_grad()
        pre_codes, codes = self.saes[drawn].encode(batch[drawn])
        loss = torch.zeros(())
        for name, sae in self.saes.items():
            decoded = sae.decode(codes)
            loss = loss + auxiliary_loss(batch[name], decoded, pre_codes, codes, sae.get_dictionary())
        loss.backward()
        for sae in self.saes.values():
            nn.utils.clip_grad_norm_(sae.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = learning_rate(number, self.settings)
        optimizer.step()
        return loss.item()


def auxiliary_loss(tokens: Tensor, decoded: Tensor, pre_codes: Tensor, codes: Tensor, dictionary: Tensor) -> Tensor:
    """overcomplete's `top_k_auxiliary_loss` with absolute for squared errors, as the authors trained."""
    residual = tokens - decoded
    rest = pre_codes.relu() - codes
    top = rest.topk(rest.shape[1] // 2, dim=1)
    rest = torch.zeros_like(codes).scatter(-1, top.indices, top.values)
    return residual.abs().mean() + 0.1 * (residual - rest @ dictionary).abs().mean()


def replay(tokens: dict[str, Tensor], settings: FitSettings) -> Iterator[tuple[int, dict[str, Tensor], str]]:
    """The batches and draws that `fit_tokens` makes of these settings: (step, standardized tokens, drawn backbone)."""
    feed, generator = MemoryFeed(tokens), torch.Generator().manual_seed(settings.seed)
    usae = new_usae(feed.widths, settings)
    for name, rows in feed.pick(standardization_rows(len(feed), None, generator)).items():
        usae.scale(name).set(rows.float().mean(), rows.float().std())
    initialize(usae, feed, settings.recipe, settings.init_seed)
    batches = Batches(feed, settings.batch, generator)
    for step in range(settings.steps):
        batch = {name: usae.standardize(name, rows) for name, rows in batches.next().items()}
        yield step, batch, usae.names[int(torch.randint(len(usae.names), (1,), generator=generator))]


class Turns(TrainingCheckpointer):
    """After each of our steps the peer takes one; keeps no states, and stops after some turns.

    Attributes:
        ours: seconds of each of our steps: (on the clock, of the processor).
        peers: the same of the peer's.
        losses: the peer's.
    """

    def __init__(self, tokens: dict[str, Tensor], published: FitSettings, turns: int) -> None:
        super().__init__(Path(os.devnull))
        self.peer, self.shown = PublishedPeer(new_usae(widths(tokens), published), published), replay(tokens, published)
        self.turns = turns
        self.ours: list[tuple[float, float]] = []
        self.peers: list[tuple[float, float]] = []
        self.losses: list[float] = []

    def restore(self, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> int:  # noqa: ARG002
        self.began = clocks()
        return 0

    def after(self, step: int, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> None:  # noqa: ARG002
        self.ours.append(since(self.began))
        batch = next(self.shown)
        began = clocks()
        self.losses.append(self.peer.step(*batch))
        self.peers.append(since(began))
        if step == self.turns:
            raise Stopped("all turns were taken")
        self.began = clocks()


def widths(tokens: dict[str, Tensor]) -> dict[str, int]:
    return {name: rows.shape[1] for name, rows in tokens.items()}


def side_by_side(settings: FitSettings, tokens: dict[str, Tensor], turns: int) -> tuple[Turns, list[float]]:
    """Both in turns, for so many of the settings' steps; and our losses at the steps that are reported."""
    taken = Turns(tokens, settings.model_copy(update={"recipe": PUBLISHED}), turns)
    losses: list[float] = []
    with suppress(Stopped):
        fit_tokens(tokens, settings, progress=lambda step, figures: losses.append(figures["loss"]), checkpointer=taken)
    return taken, losses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, help=f"steps of each, {EXACT_STEPS + 1} to 100 [16; with --losses 50]")
    parser.add_argument("--losses", action="store_true", help="compare the losses step by step")
    parser.add_argument("--shrink", type=int, default=1, help="divide widths, concepts and tokens by this [1]")
    parser.add_argument("--only", choices=TARGETS, help="this recipe alone")
    chosen = parser.parse_args()
    if chosen.steps is not None and chosen.steps <= EXACT_STEPS:
        parser.error(f"--steps {chosen.steps}: expected {EXACT_STEPS + 1} to 100")
    turns, n = chosen.steps or (50 if chosen.losses else 16), TOKENS // chosen.shrink
    smaller = {name: width // chosen.shrink for name, width in WIDTHS.items()}
    world = known_world(4 * n, torch.Generator().manual_seed(0), smaller, shared=512, active=16)
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, products in {product_dtype(CPU)}")
    recipes = {"default": DEFAULT, "published": PUBLISHED}
    for name in [chosen.only] if chosen.only else ["published"] if chosen.losses else list(recipes):
        settings = FitSettings(
            n_concepts=N_CONCEPTS // chosen.shrink,
            k=K,
            batch=n,
            recipe=recipes[name],
            steps=turns if chosen.losses else 10_000,  # the short schedule reports each step's loss, the long one none
        )
        taken, losses = side_by_side(settings, world.tokens, turns)
        ours, peers = (
            [statistics.median(column) for column in zip(*seconds[EXACT_STEPS:], strict=True)]
            for seconds in (taken.ours, taken.peers)
        )
        print(
            f"{name:10s} {n / ours[0]:7.0f} tokens/s; overcomplete {n / peers[0]:5.0f}; ratio "
            f"{peers[0] / ours[0]:5.1f} on the clock, {peers[1] / ours[1]:5.1f} in processor time "
            f"({ours[1] * 1e3:.0f} ms, {peers[1] * 1e3:.0f} ms); target {TARGETS[name]}",
            flush=True,
        )
        if chosen.losses:
            apart = [abs(a / b - 1) for a, b in zip(losses, taken.losses, strict=True)]
            for step in range(0, len(apart), max(1, len(apart) // 10)):
                print(f"  step {step:3d}: {losses[step]:.6f} {taken.losses[step]:.6f} apart {apart[step]:.1e}")
            print(f"largest relative difference of {len(apart)} losses: {max(apart):.1e} (target 1e-4)")


if __name__ == "__main__":
    main()
