"""Training states on disk: written every few minutes, on SIGTERM and on Ctrl-C; the last are kept, and resumed."""

from __future__ import annotations

import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.files.atomic import remove_leftovers
from usae_train.files.tensor_checks import Damaged, check_tensor, check_tensors
from usae_train.files.torch_state import read_torch_file, write_state
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import first_line, one_line
from usae_train.runtime.signals import Stopped, handle_signals, status_of
from usae_train.runtime.warning_kinds import OneLineWarning
from usae_train.tokens.feeding import Batches
from usae_train.training.settings import ExecutionSettings, FitSettings
from usae_train.training.state_checks import check_moments, check_position, find_differences

EXECUTION_DEFAULTS = ExecutionSettings()
NONE_READABLE = -1  # not a step: there are states, and none can be read


@dataclass
class TrainingState:
    """Everything that the next step depends on."""

    settings: FitSettings
    usae: USAE
    optimizers: dict[str, torch.optim.Optimizer]
    batches: Batches
    generator: torch.Generator
    last_fired: Tensor

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers and strings only, so that it can be loaded without running code."""
        return {
            "settings": self.settings.model_dump(mode="json"),
            "usae": self.usae.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "batches": self.batches.state_dict(),
            "generator": self.generator.get_state(),
            "last_fired": self.last_fired,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from what `state_dict` returned.

        Raises:
            ValueError: for parts that are missing, or of another shape or kind; nothing is changed then.
        """
        moments = self._checked(state)
        try:
            self.generator.set_state(state["generator"].cpu())
        except RuntimeError as error:  # only torch can tell
            raise Damaged(one_line(error)[:200]) from error
        self.usae.load_state_dict(state["usae"])
        for name, optimizer in self.optimizers.items():
            # its settings are those of the recipe, which was compared; the learning rate is set anew at each step
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": moments[name], "param_groups": groups})
        self.batches.load_state_dict(state["batches"])
        self.last_fired.copy_(state["last_fired"])

    def _checked(self, state: dict[str, Any]) -> dict[str, dict[int, dict[str, Tensor]]]:
        """The optimizers' moments, once every part has been checked."""
        if lacking := sorted({*self.state_dict()} - state.keys()):
            raise Damaged(f"it has no {', '.join(lacking)}")
        check_tensors(state["usae"], self.usae.state_dict(), "usae")
        check_tensor(state["last_fired"], self.last_fired.shape, torch.long, "last_fired")
        generator_state = self.generator.get_state()
        check_tensor(state["generator"], generator_state.shape, generator_state.dtype, "generator")
        check_position(state["batches"], self.batches)
        saved = state["optimizers"]
        if not isinstance(saved, dict) or saved.keys() != self.optimizers.keys():
            raise Damaged("it has optimizers of other backbones")
        all_have_stepped = self.settings.recipe.encoding != "one"  # otherwise a pair steps only when it is drawn
        return {
            name: check_moments(saved[name], optimizer, f"optimizer of {name}", all_have_stepped)
            for name, optimizer in self.optimizers.items()
        }


def state_file_name(step: int) -> str:
    """A state's file."""
    return f"step-{step:09d}.pt"


def _read_state(file: Path) -> dict[str, Any] | None:
    """A state of a training; None, with a warning, for a file that is not one, such as what a power cut leaves."""
    try:
        state = read_torch_file(file, str(file), "training state")
    except UsageError as error:
        cause = error.__cause__  # None where the error itself says that it cannot be read
        why = first_line(error) if cause is None else f"{file} cannot be read ({first_line(cause)})"
    else:
        step = file.stem.removeprefix("step-")
        parts = [state.get(part) for part in ("settings", "data")] if isinstance(state, dict) else [None]
        if all(isinstance(part, dict) for part in parts) and step.isdecimal() and int(step) > 0:
            return dict(state)
        why = f"{file} is not a training state"
    warnings.warn(f"{why}; the one before it is tried", OneLineWarning, stacklevel=2)
    return None


