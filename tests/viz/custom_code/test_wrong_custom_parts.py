"""Parameterizations and transforms of somebody's own that are wrong, or give out while they draw: one line each."""

import re

import pytest
from custom_parts import Plain, dimmed
from torch import nn

import usae_viz as uv
import usae_viz.optimization.maximize
from usae_viz.settings import MaximizeSettings

QUICK = {"steps": 3, "views": 2, "size": 32}


class Argued(Plain):
    def forward(self, x):
        return x


class Small(Plain):
    def forward(self):
        return self.logits[..., ::2].sigmoid()


class Wide(Plain):
    def forward(self):
        return 2 + self.logits.sigmoid()


class Lost(Plain):
    def forward(self):
        return self.logits.sigmoid() * float("nan")


class Detached(Plain):
    def forward(self):
        return self.logits.sigmoid().detach()


class Elsewhere(Plain):
    def forward(self):
        return self.logits.sigmoid().to("meta")


class Broken(Plain):
    def forward(self):
        return self.logits.nowhere


class Hasty(Plain):
    learning_rate = -1


WRONG = {
    Argued: "has a forward that takes arguments; expected forward(self)",
    Small: "gives shape (1, 3, 32, 16); expected (1, 3, 32, 32), floating-point",
    Wide: "gives 2.",
    Lost: "gives numbers that are not finite",
    Detached: "depends on none of its parameters",
    Elsewhere: "gives a picture on meta, but is on cpu; register tensors that it uses as buffers",
    Broken: "fails: test_wrong_custom_parts.py, line ",
    Hasty: "has learning_rate = -1; expected a number above 0",
    nn.Identity(): "is an existing module; give its class",
    (lambda: Plain): "is called with the shape (1, 3, H, W) and a generator, but takes other arguments",
    (lambda shape, generator: 3): "gives int; expected an nn.Module",
    (lambda shape, generator: nn.Identity()): "has no parameters",
}


@pytest.mark.parametrize("make", list(WRONG), ids=lambda make: getattr(make, "__name__", "module"))
def test_a_wrong_parameterization_is_one_line(usae, make):
    with pytest.raises(ValueError, match=r"^parameterization '") as raised:
        uv.maximize(usae, uv.Concept(3), parameterization=make, **QUICK)
    assert WRONG[make] in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("transform", "why"),
    [
        (lambda views, generator: views[:1], "gives shape (1, 3, 32, 32) for (2, 3, 32, 32); expected 2 views"),
        (lambda views, generator: None, "gives NoneType; expected 2 views"),
        (lambda views, generator: views.detach(), "no gradient flows back through them"),
        (lambda views, generator: views / 0, "gives numbers that are not finite"),
        (lambda views, generator: views.round().int(), "gives int32; expected floating-point numbers"),
        (lambda views, generator: views.to("meta"), "gives views on meta; those that it was given are on cpu"),
        (lambda views: views, "fails: "),
    ],
)
def test_a_wrong_transform_is_one_line(usae, transform, why):
    with pytest.raises(ValueError, match=r"^transform '") as raised:
        uv.maximize(usae, uv.Concept(3), transforms=[transform], **QUICK)
    assert why in str(raised.value)
    assert "\n" not in str(raised.value)


class Tired(Plain):
    """One that gives out after some images, by raising or by numbers that are none."""

    raises, left = True, 6

    def forward(self):
        self.left -= 1
        if self.left < 0 and self.raises:
            raise RuntimeError("tired")
        return super().forward() * (float("nan") if self.left < 0 else 1)


def tires(raises):
    """A transform that gives out in the third step, of one picture: the other is drawn to its end."""
    seen = dict.fromkeys(range(9), 0)

    def transform(views, generator):
        seen[generator.initial_seed()] = seen.get(generator.initial_seed(), 0) + 1
        if seen[generator.initial_seed()] > 2 and raises:
            raise RuntimeError("tired")
        return views * (float("nan") if seen[generator.initial_seed()] > 2 else 1)

    return transform


@pytest.mark.parametrize("raises", [True, False], ids=["raises", "not finite"])
@pytest.mark.parametrize("part", ["parameterization", "transform"])
def test_one_that_gives_out_late_keeps_the_best_so_far(usae, raises, part):
    """An objective of one's own that failed kept it; a transform lost all steps before."""
    tired = type("Tired", (Tired,), {"raises": raises})
    own = {"parameterization": tired} if part == "parameterization" else {"transforms": [tires(raises)]}
    with pytest.warns(UserWarning, match="the best so far is kept"):
        drawn = uv.maximize(usae, uv.Concept(3), verify=0, **{**QUICK, "steps": 40, **own})
    assert "tired" in drawn.ended or "not finite" in drawn.ended
    assert all(canvas.isfinite().all() for canvas in drawn.images.values())


def test_one_that_gives_out_for_one_objective_leaves_the_others_whole(usae, monkeypatch):
    calls = iter(range(10**6))

    def transform(views, _):
        if next(calls) == 2 * 4 + 1:  # a step shows both objectives to left, then both to right
            raise RuntimeError("tired")
        return views

    monkeypatch.setattr(usae_viz.optimization.maximize, "max_batch_size", lambda *_: 2)  # both at once, as on a GPU
    settings = MaximizeSettings(**QUICK, transforms=[transform])
    drawn = list(uv.maximize_each(usae, [uv.Concept(3), uv.Concept(5)], settings))
    assert drawn[0].ended is None
    assert "RuntimeError('tired') at step 2; the best so far is kept" in drawn[1].ended


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"parameterization": "mine:Part"}, "is the name of code that was not imported; give the code itself"),
        ({"parameterization": "crayon"}, "expected `fourier`, `maco`, `pixel`, `module:Name`, or in Python a callable"),
        ({"transforms": ["augmentation"] * 2}, "`augmentation` is in it twice"),
        ({"transforms": 3}, "expected a list of transforms"),
        ({"parameterization": Plain, "mode": "coupled"}, "cannot be drawn coupled"),
        ({"parameterization": Plain, "decay": 1.0}, "decay belongs to a built-in parameterization, not to "),
        (
            {"transforms": [dimmed], "augmentation": "maco"},
            "augmentation belongs to the built-in views, which `transforms`",
        ),
        ({"transforms": [dimmed], "whole_first": 0.5}, "whole_first belongs to the built-in views"),
    ],
)
def test_settings_that_cannot_go_with_them(usae, settings, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        uv.maximize(usae, uv.Concept(3), **{**QUICK, **settings})
