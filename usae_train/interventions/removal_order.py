"""Which concepts carry a class together: removed one after the other, each judged without those before it.

Alone a concept may count for little because another carries the same; once that is removed, it counts. The 50 concepts
with the largest single effects are redundant: for lite0 on 50 photographs their effects sum to 7.8 of the logit, and
together they have 6.2. For the 50 with the largest peaks it is 2.1 and 6.7, and 23 of them count against the class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from usae_train.interventions.edits import removal_shifts
from usae_train.interventions.importance import ClassView, estimate_effects, find_answering_site, without_each
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.torch_defaults import with_torch_defaults

REESTIMATED_AFTER = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 120, 200, 300)  # how many are removed at each new estimate
MIN_TRIED = 20  # how many of the largest estimates are tried at least; otherwise twice as many as are wanted


@with_torch_defaults
def removal_order(
    usae: USAE, backbone: str, canvas: Tensor, view: ClassView, concepts: Sequence[int], count: int
) -> list[int]:
    """`count` of some concepts, in an order in which the class's logit falls fast.

    Before the first, second, third, fourth, sixth and so on the gradient is computed again without those before; of its
    largest estimates those that then cost most, each removed alone, come next.

    Args:
        usae: a USAE with backbones.
        backbone: one with a classifier.
        canvas: (1, 3, H, W), 0..1.
        view: the `class_view` of the canvas.
        concepts: the candidates, such as those that fire.
        count: how many.
    """
    removed, remaining = list[int](), list(concepts)
    for first, after in zip(REESTIMATED_AFTER, (*REESTIMATED_AFTER[1:], len(remaining)), strict=True):
        missing = min(after, count) - first
        if missing <= 0 or not remaining:
            break
        estimate = _estimate_without(usae, backbone, canvas, view, removed)
        tried = sorted(remaining, key=lambda k: -estimate[k].item())[: max(MIN_TRIED, 2 * missing)]
        logits = without_each(usae, backbone, canvas, [[*removed, k] for k in tried], view)[1:, view.class_]
        removed += [tried[index] for index in logits.argsort().tolist()[:missing]]
        remaining = [k for k in remaining if k not in removed]
    return removed


def _estimate_without(usae: USAE, backbone: str, canvas: Tensor, view: ClassView, removed: Sequence[int]) -> Tensor:
    """(n_concepts,): estimated loss of the logit with each concept, where some are removed already."""
    network, site = find_answering_site(usae, backbone)
    codes = Codes(view.codes.values[None], view.codes.indices[None])
    with torch.no_grad():
        moved = site.move(view.output, removal_shifts(usae, backbone, codes, [removed]))
    stream = moved.detach().requires_grad_()
    with site.resume_from(view.output), site.hook(lambda _: stream.clone()):
        logits = network.logits(canvas.to(network.mean.device))[0]
    (slope,) = torch.autograd.grad(logits[view.class_], stream)
    return estimate_effects(usae, backbone, codes, stream.detach(), slope)
