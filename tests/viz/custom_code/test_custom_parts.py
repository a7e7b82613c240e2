"""Parameterizations and transforms of somebody's own: from Python, recipes and command lines, and what is wrong."""

import importlib
import re
import sys
from pathlib import Path

import custom_parts
import pytest
import torch
from custom_parts import Layered, Plain, dimmed, jittered
from PIL import Image
from torch import nn
from typer.testing import CliRunner

import usae_train as ut
import usae_viz as uv
import usae_viz.optimization.maximize
from usae_viz.cli import app
from usae_viz.commands.early_checks import check_recipe
from usae_viz.custom_code.part import CustomPart
from usae_viz.export.png import read_png
from usae_viz.optimization.maximize import bytes_of
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.parameterizations import CustomImages
from usae_viz.runs.plan import plan_recipe
from usae_viz.runs.recipe import RenderRecipe
from usae_viz.settings import MaximizeSettings
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.custom_transforms import transformed_views
from usae_viz.views.presets import AUGMENTATION_PRESETS

QUICK = {"steps": 3, "views": 2, "size": 32}
RECIPE = """
concepts: [3]
settings: {steps: 3, views: 2, size: 32, transforms: [augmentation, "mine_parts:jittered"]}
variants:
  plain: {parameterization: "mine_parts:Plain"}
  layered: {parameterization: "mine_parts:Layered", transforms: ["mine_parts:jittered", "mine_parts:dimmed"]}
"""


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def pixels(file):
    with Image.open(file) as picture:
        return picture.tobytes()


@pytest.fixture
def room(folder, tmp_path, monkeypatch):
    """A folder with a module of one's own and a recipe that names it."""
    (tmp_path / "mine_parts.py").write_bytes(Path(custom_parts.__file__).read_bytes())
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\n{RECIPE}")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("mine_parts", None)


@pytest.mark.parametrize("make", [Plain, Layered])
def test_an_image_depends_on_its_own_seed_alone(make):
    before = torch.get_rng_state()
    part = CustomPart.from_value(make)
    alone, beside = CustomImages(part, [5], 16), CustomImages(part, [2, 5, 5], 16)
    assert torch.equal(torch.get_rng_state(), before)
    own, three = alone(), beside()
    assert three.shape == (3, 3, 16, 16)
    assert 0 <= three.min() < three.max() <= 1
    assert torch.equal(own[0], three[1])
    assert torch.equal(three[1], three[2])
    assert not torch.equal(three[0], three[1])


def test_pictures_are_drawn_and_say_what_with(usae, tmp_path):
    result = uv.maximize(usae, uv.Concept(3), parameterization=Plain, transforms=["augmentation", dimmed], **QUICK)
    assert result.settings.learning_rate == Plain.learning_rate
    again = uv.maximize(usae, uv.Concept(3), parameterization=Plain, transforms=["augmentation", dimmed], **QUICK)
    other = uv.maximize(usae, uv.Concept(3), parameterization=Plain, transforms=["augmentation"], **QUICK)
    assert torch.equal(result.images["left"], again.images["left"])
    assert not torch.equal(result.images["left"], other.images["left"])
    result.save(tmp_path)
    inside = read_png(tmp_path / "concept-00003" / "left.png")
    assert inside["settings"]["parameterization"] == "custom_parts:Plain"
    assert inside["settings"]["transforms"] == ["augmentation", "custom_parts:dimmed"]
    assert set(inside["own_sha256"]) == {"custom_parts:Plain", "custom_parts:dimmed"}


def test_what_is_in_no_file_is_drawn_again_by_no_command(folder, tmp_path):
    class Local(Plain):
        pass

    uv.maximize(ut.load(folder), uv.Concept(3), parameterization=Local, **QUICK).save(tmp_path)
    file = tmp_path / "concept-00003" / "left.png"
    assert run("show", file).stdout.endswith("not possible: its parameterization or a transform was given in Python\n")
    assert "Local, which was not in a file; it cannot be drawn again" in run("render", file, "-q").stderr


