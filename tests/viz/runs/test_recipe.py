from collections import Counter

import pytest
import torch

from usae_train.backbones.names import check_backbone_name
from usae_train.files import provenance
from usae_train.model.statistics import Statistics
from usae_viz.concepts.labels import Label
from usae_viz.concepts.selection import Selection, select
from usae_viz.objectives import Concept
from usae_viz.optimization.maximize import maximize_each
from usae_viz.runs import plan as planning
from usae_viz.runs.plan import plan_objectives, plan_recipe
from usae_viz.runs.recipe import RenderRecipe, read_render_recipe
from usae_viz.settings import MaximizeSettings

NAMES = ["left", "right"]


def recipe_of(folder, text):
    file = folder / "recipe.yaml"
    file.write_text(text)
    return read_render_recipe(file)


def planned(usae, folder, text, **how):
    return plan_recipe(usae, recipe_of(folder, text), folder, **how)


class Known:
    """A USAE whose statistics were made by hand: five concepts, two backbones, 1000 tokens."""

    labels_file = None
    names, n_concepts, factors = NAMES, 5, ["colour: red", "colour: blue", "texture: dots"]
    statistics = Statistics(
        fires=torch.tensor([[100, 400, 60, 0, 200], [100, 100, 600, 0, 400]]),
        co_fires=torch.tensor([100, 100, 60, 0, 200]),
        energy=torch.tensor([[1.0, 2.0, 3.0, 0.0, 5.0], [9.0, 2.0, 1.0, 0.0, 4.0]]),
        quantiles=torch.zeros(2, 5, 5),
        top_images=torch.zeros(2, 5, 8),
        top_tokens=torch.zeros(2, 5, 8),
        counts=torch.tensor([10, 1000]),
        # red is followed by 4, blue by 0, dots by 2, in both
        auroc=torch.tensor([[[0.5, 0.5, 0.5, 0.5, 0.9], [0.8, 0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.7, 0.3, 0.1]]] * 2),
    )

    def check_backbone(self, name):
        return check_backbone_name(self.names, name)


@pytest.mark.parametrize(
    ("item", "concepts"),
    [
        (3, [3]),
        ("all", [0, 1, 2, 3, 4]),
        ("1-3", [1, 2, 3]),
        ("1, 3", [1, 3]),
        ("red", [4]),
        ("colour:*", [4, 0]),
        ("d?ts", [2]),
        ("top:2", [0, 4]),  # universality 1, 0.17, 0.04, 0, 0.38
        (Selection(top=3), [0, 4, 1]),
        (Selection(bottom=2), [3, 2]),
        (Selection(spread=3), [0, 1, 3]),
        (Selection(bottom=2, min_fires=0.05), [2, 1]),
        (Selection(top=2, by="energy"), [0, 4]),  # means 5, 2, 2, 0, 4.5
        (Selection(top=2, by="energy", backbone="left"), [4, 2]),
        (Selection(top=1, by="fires"), [4]),  # the smaller share: 0.1, 0.1, 0.06, 0, 0.2
        (Selection(top=1, by="fires", backbone="left", minus="right"), [1]),
        (Selection(top=1, by="fires", backbone="right", minus="left"), [2]),
        (Selection(top=1, by="auroc"), [4]),
        (Selection(bottom=1, by="entropy"), [3]),  # where nothing fires there is none
        (Selection(top=1, by="co_fires"), [4]),
    ],
    ids=str,
)
def test_concepts_are_chosen(item, concepts):
    assert select(Known(), item) == concepts


