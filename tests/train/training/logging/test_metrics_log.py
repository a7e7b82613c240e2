"""What a training says of itself: figures worked out by hand, metrics.jsonl, TensorBoard, W&B, the terminal."""

import io
import json
import sys

import pytest
import torch
from rich.console import Console
from toys import WIDTHS, toy_settings, toy_tokens
from typer.testing import CliRunner

from usae_train.cli import app
from usae_train.evaluation.metrics import mean_on_and_off
from usae_train.files.provenance import install_command
from usae_train.model.usae import USAE
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.logging.display import TrainingDisplay, r2_table, summary
from usae_train.training.logging.metrics_log import MetricsLogger, read_metrics
from usae_train.training.logging.step_metrics import flat_metrics, pair_metrics, unsound_pairs
from usae_train.training.logging.trackers import TensorBoard
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.losses import absolute_error, squared_error
from usae_train.training.settings import DEFAULT, PUBLISHED

FIGURES = {
    "loss": 1.5,
    "dead": {"a": 0.25, "b": 0.0},
    "learning_rate": 1e-3,
    "tokens_per_second": 5000.0,
    "gb_read": 0.5,
    "pair_loss": {"a": {"a": 0.5, "b": 1.0}, "b": {"a": 2.0, "b": 0.25}},
    "r2": {"a": {"a": 0.75, "b": 0.5}, "b": {"a": 0.25, "b": 0.65}},
}


def test_pair_figures_by_hand():
    """Codes of `a` are tokens themselves; `b` decodes to the wrong sign of everything."""
    usae = USAE({"a": 2, "b": 2}, 4, 4).requires_grad_(False)
    axes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    for name, sign in (("a", 1.0), ("b", -1.0)):
        usae.encoder(name).linear.weight.copy_(axes)
        usae.encoder(name).linear.bias.zero_()
        usae.decoder(name).weight.copy_(sign * axes)
    tokens = torch.tensor([[1.0, 2.0], [-1.0, -2.0]])
    figures = pair_metrics(usae, {"a": tokens, "b": tokens}, absolute_error)
    assert figures["pair_loss"] == {n: {"a": 0.0, "b": 3.0} for n in ("a", "b")}  # mean of 2 * 1 and 2 * 2
    assert figures["r2"]["a"] == {"a": 1.0, "b": pytest.approx(1 - 4)}


def test_pair_figures_change_nothing_and_give_each_part_its_mode_back():
    usae = new_usae({"a": 6, "b": 5, "c": 7}, toy_settings(PUBLISHED)).train()
    usae.encoder("b").eval()
    before = {name: value.clone() for name, value in usae.state_dict().items()}
    pair_metrics(usae, toy_tokens(), squared_error)
    assert all(torch.equal(before[name], value) for name, value in usae.state_dict().items())
    assert usae.encoder("a").norm.training
    assert not usae.encoder("b").norm.training


def test_the_pairs_losses_sum_to_the_steps_loss_where_there_is_no_other_term():
    recipe = DEFAULT.model_copy(
        update={"encoding": "all", "matryoshka_fractions": (), "auxiliary": "none", "noise": 0.0}
    )
    lines = []
    fit_tokens(toy_tokens(), toy_settings(recipe, steps=4), progress=lambda step, figures: lines.append(figures))
    weights = {name: width * len(WIDTHS) / sum(WIDTHS.values()) for name, width in WIDTHS.items()}
    for line in lines:
        weighted = sum(weights[to] * loss for row in line["pair_loss"].values() for to, loss in row.items())
        assert weighted == pytest.approx(line["loss"], rel=0.01)  # chosen in bf16
    assert all(line["tokens_per_second"] > 0 for line in lines)
    assert lines[-1]["gb_read"] == 64 * (6 + 5 + 7) * 4 / 1e9


def test_matrices_and_names():
    assert mean_on_and_off(FIGURES["r2"]) == (pytest.approx(0.7), pytest.approx(0.375))
    assert mean_on_and_off({"a": {"a": 0.5}}) == (0.5, None)
    assert flat_metrics({"loss": 1, "r2": {"a": {"b": 0.5}}}) == {"loss": 1.0, "r2/a/b": 0.5}
    assert unsound_pairs({"a": {"a": 1.0, "b": float("nan")}, "b": {"a": float("inf"), "b": 0.0}}) == "a -> b, b -> a"


def lines_of(file):
    return [json.loads(text) for text in file.read_text().splitlines()]


