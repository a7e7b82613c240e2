"""The linear ceiling, where what there is to share is known."""

import math

import pytest
import torch

from usae_train.evaluation.ceiling import Ceiling, ceiling_figures

WIDTHS = {"a": 3, "b": 4, "noise": 2}


def seen(n_images: int = 40) -> dict[str, torch.Tensor]:
    """`b` is a map of `a`, which has less to say than `b`'s width; `noise` has nothing of either."""
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(n_images, 25, 3, generator=generator) + torch.tensor([5.0, 0.0, -1.0])
    b = a @ torch.randn(3, 4, generator=generator) + 2
    return {"a": a, "b": b, "noise": torch.randn(n_images, 25, 2, generator=generator)}


def measured(tokens: dict[str, torch.Tensor], batch: int = 7) -> Ceiling:
    ceiling = Ceiling({name: torch.tensor(1.0) for name in tokens}, {n: t.shape[-1] for n, t in tokens.items()})
    numbers = torch.arange(len(tokens["a"]))
    for some in numbers.split(batch):
        ceiling.add(some, {name: own[some] for name, own in tokens.items()})
    return ceiling


def test_a_map_that_is_there_is_found_and_one_that_is_not_is_zero() -> None:
    r2 = measured(seen()).r2()
    assert r2 is not None
    assert r2["a"]["b"] > 0.999
    assert r2["b"]["a"] > 0.99
    for name in "ab":
        assert abs(r2[name]["noise"]) < 0.02
        assert abs(r2["noise"][name]) < 0.02
    assert [set(row) for row in r2.values()] == [{"b", "noise"}, {"a", "noise"}, {"a", "b"}]


def test_it_is_that_of_ridge_regression_on_pictures_that_were_not_fitted() -> None:
    tokens = seen(8)
    tokens["b"] = tokens["b"] + 2 * torch.randn(tokens["b"].shape, generator=torch.Generator().manual_seed(1))
    parts = [{name: own[part::2].flatten(0, 1).double() for name, own in tokens.items()} for part in (0, 1)]
    by_ridge = {}
    for ridge in (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1):
        errors = variance = 0.0
        for fitted, other in (parts, parts[::-1]):
            x, y = (fitted[name] - fitted[name].mean(0) for name in "ab")
            weight = torch.linalg.solve(x.T @ x + ridge * (x.T @ x).trace() / 3 * torch.eye(3).double(), x.T @ y)
            guess = (other["a"] - fitted["a"].mean(0)) @ weight + fitted["b"].mean(0)
            errors += (other["b"] - guess).square().sum().item()
            variance += (other["b"] - other["b"].mean(0)).square().sum().item()
        by_ridge[ridge] = 1 - errors / variance
    r2 = measured(tokens).r2()
    assert r2 is not None
    assert r2["a"]["b"] == pytest.approx(max(by_ridge.values()), abs=1e-4)


def test_sums_of_two_processes_are_those_of_one() -> None:
    tokens = seen(10)
    whole = measured(tokens)
    first, second = (Ceiling({n: torch.tensor(1.0) for n in WIDTHS}, WIDTHS) for _ in range(2))
    for own, numbers in ((first, torch.arange(4)), (second, torch.arange(4, 10))):
        own.add(numbers, {name: each[numbers] for name, each in tokens.items()})
    first.merge(second.state_dict())
    torch.testing.assert_close(first.moments, whole.moments, rtol=1e-5, atol=1e-2)


def test_without_pictures_on_both_sides_there_is_none() -> None:
    assert measured({name: own[:1] for name, own in seen().items()}).r2() is None
    assert ceiling_figures(measured({name: own[:1] for name, own in seen().items()}), {}) is None
    assert measured({"a": seen()["a"]}).r2() is None


def test_the_share_that_a_space_reaches() -> None:
    r2 = {
        "a": {"a": 0.9, "b": 0.5, "noise": 0.0},
        "b": {"a": 0.4, "b": 0.8, "noise": 0.1},
        "noise": {"a": 0.0, "b": 0.0, "noise": 0.3},
    }
    figures = ceiling_figures(measured(seen()), r2)
    assert figures is not None
    assert figures["share"]["a"]["b"] == pytest.approx(0.5, abs=0.01)
    assert figures["mean_share"] == pytest.approx(1.0 / 6 / figures["mean"])
    assert math.isfinite(figures["mean"])