def test_a_readers_own_names_go_first():
    reds = [Label(concept=3, name="Warm reds"), Label(concept=1, name="Warm reds")]
    assert select(Known(), "Warm reds", reds) == [3, 1]
    assert select(Known(), "red", [Label(concept=2, name="red")]) == [2]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (5, "no concept 5; this USAE has 5"),
        ("2-9", "no concept 9"),
        ("3-1", "'3-1': expected the smaller number first"),
        ("shape:*", "no label matches 'shape:\\*'; labels are colour:red"),
        (Selection(top=6), "6 concepts by universality: there are only 5"),
        (Selection(top=5, min_fires=0.05), "there are only 4 that can be chosen fire in 0.05 of the tokens"),
        (Selection(top=1, by="fires", backbone="middle"), "unknown backbone 'middle'; this USAE has left, right"),
    ],
    ids=str,
)
def test_concepts_that_cannot_be_chosen(item, message):
    with pytest.raises(ValueError, match=message):
        select(Known(), item)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("concepts: [{top: 4, bottom: 2}]\n", r":1: concepts\.0: expected one of top, bottom and spread"),
        ("concepts: [3]\nvariants: {1: {}}\n", r":2: variants\.1: expected text"),
        (
            "concepts: [3]\nsettings: {start: a, parameterization: maco, spectrum: 1/f}\n",
            r":2: settings\.spectrum: a picture that",
        ),
        ("concepts: [3]\nsettings: {augmentation: unseen}\n", "expected one of default, maco, lucid, none"),
        ("concepts: {top: 4, bye: energy}\n", r":1: unknown key 'concepts\.bye'; did you mean 'by'\?"),
        ("concepts:\n  - 3\n  - {topp: 4}\n", r":3: unknown key 'concepts\.1\.topp'; did you mean 'top'\?"),
        ("concepts: {top: 4, bottom: 2}\n", "expected one of top, bottom and spread, found top and bottom"),
        ("concepts: {top: 4, by: beauty}\n", r":1: concepts\.by: expected 'universality'"),
        ("concepts: {top: 4, by: entropy, backbone: left}\n", "entropy is not a figure of one backbone"),
        ("concepts: {top: 4, by: fires, minus: left}\n", "say which with `backbone`"),
        ("concepts: [3]\nsettings:\n  steps: true\n", r":3: settings\.steps: true and false are not numbers"),
        ("concepts: [true]\n", "true and false are not numbers"),
        ("concepts: [3]\nseeds: [0]\nsettings:\n  size: 32\n  seeds: 3\n", r":5: settings\.seeds: clashes with"),
        ("concepts: [3]\nseeds: [0]\nvariants:\n  a:\n    seeds: 2\n", r":5: variants\.a\.seeds: clashes with"),
        ("concepts: [3]\nsettings:\n  crops: true\n", r":3: settings\.crops: true and false are not numbers"),
        ("concepts: [3]\nsettings:\n  alpha: true\n", r":3: settings\.alpha: alpha belongs at `outputs`"),
        (
            "concepts: [3]\nsettings:\n  spectrum: 1/f\n",
            r":3: settings\.spectrum: a spectrum is for the parameterization maco",
        ),
        (
            "concepts: [3]\nsettings: {parameterization: maco}\nvariants:\n  a: {decay: 2}\n",
            r":4: variants\.a\.decay: decay is",
        ),
        ("concepts: [3]\nsettings: {snapshots: 2}\n", "add gif or mp4 to `outputs`"),
        ("concepts: [3]\nvariants:\n  ../../a: {}\n", r":3: variants\.\.\./\.\./a.*text of the form"),
        ("concepts: [3]\nvariants:\n  a: {stepz: 3}\n", r":3: unknown key 'variants\.a\.stepz'; did you mean 'steps'"),
        ("concepts: [3]\nvariants: [a]\n", r":2: variants: expected keys with values"),
        ("concepts: [3]\noutputs: [jpg]\n", r":2: outputs\.0: expected 'png'"),
        ("concepts: [3]\noutputs: [png, png]\n", r":2: outputs: .*an entry twice"),
        ("concepts: [3]\nusae: [demo]\n", r":2: usae: expected text"),
        ("concepts: [3]\nsettings: {memory: .inf}\n", r":2: settings\.memory: expected a finite number"),
        ("&a\nconcepts: *a\n", ":2: an alias that stands for itself"),
        ("concepts: 3\nsettings: &a\n  <<: *a\n", ":3: an alias that stands for itself"),
        ("concepts: 3\nvariants:\n  b:\n    <<: {steps: 0}\n", r":4: variants\.b\.steps: expected at least"),
        (
            "concepts: 3\nvariants:\n  a: &a\n    views: 2\n    steps: 1\n  b:\n    <<: [*a, {size: 3}]\n",
            r":7: variants\.b\.size: expected at least",
        ),
        ("<<:\n  stepz: 3\n", ":2: unknown key 'stepz'"),
        ("concepts: 3\nsettings:\n  <<: 3\n", ":3: not valid YAML: expected a mapping or list of mappings for merging"),
        ("concepts: 3\nsettings: !!python/dict {steps: 3}\n", r":2: the tag !!python/dict: .* leave it out"),
        ("concepts: 3\nusae: !!binary aGVsbG8=\n", ":2: the tag !!binary: "),
        ("concepts: !!bool abc\n", ":1: the tag !!bool: "),
        ("concepts: 3\nsettings: !own {steps: 3}\n", ":2: the tag !own: "),
        ("concepts: 2001-13-45\n", ":1: 2001-13-45 is a date to YAML; put it in quotes"),
        ("concepts: 3\nlabels: 2001-12-14\n", ":2: 2001-12-14 is a date to YAML; put it in quotes"),
        (f"concepts: {'9' * 200}\n", ":1: a number of 200 characters; expected at most 100"),
        ("concepts: 3\nusae: 'a\\0'\n".replace("'", '"'), ":2: .* has a character that text cannot have"),
        ("concepts: 3\nconcepts: 4\n", ":2: not valid YAML: found duplicate key"),
        ("concepts: 3\n? [a, b]\n: 4\n", ":2: a list or mapping is not a key; expected a word"),
        ("concepts: 3\nsettings:\n  seeds: 100000000\n", r":3: settings\.seeds: expected at most"),
        ("concepts: 3\nvariants:\n  a: {views: 99999999}\n", r":3: variants\.a\.views: expected at most"),
        ("concepts: 3\nsettings: {steps: 10000000000}\n", r":2: settings\.steps: expected at most"),
    ],
)
def test_a_wrong_recipe_names_line_key_and_what_is_right(tmp_path, text, message):
    with pytest.raises(ValueError, match=rf"recipe\.yaml.*{message}") as refusal:
        recipe_of(tmp_path, text)
    assert "\n" not in str(refusal.value)


