"""A new backbone in a frozen concept space."""

import json
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM
from typing import Any
from unittest.mock import patch

import pytest
import torch
from command_line import assert_one_error, run
from matrices import r2_matrix
from stores import begun

import usae_train as ut
from usae_train.backbones.backbone import BackboneSpec
from usae_train.demo.activations import known_world
from usae_train.model.sparse import Codes, top_k
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_train.training.add_backbone import GrownSpace, add_untrained_pair, growth_settings, split_pictures
from usae_train.training.alignment import tokens_of_concepts
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.logging.callbacks import FitCallbacks
from usae_train.training.logging.metrics_log import read_metrics
from usae_train.training.loop import fit_tokens, step_loss, stepping_pairs
from usae_train.training.losses import squared_error
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step_plan import StepPlan

NEW = BackboneSpec(
    model="vit_tiny_patch16_224",
    weights="random",
    input_size=32,
    seed=7,
    options={"patch_size": 8, "depth": 1, "embed_dim": 16, "num_heads": 2},
)


def toy_tokens(names: str = "abc", rows: int = 64) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {name: torch.randn(rows, 4 + ord(name) % 3, generator=generator) + 1 for name in names}


def grown_toy(recipe: TrainingRecipe, steps: int = 8) -> tuple[ut.USAE, ut.USAE]:
    tokens = toy_tokens()
    settings = FitSettings(n_concepts=12, k=3, steps=20, batch=32, recipe=recipe)
    before = fit_tokens({name: tokens[name] for name in "ab"}, settings)
    chosen = growth_settings(before, recipe, steps=steps, batch=32)
    after = add_untrained_pair(before, "c", NEW, tokens["c"].shape[1], chosen)
    return before, fit_tokens(tokens, chosen, after, frozen=before.names)


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED], ids=lambda recipe: recipe.name)
def test_nothing_of_the_known_backbones_changes_to_the_bit(recipe: TrainingRecipe) -> None:
    before, after = grown_toy(recipe)
    known, now = before.state_dict(), after.state_dict()
    assert all(torch.equal(value, now[name]) for name, value in known.items())
    _, shorter = grown_toy(recipe, steps=7)
    learned = {name for name, value in now.items() if not torch.equal(value, shorter.state_dict()[name])}
    assert {name.split(".")[1] for name in learned} == {"c"}
    assert {"encoders.c.linear.weight", "dictionaries.c.weight"} <= learned


def test_only_pairs_that_are_not_frozen_step() -> None:
    names = ["a", "b", "c", "d"]
    assert stepping_pairs(DEFAULT, names, "a", ["a", "b"]) == ["c", "d"]
    assert stepping_pairs(PUBLISHED, names, "a", ["a", "b"]) == ["c", "d"]
    assert stepping_pairs(PUBLISHED, names, "c", ["a", "b"]) == ["c"]
    assert stepping_pairs(PUBLISHED, names, "c") == ["c"]
    assert stepping_pairs(DEFAULT, names, "c") == names


def test_what_the_frozen_make_of_each_other_is_no_loss() -> None:
    """The loss with a frozen pair is the whole loss less the frozen pairs' own."""
    recipe = DEFAULT.model_copy(update={"matryoshka_fractions": (), "auxiliary": "none", "encoding": "all"})
    usae, tokens = ut.USAE({"a": 5, "b": 6, "c": 4}, 12, 3), toy_tokens()
    none = torch.zeros(3, 12, dtype=torch.bool)
    batch = {"a": tokens["b"][:, :5], "b": tokens["c"][:, :6], "c": tokens["a"][:, :4]}
    batch = {name: torch.nn.functional.pad(own, (0, usae.widths[name] - own.shape[1])) for name, own in batch.items()}
    whole, _ = step_loss(usae, batch, StepPlan.of_all(recipe, usae.names), none)
    grown, _ = step_loss(usae, batch, replace(StepPlan.of_all(recipe, usae.names), stepping=["c"]), none)
    known, _ = step_loss(usae, {name: batch[name] for name in "ab"}, StepPlan.of_all(recipe, ["a", "b"]), none)
    torch.testing.assert_close(grown, whole - known)


