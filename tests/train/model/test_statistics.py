import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from usae_train.model.firing import measure
from usae_train.model.statistics import LEVELS, MIN_COFIRES, Statistics, auroc, images_needed
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens


def open_usae() -> USAE:
    """Two backbones whose codes are their own tokens: three concepts, all of them kept."""
    usae = USAE({"a": 3, "b": 3}, n_concepts=3, k=3).eval().requires_grad_(False)
    for name in usae.names:
        usae.encoder(name).linear.weight.copy_(torch.eye(3))
        usae.encoder(name).linear.bias.zero_()
        usae.scale(name).std.fill_(1 - 1e-5)
    return usae


# three pictures of two tokens, (image, token, concept)
NOTHING = [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
CODES = {
    "a": torch.tensor([[[1.0, 0.0, 0.0], [3.0, 0.05, 0.0]], [[0.0, 2.0, 0.0], [0.5, 0.0, 0.0]], NOTHING]),
    "b": torch.tensor([[[0.0, 0.0, 0.0], [4.0, 0.2, 0.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]], NOTHING]),
}
NUMBERS = torch.tensor([7, 4, 9])


@pytest.fixture
def measured() -> Statistics:
    return measure(open_usae(), PairedTokens(CODES, NUMBERS))


def test_fires_are_codes_above_a_tenth(measured: Statistics) -> None:
    assert measured.fires.tolist() == [[3, 1, 0], [1, 2, 0]]
    assert measured.counts.tolist() == [3, 6]
    torch.testing.assert_close(measured.firing_share[0], torch.tensor([3 / 6, 1 / 6, 0.0]))


def test_co_fires_are_fires_of_every_backbone_at_the_same_token(measured: Statistics) -> None:
    assert measured.co_fires.tolist() == [1, 1, 0]
    torch.testing.assert_close(measured.co_firing, torch.tensor([[1 / 3, 1.0, 0.0], [1.0, 1 / 2, 0.0]]))


def test_energy_is_the_squared_mean_code(measured: Statistics) -> None:
    expected = torch.tensor([[(4.5 / 6) ** 2, (2.05 / 6) ** 2, 0.0], [(4 / 6) ** 2, (1.2 / 6) ** 2, 0.0]])
    torch.testing.assert_close(measured.energy, expected)


def test_energy_counts_a_concept_of_free_length_as_long_as_it_is() -> None:
    usae = open_usae()
    with torch.no_grad():
        usae.decoder("a").weight.copy_(torch.diag(torch.tensor([0.5, 2.0, 1.0])))
    unit = measure(usae, PairedTokens(CODES, NUMBERS)).energy
    usae.unit_norm = usae.decoder("a").unit_norm = usae.decoder("b").unit_norm = False
    free = measure(usae, PairedTokens(CODES, NUMBERS)).energy
    torch.testing.assert_close(free[0], unit[0] * torch.tensor([0.25, 4.0, 1.0]))
    torch.testing.assert_close(free[1], unit[1])  # whose rows have length 1


def test_quantiles_are_of_the_pictures_largest_codes(measured: Statistics) -> None:
    # concept 0 in a: largest codes 3, 0.5, 0; three pictures have a median and a maximum, and no more
    expected = [0.5, math.nan, math.nan, math.nan, 3.0]
    torch.testing.assert_close(measured.quantiles[0, 0], torch.tensor(expected), equal_nan=True)
    assert measured.quantiles.shape == (2, 3, len(LEVELS))


def test_a_quantile_is_there_from_the_number_of_pictures_on_that_it_needs() -> None:
    """Picture n has the largest code n, and 0 in every other concept."""
    assert [images_needed(level) for level in LEVELS] == [2, 10, 100, 1000, 1]
    tokens = torch.zeros(100, 1, 3)
    tokens[:, 0, 0] = torch.arange(100.0)
    found = measure(open_usae(), PairedTokens({"a": tokens, "b": tokens}, torch.arange(100))).quantiles[0, 0]
    torch.testing.assert_close(
        found, torch.tensor([49.5, 0.9 * 99, 0.99 * 99, math.nan, 99.0]), equal_nan=True, atol=0.05, rtol=0
    )


def test_percentile_skips_what_was_too_few_for() -> None:
    assert with_quantiles(1, 2, math.nan, math.nan, 5).percentile(0, 0, 3.5) == pytest.approx(95)


def test_top_images_are_named_by_number_with_the_token(measured: Statistics) -> None:
    assert measured.top_images[0, 0].tolist() == [7, 4, -1]
    assert measured.top_tokens[0, 0, :2].tolist() == [1, 1]
    assert measured.top_images[0, 1].tolist() == [4, 7, -1]
    assert measured.top_tokens[0, 1, :2].tolist() == [0, 1]
    assert measured.top_images[1, 0].tolist() == [7, -1, -1]
    assert measured.top_images[1, 2].tolist() == [-1, -1, -1]


def test_statistics_do_not_depend_on_the_chunk(measured: Statistics) -> None:
    one_by_one = measure(open_usae(), PairedTokens(CODES, NUMBERS), chunk=1)
    for name in ("fires", "co_fires", "energy", "quantiles", "top_images", "top_tokens", "counts"):
        torch.testing.assert_close(
            getattr(one_by_one, name), getattr(measured, name), equal_nan=True, atol=0, rtol=0, msg=name
        )


def test_codes_are_counted_after_top_k() -> None:
    usae = open_usae()
    usae.k = 1
    tokens = {name: torch.tensor([[[2.0, 1.0, 0.0]]]) for name in "ab"}
    assert measure(usae, PairedTokens(tokens, torch.tensor([0]))).fires.tolist() == [[1, 0, 0], [1, 0, 0]]


def statistics_of(fires: list[list[int]], co_fires: list[int]) -> Statistics:
    shape = len(fires), len(co_fires)
    return Statistics(
        fires=torch.tensor(fires),
        co_fires=torch.tensor(co_fires),
        energy=torch.zeros(shape),
        quantiles=torch.zeros(*shape, 5),
        top_images=torch.zeros(*shape, 8, dtype=torch.long),
        top_tokens=torch.zeros(*shape, 8, dtype=torch.int32),
        counts=torch.tensor([10, 1000]),
    )


def test_universality_is_the_smallest_share_beyond_chance_and_needs_fifty_co_fires() -> None:
    assert MIN_COFIRES == 50
    statistics = statistics_of([[100, 49, 50, 400], [80, 49, 200, 100]], [60, 49, 50, 100])
    by_hand = [(0.6 - 0.08) / (1 - 0.08), 0.0, (0.25 - 0.05) / (1 - 0.05), (0.25 - 0.1) / (1 - 0.1)]
    torch.testing.assert_close(statistics.universality, torch.tensor(by_hand))


def test_what_fires_half_the_time_by_itself_is_not_universal() -> None:
    """Two backbones that fire independently on half of the tokens meet at half of their fires; and the borders."""
    statistics = statistics_of([[500, 500, 1000], [500, 500, 1000]], [250, 500, 1000])
    torch.testing.assert_close(statistics.universality, torch.tensor([0.0, 1.0, 1.0]))
    torch.testing.assert_close(statistics_of([[500, 20]], [500, 20]).universality, torch.tensor([1.0, 0.0]))


def test_firing_entropy_by_hand() -> None:
    entropy = statistics_of([[3, 5, 7, 0], [1, 5, 0, 0]], [0, 0, 0, 0]).firing_entropy
    skewed = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25)) / math.log(2)
    torch.testing.assert_close(entropy, torch.tensor([skewed, 1.0, 0.0, math.nan]), equal_nan=True)


