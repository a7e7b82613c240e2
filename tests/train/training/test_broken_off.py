"""What a full disk or a kill breaks off: whole states, shards and folders are left, and the work is resumed."""

import json
import signal
import subprocess
import sys
import types
from concurrent.futures import Future

import pytest
import torch
from command_line import assert_one_error, run
from safetensors.torch import save_file
from stores import SPECS, FullDisk, make_pictures, write
from toys import SMALL, AfterEach, toy_settings, toy_tokens

import usae_train as ut
from usae_train.files.atomic import atomic_path
from usae_train.files.torch_state import write_state
from usae_train.images.sources import open_images
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import read_record
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT


def test_a_state_that_a_kill_cut_short_is_passed_over(tmp_path):
    settings = toy_settings(DEFAULT, steps=6)
    whole = fit_tokens(toy_tokens(), settings, checkpointer=AfterEach(tmp_path, 3)).state_dict()
    last = tmp_path / "step-000000006.pt"
    last.write_bytes(last.read_bytes()[:1000])
    (tmp_path / ".step-000000007.pt.1.part").write_bytes(b"x")
    checkpointer = AfterEach(tmp_path, 3)
    resumed = fit_tokens(toy_tokens(), settings, checkpointer=checkpointer).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_a_disk_that_fills_up_leaves_the_last_state_and_one_line(tmp_path):
    settings = toy_settings(DEFAULT, steps=6)
    whole = fit_tokens(toy_tokens(), settings).state_dict()
    room = tmp_path / "room"

    class FullAtFour(AfterEach):
        def after(self, step, state, ranks):
            if step < 4:
                return super().after(step, state, ranks)
            with FullDisk(3000):
                return super().after(step, state, ranks)

    with pytest.raises(ValueError, match=r"step-000000004\.pt cannot be written: File too large; free some space"):
        fit_tokens(toy_tokens(), settings, checkpointer=FullAtFour(room))
    assert sorted(file.name for file in room.iterdir()) == ["step-000000002.pt", "step-000000003.pt"]
    resumed = fit_tokens(toy_tokens(), settings, checkpointer=AfterEach(room)).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


@pytest.mark.parametrize("kept", [True, False])
def test_what_goes_wrong_after_the_last_step_costs_no_training(tmp_path, kept):
    """A disk that is full when the USAE is saved; where it has no room for the last state either, saving is tried."""
    store, out, room = tmp_path / "store", tmp_path / "usae", tmp_path / ".usae.training"
    write(make_pictures(tmp_path / "pictures"), store)
    words = ["fit", store, *SMALL, "--checkpoint-minutes", "1000"]
    assert run(*words, "-o", tmp_path / "whole")[0] == 0
    with pytest.MonkeyPatch.context() as full:
        full.setattr("usae_train.model.usae_folder.save_file", FullDisk(100)(save_file))
        if not kept:
            full.setattr("usae_train.training.checkpointing.write_state", FullDisk(100)(write_state))
        refused = run(*words, "-o", out)
        assert_one_error(refused, "usae cannot be written: ")
        assert (f"; the last good state is of step 3 in {room}" in refused[2]) == kept
    assert sorted(file.name for file in room.iterdir()) == ["metrics.jsonl", "step-000000003.pt"][: 1 + kept]
    assert not out.exists()
    with pytest.MonkeyPatch.context() as training:
        if kept:
            training.setattr("usae_train.training.loop.step_loss", None)
        assert run(*words, "-o", out, "--resume")[0] == 0
    whole, resumed = (ut.load(folder).state_dict() for folder in (tmp_path / "whole", out))
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


class AtOnce:
    """An executor that has no thread: a shard is on the disk before the next is seen."""

    def __init__(self, threads):
        assert threads == 1

    def __enter__(self):
        return self

    def __exit__(self, *ended):
        return False

    def submit(self, work, *given):
        done = Future()
        try:
            done.set_result(work(*given))
        except ValueError as error:
            done.set_exception(error)
        return done


