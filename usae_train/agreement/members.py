"""The trainings that a consensus is made from: checked to be of one kind, and their atoms made comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from usae_train.backbones.spec import BackboneSpec
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError


def check_members(members: Sequence[USAE]) -> None:
    """Compare trainings with the first.

    Raises:
        ValueError: for fewer than two, one given twice, or one of another kind; says what differs.
    """
    if len(members) < 2:
        raise UsageError(f"a consensus needs two trainings or more; got {len(members)}")
    for place, member in enumerate(members):
        for other in members[:place]:
            if member is other or (member.sha256 is not None and member.sha256 == other.sha256):
                name, other_name = training_name(members, member), training_name(members, other)
                raise UsageError(f"{name} and {other_name} are the same training; give each once")
        if member.private:
            name = training_name(members, member)
            raise UsageError(f"{name} has private concepts; a consensus needs trainings whose concepts are all shared")
        for what, its, firsts in differences(member, members[0]):
            if its != firsts:
                name, first = training_name(members, member), training_name(members, members[0])
                raise UsageError(
                    f"{name} has {what} {its}, and {first} {firsts}; a consensus needs trainings that differ in "
                    "their start alone"
                )


def differences(member: USAE, first: USAE) -> list[tuple[str, object, object]]:
    """What trainings must have in common: its name, one training's value, and the first's."""
    pairs: list[tuple[str, object, object]] = [
        ("backbones", ", ".join(member.names), ", ".join(first.names)),
        ("widths", sizes_in_words(member.widths), sizes_in_words(first.widths)),
        ("n_concepts", member.n_concepts, first.n_concepts),
        ("k", member.k, first.k),
        ("the grid", member.grid, first.grid),
        ("unit_norm", member.unit_norm, first.unit_norm),
        ("batch_norm", member.batch_norm, first.batch_norm),
        ("sparsity", member.sparsity.in_words(member.k), first.sparsity.in_words(first.k)),
        ("the recipe", member.recipe, first.recipe),
    ]
    for name in first.names:
        pairs.append((f"as {name}", reading_of(member.specs.get(name)), reading_of(first.specs.get(name))))
    return pairs


def sizes_in_words(widths: Mapping[str, int]) -> str:
    """`a 64, b 48`."""
    return ", ".join(f"{name} {width}" for name, width in widths.items())


def reading_of(spec: BackboneSpec | None) -> str:
    """How a backbone is read; its weights may be in different files, for each folder may have its own."""
    if spec is None:
        return "bare activations"
    fields = spec.model_dump(mode="json", exclude={"weights", "classes"}, exclude_defaults=True)
    return ", ".join(f"{key} {value}" for key, value in {**fields, "layer": spec.layer}.items())


def training_name(members: Sequence[USAE], member: USAE) -> str:
    """A training's name: where it was loaded from, or its number."""
    place = next(number for number, each in enumerate(members) if each is member)
    return member.source or f"training {place + 1}"


def raw_rows(usae: USAE) -> dict[str, Tensor]:
    """{backbone: (n_concepts, width)}: what a code of 1 adds, in the backbone's own units.

    Trainings standardize by samples of their own: in raw units their rows can be compared, and averaged. A concept that
    never fires on the pictures of the statistics does not count: its rows are zeros.
    """
    rows = {name: usae.scale(name).inverse_of_difference(usae.rows(name)).cpu() for name in usae.names}
    if usae.statistics is None:
        return rows
    live = (usae.statistics.fires > 0).any(0)
    return {name: matrix * live[:, None] for name, matrix in rows.items()}


def standardized_rows(usae: USAE, rows: dict[str, Tensor]) -> dict[str, Tensor]:
    """{backbone: (concepts, width)}: rows in raw units, standardized as this USAE's dictionaries."""
    return {name: (scale := usae.scale(name))(matrix.to(scale.mean) + scale.mean) for name, matrix in rows.items()}


def joint_rows(members: Sequence[USAE], rows: Sequence[dict[str, Tensor]]) -> list[Tensor]:
    """Of each training (n_concepts, all widths): rows of all backbones one after another, standardized as the first.

    A row's length in a backbone is how much the concept counts there, and so its weight in matching.
    """
    return [torch.cat([*standardized_rows(members[0], rows_of_one).values()], 1).cpu() for rows_of_one in rows]
