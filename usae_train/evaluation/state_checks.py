"""Checks of an evaluation's states on disk: whether they fit these measures, before they are added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, permutations
from typing import Any

import torch

from usae_train.evaluation.measures import Measures
from usae_train.evaluation.posthoc import PostHoc
from usae_train.files.tensor_checks import Damaged, check_tensor, check_tensors, check_within
from usae_train.model.firing import FiringTally

Forms = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def check_measures(state: Any, measures: Measures) -> None:
    """Compare a state of measures with empty ones.

    Raises:
        Damaged: for sums that are missing, or of another shape or kind; says which.
    """
    usae = measures.usae
    _check_keys(state, measures.state_dict(), "measures")
    _check_firing(state["firing"], measures.firing)
    halves = state["reconstruction"]
    if not isinstance(halves, list) or len(halves) != measures.halves:
        raise Damaged(f"reconstruction has other parts than {measures.halves}")
    pairs = [(source, target) for source in usae.names for target in usae.names]
    for number, half in enumerate(halves):
        _check_forms(half, forms_of_sums(usae.widths, pairs), f"reconstruction {number}")
    _check_keys(state["ceiling"], {"moments"}, "ceiling")
    check_tensor(state["ceiling"]["moments"], measures.ceiling.moments.shape, torch.double, "ceiling")
    if (measures.posthoc is None) != (state["posthoc"] is None) or (measures.stored_codes is None) != (
        state["kept"] is None
    ):
        raise Damaged("it measured something else")
    if measures.posthoc is not None:
        check_posthoc(state["posthoc"], measures.posthoc)
    check_pictures(state, measures)
    stored = [] if state["kept"] is None else state["kept"]
    if not isinstance(stored, list):
        raise Damaged("kept is not a list")
    for part in stored:
        _check_stored_codes(part, usae.names, usae.sparsity.slots(usae.k), usae.n_concepts)


def check_pictures(state: Any, measures: Measures) -> None:
    """Compare what a state keeps of the pictures themselves with empty measures."""
    for key, measure in (("answers", measures.answers), ("seen", measures.pictures)):
        if (measure is None) != (state[key] is None):
            raise Damaged("it measured something else")
    if measures.answers is not None:
        answers = measures.answers.state_dict()
        _check_keys(state["answers"], answers, "answers")
        for kind, sums in answers.items():
            check_tensors(state["answers"][kind], sums, f"answers: {kind}")
    if measures.pictures is not None:
        _check_keys(state["seen"], measures.pictures.state_dict(), "seen")
        numbers = check_tensor(state["seen"]["numbers"], (None,), torch.long, "seen: numbers")
        check_within(numbers, 0, 2**62, "seen: numbers")
        if len(numbers) != int(state["firing"]["counts"][0]):
            raise Damaged("seen: numbers are of another number of pictures")
        form = len(numbers), measures.pictures.embeddings.shape[1]
        check_tensor(state["seen"]["embeddings"], form, torch.float32, "seen: embeddings")


def check_posthoc(state: Any, posthoc: PostHoc) -> None:
    """Compare a state of the post-hoc baseline with an empty one.

    Raises:
        Damaged: as `check_measures`.
    """
    _check_keys(state, posthoc.state_dict(), "posthoc")
    names, sizes = list(posthoc.independent), {name: sae.n_concepts for name, sae in posthoc.independent.items()}
    widths = {name: sae.widths[name] for name, sae in posthoc.independent.items()}
    _check_forms(state["own"], forms_of_sums(widths, [(name, name) for name in names]), "posthoc: own")
    _check_forms(state["cross"], forms_of_sums(widths, [(a, b) for a in names for b in names]), "posthoc: cross")
    check_matching(state, posthoc)
    gains = {f"{a}>{b}": ((sizes[a],), torch.float32) for a, b in permutations(names, 2)}
    _check_forms(state["gains"], gains, "posthoc: gains")
    _check_forms(state["partners"], {k: (form, torch.long) for k, (form, _) in gains.items()}, "posthoc: partners")
    for pair, places in state["partners"].items():
        check_within(places, 0, sizes[pair.partition(">")[2]], f"posthoc: partners of {pair}")


def check_matching(state: Any, posthoc: PostHoc) -> None:
    """Compare the matching half alone, which processes exchange."""
    sizes = {name: sae.n_concepts for name, sae in posthoc.independent.items()}
    if not isinstance(state, Mapping) or not {"together", "squares"} <= state.keys():
        raise Damaged("posthoc has no sums to match by")
    tables = {f"{a}>{b}": ((sizes[a], sizes[b]), torch.float32) for a, b in combinations(sizes, 2)}
    _check_forms(state["together"], tables, "posthoc: together")
    squares = {name: ((size,), torch.float32) for name, size in sizes.items()}
    _check_forms(state["squares"], squares, "posthoc: squares")


def forms_of_sums(widths: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> Forms:
    """What a `Reconstruction` adds up."""
    forms: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name, width in widths.items():
        forms |= {f"{name}.sum": ((width,), torch.double), f"{name}.square": ((width,), torch.double)}
        forms[f"{name}.count"] = ((), torch.long)
    for source, target in pairs:
        forms |= {f"{source}>{target}.{kind}": ((), torch.double) for kind in ("absolute", "squared")}
    return forms


def _check_firing(state: Any, tally: FiringTally) -> None:
    empty = tally.state_dict()
    _check_keys(state, empty, "firing")
    for key, tensor in empty.items():
        if key != "largest":
            check_tensor(state[key], tensor.shape, tensor.dtype, f"firing: {key}")
    if not isinstance(state["largest"], list):
        raise Damaged("firing: largest is not a list")
    for block in state["largest"]:
        check_tensor(block, (None, *tally.fires.shape), torch.float16, "firing: largest")
    if sum(map(len, state["largest"])) != int(state["counts"][0]):
        raise Damaged("firing: largest is of another number of pictures")
    check_within(state["top_tokens"], 0, 2**31, "firing: top_tokens")
    check_within(state["top_images"], -1, 2**62, "firing: top_images")


def _check_stored_codes(state: Any, names: Iterable[str], slots: int | None, n_concepts: int) -> None:
    parts = {"numbers", *(f"{name}.{part}" for name in names for part in ("values", "indices"))}
    _check_keys(state, parts, "kept")
    numbers = check_tensor(state["numbers"], (None,), torch.long, "kept: numbers")
    for name in names:
        values = check_tensor(state[f"{name}.values"], (len(numbers), None, slots), torch.float32, f"kept: {name}")
        indices = check_tensor(state[f"{name}.indices"], values.shape, torch.int32, f"kept: {name}")
        check_within(indices, 0, n_concepts, f"kept: {name}")


def _check_keys(state: Any, expected: Iterable[str], what: str) -> None:
    if not isinstance(state, Mapping) or state.keys() != set(expected):
        raise Damaged(f"{what} has other parts than {', '.join(sorted(expected))}")


def _check_forms(state: Any, expected: Forms, what: str) -> None:
    """All of the sums, or none before anything was added."""
    if state == {}:
        return
    _check_keys(state, expected, what)
    for key, (shape, dtype) in expected.items():
        check_tensor(state[key], shape, dtype, f"{what}: {key}")