class TrainingCheckpointer:
    """Writes training states into a folder and keeps the last few.

    Args:
        folder: where; made when it is needed.
        minutes: time between two states.
        keep: how many are kept.

    Attributes:
        data: what it is trained on, compared when it is resumed (source, fingerprint, widths).
    """

    def __init__(
        self,
        folder: Path,
        minutes: float = EXECUTION_DEFAULTS.checkpoint_minutes,
        keep: int = EXECUTION_DEFAULTS.keep_checkpoints,
    ) -> None:
        self.folder, self.seconds, self.keep = folder, 60 * minutes, keep
        self.data: dict[str, Any] = {}
        self.last_step = 0  # the step of the last state that was written
        self._last = time.monotonic()
        self._stop = 0  # the signal that asked to stop
        self._training = False  # whether there is a state to write before stopping
        self._next: list[TrainingCheckpointer] = []

    def next(self, name: str) -> TrainingCheckpointer:
        """For a second training of the same command and data: its states lie within; signals reach it too."""
        further = TrainingCheckpointer(self.folder / name, self.seconds / 60, self.keep)
        further.data = self.data
        self._next.append(further)
        return further

    def restore(self, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> int:
        """Resume from the newest readable state, which the first rank reads for all; returns the step to begin with.

        Raises:
            ValueError: when it was made with other settings or on other data, and says which differ; when there are
                states of which none can be read.
        """
        step, saved = ranks.compute_on_main(self._newest)
        if step == NONE_READABLE:
            raise UsageError(f"no training state in {self.folder} can be read; remove the folder to start over")
        self._training = step < state.settings.steps
        if not saved:
            return 0
        with ranks.raise_together():
            self._check_same({**state.settings.model_dump(mode="json"), **self.data}, saved)
            try:
                state.load_state_dict(saved)
            except Damaged as error:
                raise UsageError(
                    f"{self.folder / state_file_name(step)} is not a state of this training ({error}): it is "
                    "damaged, or another version of usae wrote it; remove it to resume from the one before, or "
                    f"{self.folder} to start over"
                ) from error
        self.last_step = step
        return step

    def _check_same(self, settings: dict[str, Any], saved: dict[str, Any]) -> None:
        try:
            differences = find_differences(settings, {**saved["settings"], **saved["data"]})
        except UsageError as error:
            raise UsageError(
                f"{self.folder} cannot be resumed: {error}; end the training with that version, or remove "
                f"{self.folder} to start over"
            ) from error
        if differences:
            raise UsageError(
                f"{self.folder} was begun with another {', '.join(differences)}; give the same settings, or remove it"
            )

    def last_good(self) -> str:
        """Where the last state is, for the end of a message; empty when none was written."""
        return f"; the last good state is of step {self.last_step} in {self.folder}" if self.last_step else ""

    @contextmanager
    def naming_last_state(self) -> Iterator[None]:
        """An error within it says where the last state is."""
        try:
            yield
        except UsageError as error:
            raise UsageError(f"{error}{self.last_good()}") from error

    def _newest(self) -> tuple[int, dict[str, Any]]:
        remove_leftovers(self.folder.glob(".step-*.part"))  # left by kills during a write, each as large as a state
        files = sorted(self.folder.glob("step-*.pt"), reverse=True)
        for file in files:
            if (state := _read_state(file)) is not None:
                return int(file.stem.removeprefix("step-")), state
        return NONE_READABLE if files else 0, {}

    def after(self, step: int, state: TrainingState, ranks: DistributedContext = SINGLE_PROCESS) -> None:
        """Called after each step: the first rank writes the state when it is due, or when any rank got a signal.

        After the last step it is always due: then statistics are measured and the USAE is saved, and a kill or a full
        disk there must not cost a training. A state that cannot be written is then no reason to stop.

        Raises:
            Stopped: after SIGTERM or Ctrl-C, when the state is written.
            ValueError: when it cannot be written; those before are kept.
        """
        stop = bool(ranks.any(torch.tensor(self._stop > 0)))
        self._training = step < state.settings.steps
        if not stop and self._training and time.monotonic() - self._last < self.seconds:
            return
        if ranks.is_main:
            with nullcontext() if stop or self._training else suppress(UsageError):
                self._write(step, state)
        self._last = time.monotonic()
        if stop:
            raise Stopped(
                f"stopped after step {self.last_step}; run the same command again with --resume to continue",
                self._stop or signal.SIGTERM,  # it may have come to another rank alone
            )

    def _write(self, step: int, state: TrainingState) -> None:
        if not all(parameter.isfinite().all() for parameter in state.usae.parameters()):
            return  # the next step says what is wrong; earlier states are still good
        write_state({**state.state_dict(), "data": self.data}, self.folder / state_file_name(step))
        self.last_step = step
        for file in sorted(self.folder.glob("step-*.pt"))[: -self.keep]:
            file.unlink()

    def stop_on_signals(self) -> AbstractContextManager[None]:
        """A context in which SIGTERM and Ctrl-C mean: finish the step, write the state, stop.

        A second Ctrl-C ends at once, and so do both while no step runs (pictures are read, statistics measured).
        """

        def stop(number: int) -> None:
            together = (self, *self._next)
            training = any(checkpointer._training for checkpointer in together)
            if number == signal.SIGINT and (self._stop or not training):
                raise KeyboardInterrupt
            if not training:
                raise SystemExit(status_of(number))
            for checkpointer in together:
                checkpointer._stop = number

        return handle_signals(stop)