def test_firing_entropy_of_a_single_backbone_is_undefined() -> None:
    assert statistics_of([[3]], [3]).firing_entropy.isnan().all()


def with_quantiles(*values: float) -> Statistics:
    statistics = statistics_of([[1]], [1])
    return Statistics(**{**vars(statistics), "quantiles": torch.tensor([[values]])})


@pytest.mark.parametrize(
    ("value", "percent"),
    [(-1, 0), (0, 0), (0.5, 25), (1, 50), (1.5, 70), (2.5, 94.5), (4.5, 99.95), (5, 100), (9, 100)],
)
def test_percentile_interpolates_between_the_kept_quantiles(value: float, percent: float) -> None:
    assert with_quantiles(1, 2, 3, 4, 5).percentile(0, 0, value) == pytest.approx(percent)


def test_percentile_of_a_rare_concept() -> None:
    """Half of the pictures and more have no code at all: the smallest one stands above them."""
    assert with_quantiles(0, 0, 0, 2, 4).percentile(0, 0, 1.0) == pytest.approx(99 + 0.9 / 2)


@pytest.mark.parametrize("quantiles", [(1, 2, 3, 4, 5), (0, 0, 0, 2, 4), (1, 1, 1, 1, 1), (0, 0, 0, 0, 0)])
def test_percentile_is_monotone_and_within_bounds(quantiles: tuple[float, ...]) -> None:
    statistics = with_quantiles(*quantiles)
    percents = [statistics.percentile(0, 0, step / 20) for step in range(-10, 120)]
    assert percents == sorted(percents)
    assert percents[0] == 0
    assert percents[-1] == 100


