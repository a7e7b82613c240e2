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
    """Keeps the state of one process; in the same folder processes meet.

    Args:
        folder: the folder; made when it is needed.
        rank: of the process.
        minutes: time between two states.
    """

    def __init__(self, folder: Path, rank: int = 0, minutes: float = MINUTES) -> None:
        self.folder, self.file, self.seconds = folder, folder / f"state-{rank}.pt", 60 * minutes
        self._last = time.monotonic()
        self._stop = 0  # the signal that asked for it

    def read(self, settings: dict[str, Any]) -> dict[str, Any] | None:
        """The state that was kept, if there is one.

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
        """A state by its file: this process's, or what another one lays down where they meet.

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
        """An error of damage within it names this folder.

        Raises:
            ValueError: then.
        """
        try:
            yield
        except Damaged as error:
            raise UsageError(
                f"a state in {self.folder} is damaged, or of another version of usae ({error}); "
                f"remove {self.folder} to start over"
            ) from error

    def write(self, state: dict[str, Any]) -> None:
        """Keep a state instead of the one before.

        Raises:
            ValueError: when it cannot be written; the one before is kept.
        """
        write_state(state, self.file)
        self._last = time.monotonic()

    @property
    def due(self) -> bool:
        """Whether it is time to write: minutes have passed, or a stop was asked for."""
        return self._stop > 0 or time.monotonic() - self._last >= self.seconds

    def stop(self, number: int = signal.SIGTERM) -> None:
        """Ask to stop, as a signal does."""
        self._stop = number

    def check(self) -> None:
        """End here when a stop was asked for.

        Raises:
            Stopped: then.
        """
        if self._stop:
            raise Stopped("stopped; run the same command again to resume", self._stop)

    def stop_on_signals(self) -> AbstractContextManager[None]:
        """Within it Ctrl-C and SIGTERM mean: write the state after the batch that is running, then stop."""
        return handle_signals(self.stop)
