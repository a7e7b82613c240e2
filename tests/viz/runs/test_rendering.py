"""`uv.render`: a recipe drawn from Python."""

import pytest

import usae_viz as uv

RECIPE = "usae: demo\nconcepts: [3]\nmodes: [shared]\nsettings: {steps: 2, views: 1, size: 32}\noutputs: [png, sheet]\n"


@pytest.fixture
def recipe(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(RECIPE)
    return file


def test_a_recipe_is_drawn_and_then_kept(recipe, usae, tmp_path, capsys, drawings):
    run = uv.render(recipe, tmp_path / "run", usae=usae)
    assert [file.parent.name for file in run.sheets] == ["concept-00003"]
    assert sum(run.verdicts.values()) == 1
    assert run._repr_png_() == run.sheets[0].read_bytes()
    said = capsys.readouterr().err.splitlines()
    assert said[0] == repr(run)
    assert said[-1] == f"all of it as a page: usae-viz explore {tmp_path / 'run'} --open"
    assert len(drawings) == 1
    again = uv.render(recipe, tmp_path / "run", usae=usae, quiet=True)
    assert len(drawings) == 1
    assert again.sheets == run.sheets
    assert capsys.readouterr().err == ""


def test_what_is_wrong_is_named_with_the_recipe(recipe, usae, tmp_path):
    recipe.write_text(RECIPE.replace("[3]", "[12]"))
    with pytest.raises(ValueError, match=r"mine\.yaml: no concept 12; this USAE has 12"):
        uv.render(recipe, tmp_path / "run", usae=usae)
    with pytest.raises(ValueError, match="no recipe 'first-lok'"):
        uv.render("first-lok", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_code_runs_with_leave_alone(recipe, usae, tmp_path):
    (tmp_path / "own.py").write_text("def bright(acts):\n    return acts.canvas.mean(dim=(1, 2, 3))\n")
    recipe.write_text(RECIPE.replace("concepts: [3]", "objectives: ['own:bright']"))
    with pytest.raises(ValueError, match="allow"):
        uv.render(recipe, tmp_path / "run", usae=usae, quiet=True)
    run = uv.render(recipe, tmp_path / "run", usae=usae, allow_code=True, quiet=True)
    assert len(run.drawn) == 1
    assert run.scores == []


def test_a_readers_own_names_are_a_text_or_a_path(recipe, usae, tmp_path, recwarn):
    (tmp_path / "labels.json").write_text('{"schema": 1, "labels": [{"concept": 5, "name": "dust"}]}')
    recipe.write_text(RECIPE.replace("[3]", "[dust]"))
    for place in (tmp_path / "labels.json", str(tmp_path / "labels.json")):
        run = uv.render(recipe, tmp_path / "run", usae=usae, labels=place, quiet=True)
        assert [each.folder.name for each in run.drawn] == ["concept-00005"]
    assert not [each for each in recwarn if "serializ" in str(each.message).lower()]
