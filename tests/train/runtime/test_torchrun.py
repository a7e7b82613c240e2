"""Commands under torchrun: stopped, resumed, and ended by what goes wrong in one of the processes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from stores import make_pictures, write

import usae_train as ut


def torchrun(*words: object) -> list[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "usae_train"]
    return [*start, *(str(word) for word in words)]


LEAVES = """
import weakref
from torch import distributed
from usae_train.runtime.distributed import ranks_of_torchrun

try:
    with ranks_of_torchrun("cpu") as ranks:
        group = weakref.ref(distributed.group.WORLD)
        import torch.distributed.nn.functional  # as AdamW does, or a backbone
        ranks.gather(None)
        {end}
except ValueError:
    pass
assert group() is None
"""


@pytest.mark.slow
@pytest.mark.parametrize("end", ["pass", "raise ValueError"])
def test_nothing_keeps_the_group_and_its_threads_beyond_its_end(tmp_path, end):
    """Gloo's threads, alive when Python ends, abort the process now and then: "terminate called ..."."""
    (tmp_path / "leaves.py").write_text(LEAVES.format(end=end))
    words = [*torchrun()[:-2], str(tmp_path / "leaves.py")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


SMALL = ["--n-concepts", 12, "-k", 3, "--steps", 150, "--batch", 8, "--log-every", 7]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A store, and what two processes make of it that nobody stops: (store, weights)."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    write(make_pictures(folder / "pictures"), folder / "store")
    words = torchrun("fit", folder / "store", "-o", folder / "usae", *SMALL, "--verify-checksums")
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder / "store", ut.load(folder / "usae").state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_torchrun_stops_goes_on_and_ends_as_one_process(tmp_path, uninterrupted, end):
    """SIGTERM is torchrun's alone; Ctrl-C is for everyone whom the terminal runs in the foreground."""
    (store, whole), out, room = uninterrupted, tmp_path / "usae", tmp_path / ".usae.training"
    words = ["fit", store, "-o", out, *SMALL]
    command = torchrun(*words, "--checkpoint-minutes", 0)
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 300
    while not list(room.glob("step-*.pt")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    if end == signal.SIGINT:
        os.killpg(process.pid, end)
    else:
        process.send_signal(end)
    said = process.communicate(timeout=120)[1]
    assert "run the same command again with --resume to continue" in said
    assert said.count("--resume to continue") == 1
    assert not out.exists()
    assert list(room.glob("step-*.pt"))
    done = subprocess.run(torchrun(*words, "--resume"), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{out}: 12 concepts over left, right; dead: left ")
    assert not room.exists()
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [*range(1, 150, 7), 150]
    alone = ut.fit(store, n_concepts=12, k=3, steps=150, batch=8).state_dict()
    for name, value in ut.load(out).state_dict().items():
        assert torch.equal(value, whole[name])
        torch.testing.assert_close(value, alone[name], rtol=1e-2, atol=1e-2)


@pytest.mark.slow
def test_what_goes_wrong_is_said_once_and_ends_both(tmp_path):
    store = tmp_path / "store"
    write(make_pictures(tmp_path / "pictures"), store)
    words = ["fit", store, "-o", tmp_path / "usae", "--n-concepts", 12, "-k", 3, "--steps", 9, "--batch", 7]
    done = subprocess.run(torchrun(*words), capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode != 0
    assert done.stderr.count("error: --batch is 7 tokens for 2 processes") == 1
    assert {place.name for place in tmp_path.iterdir()} == {"pictures", "store"}


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_with_one_line(tmp_path):
    store, room = tmp_path / "store", tmp_path / ".usae.training"
    write(make_pictures(tmp_path / "pictures"), store)
    words = ["fit", store, "-o", tmp_path / "usae", "--n-concepts", 12, "-k", 3, "--steps", 10**6, "--batch", 8]
    command = [sys.executable, "-m", "usae_train", *map(str, words), "--checkpoint-minutes", "0"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        join = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    ranks = [
        subprocess.Popen(command, env={**os.environ, **join, "RANK": str(number)}, stderr=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    deadline = time.monotonic() + 300
    while not list(room.glob("step-*.pt")) and time.monotonic() < deadline and ranks[0].poll() is None:
        time.sleep(0.05)
    ranks[1].kill()
    said = ranks[0].communicate(timeout=120)[1]
    assert ranks[0].returncode == 1
    lines = [line for line in said.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1
    assert lines[0].startswith("error: another process has ended, and this one with it")
    assert "Traceback" not in said
    assert list(room.glob("step-*.pt"))
    ranks[1].communicate()