def test_a_disk_that_fills_up_during_extraction_loses_no_shard(tmp_path, monkeypatch):
    monkeypatch.setattr("usae_train.tokens.extract.ThreadPoolExecutor", AtOnce)
    folder, out = make_pictures(tmp_path / "pictures"), tmp_path / "store"
    source = open_images(folder)
    record = plan_extraction(source, SPECS).record
    settings = {"settings": ExtractSettings(image_batch=2, max_broken=0.2), "images_per_shard": 4}
    shards = []

    def progress(*done):
        if len(list(out.glob("shard-*"))) == 1 and not shards:
            shards.append(FullDisk(300))
            shards[0].__enter__()

    try:
        with pytest.raises(
            ValueError, match=r"shard-00001\.safetensors cannot be written: .*too large.*free some space"
        ):
            extract(source, record, out, progress=progress, **settings)
    finally:
        shards[0].__exit__()
    assert [shard.file for shard in read_record(out).shards] == ["shard-00000.safetensors"]
    assert not list(out.glob(".*part"))
    whole = write(folder, tmp_path / "whole")
    assert extract(source, record, out, **settings).record == whole.record


def test_a_disk_without_room_for_a_store_is_refused_in_gb_that_can_be_read(tmp_path, monkeypatch):
    source = open_images(make_pictures(tmp_path / "pictures"))
    monkeypatch.setattr("shutil.disk_usage", lambda place: types.SimpleNamespace(free=2500))
    with pytest.raises(ValueError, match=r"store will take 2\.82e-06 GB, and the disk has 2\.5e-06 GB free"):
        extract(source, plan_extraction(source, SPECS)[0], tmp_path / "store")
    assert not (tmp_path / "store").exists()


def test_what_kills_left_half_written_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    folder, out, store = make_pictures(tmp_path / "pictures"), tmp_path / "usae", tmp_path / "store"
    write(folder, store)
    record = json.loads((store / "store.json").read_text())
    (store / "store.json").write_text(json.dumps({**record, "complete": False, "shards": record["shards"][:1]}))
    room = tmp_path / ".usae.training"
    room.mkdir()
    lefts = [f"store/.shard-00001.safetensors.{ended.pid}.part", f".usae.training/.step-000000009.pt.{ended.pid}.part"]
    for left in lefts:
        (tmp_path / left).write_bytes(b"half")
    (tmp_path / f".usae.{ended.pid}.part" / "backbones").mkdir(parents=True)
    of_another = tmp_path / f".usae.v2.{ended.pid}.part"  # which may be living on another machine
    of_another.mkdir()
    write(folder, store)
    assert not list(store.glob(".*"))
    assert TrainingCheckpointer(room)._newest() == (0, {})
    assert not list(room.iterdir())
    assert run("fit", store, "-o", out, "--resume", *SMALL)[0] == 0
    assert sorted(place.name for place in tmp_path.iterdir()) == [of_another.name, "pictures", "store", "usae"]


def test_atomic_path_leaves_what_was_there(tmp_path):
    file = tmp_path / "file"
    file.write_text("before")
    with pytest.raises(ValueError, match="cannot be written: File too large"), FullDisk(100), atomic_path(file) as room:
        room.write_text("x" * 1000)
    assert [(place.name, place.read_text()) for place in tmp_path.iterdir()] == [("file", "before")]


@pytest.mark.slow
@pytest.mark.parametrize("states", [0, 1, 5])
def test_a_fit_killed_at_any_moment_goes_on(tmp_path, states):
    """SIGKILL before the first state, after it, and in the midst of writing them one upon the other."""
    store, out, room = tmp_path / "store", tmp_path / "usae", tmp_path / ".usae.training"
    write(make_pictures(tmp_path / "pictures"), store)
    words = ["fit", str(store), "-o", str(out), "--n-concepts", "12", "-k", "3", "--steps", "600", "--batch", "8"]
    every = ["--checkpoint-minutes", "0" if states else "60", "--log-every", "1"]
    process = subprocess.Popen([sys.executable, "-m", "usae_train", *words, *every])
    metrics = room / "metrics.jsonl"
    while process.poll() is None and not (metrics.is_file() and metrics.stat().st_size > 800 * max(1, states)):
        pass
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert bool(list(room.glob("step-*.pt"))) == bool(states)
    code, _, err = run(*words, "--resume", "--log-every", "1")
    assert (code, err) == (0, "")
    steps = [line.partition(",")[0] for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert steps == [f'{{"step": {step}' for step in range(1, 601)]
