"""States of an evaluation from a disk: whether they have these measures' shapes, before they are added up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations, permutations
from typing import Any

import torch

from usae_train.evaluation.measures import Measures
from usae_train.evaluation.posthoc import PostHoc
from usae_train.files.tensor_forms import Damaged, check_tensor, check_tensors, check_within
from usae_train.model.firing import FiringTally

Forms = Mapping[str, tuple[tuple[int, ...], torch.dtype]]


def check_measures(found: Any, measures: Measures) -> None:
    """Compare a state of measures with measures that have nothing in them yet.

    Raises:
        Damaged: for sums that are missing, or of another shape or kind; says which.
    """
    usae = measures.usae
    _check_keys(found, measures.state_dict(), "measures")
    _check_firing(found["firing"], measures.firing)
    halves = found["reconstruction"]
    if not isinstance(halves, list) or len(halves) != measures.halves:
        raise Damaged(f"reconstruction has other parts than {measures.halves}")
    pairs = [(one, other) for one in usae.names for other in usae.names]
    for number, half in enumerate(halves):
        _check_forms(half, forms_of_sums(usae.widths, pairs), f"reconstruction {number}")
    _check_keys(found["ceiling"], {"moments"}, "ceiling")
    check_tensor(found["ceiling"]["moments"], measures.ceiling.moments.shape, torch.double, "ceiling")
    if (measures.posthoc is None) != (found["posthoc"] is None) or (measures.kept is None) != (found["kept"] is None):
        raise Damaged("it measured something else")
    if measures.posthoc is not None:
        check_posthoc(found["posthoc"], measures.posthoc)
    check_pictures(found, measures)
    kept = [] if found["kept"] is None else found["kept"]
    if not isinstance(kept, list):
        raise Damaged("kept is not a list")
    for part in kept:
        _check_kept(part, usae.names, usae.sparsity.slots(usae.k), usae.n_concepts)


def check_pictures(found: Any, measures: Measures) -> None:
    """The same of what is kept of the pictures themselves."""
    for key, own in (("answers", measures.answers), ("seen", measures.seen)):
        if (own is None) != (found[key] is None):
            raise Damaged("it measured something else")
    if measures.answers is not None:
        answers = measures.answers.state_dict()
        _check_keys(found["answers"], answers, "answers")
        for kind, sums in answers.items():
            check_tensors(found["answers"][kind], sums, f"answers: {kind}")
    if measures.seen is not None:
        _check_keys(found["seen"], measures.seen.state_dict(), "seen")
        numbers = check_tensor(found["seen"]["numbers"], (None,), torch.long, "seen: numbers")
        check_within(numbers, 0, 2**62, "seen: numbers")
        if len(numbers) != int(found["firing"]["counts"][0]):
            raise Damaged("seen: numbers are of another number of pictures")
        form = len(numbers), measures.seen.embeddings.shape[1]
        check_tensor(found["seen"]["embeddings"], form, torch.float32, "seen: embeddings")


def check_posthoc(found: Any, posthoc: PostHoc) -> None:
    """Compare a state of the post-hoc baseline with one that has nothing in it yet.

    Raises:
        Damaged: as above.
    """
    _check_keys(found, posthoc.state_dict(), "posthoc")
    names, sizes = list(posthoc.independent), {name: own.n_concepts for name, own in posthoc.independent.items()}
    widths = {name: own.widths[name] for name, own in posthoc.independent.items()}
    _check_forms(found["own"], forms_of_sums(widths, [(name, name) for name in names]), "posthoc: own")
    _check_forms(found["cross"], forms_of_sums(widths, [(a, b) for a in names for b in names]), "posthoc: cross")
    check_matching(found, posthoc)
    gains = {f"{a}>{b}": ((sizes[a],), torch.float32) for a, b in permutations(names, 2)}
    _check_forms(found["gains"], gains, "posthoc: gains")
    _check_forms(found["partners"], {k: (form, torch.long) for k, (form, _) in gains.items()}, "posthoc: partners")
    for pair, own in found["partners"].items():
        check_within(own, 0, sizes[pair.partition(">")[2]], f"posthoc: partners of {pair}")


def check_matching(found: Any, posthoc: PostHoc) -> None:
    """The same of the matching half alone, which processes hand to each other."""
    sizes = {name: own.n_concepts for name, own in posthoc.independent.items()}
    if not isinstance(found, Mapping) or not {"together", "squares"} <= found.keys():
        raise Damaged("posthoc has no sums to match by")
    tables = {f"{a}>{b}": ((sizes[a], sizes[b]), torch.float32) for a, b in combinations(sizes, 2)}
    _check_forms(found["together"], tables, "posthoc: together")
    squares = {name: ((size,), torch.float32) for name, size in sizes.items()}
    _check_forms(found["squares"], squares, "posthoc: squares")


def forms_of_sums(widths: Mapping[str, int], pairs: Iterable[tuple[str, str]]) -> Forms:
    """What a `Reconstruction` adds up."""
    forms: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
    for name, width in widths.items():
        forms |= {f"{name}.sum": ((width,), torch.double), f"{name}.square": ((width,), torch.double)}
        forms[f"{name}.count"] = ((), torch.long)
    for one, other in pairs:
        forms |= {f"{one}>{other}.{kind}": ((), torch.double) for kind in ("absolute", "squared")}
    return forms


def _check_firing(found: Any, tally: FiringTally) -> None:
    own = tally.state_dict()
    _check_keys(found, own, "firing")
    for key, tensor in own.items():
        if key != "largest":
            check_tensor(found[key], tensor.shape, tensor.dtype, f"firing: {key}")
    if not isinstance(found["largest"], list):
        raise Damaged("firing: largest is not a list")
    for block in found["largest"]:
        check_tensor(block, (None, *tally.fires.shape), torch.float16, "firing: largest")
    if sum(map(len, found["largest"])) != int(found["counts"][0]):
        raise Damaged("firing: largest is of another number of pictures")
    check_within(found["top_tokens"], 0, 2**31, "firing: top_tokens")
    check_within(found["top_images"], -1, 2**62, "firing: top_images")


def _check_kept(found: Any, names: Iterable[str], slots: int | None, n_concepts: int) -> None:
    parts = {"numbers", *(f"{name}.{part}" for name in names for part in ("values", "indices"))}
    _check_keys(found, parts, "kept")
    numbers = check_tensor(found["numbers"], (None,), torch.long, "kept: numbers")
    for name in names:
        values = check_tensor(found[f"{name}.values"], (len(numbers), None, slots), torch.float32, f"kept: {name}")
        indices = check_tensor(found[f"{name}.indices"], values.shape, torch.int32, f"kept: {name}")
        check_within(indices, 0, n_concepts, f"kept: {name}")


def _check_keys(found: Any, expected: Iterable[str], what: str) -> None:
    if not isinstance(found, Mapping) or found.keys() != set(expected):
        raise Damaged(f"{what} has other parts than {', '.join(sorted(expected))}")


def _check_forms(found: Any, expected: Forms, what: str) -> None:
    """All of the sums, or none where nothing was added yet."""
    if found == {}:
        return
    _check_keys(found, expected, what)
    for key, (shape, dtype) in expected.items():
        check_tensor(found[key], shape, dtype, f"{what}: {key}")
