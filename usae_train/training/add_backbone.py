"""Growing a concept space: a new backbone learns to share one that stays as it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import torch

from usae_train.backbones.backbone import Backbone, build_backbones, set_compute_dtype
from usae_train.backbones.spec import BackboneSpec
from usae_train.evaluation.measures import reconstruction_of
from usae_train.evaluation.metrics import Matrix
from usae_train.files.validation import check_settings
from usae_train.files.variant_registry import variant_setting
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import ImageSource, as_source, none_can_be_read
from usae_train.model.firing import ENCODING_BATCH_SIZE, measure
from usae_train.model.sparsity.splittopk import SplitTopK
from usae_train.model.sparsity.variants import trained_sparsity
from usae_train.model.usae import IMPORTED, USAE, check_usae
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import former_arguments
from usae_train.tokens.paired import PairedTokens, TokenSource, collect_tokens
from usae_train.training.checkpointing import EXECUTION_DEFAULTS, TrainingCheckpointer
from usae_train.training.execution import Execution
from usae_train.training.fitting import check_none_private, feed_pictures, other_sizes
from usae_train.training.logging.callbacks import FitBars, FitCallbacks
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.resolving import fit_settings, named_recipe
from usae_train.training.settings import DEFAULT, FitOptions, FitSettings, TrainingRecipe

HELD_OUT_SHARE, MAX_HELD_OUT = 0.1, 500  # share of the pictures that R² is measured on, and the most of them


@dataclass(frozen=True)
class GrownSpace:
    """A USAE with one more backbone, and how well that one shares its concepts."""

    usae: USAE
    name: str  # of the new backbone
    n_held_out: int  # pictures that were held out of training
    r2: Matrix  # on those
    joint: Matrix | None = None  # the same of a USAE whose backbones were all trained together, when asked for

    def __repr__(self) -> str:
        return "\n".join(self.in_words())

    @property
    def known(self) -> list[str]:
        """The backbones that were there before."""
        return [name for name in self.usae.names if name != self.name]

    def shared(self, matrix: Matrix | None = None) -> float:
        """Mean R² from the new backbone to each known one and from each to it."""
        matrix = matrix or self.r2
        cross = [value for other in self.known for value in (matrix[self.name][other], matrix[other][self.name])]
        return sum(cross) / len(cross)

    @property
    def shared_before(self) -> float | None:
        """Mean R² of the known backbones from one to another, which were trained together; None for a single one."""
        cross = [self.r2[a][b] for a in self.known for b in self.known if a != b]
        return sum(cross) / len(cross) if cross else None

    def figures(self) -> dict[str, Any]:
        """What `--json` prints."""
        joint = None if self.joint is None else {"r2": self.joint, "shared": self.shared(self.joint)}
        return {
            "backbone": self.name,
            "n_held_out": self.n_held_out,
            "r2": self.r2,
            "shared": self.shared(),
            "shared_before": self.shared_before,
            "joint": joint,
        }

    def in_words(self) -> list[str]:
        """A row per backbone: R² from the new one to it and back, and the same after joint training."""
        matrices = [self.r2] if self.joint is None else [self.r2, self.joint]
        heads = ["from it to", "from ... to it", "joint: from it", "joint: to it"][: 2 * len(matrices)]
        held_out = plural(self.n_held_out, "held-out picture")
        rows = [f"R² of {self.name} around each feature's mean, on {held_out}"]
        rows.append(f"  {'':12s}" + "".join(f"{head:>16s}" for head in heads))
        for other in self.usae.names:
            values = [value for matrix in matrices for value in (matrix[self.name][other], matrix[other][self.name])]
            rows.append(f"  {other:12s}" + "".join(f"{value:16.3f}" for value in values))
        if isinstance(self.usae.sparsity, SplitTopK):
            slots = self.usae.k - self.usae.sparsity.k_private
            rows.append(f"{self.name} has no private concepts: {slots} are active per patch, not {self.usae.k}")
        rows.append(f"from and to the others, mean: {self.shared():.3f}")
        if self.shared_before is not None:
            rows[-1] += f"; among those, which were trained together: {self.shared_before:.3f}"
        if self.joint is not None:
            jointly = self.shared(self.joint)
            share = self.shared() / jointly
            rows.append(f"all trained together: {jointly:.3f}; the added one reaches {share:.0%} of that")
        return rows


@former_arguments(watch="callbacks", joint_watch="joint_callbacks")
@with_torch_defaults
def add_backbone(
    usae: USAE,
    images: str | Path | ImageSource,
    backbone: str | BackboneSpec,
    *,
    name: str | None = None,
    recipe: str | TrainingRecipe = DEFAULT,
    joint: bool = False,
    limit: int | None = None,
    readers: int = EXECUTION_DEFAULTS.readers,
    memory: float | None = None,
    device: torch.device | str = "cpu",
    callbacks: FitCallbacks | None = None,
    joint_callbacks: FitCallbacks | None = None,
    checkpointer: TrainingCheckpointer | None = None,
    quiet: bool = False,
    **settings: Unpack[FitOptions],
) -> GrownSpace:
    """Train an encoder and a dictionary for a new backbone against the frozen concept space of a USAE.

    The codes of the known backbones are decoded to the new one, and its own codes to all; nothing of the known ones
    changes, to the bit. A tenth of the pictures, 500 at most, is held out, and R² is measured on it.

    Args:
        usae: a USAE with backbones; it is not changed.
        images: a folder, `demo`, ..., or an image source.
        backbone: a timm id or a spec. Its tokens are resampled to the USAE's grid.
        name: what to call it; the id without its tag by default.
        recipe: `default`, `published`, or a `TrainingRecipe`. BatchNorm is as in the USAE.
        joint: also train all backbones together from scratch with the same settings, to compare with (its time on top).
        limit: largest number of pictures to take.
        readers: processes that read pictures; 0 reads in this one.
        memory: GB of tokens in memory at a time; a third of the machine's by default.
        device: where to train.
        callbacks: callbacks for progress of your own, beside what is shown.
        joint_callbacks: those for the steps of joint training; the same by default.
        checkpointer: writes training states, of joint training too, and resumes from the last.
        quiet: show no bars, and say nothing at the end.
        settings: fields of `FitSettings`: steps, batch, seed, init_seed, dtype, mask_outliers, max_broken.

    Raises:
        ValueError: for a name that is taken, a USAE without backbones, fewer than two pictures, none that is held out
            and can be read, sizes that are not the USAE's, or settings that do not exist.
    """
    spec = check_settings(BackboneSpec, model=backbone) if isinstance(backbone, str) else backbone
    name = name or spec.short_name
    check_usae(usae)
    chosen = growth_settings(usae, recipe, **settings)
    if name in usae.widths:
        raise UsageError(f"this USAE has a backbone {name!r} already; give the new one another name")
    source = as_source(images, limit)
    with progress_display(quiet) as progress:
        bars = FitBars(progress, chosen.steps)
        execution = Execution(device, bars.beside(callbacks or FitCallbacks()), checkpointer, memory, readers)
        beside = bars.beside(joint_callbacks or callbacks or FitCallbacks(), "joint training") if joint else None
        grown = _grow(usae, source, name, spec, chosen, execution, beside)
        progress.close(lambda: [*grown.in_words(), "in memory only: ut.save(grown.usae, FOLDER) keeps it"])
    return grown


def _grow(
    usae: USAE,
    source: ImageSource,
    name: str,
    spec: BackboneSpec,
    settings: FitSettings,
    execution: Execution,
    joint_callbacks: FitCallbacks | None,
) -> GrownSpace:
    """See `add_backbone`; without `joint_callbacks` there is no joint training."""
    train, held_out = split_pictures(len(source), settings.seed)  # before networks are built
    known = {known_name: backbone.to(execution.device) for known_name, backbone in usae.backbones.items()}
    backbones = {**known, name: build_backbones({name: spec})[name].to(execution.device)}
    grid, checkpointer, jointly = usae.grid, execution.checkpointer, None
    assert grid is not None
    grown = add_untrained_pair(usae, name, spec, backbones[name].width, settings)
    grown.weights = {**usae.weights, name: backbones[name].record()}
    grown.measured_on = SourceRecord.of(source)
    if checkpointer is not None:
        further = {"widths": grown.widths, "space": usae.sha256, "backbone": spec.model_dump(mode="json")}
        checkpointer.data = {**grown.measured_on.state_fields, **further}
        jointly = checkpointer.next("joint") if joint_callbacks is not None else None
    feed, sample = feed_pictures(backbones, source, grid, settings, execution, train)
    paired = _held_out_tokens(backbones, source, grid, held_out, execution)
    encoding_all, steps, log_every = (
        encode_every_token(settings),
        execution.callbacks.steps,
        execution.callbacks.log_every,
    )
    fit_tokens(feed, encoding_all, grown, execution.device, steps, checkpointer, log_every, frozen=usae.names)
    grown.statistics = measure(grown, sample())
    together: Matrix | None = None
    if joint_callbacks is not None:
        model = new_usae(feed.widths, settings, grid=grid)
        fit_tokens(feed, settings, model, execution.device, joint_callbacks.steps, jointly, joint_callbacks.log_every)
        together = held_out_r2(model.to("cpu"), paired)
    set_compute_dtype(known.values(), "float32")  # as they were given; a feed that streams ran them until here
    return GrownSpace(grown.to("cpu"), name, len(paired.numbers), held_out_r2(grown, paired), together)


def _held_out_tokens(
    backbones: Mapping[str, Backbone],
    source: ImageSource,
    grid: tuple[int, int],
    numbers: Sequence[int],
    execution: Execution,
) -> PairedTokens:
    """Tokens of the held-out pictures, collected before hours of training: possibly none of them can be read."""
    paired = collect_tokens(
        TokenSource(backbones, source, grid, readers=execution.readers), tried=numbers, allow_none=True
    )
    if not len(paired.numbers):
        raise none_can_be_read(len(numbers), source, paired.failures[0], "held-out picture")
    for why in paired.failures:
        execution.callbacks.failure(why)
    return paired


@torch.no_grad()
def held_out_r2(usae: USAE, paired: PairedTokens) -> Matrix:
    """R² around each feature's mean of every backbone's codes decoded by every dictionary, in raw units."""
    return reconstruction_of(usae, (tokens.flat() for tokens in paired.batches(ENCODING_BATCH_SIZE))).r2


def encode_every_token(settings: FitSettings) -> FitSettings:
    """The same settings, but each backbone encodes every token where the recipe gives each a share of them.

    A share would leave the one new encoder a fraction of the tokens. Measured on an earlier demo
    (tests/benchmarks/add_backbone.py): mean R² from and to the new backbone 0.559 instead of 0.543.
    """
    if settings.recipe.encoding != "share":
        return settings
    return settings.model_copy(update={"recipe": settings.recipe.model_copy(update={"encoding": "all"})})


def growth_settings(usae: USAE, recipe: str | TrainingRecipe = DEFAULT, **settings: Unpack[FitOptions]) -> FitSettings:
    """Settings of a fit in a space of this size.

    Where it has slots for private concepts, they say `topk`: the joint training to compare with has none.

    Raises:
        ValueError: for settings that do not exist, another n_concepts or k than the USAE's, or one that was imported.
    """
    if not usae.sparsity.can_train or usae.recipe.startswith(IMPORTED):
        raise UsageError(f"this USAE was {usae.recipe}; a backbone can be added to one that was trained here")
    for name, requested, expected in other_sizes(usae, settings):
        raise UsageError(f"{name} is {requested}, and the USAE's {expected}; its space stays as it is")
    check_none_private(settings, "the space stays as it is, and an added backbone has none of its own")
    sparsity = settings.get("sparsity")
    if sparsity is not None and trained_sparsity(sparsity).kind != usae.sparsity.kind:
        raise UsageError(f"sparsity is {sparsity!r}, and the USAE's {usae.sparsity.kind}; its space stays as it is")
    same_sparsity = DEFAULT.sparsity if usae.sparsity.requested_by else variant_setting(usae.sparsity)
    unchanged = {"batch_norm": usae.batch_norm, "unit_norm": usae.unit_norm, "sparsity": same_sparsity}
    named = named_recipe(recipe).model_copy(update=unchanged)
    settings["n_concepts"], settings["k"] = usae.n_concepts, usae.k
    return fit_settings(named, **settings)


def split_pictures(n_images: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the pictures to train on and of those held out, each in ascending order.

    Raises:
        ValueError: for fewer than two pictures.
    """
    if n_images < 2:
        raise UsageError(f"{n_images} picture; expected two at least, one to train on and one to measure R² on")
    order = torch.randperm(n_images, generator=torch.Generator().manual_seed(seed)).tolist()
    count = max(1, min(MAX_HELD_OUT, round(HELD_OUT_SHARE * n_images)))
    return sorted(order[count:]), sorted(order[:count])


def add_untrained_pair(usae: USAE, name: str, spec: BackboneSpec, width: int, settings: FitSettings) -> USAE:
    """A copy of a USAE with one more pair at the end, untrained."""
    specs = {**usae.specs, name: spec}
    # private concepts of the known ones are closed to the new one
    unchanged: dict[str, object] = {"specs": specs, "grid": usae.grid, "private": usae.private.ranges}
    if usae.sparsity.requested_by:
        unchanged["sparsity"] = usae.sparsity
    grown = new_usae({**usae.widths, name: width}, settings, **unchanged)
    grown.recipe, grown.outliers, grown.agreement = usae.recipe, dict(usae.outliers), usae.agreement
    grown.modules_given = dict(usae.modules_given)
    fresh = {key: value for key, value in grown.state_dict().items() if key.split(".")[1] == name}
    grown.load_state_dict({**fresh, **usae.state_dict()})
    return grown
