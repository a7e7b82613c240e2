"""What was expected is said in this project's words, whatever pydantic calls it."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, get_args

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core.core_schema import ErrorType
from typer.testing import CliRunner

import usae_train as ut
import usae_train.cli
import usae_viz as uv
import usae_viz.cli
from usae_train.files.json_files import validate
from usae_train.files.validation import check_settings
from usae_train.files.wording import WORDS, expectation, shows_value
from usae_train.files.yaml_config import check_mapping, read_mapping
from usae_train.runtime.errors import UsageError


class Inner(BaseModel):
    kind: Literal["inner"]


class Other(BaseModel):
    kind: Literal["other"]


class Odd(BaseModel):
    """A field of every kind that settings have."""

    model_config = ConfigDict(extra="forbid")

    number: float = Field(1, gt=0, lt=5, allow_inf_nan=False)
    whole: int = Field(2, ge=1, le=9, multiple_of=2)
    text: str = Field("abc", min_length=2, max_length=4, pattern="^[a-z]*$")
    choice: Literal["a", "b"] = "a"
    truth: bool = True
    many: list[int] = Field([1], min_length=1, max_length=2)
    pair: tuple[int, int] = (1, 2)
    mapping: dict[str, int] = {}
    place: Path = Path()
    inner: Inner | None = None
    either: Annotated[Inner | Other, Field(discriminator="kind")] = Inner(kind="inner")


WRONG = [
    ({"number": 0}, "number = 0: expected more than 0.0"),
    ({"number": 5}, "number = 5: expected less than 5.0"),
    ({"number": float("inf")}, "number = inf: expected a finite number"),
    ({"number": "x"}, "number = 'x': expected a number"),
    ({"number": []}, "number = []: expected a number"),
    ({"whole": 0}, "whole = 0: expected at least 1"),
    ({"whole": 10}, "whole = 10: expected at most 9"),
    ({"whole": 3}, "whole = 3: expected a multiple of 2"),
    ({"whole": 2.5}, "whole = 2.5: expected a whole number"),
    ({"whole": "x"}, "whole = 'x': expected a whole number"),
    ({"whole": None}, "whole = None: expected a whole number"),
    ({"whole": "1" * 5000}, "expected a whole number of fewer digits"),
    ({"text": 3}, "text = 3: expected text"),
    ({"text": "a"}, "text = 'a': expected 2 or more characters"),
    ({"text": "abcde"}, "text = 'abcde': expected 4 or fewer characters"),
    ({"text": "AB"}, "text = 'AB': expected text of the form ^[a-z]*$"),
    ({"choice": "c"}, "choice = 'c': expected 'a' or 'b'"),
    ({"truth": 7}, "truth = 7: expected true or false"),
    ({"truth": "perhaps"}, "truth = 'perhaps': expected true or false"),
    ({"many": 3}, "many = 3: expected a list"),
    ({"many": []}, "many = []: expected at least 1 of them, found 0"),
    ({"many": [1, 2, 3]}, "many = [1, 2, 3]: expected at most 2 of them, found 3"),
    ({"pair": 3}, "pair = 3: expected a list"),
    ({"pair": (1,)}, "pair.1 = (1,): it is missing"),
    ({"mapping": 3}, "mapping = 3: expected keys with values, such as {key: value}"),
    ({"place": 3}, "place = 3: expected the name of a file"),
    ({"inner": 3}, "inner = 3: expected keys with values"),
    ({"inner": {"kind": "outer"}}, "inner.kind = 'outer': expected 'inner'"),
    ({"inner": {}}, "inner.kind: it is missing"),
    ({"either": {"kind": "none"}}, "either: 'kind' is 'none'; expected 'inner', 'other'"),
    ({"either": {}}, "either: expected 'kind', which says the kind"),
    ({"nmber": 3}, "nmber = 3: unknown name; did you mean 'number'?"),
]


@pytest.mark.parametrize(("values", "said"), WRONG)
def test_every_kind_of_value_is_told_in_our_words(values, said) -> None:
    with pytest.raises(ValueError, match=r"expected|missing|unknown name") as refusal:
        check_settings(Odd, **values)
    assert said in str(refusal.value)
    assert " should " not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_no_words_of_theirs_are_left_of_what_has_no_words_of_ours() -> None:
    for theirs in ("Input should be a valid date", "URL should have at least 3 letters", "Value error, ours"):
        own = expectation({"type": "of_tomorrow", "msg": theirs})
        assert own.startswith("expected ") or own == "ours"
    assert set(WORDS) - set(get_args(ErrorType)) <= {"path_type", "string_sub_type"}


def test_a_value_is_shown_where_it_is_what_is_wrong() -> None:
    with pytest.raises(ValidationError) as refusal:
        Odd(number=7, inner={}, many=[])
    shown = {str(each["loc"][0]): shows_value(each) for each in refusal.value.errors()}
    assert shown == {"number": True, "inner": False, "many": False}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: uv.MaximizeSettings(steps=0), "steps = 0: expected at least 1"),
        (lambda: uv.MaximizeSettings(step=3), "step = 3: unknown name; did you mean 'steps'?"),
        (lambda: uv.MaximizeSettings(steps=True), "steps = True: expected a number"),
        (lambda: uv.MaximizeSettings(verdict={"rank": 0}), "verdict.rank = 0: expected at least 1"),
        (lambda: uv.MaximizeSettings(start=""), "start = '': expected 1 or more characters"),
        (lambda: uv.MaximizeSettings(spectrum=""), "spectrum = '': expected 1 or more characters"),
        (lambda: uv.Augmentation(noise=-1), "noise = -1: expected at least 0"),
        (lambda: ut.FitSettings(n_concepts=0), "n_concepts = 0: expected at least 1"),
        (lambda: ut.TrainingRecipe(rate=3), "rate = 3: unknown name"),
        (lambda: ut.BackboneSpec(size=3), "model: it is missing"),
        (
            lambda: ut.BackboneSpec(model="m", tensors="ordered"),
            "sha256 and tensors describe a weight file",
        ),
    ],
)
def test_settings_made_in_python_are_refused_in_one_line(make: Callable[[], object], said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        make()
    assert str(refusal.value).startswith(said)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("settings", [uv.MaximizeSettings(), ut.FitSettings()])
def test_settings_that_were_made_stay(settings) -> None:
    with pytest.raises(AttributeError) as refusal:
        settings.steps = 3
    assert str(refusal.value) == f"steps stays as it is; make others instead: {type(settings).__name__}(steps=3)"
    assert settings.steps != 3


@pytest.mark.parametrize(
    ("app", "words", "said"),
    [
        (usae_viz.cli.app, ["maximize", "--steps", "many"], "'--steps': expected a whole number, found 'many'"),
        (usae_viz.cli.app, ["concepts", "--top", "0"], "'--top': expected at least 1, found '0'"),
        (
            usae_train.cli.app,
            ["fit", "demo", "--steps", "x\x1b[2J"],
            r"'--steps': expected a whole number, found 'x\x1b",
        ),
    ],
)
def test_options_that_typer_reads_too(app, words, said) -> None:
    done = CliRunner().invoke(app, words, env={"COLUMNS": "200", "TERMINAL_WIDTH": "200"})
    assert done.exit_code == 2
    assert said in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    "refused",
    [
        lambda file: check_settings(uv.MaximizeSettings, images="held"),
        lambda file: uv.MaximizeSettings(steps=0),
        lambda file: check_mapping(Odd, read_mapping(file), file),
        lambda file: validate(Odd.model_validate, {"whole": "three"}),
    ],
)
def test_what_is_refused_stands_alone_in_pythons_traceback(tmp_path, refused):
    """Before it stood pydantic's, which says the same at length."""
    (tmp_path / "odd.yaml").write_text("images: held\n")
    with pytest.raises(UsageError) as raised:
        refused(tmp_path / "odd.yaml")
    assert raised.value.__suppress_context__
