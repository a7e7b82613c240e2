"""Every option of a settings class: named, typed, defaulted and explained by the class alone."""

import inspect
from collections import defaultdict
from collections.abc import Callable
from types import NoneType
from typing import Annotated, ClassVar, get_args

import pytest
import typer
from pydantic import Field
from rich.markup import render
from typer.models import OptionInfo
from typer.testing import CliRunner

import usae_train.cli
import usae_viz.cli
from usae_train.agreement.consensus import consensus
from usae_train.agreement.settings import AgreementSettings
from usae_train.commands.options import RECIPE_DEFAULTS
from usae_train.demo.settings import BuildSettings
from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.evaluate import Comparison, evaluate_source
from usae_train.evaluation.from_python import EvaluateOptions
from usae_train.evaluation.settings import EvaluateSettings, NameSettings
from usae_train.files.validation import Settings, by_todays_names, check_settings
from usae_train.images.settings import SpectrumSettings
from usae_train.runtime import shared_options
from usae_train.runtime.settings_options import knows_former, takes_settings
from usae_train.runtime.warning_kinds import FormerNameWarning
from usae_train.sae_formats.formats import export_sae
from usae_train.sae_formats.settings import ExportSettings, ImportSettings
from usae_train.tokens.extract import plan_extraction
from usae_train.tokens.settings import ExtractSettings
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.settings import ExecutionSettings, FitOptions, FitSettings
from usae_viz.concepts.ranking import concept_rows
from usae_viz.concepts.settings import ConceptsSettings
from usae_viz.explanations.intervention import intervention_in
from usae_viz.explanations.settings import ExplainSettings, InterveneSettings
from usae_viz.explanations.writing import write_explanations
from usae_viz.explorer.page import explore
from usae_viz.explorer.settings import ExploreSettings
from usae_viz.rating.settings import RateSettings
from usae_viz.rating.study import make_study
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.settings import DrawSettings, RenderSettings
from usae_viz.settings import MaximizeOptions, MaximizeSettings

COMMANDS = [
    (usae_viz.cli.app, "maximize", MaximizeSettings, {"reference"}, {}),
    (usae_viz.cli.app, "invert", MaximizeSettings, {"start", "reference"}, {}),
    (usae_train.cli.app, "fit", FitSettings, set(), RECIPE_DEFAULTS),
    (usae_train.cli.app, "add-backbone", FitSettings, {"n_concepts", "k", "n_private", "k_private"}, RECIPE_DEFAULTS),
    (usae_train.cli.app, "fit", ExecutionSettings, set(), {}),
    (usae_train.cli.app, "add-backbone", ExecutionSettings, set(), {}),
    (usae_train.cli.app, "fit", AgreementSettings, set(), {}),
    (usae_train.cli.app, "consensus", AgreementSettings, {"starts"}, {}),
    (usae_train.cli.app, "consensus", ExecutionSettings, set(), {}),
    (
        usae_train.cli.app,
        "consensus",
        FitSettings,
        {"n_concepts", "k", "n_private", "k_private", "init_seed", "sparsity", "dictionary"},
        RECIPE_DEFAULTS,
    ),
    (usae_train.cli.app, "extract", ExtractSettings, set(), {}),
    (usae_train.cli.app, "evaluate", EvaluateSettings, set(), {}),
    (usae_train.cli.app, "name", NameSettings, set(), {}),
    (usae_train.cli.app, "spectrum", SpectrumSettings, set(), {}),
    (usae_train.cli.app, "demo", BuildSettings, set(), {}),
    (usae_train.cli.app, "photos", BuildSettings, set(), {}),
    (usae_train.cli.app, "import-sae", ImportSettings, set(), {}),
    (usae_train.cli.app, "export-sae", ExportSettings, set(), {}),
    (usae_viz.cli.app, "maximize", DrawSettings, set(), {}),
    (usae_viz.cli.app, "invert", DrawSettings, set(), {}),
    (usae_viz.cli.app, "render", RenderSettings, set(), {}),
    (usae_viz.cli.app, "concepts", ConceptsSettings, set(), {}),
    (usae_viz.cli.app, "explain", ExplainSettings, set(), {}),
    (usae_viz.cli.app, "intervene", InterveneSettings, set(), {}),
    (usae_viz.cli.app, "explore", ExploreSettings, set(), {}),
    (usae_viz.cli.app, "rate", RateSettings, set(), {}),
]

