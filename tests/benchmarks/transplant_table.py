"""Does a network decide as another one when it is given the other's codes? A table of answers that agree.

    python tests/benchmarks/transplant_table.py PHOTOGRAPHS [--usae photos] [--count 118]

For each pair of classifiers the share of photographs in which the receiver's top class is the donor's, as it is and
with codes put in: its own or the donor's, with what the space does not explain (`rest`) or without; and where the donor
saw another photograph (shuffled), how often the receiver answers as the donor does of this one, and of that one.

`photos`, the 118 held-out photographs of shared/real: answers of the donor (of what it saw), of the receiver by itself:

                                            lite0 as lite2   itself    lite2 as lite0   itself
    nothing put in                                   75.4%   100.0%             75.4%   100.0%
    donor's codes with the rest                      74.6%    83.9%             71.2%    84.7%
    shuffled donor's codes with the rest             61.0%     1.7%             54.2%     2.5%
    own codes alone                                  65.3%    68.6%             63.6%    70.3%
    donor's codes alone                              62.7%    69.5%             61.0%    66.1%
    shuffled donor's codes alone                     62.7%     0.8%             61.0%     2.5%

The codes carry the answer, and they carry the receiver's way of reading them: where the two disagree, the donor's codes
do not make the receiver agree.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

import usae_train as ut
from usae_train.backbones.backbone import Backbone
from usae_train.model.usae import USAE
from usae_train.runtime.sampling import drawn_numbers

BATCH = 8


def answers(
    usae: USAE, receiver: str, shown: Tensor, donor: str | None = None, given: Tensor | None = None, rest: bool = True
) -> Tensor:
    """(photographs,): a receiver's top classes of canvases, with a donor's codes of others (or of the same)."""
    found = []
    with torch.no_grad():
        for own, other in zip(shown.split(BATCH), (shown if given is None else given).split(BATCH), strict=True):
            network = usae.backbones[receiver]
            within: AbstractContextManager[Backbone] = nullcontext(network)
            if donor is not None:
                within = ut.transplant(usae, receiver, donor, other, keep_rest=rest)
            with within:
                found.append(network.logits(own).argmax(1))
    return torch.cat(found)


def rows(usae: USAE, receiver: str, donor: str, shown: Tensor) -> Iterator[tuple[str, list[float]]]:
    """What is put in; shares that answer as the donor of this photograph, of the one it saw, and as without it."""
    there, plain = answers(usae, donor, shown), answers(usae, receiver, shown)
    order = torch.randperm(len(shown), generator=torch.Generator().manual_seed(0))
    turned = torch.empty_like(order).scatter(0, order, order.roll(1))  # one circle: none keeps its own

    def shares(given: Tensor, donor_saw: Tensor) -> list[float]:  # classes that were answered; photographs' numbers
        return [(given == other).float().mean().item() for other in (there, there[donor_saw], plain)]

    same = torch.arange(len(shown))
    yield "nothing", shares(plain, same)
    for rest in (True, False):
        word = "with the rest" if rest else "alone"
        yield f"own codes {word}", shares(answers(usae, receiver, shown, receiver, rest=rest), same)
        yield f"donor's codes {word}", shares(answers(usae, receiver, shown, donor, rest=rest), same)
        other = answers(usae, receiver, shown, donor, shown[turned], rest)
        yield f"shuffled donor's codes {word}", shares(other, turned)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs")
    parser.add_argument("--usae", default="photos")
    parser.add_argument("--count", type=int, default=118)
    args = parser.parse_args()
    usae, source = ut.load(args.usae), ut.open_images(args.photographs)
    size = usae.input_size
    shown = torch.stack([source.read(number, size) for number in drawn_numbers(len(source), args.count).tolist()])
    having = [name for name, spec in usae.specs.items() if spec.classes]
    for receiver in having:
        for donor in (name for name in having if name != receiver):
            print(f"\n{receiver} is given {donor}'s codes, {len(shown)} photographs; its answer is that of")
            print(f"{'put in':<38}{'the donor, of this':>20}{'of what it saw':>16}{'itself, plain':>15}")
            for put, (here, there, own_shares) in rows(usae, receiver, donor, shown):
                print(f"{put:<38}{here:>20.1%}{there:>16.1%}{own_shares:>15.1%}")


if __name__ == "__main__":
    main()
