"""Training states: how many are kept, what a resume refuses, a disk that fills up."""

import json
import signal
import subprocess
import sys
import types
from concurrent.futures import Future

import pytest
import torch
from command_line import assert_one_error, run
from PIL import Image
from safetensors.torch import save_file
from stores import SPECS, YAML, FullDisk, make_pictures, write
from toys import toy_settings, toy_tokens

import usae_train as ut
from usae_train.files.atomic import atomic_path
from usae_train.files.torch_state import write_state
from usae_train.images.sources import open_images
from usae_train.runtime.errors import UsageError
from usae_train.runtime.signals import Stopped
from usae_train.runtime.warning_kinds import OneLineWarning
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings
from usae_train.tokens.store import read_record
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT

SMALL = ["--n-concepts", "6", "-k", "2", "--steps", "3", "--batch", "8", "--device", "cpu"]


class AfterEach(TrainingCheckpointer):
    def __init__(self, folder, keep=2):
        super().__init__(folder, minutes=0, keep=keep)


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_states_are_kept(tmp_path, keep):
    fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=6), checkpointer=AfterEach(tmp_path, keep))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"step-{n:09d}.pt" for n in range(7 - keep, 7)]


def test_a_state_that_a_kill_cut_short_is_passed_over(tmp_path):
    settings = toy_settings(DEFAULT, steps=6)
    whole = fit_tokens(toy_tokens(), settings, checkpointer=AfterEach(tmp_path, 3)).state_dict()
    last = tmp_path / "step-000000006.pt"
    last.write_bytes(last.read_bytes()[:1000])
    (tmp_path / ".step-000000007.pt.1.part").write_bytes(b"x")
    checkpointer = AfterEach(tmp_path, 3)
    resumed = fit_tokens(toy_tokens(), settings, checkpointer=checkpointer).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_ctrl_c_waits_for_a_state_only_while_something_is_trained(tmp_path):
    class Impatient(AfterEach):
        def after(self, step, state, ranks):
            if step == 2:
                signal.raise_signal(signal.SIGINT)  # the first: write the state, then stop
            if step == 3:
                raise AssertionError("the training went on")
            super().after(step, state, ranks)

    before = signal.getsignal(signal.SIGINT)
    checkpointer = Impatient(tmp_path)
    with checkpointer.stop_on_signals():
        with pytest.raises(KeyboardInterrupt):  # nothing is trained yet
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(Stopped, match="stopped after step 2; give the same command with --resume") as stopped:
            fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=6), checkpointer=checkpointer)
        with pytest.raises(KeyboardInterrupt):  # the second
            signal.raise_signal(signal.SIGINT)
    assert stopped.value.status == 130
    assert max(file.name for file in tmp_path.iterdir()) == "step-000000002.pt"
    assert signal.getsignal(signal.SIGINT) is before


def test_after_the_last_step_ctrl_c_is_one_again(tmp_path):
    for _ in range(2):  # the second resumes from the state of the last step
        checkpointer = AfterEach(tmp_path)
        with checkpointer.stop_on_signals():
            fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=2), checkpointer=checkpointer)
            with pytest.raises(KeyboardInterrupt):
                signal.raise_signal(signal.SIGINT)
            with pytest.raises(SystemExit, match="143"):
                signal.raise_signal(signal.SIGTERM)


def test_a_state_that_does_not_know_a_setting_is_gone_on_from(tmp_path):
    settings = toy_settings(DEFAULT, steps=4)
    whole = fit_tokens(toy_tokens(), settings, checkpointer=AfterEach(tmp_path)).state_dict()
    (tmp_path / "step-000000004.pt").unlink()
    old = tmp_path / "step-000000003.pt"
    state = torch.load(old, weights_only=True)
    del state["settings"]["init_seed"]
    torch.save(state, old)
    resumed = fit_tokens(toy_tokens(), settings, checkpointer=AfterEach(tmp_path)).state_dict()
    assert all(torch.equal(value, resumed[name]) for name, value in whole.items())


def test_states_of_which_none_can_be_read_are_not_passed_over(tmp_path):
    (tmp_path / "step-000000006.pt").write_bytes(b"no state")
    torch.save({"of": "something else"}, tmp_path / "step-000000005.pt")
    why = r"no training state in .* can be read; remove the folder to begin anew"
    with pytest.warns(OneLineWarning) as warned, pytest.raises(ValueError, match=why):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=AfterEach(tmp_path))
    newest, before = (str(each.message) for each in warned)
    assert "step-000000006.pt cannot be read (" in newest
    assert before.endswith("step-000000005.pt is not a training state; the state before it is looked for")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step-000000005.pt", "step-000000006.pt"]


def test_a_state_is_not_passed_over_for_want_of_memory(tmp_path, monkeypatch):
    """An older one would be resumed from, or the folder called unreadable, and whole states removed."""
    (tmp_path / "step-000000006.pt").write_bytes(b"whole")

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr("torch.load", full)
    with pytest.raises(MemoryError):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=AfterEach(tmp_path))


