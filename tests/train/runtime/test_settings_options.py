"""Every option of a settings class: named, typed, defaulted and explained by the class alone."""

import inspect
from typing import ClassVar, get_args

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli
from usae_train.commands.training_commands import RECIPE_DEFAULTS
from usae_train.files.validation import Settings, by_todays_names, check_settings
from usae_train.runtime.settings_options import knows_former, takes_settings
from usae_train.runtime.warned import FormerName
from usae_train.training.settings import FitOptions, FitSettings
from usae_viz.settings import MaximizeOptions, MaximizeSettings

COMMANDS = [
    (usae_viz.cli.app, "maximize", MaximizeSettings, {"reference"}, {}),
    (usae_viz.cli.app, "invert", MaximizeSettings, {"start", "reference"}, {}),
    (usae_train.cli.app, "fit", FitSettings, set(), RECIPE_DEFAULTS),
    (usae_train.cli.app, "add-backbone", FitSettings, {"n_concepts", "k"}, RECIPE_DEFAULTS),
]


class Baking(Settings):
    """Settings of a cake."""

    FORMER: ClassVar = {"heat": "temperature"}

    temperature: int = Field(180, ge=50, description="of the oven, degrees")
    eggs: int | None = Field(None, description="how many; all by default", json_schema_extra={"short": "-e"})
    vegan: bool = Field(False, description="without eggs")


def baked(*words: str) -> tuple[int, dict[str, object], str]:
    """What a command of these settings is given."""
    app, given = typer.Typer(), {}

    @app.command()
    @knows_former({"tin": "mould"})
    @takes_settings(Baking)
    def bake(mould: str = "round", **settings: object) -> None:
        given.update(mould=mould, settings=settings)

    done = CliRunner().invoke(app, words)
    return done.exit_code, given, done.output


@pytest.mark.parametrize(("app", "name", "model", "left_out", "defaults"), COMMANDS, ids=[each[1] for each in COMMANDS])
def test_every_field_is_an_option_with_the_classes_default_and_words(app, name, model, left_out, defaults):
    (command,) = (own.callback for own in app.registered_commands if (own.name or own.callback.__name__) == name)
    options = inspect.signature(command).parameters
    for field_name, field in model.model_fields.items():
        if field_name in left_out:
            assert field_name not in options
            continue
        default = defaults.get(field_name, field.default)
        expected = default if isinstance(default, bool | int | float | str) else None
        assert options[field_name].default == expected, field_name
        _, option = get_args(options[field_name].annotation)
        assert option.help.lower().startswith(field.description[:20].lower()), field_name
    for former in model.FORMER:
        hidden = get_args(options[former].annotation)[1].hidden if former in options else True
        assert hidden


def test_a_command_is_given_what_stands_on_its_line_alone():
    assert baked() == (0, {"mould": "round", "settings": {}}, "")
    assert baked("--temperature", "180", "-e", "3", "--vegan")[1]["settings"] == {
        "temperature": 180,
        "eggs": 3,
        "vegan": True,
    }
    help_text = " ".join(baked("--help")[2].replace("│", " ").split())
    assert "Of the oven, degrees. [default: 180]" in help_text
    assert "heat" not in help_text


def test_former_options_work_and_say_todays():
    code, given, said = baked("--heat", "200", "--tin", "square")
    assert (code, given) == (0, {"mould": "square", "settings": {"temperature": 200}})
    assert "warning: --heat is called --temperature now; that name goes with the next version" in said
    assert "warning: --tin is called --mould now" in said
    code, given, said = baked("--heat", "200", "--temperature", "210")
    assert (code, given) == (2, {})
    assert "--heat is the former name of --temperature" in said


def test_former_fields_work_and_say_todays():
    with pytest.warns(FormerName, match="heat is called temperature now"):
        assert check_settings(Baking, heat=200).temperature == 200
    with pytest.raises(ValueError, match=r"^heat is the former name of temperature; give temperature alone$"):
        check_settings(Baking, heat=200, temperature=210)
    assert by_todays_names(Baking, {"heat": 200, "eggs": 1}) == {"temperature": 200, "eggs": 1}


@pytest.mark.parametrize(
    ("options", "model", "left_out"),
    [(MaximizeOptions, MaximizeSettings, {"start", "reference"}), (FitOptions, FitSettings, {"recipe"})],
)
def test_what_editors_complete_are_the_fields(options, model, left_out):
    assert set(options.__annotations__) == set(model.model_fields) - left_out