def test_a_journal_that_goes_on_doubles_no_line_and_loses_none(tmp_path):
    file = tmp_path / "room" / "metrics.jsonl"
    with MetricsLogger(file) as metrics_logger:
        for step in (1, 11, 21, 31):
            metrics_logger.log(step, {"loss": float(step)})
    with file.open("a") as opened:
        opened.write('{"step": 41, "lo')  # a kill in the middle of a line
    with MetricsLogger(file) as metrics_logger:  # the last state was of step 15
        for step in (21, 31, 41):
            metrics_logger.log(step, {"loss": -float(step)})
    assert [(line["step"], line["loss"]) for line in lines_of(file)] == [
        (1, 1.0),
        (11, 11.0),
        (21, -21.0),
        (31, -31.0),
        (41, -41.0),
    ]
    assert read_metrics(tmp_path / "nothing") == []


def test_what_is_not_finite_is_null(tmp_path):
    with MetricsLogger(tmp_path / "metrics.jsonl") as metrics_logger:
        metrics_logger.log(1, {"loss": 1.0, "r2": {"a": float("nan")}})
    assert lines_of(tmp_path / "metrics.jsonl") == [{"step": 1, "loss": 1.0, "r2": {"a": None}}]


class Killed(Exception):
    pass


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED])
@pytest.mark.parametrize("killed_at", [1, 5, 7, 13, 19])
def test_the_lines_of_a_killed_training_are_those_of_a_whole_one(tmp_path, recipe, killed_at):
    """States are written after steps 5, 10, 15; the kill comes at any moment."""
    settings = toy_settings(recipe, steps=20)

    class Fifth(TrainingCheckpointer):
        def after(self, step, state, ranks):
            self.seconds = 0 if step % 5 == 0 else 1e9
            super().after(step, state, ranks)

    def run(room, kill_at=None):
        with MetricsLogger(room / "metrics.jsonl") as metrics_logger:

            def progress(step, figures):
                metrics_logger.log(step, figures)
                if step == kill_at:
                    raise Killed

            return fit_tokens(toy_tokens(), settings, progress=progress, checkpointer=Fifth(room), log_every=2)

    whole = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "room", killed_at)
    resumed = run(tmp_path / "room")
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())
    lines = [lines_of(tmp_path / room / "metrics.jsonl") for room in ("whole", "room")]
    for line in (*lines[0], *lines[1]):
        line.pop("tokens_per_second")
    for line in lines[1]:  # on some processors a product's last bit depends on where in memory it lies
        for own in line["r2"].values():
            own.update({name: pytest.approx(r2, abs=1e-5) for name, r2 in own.items()})
    assert lines[0] == lines[1]
    assert [line["step"] for line in lines[0]] == [*range(1, 20, 2), 20]


def test_tensorboard_shows_each_step_once_after_a_resume(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    for steps in ((1, 11, 21), (11, 21, 31)):
        with MetricsLogger(tmp_path / "metrics.jsonl", [TensorBoard(tmp_path / "tb")]) as metrics_logger:
            for step in steps:
                metrics_logger.log(step, {**FIGURES, "loss": step + len(steps) * (steps[0] == 11)})
    events = accumulator.EventAccumulator(str(tmp_path / "tb")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (11, 14.0), (21, 24.0), (31, 34.0)]
    assert [e.value for e in events.Scalars("r2/a/b")] == [0.5] * 4
    assert {"dead/a", "dead/b", "learning_rate", "tokens_per_second", "gb_read", "pair_loss/b/a"} <= set(
        events.Tags()["scalars"]
    )


@pytest.mark.parametrize(("option", "package"), [("--tensorboard", "tensorboard"), ("--wandb", "wandb")])
def test_a_missing_package_is_one_line(tmp_path, monkeypatch, option, package):
    modules = {"tensorboard": "torch.utils.tensorboard", "wandb": "wandb"}
    monkeypatch.setitem(sys.modules, modules[package], None)
    words = ["fit", "demo", "--backbones", "demo", "-o", str(tmp_path / "usae"), option, str(tmp_path / "x")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1
    assert done.stderr.startswith(f"error: {option} needs the package {package} (")
    assert done.stderr.endswith(f"{install_command('tracking')}\n")
    assert list(tmp_path.iterdir()) == []


def test_the_terminal_shows_what_matters():
    said = summary(FIGURES)
    assert said == (
        "loss 1.5000   R² of own 0.700, of others 0.375 around the mean token   "
        "dead a 25.0%, b 0.0%   learning rate 1.00e-03   5,000 tokens/s   0.5 GB read"
    )
    console = Console(width=80, file=io.StringIO())
    console.print(r2_table(FIGURES["r2"]))
    display = TrainingDisplay(console=console)
    assert len(list(display.get_renderables())) == 1
    display.metrics = FIGURES
    assert len(list(display.get_renderables())) == 3
    row = next(line for line in console.file.getvalue().splitlines() if "0.250" in line)
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == ["b", "0.250", "0.650"]