def test_a_resume_on_other_data_or_settings_says_what_differs(tmp_path):
    checkpointer = AfterEach(tmp_path)
    checkpointer.data = {"pictures": "here", "fingerprint": "f"}
    fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=checkpointer)
    other = AfterEach(tmp_path)
    other.data = {"pictures": "here", "fingerprint": "g"}
    with pytest.raises(ValueError, match="was begun with another fingerprint, seed; give the same again, or remove it"):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT, seed=1), checkpointer=other)
    other.data = {"pictures": "here", "fingerprint": "f+contents"}  # as this version has them: names, then contents
    fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=other)


@pytest.mark.parametrize("way", [[], ["--independent"]])
def test_a_resume_with_other_backbones_of_the_same_width_is_refused(tmp_path, way, monkeypatch):
    folder, out, specs = make_pictures(tmp_path / "pictures"), tmp_path / "usae", tmp_path / "specs.yaml"
    words = [
        "fit",
        folder,
        "--backbones",
        specs,
        "-o",
        out,
        "--max-broken",
        "0.2",
        "--checkpoint-minutes",
        "0",
        *SMALL,
        *way,
    ]
    specs.write_text(YAML)

    def stopped(*given, **named):
        raise UsageError("stopped")

    with monkeypatch.context() as patched:
        for place in ("training.independent_fit", "model.checkpoint"):  # the first imports from the second
            patched.setattr(f"usae_train.{place}.save", stopped)
        assert "\nerror: stopped" in run(*words)[2]
    specs.write_text(YAML.replace("seed: 0", "seed: 2"))
    code, _, err = run(*words, *([] if way else ["--resume"]))
    assert code == 1
    assert "was begun with another backbones; give the same again" in err
    specs.write_text(YAML)
    code, _, err = run(*words, *([] if way else ["--resume"]))
    assert code == 0, err


def test_no_state_is_written_of_weights_that_are_not_finite(tmp_path):
    class SpoiledAtThree(AfterEach):
        def after(self, step, state, ranks):
            if step == 3:
                state.usae.encoder("a").linear.bias.data[0] = torch.nan
            super().after(step, state, ranks)

    with pytest.raises(ValueError, match=r"the loss is nan at step 3 \(a -> a.*; the last good state is of step 2 in"):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=6), checkpointer=SpoiledAtThree(tmp_path))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["step-000000001.pt", "step-000000002.pt"]


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


def test_a_folder_that_changed_since_extraction_is_named(tmp_path):
    folder, store = make_pictures(tmp_path / "pictures"), tmp_path / "store"
    write(folder, store)
    code, _, err = run("fit", store, "-o", tmp_path / "a", *SMALL)
    assert (code, err) == (0, "")
    Image.new("RGB", (8, 8)).save(folder / "05.png")
    code, _, err = run("fit", store, "-o", tmp_path / "b", *SMALL)
    assert code == 0
    assert err.startswith(f"warning: {folder} has changed since {store} was extracted")
    assert err.count("\n") == 1


def test_metrics_lie_in_the_folder_and_the_room_is_gone(tmp_path):
    (tmp_path / "specs.yaml").write_text(YAML)
    folder, out = make_pictures(tmp_path / "pictures"), tmp_path / "usae"
    words = ("fit", folder, "--backbones", tmp_path / "specs.yaml", "-o", out, "--max-broken", "0.2", *SMALL)
    assert run(*words)[0] == 0
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md",
        "config.json",
        "maps.safetensors",
        "metrics.jsonl",
        "model.safetensors",
        "statistics.safetensors",
    ]
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3
    assert {place.name for place in tmp_path.iterdir()} == {"pictures", "specs.yaml", "usae"}


def stand_in(calls):
    """A wandb that keeps what it is told."""
    module = types.ModuleType("wandb")
    module.Error = type("Error", (Exception,), {})
    module.Settings = lambda **words: words

    class Run:
        def __init__(self, words):
            self.id = words["id"]
            calls.append(("init", words))

        def log(self, figures, step):
            calls.append(("log", step, figures))

        def finish(self):
            calls.append(("finish",))

    module.init = lambda **words: Run(words)
    return module


def test_wandb_is_told_every_line_and_a_resume_is_the_same_run(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setitem(sys.modules, "wandb", stand_in(calls))
    write(make_pictures(tmp_path / "pictures"), tmp_path / "store")
    words = ("fit", tmp_path / "store", "-o", tmp_path / "usae", *SMALL, "--wandb", "concepts")
    monkeypatch.setattr(
        "usae_train.model.checkpoint.save", lambda *ended, **words: (_ for _ in ()).throw(UsageError("cut"))
    )
    assert run(*words)[0] == 1
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "wandb", stand_in(calls))
    assert run(*words, "--resume")[0] == 0
    begun = [call[1] for call in calls if call[0] == "init"]
    assert (begun[0]["project"], begun[0]["name"], begun[0]["resume"]) == ("concepts", "usae", "allow")
    assert begun[0]["config"]["n_concepts"] == 6
    assert begun[0]["id"] == begun[1]["id"]
    logged = [call for call in calls if call[0] == "log"]
    assert [call[1] for call in logged[:3]] == [1, 2, 3]
    assert {"loss", "dead/left", "learning_rate", "r2/left/right", "pair_loss/right/left"} <= set(logged[0][2])
    assert calls.count(("finish",)) == 2


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
