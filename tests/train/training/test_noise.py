"""What encoders see besides the tokens: the same whichever process has them, and nothing that is decoded."""

import pytest
import torch
from toys import WIDTHS, toy_settings, toy_tokens

from usae_train.model.usae import USAE
from usae_train.training.loop import fit_tokens
from usae_train.training.noise import N_STARTS, NoiseSource, TokenNoise
from usae_train.training.settings import DEFAULT
from usae_train.training.step import step_loss
from usae_train.training.step_plan import StepPlan


def drawn(strength: float, batch: int, width: int, seed: int = 0) -> TokenNoise:
    noise = NoiseSource(strength, batch, [width, width], 5, "cpu").draw(torch.Generator().manual_seed(seed))
    assert noise is not None
    return noise


def test_its_strength_is_in_units_of_the_tokens() -> None:
    added = drawn(0.5, 4096, 8).onto(torch.zeros(4096, 8), torch.arange(4096), 0, 2.0)
    assert abs(added.std().item() - 1.0) < 0.02
    assert abs(added.mean().item()) < 0.02


def test_a_tokens_noise_belongs_to_its_place_in_the_whole_batch() -> None:
    noise, tokens = drawn(0.3, 50, 5), torch.randn(50, 5)
    whole = noise.onto(tokens, torch.arange(50), 1, 1.0)
    places = torch.tensor([3, 17, 44])
    assert torch.equal(noise.onto(tokens[places], places, 1, 1.0), whole[places])


def test_steps_and_backbones_have_noise_of_their_own() -> None:
    tokens, places = torch.zeros(12, 5), torch.arange(12)
    shown = [drawn(0.3, 12, 5, seed).onto(tokens, places, row, 1.0) for seed, row in ((7, 0), (7, 1), (9, 0))]
    assert len({each.sum().item() for each in shown}) == 3
    own = drawn(0.3, 12, 5).onto(tokens[1::3], places[1::3], 0, 1.0, sharing=3)
    assert len(own.unique(dim=0)) == 4  # no two places of a share get the same


@pytest.mark.parametrize("start", [0, N_STARTS - 1])
def test_the_table_is_long_enough_for_the_last_token_wherever_a_step_begins(start: int) -> None:
    source = NoiseSource(1.0, 3, [4, 2], 0, "cpu")
    shown = TokenNoise(1.0, source.table, [start, start]).onto(torch.zeros(1, 4), torch.tensor([2]), 0, 1.0)
    assert torch.equal(shown[0], source.table[start + 8 : start + 12])


def test_what_is_decoded_to_is_shown_none_and_a_frozen_encoder_sees_none() -> None:
    torch.manual_seed(2)
    usae = USAE(WIDTHS, 12, 3, unit_norm=False)
    batch, kept = toy_tokens(), toy_tokens()
    nothing_dead = torch.zeros(len(WIDTHS), 12, dtype=torch.bool)
    names = list(WIDTHS)
    noise = NoiseSource(1.0, 64, [*WIDTHS.values()], 3, "cpu").draw(torch.Generator())

    def loss(stepping: list[str], noise: TokenNoise | None) -> float:
        return step_loss(usae, batch, StepPlan(DEFAULT, names, stepping, (0.25,), noise), nothing_dead)[0].item()

    assert loss(names, noise) != loss(names, None)
    assert all(torch.equal(batch[name], kept[name]) for name in names)
    free = names[1:]
    for name in free:  # silence all encoders that a step may change: what is left is the frozen one's
        with torch.no_grad():
            usae.encoder(name).linear.weight.zero_()
            usae.encoder(name).linear.bias.fill_(0.5)
    assert loss(free, noise) == loss(free, None)
    assert loss(names, noise) != loss(names, None)


def test_without_noise_nothing_is_drawn_for_it() -> None:
    quiet = DEFAULT.model_copy(update={"noise": 0.0})
    silent = [fit_tokens(toy_tokens(), toy_settings(quiet, steps=3)) for _ in range(2)]
    noisy = fit_tokens(toy_tokens(), toy_settings(DEFAULT, steps=3))
    weights = [usae.encoder("a").linear.weight for usae in (*silent, noisy)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
