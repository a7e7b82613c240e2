"""`fit`: tokens or pictures in, a trained USAE with its statistics out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Unpack

import torch

from usae_train.backbones.backbone import Backbone, build_backbones, listed_specs, set_compute_dtype
from usae_train.backbones.common_sizes import common_grid, largest_input
from usae_train.backbones.spec import BackboneSpec
from usae_train.files.validation import check_settings
from usae_train.files.whole_numbers import at_least
from usae_train.images.failures import BrokenPictures
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import ImageSource, as_source
from usae_train.model.firing import measure
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_train.runtime.arrays import Array
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.sampling import measured_numbers
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import former_arguments
from usae_train.tokens.arrays import token_tensors
from usae_train.tokens.feeding import Feed, MemoryFeed, OneBackbone, StoreFeed
from usae_train.tokens.paired import PairedTokens, TokenSource, bytes_per_image, collect_tokens
from usae_train.tokens.places import is_store, names_tokens
from usae_train.tokens.store import ActivationStore
from usae_train.tokens.streaming import StreamFeed
from usae_train.tokens.token_tables import TokenTables, read_tokens
from usae_train.training.checkpointing import EXECUTION_DEFAULTS
from usae_train.training.execution import IN_THIS_PROCESS, Execution
from usae_train.training.logging.callbacks import FitBars, FitCallbacks
from usae_train.training.loop import fit_tokens, new_usae, sparsity_of
from usae_train.training.resolving import allowed_memory, fit_settings
from usae_train.training.settings import DEFAULT, FitOptions, FitSettings, TrainingRecipe, check_for_pictures


@former_arguments(watch="callbacks")
@with_torch_defaults
def fit(
    data: Mapping[str, Array] | str | Path | ImageSource | ActivationStore,
    *,
    backbones: str | Mapping[str, BackboneSpec | Backbone | str] | None = None,
    recipe: str | TrainingRecipe = DEFAULT,
    limit: int | None = None,
    readers: int = EXECUTION_DEFAULTS.readers,
    device: torch.device | str = "cpu",
    callbacks: FitCallbacks | None = None,
    quiet: bool = False,
    **settings: Unpack[FitOptions],
) -> USAE:
    """Train a USAE.

    Args:
        data: {backbone: tokens (n, width)}, row n the same patch of the same image in all, as tensors or NumPy arrays
            of floating-point numbers; or files of such tokens,
            `NAME=FILE.npy,NAME=FILE.npy` (see `tokens.token_tables`); or pictures: a folder, `demo`, or an image
            source; or an activation store.
        backbones: {name: spec, timm id or `ModuleBackbone`} to see the pictures with, or what `--backbones` takes:
            `paper`, `demo`, `photos`, a YAML file, comma-separated timm ids; only with pictures.
        recipe: `default`, `published`, a YAML file of one, or a `TrainingRecipe`.
        limit: largest number of pictures to take.
        readers: processes that read pictures; 0 reads in this one. The result is the same to the bit.
        device: where to train.
        callbacks: callbacks for progress of your own, beside what is shown.
        quiet: show no bars, and say nothing at the end.
        settings: fields of `FitSettings`: n_concepts, k, n_private, k_private, steps, batch, seed, init_seed, dtype,
            mask_outliers, max_broken, and of the recipe's sparsity, dictionary, matryoshka_fractions, matryoshka.

    Returns:
        The USAE, in evaluation mode, its statistics measured on the same pictures, 10,000 at most, or 20,000 tokens,
        drawn from all.

    Raises:
        ValueError: for settings that do not exist or clash, tokens that do not pair, pictures that cannot be read.
    """
    chosen = fit_settings(recipe, **settings)
    with progress_display(quiet) as progress:
        bars = FitBars(progress, chosen.steps)
        execution = Execution(device, bars.beside(callbacks or FitCallbacks()), readers=readers)
        usae = _fit_by_kind(data, backbones, chosen, limit, execution)
        bars.close(usae)
    return usae


def _fit_by_kind(
    data: Mapping[str, Array] | str | Path | ImageSource | ActivationStore,
    backbones: str | Mapping[str, BackboneSpec | Backbone | str] | None,
    chosen: FitSettings,
    limit: int | None,
    execution: Execution,
) -> USAE:
    """By what the data is."""
    if isinstance(data, Mapping):
        check_for_pictures("the data is tokens already", chosen, limit, backbones, execution.readers)
        return fit_tables(TokenTables(token_tensors(data)), chosen, execution)
    if isinstance(data, str) and names_tokens(data):
        check_for_pictures("the data is tokens already", chosen, limit, backbones, execution.readers)
        return fit_tables(read_tokens(data), chosen, execution)
    if isinstance(data, str | Path) and is_store(data):
        data = ActivationStore(data)
    if isinstance(data, ActivationStore):
        check_for_pictures("the store has its own", chosen, limit, backbones, execution.readers)
        return fit_store(data, chosen, execution)
    if not backbones:
        raise UsageError("no backbones to see the pictures with; give backbones={name: BackboneSpec}")
    return fit_pictures(as_source(data, limit), chosen, _specs(backbones), execution)


def other_sizes(usae: USAE, settings: FitOptions) -> list[tuple[str, object, object]]:
    """Sizes that are requested and differ from a USAE's: the name, what is requested, and the USAE's."""
    sizes = {"n_concepts": usae.n_concepts, "k": usae.k}
    requested = {name: settings.get(name) for name in sizes}
    return [(name, requested[name], size) for name, size in sizes.items() if requested[name] not in (None, size)]


def check_none_private(settings: FitOptions, why: str) -> None:
    """Refuse private concepts in a space that cannot have any.

    Raises:
        ValueError: for `n_private` or `k_private`; the message says why.
    """
    requested = {"n_private": settings.get("n_private"), "k_private": settings.get("k_private")}
    for name in (name for name, value in requested.items() if value):
        raise UsageError(f"{name} is {requested[name]}; {why}")


@with_torch_defaults
def fit_tables(tables: TokenTables, settings: FitSettings, execution: Execution = IN_THIS_PROCESS) -> USAE:
    """Train a USAE on tokens that were made elsewhere; it has no backbones to see pictures with.

    Args:
        tables: the tokens.
        settings: size, length and recipe.
        execution: how it is carried out.

    Returns:
        The USAE, in evaluation mode, its statistics measured on the same tokens; on ranks other than the first without.
    """
    if execution.checkpointer is not None:
        execution.checkpointer.data = tables.identity()
    usae = _train(MemoryFeed(tables.flat), settings, None, execution)
    if execution.ranks.is_main:
        usae.statistics = measure(usae, tables.sample())
    return usae.to("cpu")


def _train(feed: Feed, settings: FitSettings, usae: USAE | None, execution: Execution) -> USAE:
    callbacks = execution.callbacks
    return fit_tokens(
        feed,
        settings,
        usae,
        execution.device,
        callbacks.steps,
        execution.checkpointer,
        callbacks.log_every,
        execution.ranks,
    )


def _specs(backbones: str | Mapping[str, BackboneSpec | Backbone | str]) -> Mapping[str, BackboneSpec | Backbone]:
    if isinstance(backbones, str):
        return read_specs(backbones)
    for name, backbone in backbones.items():
        if not isinstance(backbone, str | BackboneSpec | Backbone):
            raise UsageError(
                f"backbone {name} is a {type(backbone).__name__}; expected a timm id, a BackboneSpec, or for a network "
                "of your own usae_train.ModuleBackbone(network, layer, ...)"
            )
    return {
        name: check_settings(BackboneSpec, model=backbone) if isinstance(backbone, str) else backbone
        for name, backbone in backbones.items()
    }


@with_torch_defaults
def fit_pictures(
    source: ImageSource,
    settings: FitSettings,
    backbones: Mapping[str, BackboneSpec | Backbone],
    execution: Execution = IN_THIS_PROCESS,
    grid: tuple[int, int] | None = None,
) -> USAE:
    """Train a USAE on pictures.

    Args:
        source: the pictures.
        settings: size, length and recipe.
        backbones: {name: spec} to see them with, or a backbone that is already built.
        execution: how it is carried out.
        grid: (rows, cols) of the tokens; the one that suits these backbones by default.

    Returns:
        The USAE, in evaluation mode, its statistics measured on the same pictures, 10,000 at most, drawn from all; on
        ranks other than the first without statistics.
    """
    built = {name: backbone.to(execution.device) for name, backbone in build_backbones(backbones).items()}
    grid = grid or common_grid(list(built.values()))
    sparsity_of(settings, list(built))  # refuses impossible private concepts before any picture is read
    feed, sample = feed_pictures(built, source, grid, settings, execution)
    specs = {name: backbone.spec for name, backbone in built.items()}
    usae = new_usae(feed.widths, settings, specs=specs, grid=grid)
    usae.modules_given = {name: backbone for name, backbone in backbones.items() if isinstance(backbone, Backbone)}
    usae.weights = {name: backbone.record() for name, backbone in built.items()}
    usae.measured_on = SourceRecord.of(source)
    if execution.checkpointer is not None:
        further = {"widths": usae.widths, "backbones": listed_specs(specs)}
        execution.checkpointer.data = {**usae.measured_on.state_fields, **further}
    _train(feed, settings, usae, execution)
    if execution.ranks.is_main:
        usae.statistics = measure(usae, sample(), input_size=largest_input(built))
    else:
        for _ in sample():  # they see their part of the pictures
            pass
    return usae.to("cpu")


def feed_pictures(
    backbones: Mapping[str, Backbone],
    source: ImageSource,
    grid: tuple[int, int],
    settings: FitSettings,
    execution: Execution = IN_THIS_PROCESS,
    numbers: Sequence[int] | None = None,
) -> tuple[Feed, Callable[[], Iterator[PairedTokens]]]:
    """The tokens of pictures, in memory if they fit and otherwise streamed; and what yields those of the statistics.

    These are drawn from all pictures, and are the same whatever the memory.

    Args:
        backbones: {name: backbone}.
        source: the pictures.
        grid: (rows, cols) of the tokens.
        settings: what the backbones compute in from now on, and how many of the pictures may be unreadable.
        execution: how it is carried out; each of several processes has the tokens of all in the end.
        numbers: which of the pictures; all by default.

    Raises:
        ValueError: for more unreadable pictures, at once or in a later window, or a negative number of readers.
    """
    callbacks, ranks, allowed = execution.callbacks, execution.ranks, allowed_memory(execution.memory)
    readers = at_least(0, execution.readers, "readers")
    set_compute_dtype(backbones.values(), settings.dtype)
    n_images = len(source) if numbers is None else len(numbers)
    broken = BrokenPictures(n_images, settings.max_broken, callbacks.failure if ranks.is_main else lambda why: None)
    origin = TokenSource(backbones, source, grid, ranks, readers)
    if n_images * bytes_per_image(backbones, grid) > allowed:
        stream = StreamFeed(origin, allowed, numbers, callbacks.pictures, broken)
        return stream, stream.sample
    paired = collect_tokens(origin, progress=callbacks.pictures, tried=numbers)
    with ranks.raise_together():
        broken.add(paired.failures)
    tried = torch.arange(len(source)) if numbers is None else torch.as_tensor(numbers)
    return MemoryFeed(paired.flat(), allowed), lambda: iter([paired.select(tried[measured_numbers(n_images)])])


def store_to_fit(
    images: str, backbones: str | None, limit: int | None, dtype: str, verify_checksums: bool
) -> ActivationStore | None:
    """The store that `usae-train fit` is given; None when it is given pictures.

    Raises:
        ValueError: for a store that cannot be read, or options that are not for what is given.
    """
    if not is_store(images):
        if verify_checksums:
            raise UsageError(f"--verify-checksums is for a store, and {images} is not one")
        return None
    if backbones is not None or limit is not None or dtype != "auto":
        raise UsageError(f"{images} is a store, with backbones and pictures of its own")
    return ActivationStore(images)


@with_torch_defaults
def fit_store(
    store: ActivationStore,
    settings: FitSettings,
    execution: Execution = IN_THIS_PROCESS,
    only: str | None = None,
) -> USAE:
    """Train a USAE on an activation store.

    Args:
        store: a finished store.
        settings: size, length and recipe.
        execution: how it is carried out; processes that train as one divide the store.
        only: the backbone that is trained alone; all of the store's together by default.

    Returns:
        The USAE, in evaluation mode, its statistics measured on its images, 10,000 at most, drawn from all; on ranks
        other than the first without statistics.
    """
    record, every = store.record, StoreFeed(store, allowed_memory(execution.memory))
    feed: Feed = every if only is None else OneBackbone(every, only)
    specs = {name: spec for name, spec in store.specs.items() if name in feed.widths}
    usae = new_usae(feed.widths, settings, specs=specs, grid=record.grid)
    usae.weights = {name: weights for name, weights in record.weights.items() if name in feed.widths}
    usae.measured_on = record.images
    if execution.checkpointer is not None:
        further = {"widths": usae.widths, "shards": [shard.sha256 for shard in record.shards]}
        execution.checkpointer.data = {**record.images.state_fields, **further}
    _train(feed, settings, usae, execution)
    if execution.ranks.is_main:
        usae.statistics = measure(usae, every.sample())
    return usae.to("cpu")
