"""Concepts as a person writes them, in one syntax: on the command line, in recipes, in Python.

One text or several, separated by commas, each of: `12`, `40-42` (inclusive; any dash will do), `all`, `top:8` (the most
universal), a name, a label such as `red` or `colour: red`, or a pattern of names and labels such as `colour:*`. Case
does not matter. What a name may be is in `usae_train.model.concept_names`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NoReturn, SupportsIndex

from usae_train.files.whole_numbers import as_index, whole_number
from usae_train.model.concept_names import ALL, RANGE, TOP, WHOLE_NUMBER, WILDCARD, bare_name
from usae_train.model.outline import UsaeDescription, check_concept
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_viz.concepts.followed import CHANCE_AUROC, best_concept
from usae_viz.concepts.labels import Label, concepts_by_name, labels_of, nearest_names, replace_names
from usae_viz.concepts.ranking import by_universality
from usae_viz.concepts.required_statistics import need_statistics

if TYPE_CHECKING:
    from usae_train.model.usae import USAE

    Meaning = Callable[[USAE], Sequence[int]]  # a text's concepts, for which a USAE's statistics may be needed


def parse_concepts(usae: USAE, text: str, labels: Sequence[Label] | None = None) -> list[int]:
    """The concepts that a text means, each once, in its order; `labels` go before all else, the USAE's own by default.

    Raises:
        ValueError: for an index out of range, or a name or label that no concept has; says what there is.

    Example:
        >>> import usae_train as ut
        >>> parse_concepts(ut.load("demo"), "40-42, 7, 41")
        [40, 41, 42, 7]
    """
    meanings = list(_meanings(usae, text, labels))
    return list(dict.fromkeys(concept for meant in meanings for concept in meant(usae)))


def check_concepts(usae: UsaeDescription, text: str, labels: Sequence[Label] | None = None) -> None:
    """Raise a ValueError as `parse_concepts`, where no statistics are needed."""
    list(_meanings(usae, text, labels))


def one_concept(usae: USAE, concept: SupportsIndex | str, labels: Sequence[Label] | None = None) -> int:
    """The one concept that a number means, or a name or label, as `parse_concepts` reads it.

    Raises:
        ValueError: when the text means no concept or several, or for what is not a whole number: True, 3.0.
    """
    if not isinstance(concept, str):
        return check_concept(usae, as_index(concept, "concept", " or a name"))
    meant = parse_concepts(usae, concept, labels)
    if len(meant) > 1:
        some = ", ".join(map(str, meant[:6])) + (", ..." if len(meant) > 6 else "")
        raise UsageError(f"{concept!r} is {plural(len(meant), 'concept')}, {some}; expected one: give its number")
    return meant[0]


def _meanings(usae: UsaeDescription, text: str, labels: Sequence[Label] | None) -> Iterator[Meaning]:
    """What each part of a text means."""
    labels = labels_of(usae) if labels is None else labels
    parts = [part.strip() for part in replace_names(text, concepts_by_name(labels)).split(",") if part.strip()]
    if not parts:
        raise UsageError(f"no concept in {text!r}; expected an index, a range such as 40-42, `top:8` or a label")
    for part in parts:
        yield _meaning(usae, part, labels)


def _meaning(usae: UsaeDescription, part: str, labels: Sequence[Label]) -> Meaning:
    if WHOLE_NUMBER.fullmatch(part):
        return _always([check_concept(usae, whole_number(part))])
    if part.lower() == ALL:
        return _always(range(usae.n_concepts))
    if (ends := RANGE.fullmatch(part)) is not None:
        first, last = (check_concept(usae, whole_number(end)) for end in ends.groups())
        if first > last:
            raise UsageError(f"concepts {part!r}: expected the smaller number first")
        return _always(range(first, last + 1))
    if bare_name(part).startswith(TOP):
        return _top(usae, part)
    if WILDCARD.search(part):
        return _matching(usae, part, labels)
    return _labelled(usae, part, labels)


def _always(concepts: Sequence[int]) -> Meaning:
    return lambda usae: concepts


def _top(usae: UsaeDescription, part: str) -> Meaning:
    count = part.partition(":")[2].strip()
    if not WHOLE_NUMBER.fullmatch(count) or not 1 <= whole_number(count) <= usae.n_concepts:
        raise UsageError(f"{part!r}: expected top: and a number from 1 to {usae.n_concepts}")
    return lambda usae: by_universality(need_statistics(usae))[: int(count)]


def _labelled(usae: UsaeDescription, label: str, labels: Sequence[Label]) -> Meaning:
    """The concept that follows a factor value best; a name has already been replaced by its number."""
    values = _label_names(usae.factors)
    if (value := values.get(bare_name(label))) is not None:
        return lambda usae: [_best(usae, label, value)]
    options = [*(each.name for each in labels if each.name), *values]
    if not options:
        raise UsageError(f"no concept {label!r}: this USAE has no labels; expected a number below {usae.n_concepts}")
    raise UsageError(
        f"no concept is labelled {label!r}; the nearest labels: {', '.join(nearest_names(label, options))}"
    )


def _best(usae: USAE, label: str, value: int) -> int:
    concept, auroc = best_concept(usae, value)
    if auroc < CHANCE_AUROC:
        raise UsageError(f"no concept follows {label!r}: the nearest, {concept}, is at chance (AUROC {auroc:.2f})")
    return concept


def _label_names(factors: Sequence[str]) -> dict[str, int]:
    """`red` and `colour:red` both name the first value."""
    names = {bare_name(factor.partition(":")[2]): value for value, factor in enumerate(factors)}
    return names | {bare_name(factor): value for value, factor in enumerate(factors)}


def _matching(usae: UsaeDescription, pattern: str, labels: Sequence[Label]) -> Meaning:
    """The concepts whose names match, and those that best follow the factor values that match: `red` or `colour:red`.

    A concept at chance follows nothing.
    """
    values = [bare_name(factor) for factor in usae.factors]
    names = concepts_by_name(labels)
    labelled = [
        concept for name, concepts in names.items() if fnmatchcase(name, bare_name(pattern)) for concept in concepts
    ]
    followed = [
        value
        for value, label in enumerate(values)
        if any(fnmatchcase(name, bare_name(pattern)) for name in (label, label.partition(":")[2]))
    ]

    def matching(usae: USAE) -> list[int]:
        best = [best_concept(usae, value) for value in followed]
        followers = [concept for concept, auroc in best if auroc >= CHANCE_AUROC]
        return labelled + followers or _no_match(pattern, [*names, *values])

    if not labelled and not followed:
        _no_match(pattern, [*names, *values])
    return matching


def _no_match(pattern: str, names: Sequence[str]) -> NoReturn:
    examples = ", ".join(names[:6]) or "none: this USAE has no labels"
    raise UsageError(f"no label matches {pattern!r}; labels are {examples}")
