"""Training states: how many are kept, what a resume takes up and refuses, and where metrics lie."""

import signal
import sys
import types

import pytest
import torch
from command_line import run
from PIL import Image
from stores import YAML, make_pictures, write
from toys import SMALL, AfterEach, toy_settings, toy_tokens

from usae_train.runtime.errors import UsageError
from usae_train.runtime.signals import Stopped
from usae_train.runtime.warning_kinds import OneLineWarning
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT


@pytest.mark.parametrize("keep", [1, 3])
def test_the_last_states_are_kept(tmp_path, keep):
    fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=6), checkpointer=AfterEach(tmp_path, keep))
    assert sorted(file.name for file in tmp_path.iterdir()) == [f"step-{n:09d}.pt" for n in range(7 - keep, 7)]


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
        with pytest.raises(Stopped, match="stopped after step 2; run the same command again with --resume") as stopped:
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
    why = r"no training state in .* can be read; remove the folder to start over"
    with pytest.warns(OneLineWarning) as warned, pytest.raises(ValueError, match=why):
        fit_tokens(toy_tokens(), toy_settings(DEFAULT), checkpointer=AfterEach(tmp_path))
    newest, before = (str(each.message) for each in warned)
    assert "step-000000006.pt cannot be read (" in newest
    assert before.endswith("step-000000005.pt is not a training state; the one before it is tried")
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
    with pytest.raises(
        ValueError, match="was begun with another fingerprint, seed; give the same settings, or remove it"
    ):
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
    assert "was begun with another backbones; give the same settings" in err
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
