"""`usae-train fit --independent`: one sparse autoencoder per backbone, with the settings of the joint space."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from usae_train.backbones.backbone import build_backbones, listed_specs
from usae_train.backbones.bundled_weights import check_weights
from usae_train.backbones.common_sizes import common_grid
from usae_train.files.atomic import check_folder, write_atomically
from usae_train.files.json_files import read_object
from usae_train.files.locks import folder_lock
from usae_train.images.source_record import SourceRecord
from usae_train.images.sources import open_images
from usae_train.model.checkpoint import load, save
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.terminal import is_alone
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.places import names_tokens
from usae_train.tokens.settings import DEFAULT_BACKBONES
from usae_train.tokens.store import ActivationStore
from usae_train.tokens.verifying import check_checksums
from usae_train.training.checkpointing import EXECUTION_DEFAULTS, TrainingCheckpointer
from usae_train.training.execution import Execution
from usae_train.training.fitting import fit_pictures, fit_store, store_to_fit
from usae_train.training.logging.callbacks import logging_callbacks
from usae_train.training.logging.metrics_log import METRICS, MetricsLogger
from usae_train.training.logging.step_metrics import dead_of
from usae_train.training.settings import ExecutionSettings, FitSettings
from usae_train.training.state_checks import find_differences

SHARED_SETTINGS = "independent.json"  # what all SAEs of a folder have in common
FitOne = Callable[[str, FitSettings, Execution], USAE]


@dataclass(frozen=True)
class Executions:
    """How several trainings are run: what does not affect their results."""

    device: str = "cpu"
    settings: ExecutionSettings = EXECUTION_DEFAULTS
    report: ProgressCallback = lambda stage, done, total, note: None
    failure: Callable[[str], None] = lambda why: None  # a picture that could not be read

    @contextmanager
    def of_training(self, name: str, states: Path, steps: int) -> Iterator[Execution]:
        """How one of them is carried out, with bars of its name; its states and metrics lie in a folder."""
        chosen = self.settings
        checkpointer = TrainingCheckpointer(states, chosen.checkpoint_minutes, chosen.keep_checkpoints)
        with MetricsLogger(states / METRICS) as metrics_logger, checkpointer.stop_on_signals():
            callbacks = logging_callbacks(
                metrics_logger,
                self.report,
                steps,
                f"training {name}",
                f"pictures {name}",
                log_every=chosen.log_every,
                failure=self.failure,
            )
            yield Execution(self.device, callbacks, checkpointer, chosen.memory, chosen.readers)


@with_torch_defaults
def fit_independent(
    images: str,
    out: Path,
    backbones: str | None,
    settings: FitSettings,
    executions: Executions,
    verify_checksums: bool = False,
    opened: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Train one SAE per backbone and write each as soon as it is done; called again, it resumes where it stopped.

    Args:
        images: pictures or a store.
        out: the folder of folders; training states lie in `.NAME.training` in it.
        backbones: what `--backbones` takes; a store has its own.
        settings: of all trainings; see `fit_each` for their seeds.
        executions: how each is carried out.
        verify_checksums: compare a store's checksums first.
        opened: called once pictures are open, before backbones for them are downloaded.

    Returns:
        {backbone: share of its SAE's concepts that never fire on the pictures of its statistics}.

    Raises:
        ValueError: for a folder with SAEs of other settings, or more than one process.
        Stopped: after SIGTERM or Ctrl-C; the state is kept.
    """
    if not is_alone():
        raise UsageError("--independent trains in one process; start it without torchrun")
    check_folder(out)
    if names_tokens(images):
        raise UsageError(
            f"{images}: an SAE per backbone is trained on a store or on pictures; give each backbone's tokens to a fit "
            "of its own"
        )
    store = store_to_fit(images, backbones, executions.settings.limit, settings.dtype, verify_checksums)
    if store is not None:
        return _fit_on_store(store, out, settings, executions, verify_checksums)
    specs, source = read_specs(backbones or DEFAULT_BACKBONES), open_images(images, executions.settings.limit)
    if source.left_out:
        executions.failure(source.left_out)
    opened()
    grid = common_grid(list(build_backbones(specs, warn=False).values()))  # each fit warns of its own
    data = {**SourceRecord.of(source).state_fields, "backbones": listed_specs(specs)}

    def fit_one(name: str, seeded: FitSettings, execution: Execution) -> USAE:
        return fit_pictures(source, seeded, {name: specs[name]}, execution, grid)

    with folder_lock(out):
        fit_each(list(specs), settings, fit_one, out, executions, data)
        return _dead_shares(out, specs)


