"""States are checked by shape and kind before anything takes them over; those of version 0.2 are refused in words."""

import pytest
import torch
from real_recipe import OF_0_8
from toys import toy_settings, toy_tokens

from usae_train.backbones.backbone import BackboneSpec, listed_specs
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, PUBLISHED
from usae_train.training.state_checks import find_differences

SPECS = {"a": BackboneSpec(model="vit_tiny_patch16_224", weights="random")}


def stopped(folder, recipe=DEFAULT):
    fit_tokens(toy_tokens(), toy_settings(recipe, steps=3), checkpointer=TrainingCheckpointer(folder, minutes=1e6))
    (file,) = folder.iterdir()
    return file


def resumed(folder, recipe=DEFAULT):
    return fit_tokens(
        toy_tokens(), toy_settings(recipe, steps=4), checkpointer=TrainingCheckpointer(folder, minutes=1e6)
    )


def emptied(state):
    state["optimizers"]["a"]["state"][0]["exp_avg"] = torch.zeros(0)


def without_moments(state):
    state["optimizers"]["a"]["state"] = {}


def of_another_window(state):
    state["batches"]["windows"] = [[7]]


def halved(state):
    state["usae"]["encoders.a.linear.weight"] = state["usae"]["encoders.a.linear.weight"].half()


def with_a_nan(state):
    state["usae"]["encoders.a.linear.bias"][0] = torch.nan


def of_another_generator(state):
    state["generator"] = state["generator"][:-1]


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (emptied, r"optimizer of a: parameter 0: exp_avg is \(0,\) of torch.float32; expected \(12, 6\)"),
        (without_moments, "optimizer of a has moments of other parameters"),
        (of_another_window, "the position in the data is of other windows"),
        (halved, r"usae: encoders.a.linear.weight is \(12, 6\) of torch.float16"),
        (with_a_nan, "usae: encoders.a.linear.bias has values that are NaN or infinite"),
        (of_another_generator, r"generator is \(\d+,\) of torch.uint8"),
        (lambda state: state.pop("last_fired"), "it has no last_fired"),
    ],
)
def test_a_state_of_other_shapes_is_not_taken_over(tmp_path, damage, why):
    file = stopped(tmp_path)
    state = torch.load(file, weights_only=True)
    state["settings"]["steps"] = 4
    damage(state)
    torch.save(state, file)
    with pytest.raises(ValueError, match=rf"step-000000003.pt is not a state of this training \({why}.*remove it"):
        resumed(tmp_path)


@pytest.mark.parametrize("recipe", [DEFAULT, PUBLISHED], ids=lambda recipe: recipe.name)
def test_a_whole_state_is(tmp_path, recipe):
    file = stopped(tmp_path, recipe)
    state = torch.load(file, weights_only=True)
    state["settings"]["steps"] = 4
    torch.save(state, file)
    resumed(tmp_path, recipe)


def test_a_training_of_version_0_2_says_what_to_do(tmp_path):
    """Its recipes had no standardization, and a concept was dead in all backbones or in none."""
    file = stopped(tmp_path)
    state = torch.load(file, weights_only=True)
    del state["settings"]["recipe"]["standardization"]
    state["last_fired"] = state["last_fired"][0]
    torch.save(state, file)
    why = "cannot be resumed: another version of usae began it, whose recipes had another standardization; end"
    with pytest.raises(ValueError, match=rf"{why} the training with that version, or remove .* to start over"):
        resumed(tmp_path)


def test_a_training_from_before_unit_norm_and_noise_goes_on_where_its_recipe_is_the_same(tmp_path):
    for recipe in (PUBLISHED, DEFAULT):
        file = stopped(tmp_path / recipe.name, recipe)
        state = torch.load(file, weights_only=True)
        state["settings"]["steps"] = 4
        for later in ("unit_norm", "noise"):
            del state["settings"]["recipe"][later]
        torch.save(state, file)
    resumed(tmp_path / "published", PUBLISHED)
    with pytest.raises(ValueError, match="whose recipes had another noise, unit_norm; end"):
        resumed(tmp_path / "default", DEFAULT)


def test_every_later_setting_of_a_recipe_has_what_recipes_did_before(tmp_path):
    """Those of a training that version 0.8 began; a setting that comes later belongs into FORMER_RECIPE_SETTINGS."""
    in_0_8 = """name standardization batch_norm offset dictionary_init frozen shuffled tied renormalize unit_norm noise
    encoding loss matryoshka_fractions matryoshka sparsity dictionary auxiliary auxiliary_weight dead_after
    learning_rate final_learning_rate warm_up weight_decay batch max_grad_norm"""
    file = stopped(tmp_path, OF_0_8)
    state = torch.load(file, weights_only=True)
    state["settings"]["steps"] = 4
    own = state["settings"]["recipe"]
    state["settings"]["recipe"] = {name: own[name] for name in in_0_8.split()}
    torch.save(state, file)
    with pytest.raises(ValueError, match="whose recipes had another own_weight; end"):
        resumed(tmp_path, OF_0_8.model_copy(update={"own_weight": 2.0}))
    with pytest.raises(ValueError, match="whose recipes had another betas; end"):
        resumed(tmp_path, DEFAULT)
    resumed(tmp_path, OF_0_8)


def test_settings_that_differ_are_named_within_a_recipe():
    own = toy_settings(DEFAULT).model_dump(mode="json") | {"backbones": listed_specs(SPECS)}
    told = toy_settings(DEFAULT.model_copy(update={"max_grad_norm": 2.0}), seed=1).model_dump(mode="json")
    earlier = [["a", {key: value for key, value in listed_specs(SPECS)[0][1].items() if key != "tensors"}]]
    assert find_differences(own, {**told, "backbones": earlier}) == ["recipe.max_grad_norm", "seed"]
    assert find_differences(own, {**told, "backbones": [["b", earlier[0][1]]]}) == [
        "backbones",
        "recipe.max_grad_norm",
        "seed",
    ]