def test_a_recipe_gives_the_same_bits_by_workers_resumed_and_again(room):
    assert run("render", "recipe.yaml", "-q", "--allow-code", "--out", "one", "--workers", "1").exit_code == 0
    assert run("render", "recipe.yaml", "-q", "--allow-code", "--out", "two", "--workers", "2").exit_code == 0
    names = [f"{variant}-{side}.png" for variant in ("plain", "layered") for side in ("left", "right")]
    first = {name: pixels(room / "one" / "concept-00003" / name) for name in names}
    assert first == {name: pixels(room / "two" / "concept-00003" / name) for name in names}
    gone = room / "two" / "concept-00003" / "plain-left.png"
    gone.unlink()
    assert run("render", "recipe.yaml", "-q", "--allow-code", "--out", "two").exit_code == 0
    assert pixels(gone) == first["plain-left.png"]
    file = room / "one" / "concept-00003" / "layered-left.png"
    shown = run("show", file).stdout
    assert all(f"runs        {name} of the module mine_parts, sha256 " in shown for name in ("Layered", "jittered"))
    assert "'mine_parts:Layered' runs code from a file" in run("render", file, "-q").stderr
    assert run("render", file, "-q", "--allow-code", "--out", "again").exit_code == 0
    assert pixels(room / "again" / "concept-00003" / "left.png") == first["layered-left.png"]


def test_nothing_is_run_without_leave_or_when_it_has_changed(room):
    done = run("render", "recipe.yaml", "-q", "--out", "run")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "'mine_parts:jittered' runs code from a file; look at the file, then add --allow-code" in done.stderr
    assert "mine_parts" not in sys.modules
    words = ["--usae", "demo", "-c", "3", "--parameterization", "mine_parts:Plain", "--transforms", "augmentation"]
    done = run("maximize", *words)
    assert done.exit_code == 1
    assert "add --allow-code" in done.stderr
    done = run("render", "recipe.yaml", "-q", "--allow-code", "--out", "run")
    sys.modules.pop("mine_parts")
    (room / "mine_parts.py").write_text("raise SystemExit('was run')\n")
    done = run("render", room / "run" / "concept-00003" / "plain-left.png", "-q", "--allow-code")
    assert done.exit_code == 1
    assert "was drawn with other code than" in done.stderr


@pytest.mark.parametrize(
    "named", ["objectives: ['own_threads:made']", "concepts: [3]\nsettings: {parameterization: 'own_threads:made'}"]
)
def test_a_recipes_code_is_imported_where_as_many_threads_compute_as_were_asked(folder, tmp_path, named):
    """It was imported before their number was set: what it computed at once was of other last bits."""
    (tmp_path / "own_threads.py").write_text("import torch\nraise SystemExit(torch.get_num_threads())\n")
    (tmp_path / "recipe.yaml").write_text(f"usae: {folder}\n{named}\n")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        done = run("render", tmp_path / "recipe.yaml", "--allow-code")
    finally:
        torch.set_num_threads(before)
    assert "own_threads cannot be imported from" in done.stderr
    assert done.stderr.endswith("SystemExit(1)\n")


def test_a_recipes_code_that_is_not_there_is_told_before_the_usae_is_loaded(tmp_path):
    recipe = RenderRecipe(objectives=[" gone_parts:calm"])
    with pytest.raises(ValueError, match=r"'gone_parts:calm': gone_parts cannot be imported from .*: there is no such"):
        check_recipe(recipe, None, tmp_path, allow_code=True)
    check_recipe(RenderRecipe(objectives=["math:sqrt"]), None, tmp_path, allow_code=True)


