"""States of an evaluation on disk: written every few minutes and when asked to stop, and resumed."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from usae_train.evaluation.settings import EvaluateSettings
from usae_train.files.tensor_checks import Damaged
from usae_train.files.torch_state import read_torch_file, write_state
from usae_train.images.fingerprints import same_setting
from usae_train.runtime.errors import UsageError
from usae_train.runtime.signals import Stopped, handle_signals

MINUTES = EvaluateSettings().checkpoint_minutes


class PassCheckpointer:
    """Keeps the state of one process; processes exchange sums in the same folder.

    Args:
        folder: the folder; made when it is needed.
        rank: number of the process.
        minutes: time between two states.
    """

    def __init__(self, folder: Path, rank: int = 0, minutes: float = MINUTES) -> None:
        self.folder, self.file, self.seconds = folder, folder / f"state-{rank}.pt", 60 * minutes
        self._last = time.monotonic()
        self._stop = 0  # the signal that asked to stop

    def read(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The saved state, if there is one.

        Raises:
            ValueError: when it was made with other settings; says which differ. When it cannot be read.
        """
        if not self.file.is_file():
            return None
        state = self.read_other(self.file)
        begun_with = state.get("settings")
        if not isinstance(begun_with, dict):
            raise UsageError(f"{self.file} is not a state of an evaluation; remove {self.folder} to start over")
        if differences := sorted(key for key in settings if not same_setting(key, settings[key], begun_with.get(key))):
            raise UsageError(
                f"{self.folder} was begun with another {', '.join(differences)}; give the same settings, or remove it"
            )
        return state

    def read_other(self, file: Path) -> dict[str, Any]:
        """A state by its file: this process's, or what another one wrote for the others.

        Raises:
            ValueError: when it cannot be read.
        """
        try:
            state = read_torch_file(file, str(file))
        except UsageError as error:
            raise UsageError(f"{file} cannot be read; remove {self.folder} to start over") from error
        if not isinstance(state, dict):
            raise UsageError(f"{file} is not a state of an evaluation; remove {self.folder} to start over")
        return state

    @contextmanager
    def naming_folder(self) -> Iterator[None]:
        """A context in which an error about a damaged state names this folder.

        Raises:
            ValueError: for a damaged state.
        """
        try:
            yield
        except Damaged as error:
            raise UsageError(
                f"a state in {self.folder} is damaged, or of another version of usae ({error}); "
                f"remove {self.folder} to start over"
            ) from error

    def write(self, state: dict[str, Any]) -> None:
        """Replace the saved state.

        Raises:
            ValueError: when it cannot be written; the one before is kept.
        """
        write_state(state, self.file)
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether to write now: minutes have passed, or a stop was requested."""
        return self._stop > 0 or time.monotonic() - self._last >= self.seconds

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask to stop, as a signal does."""
        self._stop = number

    def check(self) -> None:
        """Raise when a stop was requested.

        Raises:
            Stopped: after a request to stop.
        """
        if self._stop:
            raise Stopped("stopped; run the same command again to resume", self._stop)

    def stop_on_signals(self) -> AbstractContextManager[None]:
        """A context in which Ctrl-C and SIGTERM mean: finish the batch, write the state, stop."""
        return handle_signals(self.stop)