def _fit_on_store(
    store: ActivationStore, out: Path, settings: FitSettings, executions: Executions, verify_checksums: bool
) -> dict[str, float]:
    check_weights(store.specs)
    data = {
        **store.record.images.state_fields,
        "backbones": listed_specs(store.specs),
        "shards": [shard.sha256 for shard in store.record.shards],
    }

    def fit_one(name: str, seeded: FitSettings, execution: Execution) -> USAE:
        return fit_store(store, seeded, execution, only=name)

    with folder_lock(out):
        if verify_checksums:
            check_checksums(store, executions.report)
        fit_each(list(store.record.widths), settings, fit_one, out, executions, data)
        return _dead_shares(out, store.record.widths)


def _dead_shares(out: Path, names: Iterable[str]) -> dict[str, float]:
    return {name: dead_of(load(out / name))[name] for name in names}


def fit_each(
    names: Sequence[str],
    settings: FitSettings,
    fit_one: FitOne,
    out: Path,
    executions: Executions | None = None,
    data: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Train those that do not exist yet.

    Each has seeds of its own, `seed + 1 + position`, and likewise `init_seed`: with the same seeds all would start from
    the same tokens, and be more alike than independent training makes them. What all have in common is written when
    the first is done.

    Args:
        names: of the trainings, and of their folders: the backbones, where each has one of its own.
        settings: of all trainings.
        fit_one: trains one: its name, its settings, how it is carried out.
        out: the folder of folders.
        executions: how each is carried out.
        data: what the trainings are on, ready for JSON.

    Raises:
        ValueError: when those that exist have other settings or other data; says which differ.
    """
    executions, shared_settings = executions or Executions(), {**settings.model_dump(mode="json"), **data}
    _check_shared_settings(out / SHARED_SETTINGS, shared_settings)
    for name in names:
        if (out / name / "config.json").is_file():
            _check_same(load(out / name), settings, out / name)
    for position, name in enumerate(names):
        if not (out / name / "config.json").is_file():
            seeds = {"seed": settings.seed + 1 + position, "init_seed": settings.init_seed + 1 + position}
            states = out / f".{name}.training"
            with executions.of_training(name, states, settings.steps) as execution:
                usae = fit_one(name, settings.model_copy(update=seeds), execution)
            write_atomically(out / SHARED_SETTINGS, json.dumps(shared_settings, indent=2) + "\n")
            save(usae, out / name, beside=[states / METRICS] if (states / METRICS).is_file() else ())
            shutil.rmtree(states, ignore_errors=True)


def _check_shared_settings(file: Path, settings: Mapping[str, Any]) -> None:
    """Compare with the SAEs that exist already; older ones have no such file, and are compared one by one."""
    if not file.is_file() or not any(file.parent.glob("*/config.json")):  # killed before the first was written
        return
    try:
        content = read_object(file)
    except UsageError as error:
        raise UsageError(f"{file} cannot be read: {error}; choose another --out, or remove {file.parent}") from error
    content.pop("max_broken", None)  # which does not affect the result
    try:
        differences = find_differences(settings, content)
    except UsageError as error:
        raise UsageError(
            f"{file.parent} cannot be resumed: {error}; end it with that version, or choose another --out"
        ) from error
    if differences:
        raise UsageError(
            f"{file.parent} has SAEs of another {', '.join(differences)}; give the same settings, choose another "
            "--out, or remove it"
        )


def _check_same(trained: USAE, settings: FitSettings, place: Path) -> None:
    size_trained = trained.n_concepts, trained.k, trained.recipe
    size = settings.n_concepts, settings.k, settings.recipe.title
    if size_trained != size:
        named = [
            f"{plural(n_concepts, 'concept')}, k {k}, recipe {recipe}" for n_concepts, k, recipe in (size_trained, size)
        ]
        raise UsageError(f"{place} has {named[0]}; expected {named[1]}: choose another --out, or remove it")