@pytest.mark.parametrize("with_truth", [False, True])
def test_statistics_survive_the_disk(measured: Statistics, tmp_path: Path, with_truth: bool) -> None:
    kept = Statistics(**{**vars(measured), "auroc": torch.rand(2, 4, 3) if with_truth else None})
    kept.save(tmp_path / "statistics.safetensors")
    loaded = Statistics.load(tmp_path / "statistics.safetensors")
    for name, value in vars(kept).items():
        read = getattr(loaded, name)
        if value is None:
            assert read is None
        else:
            torch.testing.assert_close(read, value, equal_nan=True, atol=0, rtol=0, msg=name)


def test_a_broken_statistics_file_is_named(measured: Statistics, tmp_path: Path) -> None:
    file = tmp_path / "statistics.safetensors"
    measured.save(file)
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match=r"statistics\.safetensors is not a readable statistics file"):
        Statistics.load(file)


def test_figures_that_are_lacking_or_unknown_are_named(measured: Statistics, tmp_path: Path) -> None:
    file = tmp_path / "statistics.safetensors"
    measured.save(file)
    whole = load_file(file)
    save_file({name: own for name, own in whole.items() if name not in ("fires", "energy")}, file)
    with pytest.raises(ValueError, match=r"statistics file: it lacks fires, energy$"):
        Statistics.load(file)
    save_file(whole | {"fired": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match=r"statistics file: it also has fired$"):
        Statistics.load(file)


def test_auroc_by_hand() -> None:
    scores = torch.tensor([[0.1], [0.4], [0.35], [0.8]])
    positive = torch.tensor([[False], [False], [True], [True]])
    assert auroc(scores, positive).tolist() == [[0.75]]
    assert auroc(-scores, positive).tolist() == [[0.25]]


def test_auroc_counts_ties_as_half() -> None:
    positive = torch.tensor([[True], [False], [False], [True]])
    assert auroc(torch.ones(4, 1), positive).item() == 0.5
    # pairs (positive, negative): 2>1, 2=2, 0<1, 0<2
    assert auroc(torch.tensor([[2.0], [1.0], [2.0], [0.0]]), positive).item() == pytest.approx(1.5 / 4)


def test_auroc_equals_the_count_of_pairs() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.randint(5, (60, 4), generator=generator).float()
    positive = torch.rand(60, 3, generator=generator) < torch.tensor([0.1, 0.5, 0.9])
    found = auroc(scores, positive)
    assert found.shape == (3, 4)
    for value in range(3):
        for concept in range(4):
            yes, no = scores[positive[:, value], concept], scores[~positive[:, value], concept]
            wins = (yes[:, None] > no).float() + 0.5 * (yes[:, None] == no).float()
            assert found[value, concept].item() == pytest.approx(wins.mean().item(), abs=1e-6)


def test_auroc_of_a_label_that_never_varies_is_undefined() -> None:
    found = auroc(torch.rand(5, 2), torch.tensor([[True, False]]).expand(5, 2))
    assert found.isnan().all()
