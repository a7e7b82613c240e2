"""SIGTERM and Ctrl-C: who hears them, and who leaves them alone."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.runtime.signals import STOP_SIGNALS, Stopped, handle_signals
from usae_train.training.checkpointing import TrainingCheckpointer


@pytest.fixture
def ignored() -> Iterator[None]:
    """SIGINT as a shell script's background job finds it."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in STOP_SIGNALS]


def test_what_comes_is_told_and_all_is_as_before_afterwards() -> None:
    told: list[int] = []
    before = handlers()
    with suppress(ValueError), handle_signals(told.append):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            signal.raise_signal(number)
        raise ValueError("whatever ends it")
    assert told == [signal.SIGINT, signal.SIGTERM, signal.SIGINT]
    assert handlers() == before


def test_only_the_signals_that_were_named_are_heard() -> None:
    with handle_signals(lambda number: None, [signal.SIGTERM]), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("ignored")
def test_ctrl_c_that_is_ignored_stays_ignored() -> None:
    told: list[int] = []
    with handle_signals(told.append):
        for number in STOP_SIGNALS:
            signal.raise_signal(number)
    assert told == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


@pytest.mark.usefixtures("ignored")
def test_trainings_and_evaluations_leave_it_ignored(tmp_path: Path) -> None:
    evaluation = PassCheckpointer(tmp_path)
    for stopping in (TrainingCheckpointer(tmp_path).stop_on_signals, evaluation.stop_on_signals):
        with stopping():
            signal.raise_signal(signal.SIGINT)  # a training that has not begun would end at once
    evaluation.check()


def test_a_background_job_of_a_shell_script_ignores_ctrl_c() -> None:
    """What the shell does, and what Python makes of it; the script waits for the job and hands on its status."""
    job = (
        "import signal; from usae_train.runtime.signals import handle_signals\n"
        "with handle_signals(lambda number: print(int(number), flush=True)):\n"
        "    signal.raise_signal(signal.SIGINT); signal.raise_signal(signal.SIGTERM)"
    )
    script = '"$0" -c "$1" & wait $!'
    done = subprocess.run(["sh", "-c", script, sys.executable, job], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("15\n", "")


def test_in_another_thread_nothing_is_heard_and_nothing_goes_wrong() -> None:
    seen: list[object] = []

    def listen() -> None:
        with handle_signals(lambda number: None):
            seen.append(handlers())

    before = handlers()
    thread = threading.Thread(target=listen)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_process_that_was_stopped_exits_as_shells_count() -> None:
    assert [Stopped("stopped", number).status for number in STOP_SIGNALS] == [143, 130]
