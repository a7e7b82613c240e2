"""Whether a report holds what `Report` says, and nothing else."""

from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from usae_train.evaluation.report_form import Report


def assert_of_its_form(value: Any, form: Any = Report) -> None:
    """Compare keys and kinds with a TypedDict's, all the way down."""
    if isinstance(form, UnionType):
        if all(isinstance(part, type) for part in get_args(form)) and not any(map(is_typeddict, get_args(form))):
            assert isinstance(value, form), (value, form)
        elif value is not None:
            assert_of_its_form(value, next(part for part in get_args(form) if part is not NoneType))
    elif is_typeddict(form):
        assert form.__required_keys__ <= value.keys() <= get_type_hints(form).keys()
        for key, part in value.items():
            assert_of_its_form(part, get_type_hints(form)[key])
    elif get_origin(form) in (dict, list):
        for part in value.values() if isinstance(value, dict) else value:
            assert_of_its_form(part, get_args(form)[-1])
    elif isinstance(form, type) and form is not Any:
        assert isinstance(value, int | float if form is float else form), (value, form)