@patch("usae_train.training.step.product_dtype", lambda device: torch.float32)  # as the reference
def test_with_a_share_each_the_frozen_ones_are_decoded_to_the_new_one_alone() -> None:
    recipe = DEFAULT.model_copy(update={"matryoshka_fractions": (), "auxiliary": "none", "standardization": "scalar"})
    torch.manual_seed(0)
    usae, none = ut.USAE({"a": 5, "b": 6}, 12, 3), torch.zeros(2, 12, dtype=torch.bool)
    batch = {
        name: torch.randn(10, width, generator=torch.Generator().manual_seed(1)) for name, width in usae.widths.items()
    }
    loss, _ = step_loss(usae, batch, replace(StepPlan.of_all(recipe, ["a", "b"]), stepping=["b"]), none)
    first, second = ({name: own[start::2] for name, own in batch.items()} for start in (0, 1))
    from_a = squared_error(first["b"], usae.decoder("b")(top_k(usae.encoder("a")(first["a"]), 3)))
    codes = top_k(usae.encoder("b")(second["b"]), 3)
    from_b = sum(squared_error(own, usae.decoder(name)(codes)) for name, own in second.items())
    torch.testing.assert_close(loss, from_a + from_b, rtol=1e-4, atol=1e-4)


def test_a_concepts_tokens_are_summed_by_their_codes() -> None:
    codes = Codes(torch.tensor([[2.0, 1.0], [0.5, 0.0]]), torch.tensor([[0, 2], [2, 1]]))
    tokens = torch.tensor([[1.0, 0.0], [0.0, 4.0]])
    assert tokens_of_concepts(codes, tokens, 4).tolist() == [[2.0, 0.0], [0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]


def test_the_new_one_shares_what_joint_training_would_share() -> None:
    generator = torch.Generator().manual_seed(0)
    world = known_world(4000, generator, {"a": 24, "b": 16, "c": 20}, shared=24, active=3, private=1)
    settings = FitSettings(n_concepts=48, k=6, steps=250, batch=512)
    known = fit_tokens({name: world.tokens[name] for name in "ab"}, settings)
    grown = add_untrained_pair(known, "c", NEW, 20, settings)
    fit_tokens(world.tokens, settings, grown, frozen=known.names)
    joint = fit_tokens(world.tokens, settings)
    shared = [GrownSpace(usae, "c", 0, r2_matrix(usae, world.tokens)).shared() for usae in (grown, joint)]
    assert shared[1] > 0.4
    assert shared[0] > 0.9 * shared[1]


def test_pictures_are_divided_once_and_for_all() -> None:
    train, held_out = split_pictures(40, seed=3)
    assert sorted(train + held_out) == list(range(40))
    assert len(held_out) == 4
    assert (train, held_out) == split_pictures(40, seed=3) != split_pictures(40, seed=4)
    assert [len(part) for part in split_pictures(100_000, 0)] == [99_500, 500]
    assert [len(part) for part in split_pictures(2, 0)] == [1, 1]
    with pytest.raises(ValueError, match="1 picture; expected two at least"):
        split_pictures(1, 0)


@pytest.fixture
def small(tiny_specs: dict[str, BackboneSpec], picture_folder: Path, tmp_path: Path) -> str:
    usae = ut.fit(picture_folder, backbones=tiny_specs, n_concepts=8, k=2, steps=3, batch=16)
    ut.save(usae, tmp_path / "small")
    return str(tmp_path / "small")


SPEC = """
third:
  model: vit_tiny_patch16_224
  weights: random
  input_size: 32
  options: {patch_size: 8, depth: 1, embed_dim: 16, num_heads: 2}
"""


def test_the_command_adds_a_backbone_and_reports(small: str, picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "new.yaml").write_text(SPEC)
    out, words = tmp_path / "grown", ["--steps", 3, "--batch", 16, "--device", "cpu"]
    code, said, err = run(
        "add-backbone", small, picture_folder, "--backbone", tmp_path / "new.yaml", "-o", out, *words, "--joint"
    )
    assert code == 0, err
    first, second = said.splitlines()[:2]
    assert first == f"{out}: 8 concepts over vit, conv, third"
    assert second == "R² of third around each feature's mean, on 1 held-out picture"
    assert "all trained together:" in said
    for kept in ("metrics.jsonl", "metrics-joint.jsonl"):
        assert [line["step"] for line in read_metrics(out / kept)] == [1, 2, 3]
    before, after = ut.load(small), ut.load(out)
    assert all(torch.equal(value, after.state_dict()[name]) for name, value in before.state_dict().items())
    assert (after.names, after.grid, after.recipe) == (["vit", "conv", "third"], (2, 2), "default")
    assert after.specs["third"].input_size == 32
    assert after.statistics is not None
    assert len(after.statistics.fires) == 3
    assert after.tokens("third", torch.rand(1, 3, 32, 32)).shape == (1, 4, 16)
    other = ["--backbone", tmp_path / "new.yaml", "-o", tmp_path / "b", "--name", "fourth", *words]
    code, said, err = run("add-backbone", out, picture_folder, *other, "--json")
    assert code == 0, err
    figures = json.loads(said)
    assert set(figures["r2"]) == {"vit", "conv", "third", "fourth"}
    assert figures["joint"] is None


@pytest.mark.slow
@pytest.mark.parametrize(("end", "during"), [(SIGTERM, "."), (SIGINT, "."), (SIGKILL, "joint"), (SIGINT, "joint")])
def test_a_killed_growth_goes_on_bit_for_bit(
    small: str, picture_folder: Path, tmp_path: Path, end: int, during: str
) -> None:
    (tmp_path / "new.yaml").write_text(SPEC)
    whole, out = tmp_path / "whole", tmp_path / "grown"
    words = ["add-backbone", small, str(picture_folder), "--backbone", str(tmp_path / "new.yaml"), "--joint", "--json"]
    words += ["--steps", "200", "--batch", "8", "--device", "cpu"]
    code, said, err = run(*words, "-o", whole)
    assert code == 0, err
    process, room = begun([*words, "-o", str(out), "--checkpoint-minutes", "0"], out, 2, during)
    process.send_signal(end)
    assert process.wait() == {SIGKILL: -9, SIGTERM: 143, SIGINT: 130}[end]
    assert list((room / during).glob("step-*.pt"))
    assert not out.exists()
    assert_one_error(run(*words, "-o", out), "give --resume to continue it, or remove it")
    assert_one_error(run(*words, "-o", out, "--seed", 1, "--resume"), "was begun with another seed")
    assert_one_error(run(*words, "-o", out, "--name", "other", "--resume"), "was begun with another widths")
    code, resumed, err = run(*words, "-o", out, "--resume")
    assert code == 0, err
    assert resumed == said
    assert not room.exists()
    for kept in ("metrics.jsonl", "metrics-joint.jsonl"):
        lines = [read_metrics(folder / kept) for folder in (whole, out)]
        assert [line["step"] for line in lines[0]] == [line["step"] for line in lines[1]]
        assert [line["loss"] for line in lines[0]] == [line["loss"] for line in lines[1]]
    first, second = ut.load(whole).state_dict(), ut.load(out).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_one_token_a_step_is_refused_where_the_space_normalizes_over_a_batch() -> None:
    normalized, plain = (ut.USAE({"a": 4}, 12, 3, batch_norm=own) for own in (True, False))
    with pytest.raises(ValueError, match="batch is 1, and recipe 'default' normalizes over a batch"):
        growth_settings(normalized, DEFAULT, batch=1)
    assert growth_settings(plain, "published", batch=1).batch == 1


def test_the_added_one_is_kept_for_joint_training_and_for_what_comes_after(
    small: str, picture_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpointer = TrainingCheckpointer(tmp_path / "states", minutes=1000)
    told: dict[str, Any] = {"name": "new", "steps": 3, "batch": 8, "checkpointer": checkpointer}
    capsys.readouterr()
    grown = ut.add_backbone(ut.load(small), picture_folder, NEW, joint=True, **told)
    *lines, last = capsys.readouterr().err.splitlines()
    assert "\n".join(lines) == repr(grown)
    assert lines[0] == "R² of new around each feature's mean, on 1 held-out picture"
    assert last == "in memory only: ut.save(grown.usae, FOLDER) keeps it"
    states = sorted(str(file.relative_to(checkpointer.folder)) for file in checkpointer.folder.rglob("*.pt"))
    assert states == ["joint/step-000000003.pt", "step-000000003.pt"]


def test_broken_held_out_pictures_are_named_before_training(small: str, picture_folder: Path) -> None:
    for number in range(6, 20):  # of 20 pictures two are held out
        (picture_folder / f"{number:02d}.png").write_bytes((picture_folder / "0.png").read_bytes())
    files = sorted(picture_folder.iterdir())
    one, other = (files[number] for number in split_pictures(20, 0)[1])

    def steps(step: int, figures: dict[str, Any]) -> None:  # noqa: ARG001
        raise AssertionError("it was trained")

    said: list[str] = []
    told: dict[str, Any] = {"name": "new", "steps": 2, "batch": 8}
    one.write_text("broken")
    grown = ut.add_backbone(ut.load(small), picture_folder, NEW, callbacks=FitCallbacks(failure=said.append), **told)
    assert grown.n_held_out == 1
    assert [why.split()[0] for why in said] == [one.name]
    other.write_text("broken")
    with pytest.raises(ValueError, match=r"none of the 2 held-out pictures of .* can be read; the first: "):
        ut.add_backbone(ut.load(small), picture_folder, NEW, callbacks=FitCallbacks(steps=steps), **told)


def test_callbacks_are_taken_by_their_former_names(small: str, picture_folder: Path) -> None:
    alone, jointly = list[int](), list[int]()
    watch, joint_watch = (
        FitCallbacks(steps=lambda step, figures, into=into: into.append(step), log_every=1) for into in (alone, jointly)
    )
    told: dict[str, Any] = {"name": "new", "steps": 2, "batch": 8, "joint": True}
    with pytest.warns(FormerNameWarning) as warned:
        ut.add_backbone(ut.load(small), picture_folder, NEW, watch=watch, joint_watch=joint_watch, **told)
    assert {str(each.message) for each in warned} == {
        "watch is called callbacks now; write callbacks",
        "joint_watch is called joint_callbacks now; write joint_callbacks",
    }
    assert (alone, jointly) == ([1, 2], [1, 2])


def test_what_cannot_be_added_is_one_line(small: str, picture_folder: Path, tmp_path: Path) -> None:
    words = ["add-backbone", small, picture_folder, "-o", tmp_path / "grown", "--device", "cpu", "--backbone"]
    (tmp_path / "new.yaml").write_text(SPEC.replace("third", "vit"))
    assert_one_error(run(*words, tmp_path / "new.yaml"), "this USAE has a backbone 'vit' already")
    assert_one_error(run(*words, "resnet10t,resnet18"), "--backbone names 2 backbones: resnet10t, resnet18; add one")
    assert_one_error(run(*words, "resnet10x"), "timm knows no model 'resnet10x'")
    assert_one_error(run(*words, tmp_path / "new.yaml", "--name", "a b"), "a backbone cannot be called 'a b'")
    bare = ut.fit({"a": torch.randn(30, 4)}, n_concepts=4, k=2, steps=1)
    ut.save(bare, tmp_path / "bare")
    words[1] = tmp_path / "bare"
    assert_one_error(run(*words, tmp_path / "new.yaml"), "was fitted on bare activations")
    assert not (tmp_path / "grown").exists()


def test_the_space_stays_as_large_as_it_is(small: str, picture_folder: Path) -> None:
    with pytest.raises(ValueError, match="n_concepts is 16, and the USAE's 8; its space stays as it is"):
        ut.add_backbone(ut.load(small), picture_folder, NEW, name="new", n_concepts=16)
