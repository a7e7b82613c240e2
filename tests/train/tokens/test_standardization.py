"""Mean and std from sums, and high-norm outlier tokens that were planted."""

import json
import math
from pathlib import Path

import pytest
import torch
from command_line import SMALL, SPECS, run

import usae_train as ut
from usae_train.tokens.feeding import MemoryFeed
from usae_train.tokens.standardization import (
    TOKEN_CHUNK_SIZE,
    Outliers,
    Spread,
    outliers_as_text,
    rows_without_outliers,
    spreads_of,
    sums_of,
    without_outliers,
)
from usae_train.tokens.store import ActivationStore
from usae_train.training.settings import DEFAULT

SCALAR = DEFAULT.model_copy(update={"standardization": "scalar"})
PLANTED = torch.tensor([3, 17, 40])


def planted(scale: float = 10.0) -> dict[str, torch.Tensor]:
    """Sixty tokens per backbone; three of `a` are ten times as long as the others, which all have norm 2."""
    generator = torch.Generator().manual_seed(0)
    tokens = {name: torch.randn(60, 8, generator=generator) for name in "ab"}
    tokens = {name: 2 * torch.nn.functional.normalize(own, dim=-1) for name, own in tokens.items()}
    tokens["a"][PLANTED] *= scale
    return tokens


def test_mean_and_std_are_torchs_over_several_chunks() -> None:
    tokens = 3 + 5 * torch.randn(2 * TOKEN_CHUNK_SIZE + 7, 3, generator=torch.Generator().manual_seed(0))
    (own,) = sums_of(MemoryFeed({"a": tokens}), torch.arange(len(tokens))).values()
    mean, std = own.mean_and_std
    assert mean.item() == pytest.approx(tokens.double().mean().item(), rel=1e-12)
    assert std.item() == pytest.approx(tokens.double().std().item(), rel=1e-9)
    assert len(own.sums) == len(tokens)


def test_planted_outliers_are_counted_and_the_threshold_is_a_multiple_of_the_median() -> None:
    found = {name: own.outliers for name, own in sums_of(MemoryFeed(planted()), torch.arange(60)).items()}
    assert found["a"].threshold == pytest.approx(2 * math.sqrt(10), rel=1e-6)
    assert (found["a"].count, found["a"].tokens, found["a"].share) == (3, 60, 0.05)
    assert found["b"].count == 0
    just_below = sums_of(MemoryFeed(planted(3.1)), torch.arange(60))["a"].outliers
    just_above = sums_of(MemoryFeed(planted(3.2)), torch.arange(60))["a"].outliers
    assert (just_below.count, just_above.count) == (0, 3)


def test_mean_token_and_covariance_are_torchs_over_several_chunks() -> None:
    generator = torch.Generator().manual_seed(0)
    tokens = (
        torch.randn(2 * TOKEN_CHUNK_SIZE + 7, 4, generator=generator) @ torch.randn(4, 4, generator=generator) + 100
    )
    (own,) = spreads_of(MemoryFeed({"a": tokens}), torch.arange(len(tokens)), ["a"]).values()
    torch.testing.assert_close(own.mean, tokens.double().mean(0), rtol=1e-8, atol=0)
    torch.testing.assert_close(own.covariance, tokens.double().T.cov(correction=0), rtol=1e-5, atol=1e-5)


def test_whitening_takes_a_share_of_the_way_and_gives_the_norm() -> None:
    spread = Spread(torch.zeros(2, dtype=torch.double), torch.diag(torch.tensor([16.0, 1.0], dtype=torch.double)))
    kept, half, white = (spread.whitening(3.0, power).diagonal() for power in (0.0, 0.5, 1.0))
    assert (kept[0] / kept[1]).item() == pytest.approx(1)
    assert (half[0] / half[1]).item() == pytest.approx(0.5, rel=1e-2)  # the floor bends it a little
    assert (white[0] / white[1]).item() == pytest.approx(0.25, rel=1e-2)
    for gains in (kept, half, white):
        assert (gains.square() * torch.tensor([16.0, 1.0])).sum().item() == pytest.approx(9)
    flat = Spread(torch.zeros(2, dtype=torch.double), torch.zeros(2, 2, dtype=torch.double))
    assert torch.equal(flat.whitening(3.0), torch.eye(2, dtype=torch.double))


