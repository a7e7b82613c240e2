"""Processes that share a command's work: order, errors, kills, Ctrl-C, and how many there are."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from usae_train.runtime import capacity
from usae_train.runtime.capacity import workers_for
from usae_train.runtime.workers import TRIES_OF_A_JOB, JobInterrupted, Workers


def test_jobs_come_back_in_the_order_they_are_asked_for_and_tell_what_they_do():
    told = []
    jobs = [lambda tell, n=n: (tell(n), os.getpid(), n * n)[1:] for n in range(5)]
    with Workers(jobs, 2, lambda job, words: told.append((job, words))) as workers:
        found = [workers.result(number) for number in reversed(range(5))]
    assert [square for _, square in found] == [16, 9, 4, 1, 0]
    assert len({pid for pid, _ in found} - {os.getpid()}) <= 2
    assert os.getpid() not in {pid for pid, _ in found}
    assert sorted(told) == [(n, n) for n in range(5)]


@pytest.mark.parametrize("count", [1, 2])
def test_all_results_come_in_the_order_of_the_jobs(count):
    with Workers([lambda report, n=n: n * n for n in range(5)], count) as workers:
        assert list(workers.results()) == [0, 1, 4, 9, 16]


def test_one_job_or_one_worker_is_no_process():
    with Workers([lambda tell: os.getpid()], 4) as workers:
        assert workers.result(0) == os.getpid()
    with Workers([lambda tell: os.getpid()] * 3, 1) as workers:
        assert {workers.result(number) for number in range(3)} == {os.getpid()}


class OfTwo(ValueError):
    def __init__(self, one: str, two: str) -> None:
        super().__init__(one + two)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ValueError("size is 3"), ValueError),
        (OfTwo("size is", " 3"), ValueError),
        (MemoryError("size is 3"), MemoryError),
        (OSError(28, "size is 3"), OSError),
        (ZeroDivisionError("size is 3"), ZeroDivisionError),
    ],
)
def test_what_goes_wrong_in_a_worker_is_raised_where_it_is_asked_for(error: Exception, kind: type[Exception]):
    def wrong(_tell):
        raise error

    with Workers([wrong, lambda tell: 7], 2) as workers:
        with pytest.raises(kind, match="size is 3") as raised:
            workers.result(0)
        assert workers.result(1) == 7
    assert type(raised.value) is kind
    if isinstance(error, OSError):
        assert raised.value.errno == 28
    if kind is ZeroDivisionError:  # a fault of ours keeps its traceback
        assert "in wrong" in raised.value.__notes__[0]


def test_a_killed_worker_costs_its_job_alone_which_is_done_again(tmp_path: Path):
    def job(_tell):
        (tmp_path / f"{time.monotonic_ns()}.begun").touch()
        return "other"

    with Workers([_killed_once(tmp_path / "killed"), *[job] * 4], 2) as workers:
        assert [workers.result(number) for number in range(5)] == ["done", *["other"] * 4]
    assert len(list(tmp_path.glob("*.begun"))) == 4


def test_a_job_that_kills_every_worker_is_an_error_and_the_others_are_done():
    def deadly(_tell):
        os.kill(os.getpid(), signal.SIGKILL)

    with Workers([deadly, lambda tell: "other"], 2) as workers:
        with pytest.raises(ChildProcessError, match=f"{TRIES_OF_A_JOB} workers ended by signal 9 .* lower --workers"):
            workers.result(0)
        assert workers.result(1) == "other"


@pytest.fixture
def bounded():
    """What would wait for ever is a TimeoutError, within a test that asks for this."""

    def end(*_):
        raise TimeoutError("it waits for ever")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("bounded")
def test_an_error_may_be_asked_for_again_and_a_result_once():
    def short_of_memory(_tell):
        raise RuntimeError("can't allocate memory")  # fewer pictures at once are tried then: it is asked for again

    with Workers([short_of_memory, lambda tell: 7], 2) as workers:
        for _ in range(2):
            with pytest.raises(RuntimeError, match="can't allocate"):
                workers.result(0)
        assert workers.result(1) == 7
        with pytest.raises(RuntimeError, match="job 1 was handed out before"):
            workers.result(1)


def _killed_once(file: Path):
    def job(_tell):
        if not file.exists():
            time.sleep(0.5)  # the other job is done by then
            file.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return "done"

    return job


@pytest.mark.usefixtures("bounded")
def test_a_lost_job_goes_to_an_idle_worker_where_no_process_can_be_begun(tmp_path, monkeypatch):
    begun, really = [], Workers._start_worker

    def no_more(self):
        if len(begun) == 2:
            raise OSError(11, "no further process")
        begun.append(self)
        return really(self)

    monkeypatch.setattr(Workers, "_start_worker", no_more)
    with Workers([_killed_once(tmp_path / "killed"), lambda tell: "other"], 2) as workers:
        assert workers.result(1) == "other"
        assert workers.result(0) == "done"


@pytest.mark.usefixtures("bounded")
def test_ctrl_c_while_a_killed_workers_job_waits_for_another(tmp_path, monkeypatch):
    really = Workers._fill

    def interrupted(self):
        if (tmp_path / "killed").exists() and 0 in self._left:
            os.kill(os.getpid(), signal.SIGINT)
        really(self)

    monkeypatch.setattr(Workers, "_fill", interrupted)
    with (
        Workers([_killed_once(tmp_path / "killed"), lambda tell: "other"], 2) as workers,
        pytest.raises(JobInterrupted),
    ):
        workers.result(0)


def _sleeps(tell):
    try:
        tell("begun")
        time.sleep(30)
    except KeyboardInterrupt:
        return "the best so far"


def test_ctrl_c_stops_what_was_begun_and_begins_no_more():
    begun = []

    def told(job, _words):
        begun.append(job)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with Workers([_sleeps] * 3, 2, told) as workers:
        assert [workers.result(0), workers.result(1)] == ["the best so far"] * 2
        with pytest.raises(JobInterrupted):
            workers.result(2)
        with pytest.raises(KeyboardInterrupt):  # a second one is not waited for
            os.kill(os.getpid(), signal.SIGINT)
    assert begun == [0, 1]


def test_workers_end_with_the_command_however_it_ends():
    pid = os.fork()
    if pid == 0:
        with Workers([_sleeps] * 2, 2) as workers:
            threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
            workers.result(0)
    deadline = time.monotonic() + 10
    children = set()
    while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            children |= set(map(int, file.read().split()))
        time.sleep(0.02)
    assert len(children) == 2
    while any(Path(f"/proc/{child}").exists() and _alive(child) for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def machine(monkeypatch):
    monkeypatch.setattr(capacity, "cores", lambda: 16)
    monkeypatch.setattr(capacity, "free_memory", lambda: int(10e9))
    monkeypatch.delenv("WORLD_SIZE", raising=False)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("asked", "jobs", "bytes_each", "expected"),
    [
        (None, 100, 0.0, 16),  # a core each
        (None, 3, 0.0, 3),  # no more than there is to do
        (None, 1, 0.0, 1),
        (None, 100, 0.9e9, 8),  # 0.8 of 10 GB, 1 GB each
        (None, 100, 99e9, 1),
        (32, 100, 0.0, 32),  # more than cores, where asked for
        (3, 100, 0.9e9, 3),
    ],
)
def test_as_many_workers_as_cores_jobs_and_memory_allow(asked, jobs, bytes_each, expected):
    assert workers_for(asked, jobs, "cpu", bytes_each) == expected


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("asked", "device", "ranks", "why"),
    [
        (0, "cpu", 1, "--workers is 0; expected 1 or more"),
        (9, "cpu", 1, "each takes about 1 GB, and 10 GB are free; expected at most 8"),
        (2, "cuda:0", 1, "on a GPU"),
        (2, "cpu", 2, "torchrun"),
    ],
)
def test_a_number_of_workers_that_cannot_be_is_said(monkeypatch, asked, device, ranks, why):
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    with pytest.raises(ValueError, match=why):
        workers_for(asked, 100, device, 0.9e9)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(("device", "ranks"), [("cuda", 1), ("cpu", 4)])
def test_a_gpu_and_the_ranks_of_torchrun_have_no_workers(monkeypatch, device, ranks):
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    assert workers_for(None, 100, device) == 1


@pytest.mark.parametrize(("quota", "expected"), [("max 100000", 4), ("150000 100000", 2), ("50000 100000", 1)])
def test_a_containers_share_of_time_bounds_the_cores(monkeypatch, tmp_path, quota, expected):
    monkeypatch.setattr(capacity, "CGROUP", tmp_path)
    monkeypatch.setattr(capacity.os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
    (tmp_path / "cpu.max").write_text(quota)
    assert capacity.cores() == expected


def test_a_containers_memory_bounds_what_is_free(monkeypatch, tmp_path):
    monkeypatch.setattr(capacity, "CGROUP", tmp_path)
    assert capacity.free_memory() > 0
    (tmp_path / "memory.max").write_text("3000\n")
    (tmp_path / "memory.current").write_text("2500\n")
    (tmp_path / "memory.stat").write_text("anon 2000\nactive_file 300\ninactive_file 100\n")
    assert capacity.free_memory() == 900