def test_maximize_and_invert_take_them(room, folder):
    words = ["--usae", folder, "--steps", "2", "--views", "1", "--size", "32", "-q", "--allow-code"]
    own = [
        "--parameterization",
        "mine_parts:Plain",
        "--transforms",
        "augmentation",
        "--transforms",
        "mine_parts:dimmed",
    ]
    done = run("maximize", "-c", "3", *words, *own, "--out", "run")
    assert done.exit_code == 0, done.stderr
    picture = room / "run" / "concept-00003" / "left.png"
    done = run("invert", picture, *words, *own, "--out", "inverted")
    assert done.exit_code == 0, done.stderr
    begun = [*words[:-1], "--start", picture, "--parameterization", "mine_parts:Layered", "--allow-code"]
    assert run("maximize", "-c", "3", *begun, "--out", "begun").exit_code == 0
    done = run("maximize", "-c", "3", *words, "--start", picture, *own, "--out", "not")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert "'mine_parts:Plain' cannot start from a picture: it has no `begin_at(canvas)`" in done.stderr


def test_another_code_is_another_key_and_none_leaves_keys_as_they_were(room, usae):
    def keys(**settings):
        recipe = RenderRecipe(concepts=[3], settings={**QUICK, **settings})
        return plan_recipe(usae, recipe, room, allow_code=True).jobs[0].key

    before = keys(parameterization="mine_parts:Plain")
    sys.modules.pop("mine_parts")
    (room / "mine_parts.py").write_text((room / "mine_parts.py").read_text() + "\n# another\n")
    assert before != keys(parameterization="mine_parts:Plain")
    assert keys() == keys(transforms=[])


def test_what_python_was_given_has_the_hash_of_the_code_that_runs(room, monkeypatch):
    """Not of its file that was changed meanwhile: a picture would say that other code had drawn it."""
    monkeypatch.syspath_prepend(room)
    mine = importlib.import_module("mine_parts")
    first = CustomPart.from_value(mine.Plain)
    (room / "mine_parts.py").write_text((room / "mine_parts.py").read_text() + "\n# another\n")
    assert CustomPart.from_value(mine.Plain) == first
    assert CustomPart.from_value(importlib.reload(mine).Plain).sha256 != first.sha256 is not None


def test_transforms_replace_the_augmentation_or_go_around_it():
    canvas, seen = torch.rand(1, 3, 40, 40, generator=torch.Generator().manual_seed(0)), []

    def looked_at(views, _):
        seen.append(tuple(views.shape))
        return views

    def shown(*transforms):
        seen.clear()
        parts = [each if isinstance(each, str) else CustomPart.from_value(each) for each in transforms]
        generators = [torch.Generator().manual_seed(1)]
        return transformed_views(canvas, parts, AUGMENTATION_PRESETS["default"], generators, 2, 16)

    whole = nn.functional.interpolate(canvas, (16, 16), mode="bilinear", antialias=True)
    assert torch.equal(shown(looked_at)[0], whole.expand(2, -1, -1, -1))
    assert seen == [(2, 3, 40, 40)]
    plain = augmented_views(canvas, AUGMENTATION_PRESETS["default"], [torch.Generator().manual_seed(1)], 2, 16)
    assert torch.equal(shown("augmentation"), plain)
    assert shown(looked_at, "augmentation", looked_at).shape == plain.shape
    assert seen == [(1, 3, 40, 40), (2, 3, 16, 16)]
    assert torch.equal(shown(jittered), shown(jittered))


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
    Broken: "fails: test_custom_parts.py, line ",
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
        (
            {"parameterization": "mine:Part"},
            "is the name of code that was not imported; give the code itself",
        ),
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


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("gone:Plain", "parameterization 'gone:Plain': gone cannot be imported from "),
        ("mine_parts:Gone", "parameterization 'mine_parts:Gone': mine_parts has no class or function 'Gone'"),
    ],
)
@pytest.mark.usefixtures("room")
def test_what_is_not_there_is_one_line(name, why):
    done = run("maximize", "-c", "3", "--parameterization", name, "--allow-code", "-q")
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert why in done.stderr


def test_the_memory_that_an_image_keeps_is_counted(usae):
    def needed(part):
        settings = resolve_settings(usae, MaximizeSettings(parameterization=part, **QUICK))
        return bytes_of(usae, settings, [uv.Concept(3)])

    once = 3 * 32 * 32 * 4  # of the sigmoid that `Plain` ends with; clamping keeps another
    assert 2 * once <= needed(Plain) - needed("pixel") <= 4 * once  # of two canvases
