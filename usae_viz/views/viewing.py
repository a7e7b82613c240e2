"""How canvases are shown to backbones, and what they make of them: for drawing and for verification."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.feature_statistics import statistics_distances, unnaturalness
from usae_train.backbones.precision import ComputeDtype
from usae_train.interventions.intervene import intervene
from usae_train.model.usae import USAE
from usae_viz.concepts.edit_text import BackboneEdits
from usae_viz.objectives import Activations
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.custom_transforms import transformed_views
from usae_viz.views.precision import dtype_for
from usae_viz.views.presets import Augmentation, Transform


@dataclass(frozen=True)
class ViewConfig:
    """How pictures are shown to the backbones.

    Attributes:
        usae: with the backbones.
        augmentation: how views are drawn.
        n_views: views per picture and step.
        dtype: what the backbones run in, a setting: `auto` is each backbone's own (`dtype_for`).
        batch_size: pictures that go through a backbone in one batch; see `batch_rows`.
        whole_first: share of the steps, at the beginning, in which views are of nearly the whole canvas.
        statistics_weight: how much a score is lowered by `unnaturalness`; the setting `feature_statistics`.
        reference: (3, H, W), a picture that is shown beside each under the same draws.
        canvas_bytes: what a custom parameterization keeps of each canvas for its gradient.
        edits: {backbone: what is done to concepts in its own pass}, as `usae_train.intervene` takes it.
        transforms: custom ones, in place of the augmentation or, where it is among them, around it.
    """

    usae: USAE
    augmentation: Augmentation
    n_views: int
    dtype: ComputeDtype = "float32"
    batch_size: int = 1
    whole_first: float = 0.0
    statistics_weight: float = 0.0
    reference: Tensor | None = None
    transforms: tuple[Transform, ...] = ()
    canvas_bytes: int = 0
    edits: BackboneEdits = field(default_factory=dict)

    def at(self, passed: float) -> ViewConfig:
        """How pictures are shown when a share of the steps has passed."""
        return replace(self, augmentation=self.augmentation.of_the_whole()) if passed < self.whole_first else self


def encode_views(
    view_config: ViewConfig,
    backbone: Backbone,
    canvas: Tensor,
    views: Tensor,
    reference_views: Tensor | None = None,
    shared: bool = False,
    classifies: bool = False,
) -> Activations:
    """What a backbone makes of views (batch, view, 3, size, size) of canvases (batch, 3, H, W), and of a reference.

    With `classifies` its logits come from the same pass as its tokens. Where its concepts are edited, so is that pass.
    """
    if edits := view_config.edits.get(backbone.name):
        others = {name: each for name, each in view_config.edits.items() if name != backbone.name}
        with intervene(view_config.usae, backbone.name, edits):
            return encode_views(
                replace(view_config, edits=others), backbone, canvas, views, reference_views, shared, classifies
            )

    def activations_of(views: Tensor, reference: Activations | None = None) -> Activations:
        dtype, logits = dtype_for(view_config.dtype, backbone), None
        with torch.autocast(views.device.type, dtype, enabled=dtype != torch.float32):
            if classifies:
                tokens, logits = backbone.tokens_and_logits(views.flatten(0, 1), view_config.usae.grid)
                logits = logits.float().unflatten(0, views.shape[:2])
            else:
                tokens = backbone(views.flatten(0, 1), view_config.usae.grid)
        tokens = tokens.float().unflatten(0, views.shape[:2])
        return Activations(view_config.usae, backbone.name, canvas, views, tokens, reference, shared, logits)

    with torch.no_grad():
        reference = None if reference_views is None else activations_of(reference_views)
    if not view_config.statistics_weight or not views.requires_grad:
        return activations_of(views, reference)
    with statistics_distances(backbone.model, len(views), 3 * backbone.input_size**2) as distances:
        acts = activations_of(views, reference)
    acts.unnaturalness = unnaturalness(distances.values()) if distances else None
    return acts


def views_of(
    view_config: ViewConfig, canvas: Tensor, generators: Sequence[torch.Generator], size: int
) -> tuple[Tensor, Tensor | None]:
    """Views (batch, view, 3, size, size) of canvases (batch, 3, H, W), and of the reference under the same draws."""
    states = [generator.get_state() for generator in generators]
    views = _draw_views(view_config, canvas, generators, size)
    if view_config.reference is None:
        return views, None
    same_generators = [torch.Generator() for _ in states]
    for generator, state in zip(same_generators, states, strict=True):
        generator.set_state(state)
    return views, _draw_views(view_config, view_config.reference.expand_as(canvas), same_generators, size)


def _draw_views(view_config: ViewConfig, canvas: Tensor, generators: Sequence[torch.Generator], size: int) -> Tensor:
    if not view_config.transforms:
        return augmented_views(canvas, view_config.augmentation, generators, view_config.n_views, size)
    return transformed_views(
        canvas, view_config.transforms, view_config.augmentation, generators, view_config.n_views, size
    )
