"""Edits of codes (set, scaled, added to), and how they change a backbone's tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import TYPE_CHECKING, NamedTuple

from usae_train.files.whole_numbers import as_index
from usae_train.model.outline import UsaeDescription, check_concept
from usae_train.runtime.errors import UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from usae_train.model.sparse import Codes
    from usae_train.model.usae import USAE

EditValue = float | tuple[str, float]  # a code, ("scale", factor) or ("add", code)
EDIT_KINDS = ("set", "scale", "add")
LARGEST_EDIT = 1e6  # largest code or factor: codes are below a thousand, and a network's float32 must not overflow


class Edit(NamedTuple):
    """One concept's new code at every patch: factor * code + shift."""

    factor: float
    shift: float


def parse_edits(usae: UsaeDescription, edits: Mapping[int, EditValue]) -> dict[int, Edit]:
    """Edits as a caller writes them, checked: {12: 0.0, 7: ("scale", 2.0), 3: ("add", 1.5)}.

    Raises:
        ValueError: for an unknown concept, a number beyond a million, an unknown kind, or anything but
            a mapping.
    """
    if not isinstance(edits, Mapping):
        raise UsageError(f'edits are {edits!r}; expected {{concept: its code, ("scale", factor) or ("add", code)}}')
    parsed = {}
    for key, edit in edits.items():
        concept = as_index(key, "an edit of", f", a concept's: 0 to {usae.n_concepts - 1}")
        parsed[check_concept(usae, concept)] = read_edit(concept, edit)
    return parsed


def check_not_others(usae: USAE, backbone: str, concepts: Iterable[int]) -> None:
    """Refuse a concept that is private to another backbone: editing it would change nothing."""
    for concept in concepts:
        owner = usae.private.owner(concept)
        if owner not in (None, backbone):
            raise UsageError(f"concept {concept} is private to {owner}; editing it changes nothing in {backbone}")


def read_edit(concept: int | str, edit: EditValue) -> Edit:
    """An edit as a caller writes it, checked.

    Args:
        concept: its number or name, for the message.
        edit: a code, ("scale", factor) or ("add", code).

    Raises:
        ValueError: for a number beyond a million, or an unknown kind.
    """
    kind, number = edit if isinstance(edit, tuple) and len(edit) == 2 else ("set", edit)
    if kind not in EDIT_KINDS or isinstance(number, bool) or not isinstance(number, Real):
        raise UsageError(
            f'the edit of concept {concept} is {edit!r}; expected a code such as 0.0, ("scale", 2.0) or ("add", 1.0)'
        )
    if not abs(number) <= LARGEST_EDIT:  # NaN is under no bound
        raise UsageError(
            f"the edit of concept {concept} has {number}; expected a number from -{LARGEST_EDIT:g} to {LARGEST_EDIT:g}"
        )
    value = float(number)
    return {"set": Edit(0.0, value), "scale": Edit(value, 0.0), "add": Edit(1.0, value)}[kind]


def edit_shift(usae: USAE, backbone: str, codes: Codes, edits: Mapping[int, Edit]) -> Tensor:
    """D(z') - D(z): the change of a backbone's raw tokens, (..., width), by edits of codes (..., k).

    Zeros, and no rounding, where no code changes.
    """
    from torch import stack  # what is above is used by commands before they load it

    if not edits:
        return codes.values.new_zeros(*codes.values.shape[:-1], usae.widths[backbone])
    before = stack([codes.of(concept) for concept in edits], -1)
    after = stack([edit.factor * before[..., at] + edit.shift for at, edit in enumerate(edits.values())], -1)
    return (after - before) @ raw_atoms(usae, backbone, list(edits))


def removal_shifts(usae: USAE, backbone: str, codes: Codes, removed: Sequence[Sequence[int]]) -> Tensor:
    """The change of one picture's tokens by removing each set of concepts: (sets, token, width).

    Args:
        usae: the model.
        backbone: whose tokens.
        codes: (1, token, k).
        removed: the sets; an empty one changes nothing.
    """
    from torch import stack

    concepts = sorted(set[int]().union(*removed))
    if not concepts:
        return codes.values.new_zeros(len(removed), codes.values.shape[1], usae.widths[backbone])
    values = stack([codes.of(concept)[0] for concept in concepts], -1)  # (token, concepts)
    is_removed = values.new_tensor([[concept in members for concept in concepts] for members in map(set, removed)])
    return (-is_removed[:, None, :] * values) @ raw_atoms(usae, backbone, concepts)


def raw_atoms(usae: USAE, backbone: str, concepts: list[int]) -> Tensor:
    """(concepts, width): the change of a backbone's raw tokens per unit of a concept's code."""
    from torch import as_tensor

    rows = usae.rows(backbone)
    return usae.scale(backbone).inverse_of_difference(rows[as_tensor(concepts, device=rows.device)])
