"""`explain`: which concepts fire in a photograph, where, in which backbones, and what they do to the answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from usae_train.backbones.common_sizes import largest_input
from usae_train.interventions.importance import ClassView, class_view
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.errors import UsageError
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.concepts.labels import Label, labels_of
from usae_viz.concepts.parsing import one_concept
from usae_viz.explanations.concept_maps import ConceptMaps
from usae_viz.explanations.explanation import Explanation
from usae_viz.explanations.photograph import open_photograph
from usae_viz.objectives.class_names import parse_class

if TYPE_CHECKING:
    from usae_viz.explanations.photograph import Photo


@with_torch_defaults
def explain(
    usae: USAE, photo: Photo, class_: int | str | None = None, labels: Sequence[Label] | str | Path | None = None
) -> Explanation:
    """What every backbone of a USAE sees in a photograph.

    Args:
        usae: with its backbones.
        photo: a file, open or by name, a PIL image, a NumPy array, uint8 (H, W, 3), or float 0..1 of either order, or
            a canvas (3, H, W), 0..1. Backbones are shown its centre square.
        class_: number or name of the class whose logit importance is for; each classifier's most probable by default.
        labels: names of concepts, or your own file of them, as the explorer exports it; the USAE's own by default.

    Returns:
        The explanation; in a notebook it shows itself.

    Raises:
        ValueError: for a photograph or labels that cannot be read, a USAE without backbones, or an unknown class.

    Example:
        >>> import torch, usae_train as ut, usae_viz as uv
        >>> explanation = uv.explain(ut.load("demo"), torch.rand(3, 80, 120))
        >>> explanation.map("dino", explanation.concepts("dino")[0].concept).shape
        torch.Size([12, 12])
    """
    check_usae(usae)
    classes, labels, photograph = _classes_by_backbone(usae, class_), _labels_for(usae, labels), open_photograph(photo)
    backbones = usae.backbones  # built last, which takes long: what was typed is checked first
    canvas = photograph.canvas(largest_input(backbones))
    maps, class_views, refusals = {}, {}, {}
    for name, backbone in backbones.items():
        view = _view_or_why(usae, name, canvas, classes.get(name))
        if isinstance(view, ClassView):
            codes, class_views[name] = view.codes, view
        else:
            refusals[name] = view
            with torch.no_grad():
                codes = usae.encode(name, backbone(canvas.to(usae.device))[0])
        maps[name] = ConceptMaps.from_codes(codes, backbone.grid, usae.n_concepts)
    return Explanation(usae, photograph, canvas, maps, class_views, refusals, labels)


def concept_map(usae: USAE, photo: Photo, backbone: str, concept: int | str) -> Tensor:
    """One concept's codes in a photograph through one backbone, at its own grid: (rows, cols).

    Args:
        usae: with its backbones.
        photo: as in `explain`.
        backbone: which one.
        concept: its number or name.

    Raises:
        ValueError: for a photograph that cannot be read, or an unknown backbone or concept.
    """
    check_usae(usae)
    number, name = one_concept(usae, concept), usae.check_backbone(backbone)
    photograph = open_photograph(photo)
    network = usae.backbones[name]
    canvas = photograph.canvas(usae.input_size)
    with torch.no_grad():
        codes = usae.encode(backbone, network(canvas.to(usae.device))[0])
    return ConceptMaps.from_codes(codes, network.grid, usae.n_concepts).codes[number]


def _labels_for(usae: USAE, labels: Sequence[Label] | str | Path | None) -> Sequence[Label]:
    if labels is None or isinstance(labels, str | Path):
        return labels_of(usae, labels)
    if not isinstance(labels, list | tuple) or not all(isinstance(each, Label) for each in labels):
        raise UsageError(f"labels are of type {type(labels).__name__}; expected the file that the explorer exports")
    return labels


def _classes_by_backbone(usae: USAE, class_: int | str | None) -> Mapping[str, int]:
    """The class of each backbone that has it.

    Raises:
        ValueError: when none has: the error of the first that has a classifier at all.
    """
    if class_ is None:
        return {}
    classes: dict[str, int] = {}
    errors: dict[bool, UsageError] = {}  # by whether it has no classifier at all
    for name, spec in usae.specs.items():
        try:
            classes[name] = parse_class(usae, name, class_)
        except UsageError as error:
            errors[spec.classes == 0] = errors.get(spec.classes == 0, error)
    if not classes:
        raise errors[min(errors)]
    return classes


def _view_or_why(usae: USAE, name: str, canvas: Tensor, class_: int | None) -> ClassView | str:
    """A backbone's view; or why its concepts' part in an answer cannot be computed."""
    try:
        return class_view(usae, name, canvas, class_)
    except UsageError as error:
        return str(error)