def test_a_bomb_of_aliases_ten_megabytes_and_deep_nesting_are_refused(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    with pytest.raises(ValueError, match=r"recipe\.yaml:5: an alias that stands for more than 100000 values"):
        recipe_of(tmp_path, "\n".join(lines))
    with pytest.raises(ValueError, match=r"recipe\.yaml: larger than 200 kB"):
        recipe_of(tmp_path, "concepts: " + "[" * 10_000_000)
    with pytest.raises(ValueError, match=r"recipe\.yaml:1: nested deeper than 64 levels"):
        recipe_of(tmp_path, "concepts: " + "[" * 5_000)
    with pytest.raises(ValueError, match=r"recipe\.yaml:3: a list or mapping is not a key; expected a word"):
        recipe_of(tmp_path, "concepts: 3\nsettings:\n  ? [steps]\n  : 3\n")
    with pytest.raises(ValueError, match=r"recipe\.yaml:1: a number of 5000 characters"):
        recipe_of(tmp_path, f"concepts: {'9' * 5000}\n")


@pytest.mark.parametrize(
    ("recipe", "pictures"),
    [
        (
            {"seeds": list(range(9000)), "concepts": ["all", "0-11"], "modes": ["per-model", "coupled", "shared"]},
            648000,
        ),
        ({"variants": {f"v{n}": {"seeds": 10_000} for n in range(9)}, "objectives": ["Concept(3)"]}, 180000),
    ],
)
def test_pictures_are_counted_before_one_of_them_is_planned(usae, tmp_path, monkeypatch, recipe, pictures):
    monkeypatch.setattr("usae_viz.runs.plan.MAX_IMAGES", 1000)
    monkeypatch.setattr(RenderRecipe, "run_variants", lambda self: pytest.fail("gone through"))
    message = f"{pictures} pictures, all objectives, variants, .* expected at most 1000: draw a part at a time"
    with pytest.raises(ValueError, match=message):
        plan_recipe(usae, RenderRecipe(**recipe), tmp_path)
    with pytest.raises(ValueError, match=r"1002 pictures, .* expected at most 1000"):
        plan_objectives(usae, [Concept(3)], [MaximizeSettings(seeds=501)])


def test_a_hundred_thousand_drawings_are_planned_in_seconds(usae, tmp_path, monkeypatch):
    """For each the metadata of four packages was read, 10 ms: here what grows is counted, and none is read."""
    asked = Counter[str]()

    def watched(name, really):
        return lambda *given: asked.update([name]) or really(*given)

    for name in ("resolve_settings", "parse_objective"):
        monkeypatch.setattr(planning, name, watched(name, getattr(planning, name)))
    monkeypatch.setattr(provenance, "version", watched("version", provenance.version))
    provenance._version.cache_clear()
    planned = plan_recipe(usae, RenderRecipe(concepts=["all"], seeds=list(range(50))), tmp_path)
    assert len({drawing.key for drawing in planned.jobs}) == 600
    assert asked == {"resolve_settings": 50, "parse_objective": 12}


def test_variants_change_what_they_name(usae, tmp_path):
    plan = planned(
        usae,
        tmp_path,
        "concepts: [3]\nmodes: [per-model, shared]\nseeds: [0, 4]\nsettings: {steps: 5, size: 32}\n"
        "variants:\n  plain: {}\n  long: {steps: 9, mode: coupled}\n  one: {seed: 7}\n"
        "  largest: {objective: \"Concept({k}, pool='max')\", mode: shared, seed: 0}\n",
    )
    found = [(d.variant, d.settings.mode, d.settings.seed, d.settings.steps, d.names) for d in plan.jobs]
    assert found == [
        ("plain", "per-model", 0, 5, ("plain-left-seed-0", "plain-right-seed-0")),
        ("plain", "per-model", 4, 5, ("plain-left-seed-4", "plain-right-seed-4")),
        ("plain", "shared", 0, 5, ("plain-shared-seed-0",)),
        ("plain", "shared", 4, 5, ("plain-shared-seed-4",)),
        ("long", "coupled", 0, 9, ("long-left-seed-0", "long-right-seed-0")),
        ("long", "coupled", 4, 9, ("long-left-seed-4", "long-right-seed-4")),
        ("one", "per-model", 7, 5, ("one-left", "one-right")),
        ("one", "shared", 7, 5, ("one-shared",)),
        ("largest", "shared", 0, 5, ("largest-shared",)),
    ]
    assert {d.folder for d in plan.jobs} == {"concept-00003"}
    assert str(plan.jobs[-1].objective) == "Concept(3, pool='max')"


def test_an_objective_that_stands_for_itself_is_drawn_unless_its_concept_is_drawn_so(usae, tmp_path):
    def folders(text):
        found = planned(usae, tmp_path, f"concepts: [3]\nobjectives: [Concept(3), Concept(5)]\n{text}").jobs
        return [(drawing.folder, drawing.variant, str(drawing.objective)) for drawing in found]

    assert folders("") == [("concept-00003", None, "Concept(3)"), ("concept-00005", None, "Concept(5)")]
    assert folders("objective: \"Concept({k}, pool='max')\"") == [
        ("concept-00003", None, "Concept(3, pool='max')"),
        ("objective-concept-3", None, "Concept(3)"),
        ("concept-00005", None, "Concept(5)"),
    ]
    # what a variant draws for a concept is nothing to an objective that stands for itself
    assert folders("variants: {a: {}, b: {objective: \"Concept({k}, pool='max')\"}}") == [
        ("concept-00003", "a", "Concept(3)"),
        ("concept-00003", "b", "Concept(3, pool='max')"),
        ("concept-00005", "a", "Concept(5)"),
    ]


def test_the_key_is_of_what_decides_the_picture(usae, tmp_path):
    def key(text):
        return planned(usae, tmp_path, f"concepts: [3]\n{text}").jobs[0].key

    plain = key("")
    assert key("settings: {steps: 96, size: 110}") == plain  # what the defaults come to
    assert key("settings: {memory: 4}") == plain
    assert key("outputs: [png]") == plain
    others = [
        "settings: {steps: 95}",
        "seeds: [1]",
        "modes: [shared]",
        "outputs: [gif]",
        "outputs: [alpha]",
        "settings: {parameterization: maco}",
        "settings: {parameterization: maco, spectrum: 1/f}",
        "objective: \"Concept({k}, pool='max')\"",
    ]
    assert len({plain, *map(key, others)}) == len(others) + 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "variants: {a: {}, b: {steps: 96}}",
            r"variant 'a' \(per-model, seed 0\) and variant 'b' .* the same pictures",
        ),
        (
            "modes: [per-model, coupled]\nvariants: {a: {}, a-coupled: {mode: per-model, steps: 4}}",
            r"would write one file, concept-00003/a-coupled-left\.png",
        ),
        ("variants: {a: {}, A: {steps: 4}}", "would write one file"),  # one file where case does not count
        ("objective: Concept(5)", r"expected Concept\(\{k\}\) as its first concept"),
        ("objective: Concept(5) - Concept({k})", r"expected Concept\(\{k\}\) as its first concept"),
        ("settings: {start: nowhere.png}", r"nowhere\.png cannot be read"),
    ],
)
def test_drawings_that_cannot_stand_beside_each_other(usae, tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        planned(usae, tmp_path, f"concepts: [3]\n{text}\n")


def test_a_variant_can_do_without_transparency(usae, tmp_path):
    plan = planned(usae, tmp_path, "concepts: [3]\noutputs: [alpha]\nvariants: {a: {}, b: {alpha: false, steps: 4}}\n")
    assert [(drawing.variant, drawing.settings.alpha) for drawing in plan.jobs] == [("a", True), ("b", False)]


def test_files_are_taken_relative_to_the_recipe(tmp_path):
    recipe = recipe_of(
        tmp_path,
        "concepts: [3]\nsettings: {reference: photo.png}\nvariants: {a: {parameterization: maco, spectrum: s}}",
    )
    assert recipe.settings.reference == str(tmp_path / "photo.png")
    assert recipe.variants["a"].spectrum == str(tmp_path / "s")
    kept = recipe_of(tmp_path, "concepts: [3]\nsettings: {parameterization: maco, spectrum: 1/f}").settings
    assert kept.spectrum == "1/f"


def test_code_is_imported_only_with_leave(usae, tmp_path):
    (tmp_path / "own_calm.py").write_text(
        "from pathlib import Path\nPath(__file__).with_suffix('.was-run').touch()\nimport usae_viz as uv\n"
        "def smooth(acts):\n    return -acts.canvas.diff(dim=-1).abs().mean(dim=(1, 2, 3))\n"
        "calm = uv.Concept(3) + 2 * uv.objective(smooth)\nnumber = 3\n"
    )
    text = "objectives: [own_calm:calm, own_calm:smooth]\n"
    with pytest.raises(ValueError, match="'own_calm:calm' runs code from a file; look at the file, then add --allow"):
        planned(usae, tmp_path, text)
    assert not (tmp_path / "own_calm.was-run").exists()
    plan = planned(usae, tmp_path, text, allow_code=True)
    assert [str(d.objective) for d in plan.jobs] == ["own_calm:calm", "own_calm:smooth"]
    assert plan.jobs[0].objective.concepts == (3,)
    assert plan.jobs[0].folder == "objective-own-calm-calm"
    assert len(plan.jobs[0].code) == 64
    for wrong, message in (("own_calm:number", "no function or objective"), ("nowhere:a", "cannot be imported")):
        with pytest.raises(ValueError, match=message):
            planned(usae, tmp_path, f"objectives: ['{wrong}']\n", allow_code=True)


def test_a_script_that_ends_itself_when_imported_is_said(usae, tmp_path):
    """usae-viz ended with the script's status, and without a word."""
    (tmp_path / "own_script.py").write_text("import sys\nsys.exit(3)\n")
    recipe = RenderRecipe(objectives=["own_script:calm"])
    with pytest.raises(ValueError, match=r"own_script cannot be imported from .*: SystemExit\(3\)"):
        plan_recipe(usae, recipe, tmp_path, allow_code=True)


def test_code_that_fails_is_one_line_with_the_place(usae, tmp_path):
    (tmp_path / "own_wrong.py").write_text("def typo(acts):\n    return acts.canvass\n")
    plan = planned(usae, tmp_path, "objectives: [own_wrong:typo]\n", allow_code=True)
    message = r"objective 'own_wrong:typo' fails through left: own_wrong\.py, line 2: AttributeError\(.*canvass"
    with pytest.raises(ValueError, match=message):
        list(maximize_each(usae, [plan.jobs[0].objective], plan.jobs[0].settings))


def test_code_that_fails_later_keeps_the_picture_so_far(usae, tmp_path):
    (tmp_path / "own_late.py").write_text(
        "calls = []\ndef late(acts):\n    calls.append(acts.backbone)\n"
        "    return acts.tokens.mean((1, 2, 3)) * (1 / (calls.count('right') < 3))\n"
    )
    plan = planned(usae, tmp_path, "objectives: [own_late:late]\nsettings: {steps: 5}\n", allow_code=True)
    (drawn,) = maximize_each(usae, [plan.jobs[0].objective], plan.jobs[0].settings)
    assert drawn.failed
    assert drawn.ended.startswith("objective 'own_late:late' fails through right: own_late.py, line 4: ")
    assert drawn.ended.endswith(" at step 2; the best so far is kept")


def test_the_schema_describes_every_key():
    schema = RenderRecipe.model_json_schema()
    assert set(schema["properties"]) == set(RenderRecipe.model_fields)
    for part in (schema, schema["$defs"]["Variant"], schema["$defs"]["Selection"]):
        assert all("description" in own for own in part["properties"].values())
        assert part["additionalProperties"] is False
