"""What a person names to be explored: run folders, a USAE, or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from usae_train.files.place_names import path_of_name
from usae_train.model.checkpoint import load
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_viz.explorer.places import names_run
from usae_viz.runs.metadata import usae_near
from usae_viz.runs.places import is_run
from usae_viz.runs.run_folder import RenderedObjective, RunFolder, read_run


@dataclass(frozen=True)
class Card:
    """One entry of the page: a concept, or another objective that was drawn."""

    concept: int | None
    objective: str
    rendered: list[RenderedObjective | None]  # one per run

    @property
    def id(self) -> str:
        """What a link to it says."""
        return str(self.concept) if self.concept is not None else self.objective


@dataclass(frozen=True)
class Sources:
    """Runs, and the USAE whose concepts they show (None when it is to be left out)."""

    usae: USAE | None
    runs: list[RunFolder]
    cards: list[Card]


def open_sources(
    places: Sequence[str], usae: str | None = None, pictures_only: bool = False, device: torch.device | str = "cpu"
) -> Sources:
    """Read run folders and a USAE, as a person names them.

    Args:
        places: run folders (drawn concepts become cards) and at most one USAE (every concept becomes a card).
        usae: the runs' USAE, where it has moved; what run.json says by default.
        pictures_only: do without the USAE: no statistics, no top-activating patches.
        device: for the USAE's backbones.

    Raises:
        ValueError: for what is neither, and for runs that were drawn with another USAE.
    """
    runs = [read_run(path_of_name(each)) for each in places if names_run(each)]
    others = [each for each in places if not is_run(path_of_name(each))]
    if len(others) > 1:
        raise UsageError(f"{len(others)} USAEs ({', '.join(others)}); expected run folders and at most one USAE")
    if usae is not None and others and others[0] != usae:
        raise UsageError(f"two USAEs: {others[0]} and --usae {usae}; name one")
    if pictures_only and (usae is not None or others):
        usae_words = f"--usae {usae}" if usae is not None else others[0]
        raise UsageError(f"{usae_words} is a USAE, which --pictures-only does without; leave one of them out")
    shas = {run.usae_sha256 for run in runs}
    if len(shas) > 1:
        raise UsageError(f"{_listed(runs)} were drawn with different USAEs; explore them one by one")
    model: USAE | None = None
    if others or not pictures_only:
        place = usae or (others[0] if others else runs[0].usae and usae_near(runs[0].usae, runs[0].folder))
        if place is None:
            raise UsageError(f"{runs[0].folder} does not say which USAE it shows; name it with --usae")
        model = _usae(place, runs, device)
    if others and model is not None and model.statistics is None and not runs:
        raise UsageError(
            f"{others[0]} has no statistics, so there is nothing to show; fit it on pictures, which measures them"
        )
    everything = list(range(model.n_concepts)) if others and model is not None else []
    return Sources(model, runs, _cards(runs, everything))


def _usae(place: str, runs: Sequence[RunFolder], device: torch.device | str) -> USAE:
    try:
        model = load(place, device)
    except UsageError as error:
        if not runs:
            raise
        raise UsageError(f"{error}; name the runs' USAE with --usae, or leave it out with --pictures-only") from error
    for run in runs:
        if run.usae_sha256 is not None and run.usae_sha256 != model.sha256:
            raise UsageError(
                f"{run.folder} was drawn with another USAE (sha256 {run.usae_sha256[:12]}) than {place} is now "
                f"({(model.sha256 or '')[:12]}); draw it again, name the old one with --usae, or show the pictures "
                "alone with --pictures-only"
            )
    beyond = [
        each.concept
        for run in runs
        for each in run.objectives
        if each.concept is not None and each.concept >= model.n_concepts
    ]
    if beyond:
        raise UsageError(f"{place} has {plural(model.n_concepts, 'concept')}, but the run shows concept {beyond[0]}")
    return model


def _cards(runs: Sequence[RunFolder], concepts: Sequence[int]) -> list[Card]:
    """Every concept that was asked for or drawn, by number; then other objectives as they were drawn."""
    by_key: dict[str, list[RenderedObjective | None]] = {}
    for number, run in enumerate(runs):
        for objective in run.objectives:
            row = by_key.setdefault(objective.key, [None] * len(runs))
            before = row[number]
            row[number] = objective if before is None else _joined(before, objective)
    numbers: dict[int, list[RenderedObjective | None]] = {concept: [None] * len(runs) for concept in concepts}
    others: list[Card] = []
    for key, row in by_key.items():
        concept = next(objective.concept for objective in row if objective is not None)
        if concept is None:
            others.append(Card(None, key, row))
        else:
            numbers[concept] = row
    return [Card(concept, f"Concept({concept})", row) for concept, row in sorted(numbers.items())] + others


def _joined(first: RenderedObjective, second: RenderedObjective) -> RenderedObjective:
    """Two folders of one objective in a run."""
    agreement = first.seed_agreement | second.seed_agreement
    return RenderedObjective(first.folder, first.objective, first.pictures + second.pictures, agreement)


def _listed(runs: Sequence[RunFolder]) -> str:
    return " and ".join(str(run.folder) for run in runs)
