"""TensorBoard and Weights & Biases: the metrics of metrics.jsonl, sent there as well."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from usae_train.files.atomic import write_atomically
from usae_train.files.provenance import install_command
from usae_train.runtime.errors import UsageError
from usae_train.training.logging.metrics_log import Tracker
from usae_train.training.logging.step_metrics import flat_metrics


class TensorBoard:
    """Scalars in an event file.

    A training that is resumed writes another event file; TensorBoard then shows each step once.

    Args:
        folder: for the event files.

    Raises:
        ValueError: when TensorBoard is not installed, or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("--tensorboard", "tensorboard", error) from error
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--tensorboard {folder} cannot be made: {error.strerror}; choose another") from error
        self.folder, self._kind = folder, SummaryWriter
        self._writer: SummaryWriter | None = None

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        if self._writer is None:  # an earlier file is out of date from the first step that is logged
            self._writer = self._kind(str(self.folder), purge_step=step, flush_secs=10)
        for name, value in flat_metrics(metrics).items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class WeightsAndBiases:
    """A run at W&B; WANDB_MODE=offline keeps it on disk, as W&B's own documentation says.

    Args:
        project: W&B's project.
        name: of the run.
        settings: of the training, for the record.
        identity: a file that keeps the run's id, so that a training that is resumed stays one run.

    Raises:
        ValueError: when wandb is not installed, or refuses.
    """

    def __init__(self, project: str, name: str, settings: Mapping[str, Any], identity: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise _missing("--wandb", "wandb", error) from error
        self._identity = identity
        run_id = identity.read_text() if identity.is_file() else secrets.token_hex(4)
        try:
            self._run = wandb.init(
                project=project,
                name=name,
                config=dict(settings),
                id=run_id,
                resume="allow",
                settings=wandb.Settings(silent=True),
            )
        except wandb.Error as error:
            raise UsageError(
                f"--wandb {project}: {error}; log in with `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def log(self, step: int, metrics: Mapping[str, Any]) -> None:
        if not self._identity.is_file():
            write_atomically(self._identity, self._run.id)
        self._run.log(flat_metrics(metrics), step=step)

    def close(self) -> None:
        self._run.finish()


def _missing(option: str, package: str, error: ImportError) -> UsageError:
    return UsageError(f"{option} needs the package {package} ({error}); {install_command('tracking')}")


def open_trackers(
    tensorboard: Path | None, wandb: str | None, name: str, settings: Mapping[str, Any], states: Path
) -> list[Tracker]:
    """The trackers that were asked for.

    Args:
        tensorboard: folder for event files.
        wandb: W&B's project.
        name: what to call the run.
        settings: of the training, for the record.
        states: the training's folder, which is kept while it can be resumed.

    Raises:
        ValueError: when a package is missing, or a tracker refuses.
    """
    trackers: list[Tracker] = []
    if tensorboard is not None:
        trackers.append(TensorBoard(tensorboard))
    if wandb is not None:
        trackers.append(WeightsAndBiases(wandb, name, settings, states / "wandb-id"))
    return trackers