PYTHON = [
    (consensus, "share", AgreementSettings, "share"),
    (consensus, "alike", AgreementSettings, "alike"),
    (plan_extraction, "storage_dtype", ExtractSettings, "storage_dtype"),
    (evaluate_source, "batch", EvaluateSettings, "image_batch"),
    (Comparison, "seed", EvaluateSettings, "seed"),
    (PassCheckpointer, "minutes", EvaluateSettings, "checkpoint_minutes"),
    (TrainingCheckpointer, "minutes", ExecutionSettings, "checkpoint_minutes"),
    (TrainingCheckpointer, "keep", ExecutionSettings, "keep_checkpoints"),
    (export_sae, "format", ExportSettings, "format"),
    (plan_objectives, "animation", DrawSettings, "animation"),
    (concept_rows, "sort", ConceptsSettings, "sort"),
    (write_explanations, "columns", ExplainSettings, "columns"),
    (write_explanations, "top", ExplainSettings, "top"),
    (intervention_in, "top", InterveneSettings, "top"),
    (explore, "patches", ExploreSettings, "patches"),
    (make_study, "choices", RateSettings, "choices"),
    (make_study, "controls", RateSettings, "controls"),
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


APPS = (usae_train.cli.app, usae_viz.cli.app)


def commands_of(app: typer.Typer) -> dict[str, Callable[..., None]]:
    return {each.name or each.callback.__name__: each.callback for each in app.registered_commands}


def every_command() -> dict[str, Callable[..., None]]:
    return {name: command for app in APPS for name, command in commands_of(app).items()}


def test_the_test_below_knows_every_command_with_a_setting():
    """What a command declares itself is a flag, `auto`, or nothing by default: there is no value to say twice."""
    known = {name: set(model.model_fields) for _, name, model, *_ in COMMANDS}
    for _, name, model, *_ in COMMANDS:
        known[name] |= set(model.model_fields) | set(getattr(model, "FORMER", ()))
    for name, command in every_command().items():
        for option in inspect.signature(command).parameters.values():
            metadata = get_args(option.annotation)
            if len(metadata) > 1 and isinstance(metadata[1], OptionInfo) and option.name not in known.get(name, ()):
                assert option.default in (None, False, "auto", inspect.Parameter.empty), (name, option.name)


@pytest.mark.parametrize(("function", "parameter", "model", "field"), PYTHON, ids=[each[1] for each in PYTHON])
def test_python_takes_the_classes_defaults(function, parameter, model, field):
    assert inspect.signature(function).parameters[parameter].default == model.model_fields[field].default


@pytest.mark.parametrize(
    ("app", "name", "model", "left_out", "defaults"),
    COMMANDS,
    ids=[f"{each[1]}-{each[2].__name__}" for each in COMMANDS],
)
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


@pytest.mark.parametrize("app", [usae_train.cli.app, usae_viz.cli.app], ids=["usae-train", "usae-viz"])
def test_help_shows_all_that_is_written(app):
    """rich takes `[a default]` for a style, and leaves it out."""
    commands = typer.main.get_command(app).commands.values()
    texts = [text for command in commands for text in (command.help, *(each.help for each in command.params)) if text]
    assert len(texts) > 50
    assert [text for text in texts if render(text).plain != text] == []


def test_an_option_is_of_one_kind_in_every_command():
    """`--independent` was a flag of `fit` and a folder of `evaluate`, `--verify` a flag of `fit` and a concept."""
    kinds = defaultdict(lambda: defaultdict(list))
    for name, command in ((name, command) for app in APPS for name, command in commands_of(app).items()):
        for parameter in inspect.signature(command).parameters.values():
            kind, option, *_ = (*get_args(parameter.annotation), None, None)
            if isinstance(option, OptionInfo) and not option.hidden:
                words = option.param_decls or [f"--{parameter.name.replace('_', '-')}"]
                kinds[words[0]][next(part for part in (*get_args(kind), kind) if part is not NoneType)].append(name)
    assert len(kinds) > 80
    assert {word: dict(found) for word, found in kinds.items() if len(found) > 1} == {}


def test_former_options_work_and_say_todays():
    code, given, said = baked("--heat", "200", "--tin", "square")
    assert (code, given) == (0, {"mould": "square", "settings": {"temperature": 200}})
    assert "warning: --heat is called --temperature now; write --temperature" in said
    assert "warning: --tin is called --mould now" in said
    code, given, said = baked("--heat", "200", "--temperature", "210")
    assert (code, given) == (2, {})
    assert "--heat is the former name of --temperature" in said


def test_an_option_that_must_be_given_may_be_by_its_former_name():
    app, given = typer.Typer(), []

    @app.command()
    @knows_former({"tin": "mould"})
    def bake(mould: Annotated[str, typer.Option()]) -> None:
        given.append(mould)

    for words in (["--mould", "square"], ["--tin", "square"]):
        assert CliRunner().invoke(app, words).exit_code == 0
    assert given == ["square", "square"]
    done = CliRunner().invoke(app, [])
    assert (done.exit_code, given[2:]) == (2, [])
    assert "Missing option '--mould'." in done.output


def test_former_fields_work_and_say_todays():
    with pytest.warns(FormerNameWarning, match="heat is called temperature now"):
        assert check_settings(Baking, heat=200).temperature == 200
    with pytest.raises(ValueError, match=r"^heat is the former name of temperature; give temperature alone$"):
        check_settings(Baking, heat=200, temperature=210)
    assert by_todays_names(Baking, {"heat": 200, "eggs": 1}) == {"temperature": 200, "eggs": 1}


@pytest.mark.parametrize(
    ("options", "model", "left_out"),
    [
        (MaximizeOptions, MaximizeSettings, {"start", "reference"}),
        (FitOptions, FitSettings, {"recipe"}),
        (EvaluateOptions, EvaluateSettings, {"fill", "checkpoint_minutes"}),
    ],
)
def test_what_editors_complete_are_the_fields(options, model, left_out):
    assert set(options.__annotations__) == set(model.model_fields) - left_out


SHARED = {"Device": "device", "Quiet": "quiet"}  # what `runtime.shared_options` has, by the parameter it is for


@pytest.mark.parametrize(("shared", "parameter"), SHARED.items())
def test_an_option_of_many_commands_is_declared_once(shared, parameter):
    declared = get_args(getattr(shared_options, shared))[1]
    signatures = [inspect.signature(command, eval_str=True).parameters for command in every_command().values()]
    own = [parameters[parameter] for parameters in signatures if parameter in parameters]
    assert len(own) > 10
    assert {id(get_args(each.annotation)[1]) for each in own} == {id(declared)}
    assert len({each.default for each in own}) == 1
