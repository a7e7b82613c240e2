"""What concepts contribute to a class's logit: exactly, by removing each in turn, or estimated by one gradient."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.interventions.edit_site import EditSite
from usae_train.interventions.edits import raw_atoms, removal_shifts
from usae_train.interventions.intervene import find_site
from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults

# pictures per pass through what follows the read layer, as a small batch
IMAGES_PER_PASS = 32


class ClassView(NamedTuple):
    """One picture's codes and logits, and each concept's estimated effect on a class."""

    codes: Codes  # (token, k) on its own grid
    logits: Tensor  # (classes,)
    class_: int
    estimate: Tensor  # (n_concepts,) estimated loss of the class's logit when each concept is removed
    output: Tensor  # (1, ...) output of the read module, with which later passes begin


@with_torch_defaults
@torch.no_grad()
def without_each(
    usae: USAE, backbone: str, canvas: Tensor, removed: Sequence[Sequence[int]], view: ClassView | None = None
) -> Tensor:
    """Logits of one picture unchanged, and with each set of concepts removed: (1 + sets, classes).

    What comes before the read layer runs once, or not at all when there is a view; what follows runs for
    each set.

    Args:
        usae: a USAE with backbones.
        backbone: one with a classifier.
        canvas: (1, 3, H, W), 0..1.
        removed: sets of concepts.
        view: the `class_view` of the same canvas, if there is one.

    Raises:
        ValueError: for a backbone without classifier, or whose classifier the read patches do not reach.
    """
    network, site = find_answering_site(usae, backbone)
    canvas = canvas.to(network.mean.device)
    logits = [] if view is None else [view.logits[None]]
    begun = [] if view is None else [(view.output, Codes(view.codes.values[None], view.codes.indices[None]))]
    sets_to_run = [*([()] if view is None else []), *removed]
    for first in range(0, len(sets_to_run), IMAGES_PER_PASS):
        sets = sets_to_run[first : first + IMAGES_PER_PASS]

        def edited(output: Tensor, sets: Sequence[Sequence[int]] = sets) -> Tensor:
            if not begun:
                begun.append((output[:1].clone(), usae.encode(backbone, site.read(output[:1]))))
            stream = output[:1].expand(len(sets), *output.shape[1:])
            moved = site.move(stream, removal_shifts(usae, backbone, begun[0][1], sets))
            return stream.clone() if moved is stream else moved  # what follows may write into it

        with site.resume_from(begun[0][0] if begun else None), site.hook(edited):
            logits.append(network.logits(canvas if site.grows else canvas.expand(len(sets), -1, -1, -1)))
    return torch.cat(logits)


@with_torch_defaults
def class_view(
    usae: USAE, backbone: str, canvas: Tensor, class_: int | None = None, resume_from: Tensor | None = None
) -> ClassView:
    """Codes, logits and an estimate of every concept's effect on a class, for a canvas (1, 3, H, W).

    The estimate is code * d logit / d code, summed over the patches: to first order what the logit loses without the
    concept (attribution patching, Nanda 2023).

    Args:
        usae: a USAE with backbones.
        backbone: one with a classifier.
        canvas: (1, 3, H, W), 0..1.
        class_: the class; the most probable one by default.
        resume_from: the `output` of an earlier view of the canvas: what comes before the read layer is not run again.

    Raises:
        ValueError: for a backbone without classifier, or whose classifier the read patches do not reach.
    """
    network, site = find_answering_site(usae, backbone)
    streams: list[Tensor] = []

    def begin(output: Tensor) -> Tensor:
        stream = output.detach().requires_grad_()
        streams.append(stream)
        return stream.clone()  # what follows may write into it

    with site.resume_from(resume_from), site.hook(begin):
        logits = network.logits(canvas.to(network.mean.device))[0]
    chosen = int(logits.argmax()) if class_ is None else class_
    (slope,) = torch.autograd.grad(logits[chosen], streams[0])
    output = streams[0].detach()
    with torch.no_grad():
        codes = usae.encode(backbone, site.read(output))
    estimate = estimate_effects(usae, backbone, codes, output, slope)
    return ClassView(Codes(codes.values[0], codes.indices[0]), logits.detach(), chosen, estimate, output)


@torch.no_grad()
def estimate_effects(usae: USAE, backbone: str, codes: Codes, output: Tensor, slope: Tensor) -> Tensor:
    """(n_concepts,): gradient x code, summed over the patches.

    Args:
        usae: a USAE with backbones.
        backbone: which one.
        codes: (1, token, k) of the picture.
        output: (1, ...) of the read layer's module, where the gradient was taken.
        slope: the gradient, in the same layout.
    """
    atoms = raw_atoms(usae, backbone, list(range(usae.n_concepts)))
    by_read = find_site(usae, backbone)[1].slope_of_read(output, slope)
    each = codes.values * (by_read @ atoms.mT).gather(-1, codes.indices)
    return each.new_zeros(usae.n_concepts).index_add_(0, codes.indices.flatten(), each.flatten())


def find_answering_site(usae: USAE, backbone: str) -> tuple[Backbone, EditSite]:
    """A backbone whose logits depend on its read patches, and the site where these can be edited.

    Raises:
        ValueError: for a backbone without classifier, or whose classifier the read patches do not reach.
    """
    network, site = find_site(usae, backbone)
    network.check_classifier()
    if not site.reaches:
        raise UsageError(
            f"{backbone}: no patch token of {network.spec.place} reaches the classifier, which takes the class "
            "token alone; use a USAE that reads an earlier layer"
        )
    return network, site