def test_a_patch_goes_for_all_backbones() -> None:
    tokens = planted()
    left = without_outliers(tokens, {"a": 2 * math.sqrt(10), "b": 100.0})
    stayed = [row for row in range(60) if row not in PLANTED.tolist()]
    assert all(torch.equal(own, tokens[name][stayed]) for name, own in left.items())
    assert len(without_outliers(tokens, {})["a"]) == 60
    assert len(without_outliers(tokens, {"a": 0.0})["a"]) == 60, "when nothing is left, all stay"
    assert [rows_without_outliers(tokens, most)[1] for most in ({"a": 2 * math.sqrt(10)}, {}, {"a": 0.0})] == [
        57,
        60,
        0,
    ]


def test_masked_they_do_not_move_mean_and_std_nor_training() -> None:
    clean = planted(1.0)
    stayed = torch.tensor([row for row in range(60) if row not in PLANTED.tolist()])
    size = {"n_concepts": 6, "k": 2, "steps": 5, "batch": 60}
    scalar = ut.fit(planted(), **size, mask_outliers=True, recipe=SCALAR)
    assert scalar.scale("a").std is not None
    assert scalar.scale("a").std.item() == pytest.approx(clean["a"][stayed].std().item(), rel=1e-5)
    masked = ut.fit(planted(), **size, mask_outliers=True)
    wild = ut.fit(planted(1000.0), **size, mask_outliers=True)
    bare = ut.fit(planted(), **size)
    torch.testing.assert_close(masked.scale("a").mean, clean["a"][stayed].mean(0))
    standardized = masked.standardize("a", clean["a"][stayed])
    assert standardized.square().sum(-1).mean().item() == pytest.approx(8, rel=1e-4)
    assert bare.standardize("a", clean["a"][stayed]).square().sum(-1).mean() < 4
    names = [name for name in masked.state_dict() if name.startswith(("encoders", "dictionaries"))]
    assert all(torch.equal(masked.state_dict()[name], wild.state_dict()[name]) for name in names)
    assert (masked.outliers["a"].count, masked.outliers["a"].masked, bare.outliers["a"].masked) == (3, True, False)


def test_they_are_kept_in_the_folder_and_older_folders_load(tmp_path: Path) -> None:
    usae = ut.fit(planted(), n_concepts=6, k=2, steps=1)
    ut.save(usae, tmp_path / "usae")
    assert ut.load(tmp_path / "usae").outliers == usae.outliers
    file = tmp_path / "usae" / "config.json"
    config = json.loads(file.read_text())
    assert config["outliers"]["a"]["count"] == 3
    del config["outliers"]
    file.write_text(json.dumps(config))
    assert ut.load(tmp_path / "usae").outliers == {}


def test_they_are_said_in_one_line() -> None:
    few = Outliers(threshold=210.32, count=4, tokens=200, masked=True)
    none = Outliers(threshold=1.0, count=0, tokens=200, masked=True)
    expected = "high-norm tokens: dino 4 of 200 (2.00%; norm above 210.3), left out of training"
    assert outliers_as_text({"vit": none, "dino": few}) == expected
    assert outliers_as_text({"vit": none}) == "high-norm tokens: none"


def test_fit_and_extract_say_them(picture_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "specs.yaml").write_text(SPECS)
    code, said, err = run("extract", picture_folder, "--backbones", tmp_path / "specs.yaml", "-o", tmp_path / "store")
    assert code == 0, err
    assert said.splitlines()[-1].startswith("high-norm tokens: ")
    store = ActivationStore(tmp_path / "store")
    assert len(store.images(0, [4, 1]).tokens["vit"]) == 2
    assert torch.equal(store.images(0, [4, 1]).tokens["vit"], store.read([0]).tokens["vit"][[4, 1]])
    code, said, err = run("fit", tmp_path / "store", "-o", tmp_path / "usae", "--mask-outliers", *SMALL)
    assert code == 0, err
    assert said.splitlines()[-2].startswith("high-norm tokens: ")
    assert all(each.masked for each in ut.load(tmp_path / "usae").outliers.values())
