"""`consensus`: the concepts that several trainings agree on as one USAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Unpack

import torch
from torch import Tensor

from usae_train.agreement.fit_data import Data, FitData, open_data
from usae_train.agreement.matching import ALIKE, Clusters, cluster, sums_of_members
from usae_train.agreement.members import check_members, joint_rows, raw_rows, standardized_rows
from usae_train.agreement.settings import AgreementSettings
from usae_train.model.checkpoint import load
from usae_train.model.firing import measure
from usae_train.model.sparsity.variants import trained_sparsity
from usae_train.model.usae import IMPORTED, USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.warning_kinds import former_arguments
from usae_train.tokens.feeding import Feed
from usae_train.training.checkpointing import EXECUTION_DEFAULTS, TrainingCheckpointer
from usae_train.training.dictionaries.free import Free
from usae_train.training.dictionaries.variants import read_dictionary
from usae_train.training.execution import IN_THIS_PROCESS, Execution
from usae_train.training.fitting import check_none_private, other_sizes
from usae_train.training.initialization import standardization_rows, standardize_from
from usae_train.training.logging.callbacks import FitBars, FitCallbacks
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.resolving import fit_settings, named_recipe
from usae_train.training.settings import DEFAULT, FitOptions, FitSettings, TrainingRecipe

SHARE = AgreementSettings().share  # smallest share of the trainings in which a concept must be found
# Concepts are ordered by how many trainings have them, and otherwise by chance: which of them would have to explain the
# tokens alone would be chance too, different in each consensus, and would distort the rows.
NO_MATRYOSHKA: dict[str, Any] = {"matryoshka_fractions": (), "matryoshka": "fixed"}


@former_arguments(watch="callbacks")
@with_torch_defaults
def consensus(
    usaes: Sequence[USAE | str | Path],
    data: Data,
    *,
    share: float = SHARE,
    alike: float = ALIKE,
    recipe: str | TrainingRecipe = DEFAULT,
    limit: int | None = None,
    readers: int = EXECUTION_DEFAULTS.readers,
    memory: float | None = None,
    device: torch.device | str = "cpu",
    callbacks: FitCallbacks | None = None,
    checkpointer: TrainingCheckpointer | None = None,
    quiet: bool = False,
    **settings: Unpack[FitOptions],
) -> USAE:
    """Make one USAE of the concepts that several trainings from different starts agree on.

    Concepts are matched over all backbones' dictionaries at once (`matching.cluster`); those that are found in
    at least `share` of the trainings are kept, with the mean of the matched rows. The USAE is trained from these
    dictionaries, and encoders that begin at their transposes. Trainings from one start (`init_seed`) agree because they
    began alike, which shows nothing: give each a start of its own.

    Args:
        usaes: two or more, of the same backbones, sizes and recipe: USAEs, folders or ids.
        data: what `fit` takes: tokens, pictures, or a store; pictures are seen with the USAEs' backbones.
        share: smallest share of the trainings in which a concept must be found.
        alike: smallest cosine, over all backbones, at which two trainings' concepts count as one.
        recipe: `default`, `published` or a `TrainingRecipe`, for the encoders. Its matryoshka_fractions are
            ignored: no part of a consensus has to explain the tokens alone, unless `settings` name some.
        limit: largest number of pictures to take.
        readers: processes that read pictures; 0 reads in this one.
        memory: GB of tokens in memory at a time; a third of the machine's by default.
        device: where to train.
        callbacks: your own callbacks for progress, beside what is shown.
        checkpointer: writes training states, and resumes from the last.
        quiet: show no bars, and say nothing at the end.
        settings: fields of `FitSettings`: steps, batch, seed, dtype, mask_outliers, matryoshka_fractions, max_broken.

    Returns:
        The USAE, most frequent concepts first; its `agreement` has their shares of the trainings.

    Raises:
        ValueError: for fewer than two USAEs, USAEs of different kinds, no common concept, or data of other
            backbones.
    """
    members = [member if isinstance(member, USAE) else load(member) for member in usaes]
    check_members(members)
    chosen = consensus_settings(members, recipe, **settings)
    clusters = find_agreement(members, share, alike)
    with progress_display(quiet) as progress:
        bars = FitBars(progress, chosen.steps)
        execution = Execution(device, bars.beside(callbacks or FitCallbacks()), checkpointer, memory, readers)
        fit_data = open_data(data, members[0], chosen, limit, execution)
        usae = fit_consensus(members, clusters, fit_data, chosen, execution)
        bars.close(usae)
    return usae


def fit_consensus(
    members: Sequence[USAE],
    clusters: Clusters,
    data: FitData,
    settings: FitSettings,
    execution: Execution = IN_THIS_PROCESS,
) -> USAE:
    """A USAE trained from the clusters' mean rows, with its statistics.

    Args:
        members: the trainings.
        clusters: which of their concepts match.
        data: what it is fitted on.
        settings: as `consensus_settings` returns them.
        execution: where, and with which callbacks.
    """
    callbacks, checkpointer = execution.callbacks, execution.checkpointer
    settings = settings.model_copy(update={"n_concepts": len(clusters.members)})
    rows = mean_rows([raw_rows(member) for member in members], clusters)
    usae = start_space(members[0], rows, data.feed, settings)
    usae.agreement = clusters.share
    if checkpointer is not None:
        checkpointer.data = {
            **data.state_data,
            "members": [member.sha256 for member in members],
            "found": clusters.members.tolist(),
        }
    fit_tokens(data.feed, settings, usae, execution.device, callbacks.steps, checkpointer, callbacks.log_every)
    usae.measured_on = data.images
    usae.statistics = measure(usae, data.sample())
    return usae.to("cpu")


def consensus_settings(
    members: Sequence[USAE], recipe: str | TrainingRecipe, **settings: Unpack[FitOptions]
) -> FitSettings:
    """The settings that a consensus is trained with: the members' sizes, and dictionaries that start as given.

    Raises:
        ValueError: for settings that do not exist, another size or sparsity than the members', dictionaries that are
            not `free`, or imported members.
    """
    first = members[0]
    if first.recipe.startswith(IMPORTED):
        raise UsageError(f"these USAEs were {first.recipe}; a consensus needs USAEs that were trained here")
    for name, requested, theirs in other_sizes(first, settings):
        raise UsageError(f"{name} is {requested}, but the USAEs have {theirs}")
    check_none_private(settings, "the concepts of a consensus are shared by all backbones")
    base_recipe = named_recipe(recipe)
    check_variants(first, base_recipe, settings)
    of_members = {
        "batch_norm": first.batch_norm,
        "unit_norm": first.unit_norm,
        "sparsity": first.sparsity.model_dump(mode="json"),
        "dictionary": "free",  # means of rows of another kind may not be of that kind
    }
    fixed = {"frozen": False, "dictionary_init": "random", "tied": True}  # random: keeps the rows that are set
    nesting = {} if settings.get("matryoshka_fractions") or settings.get("matryoshka") else NO_MATRYOSHKA
    settings["n_concepts"], settings["k"] = first.n_concepts, first.k
    return fit_settings(base_recipe.model_copy(update={**of_members, **fixed, **nesting}), **settings)


def check_variants(first: USAE, recipe: TrainingRecipe, settings: FitOptions) -> None:
    """Refuse a variant, of a setting or the recipe, that a consensus cannot have.

    Raises:
        ValueError: for a sparsity that is not the members', or a dictionary in the settings that is not `free`.
    """
    sparsity, dictionary = settings.get("sparsity"), settings.get("dictionary")
    if sparsity is None and recipe.sparsity != DEFAULT.sparsity:
        sparsity = recipe.sparsity
    if sparsity is not None and trained_sparsity(sparsity).kind != first.sparsity.kind:
        raise UsageError(f"sparsity is {sparsity!r}, but the USAEs have {first.sparsity.kind!r}; leave it out")
    if dictionary is not None and read_dictionary(dictionary) != Free():
        raise UsageError(f"dictionary is {dictionary!r}; a consensus averages the USAEs' rows, so its own is `free`")


@torch.no_grad()
def find_agreement(members: Sequence[USAE], share: float = SHARE, alike: float = ALIKE) -> Clusters:
    """The concepts that are in at least a share of the trainings, the most frequent first.

    Raises:
        ValueError: for a share or a cosine outside its range, or when fewer than k concepts are common.
    """
    for name, value in (("share", share), ("alike", alike)):
        if not 0 < value <= 1:
            raise UsageError(f"{name} is {value}; expected a number above 0 and up to 1")
    every = cluster(joint_rows(members, [raw_rows(member) for member in members]), alike)
    common = every.at_least(max(share, 2 / len(members)))  # what only one training has is not common
    if len(common.members) < members[0].k:
        raise UsageError(
            f"{plural(len(common.members), 'concept')} in common to {share:.0%} of {len(members)} trainings, fewer "
            f"than k = {members[0].k}; train longer, or lower --share or --alike"
        )
    return common


def mean_rows(rows: Sequence[Mapping[str, Tensor]], clusters: Clusters) -> dict[str, Tensor]:
    """{backbone: (clusters, width)}, in raw units: the mean direction of the members' rows, at their mean length.

    Differences between trainings cancel in the mean; its length would shrink with them, and so would the codes.
    """
    count = (clusters.members >= 0).sum(1, keepdim=True)
    means = {}
    for name in rows[0]:
        of_each = [each[name] for each in rows]
        sums = sums_of_members(of_each, clusters.members)
        lengths = sums_of_members([each.norm(dim=1, keepdim=True) for each in of_each], clusters.members) / count
        means[name] = sums / sums.norm(dim=1, keepdim=True).clamp_min(1e-12) * lengths
    return means


def start_space(first: USAE, rows: dict[str, Tensor], feed: Feed, settings: FitSettings) -> USAE:
    """A USAE whose dictionaries have these rows (raw units), standardized as its fit will be; encoders untrained.

    Args:
        first: the USAE whose backbones and grid it gets.
        rows: {backbone: (concepts, width)}.
        feed: what it is fitted on.
        settings: of the fit, which standardizes by the same tokens, drawn from its seed.
    """
    usae = new_usae(first.widths, settings, specs=first.specs, grid=first.grid)
    usae.weights, usae.modules_given = dict(first.weights), dict(first.modules_given)
    drawn = standardization_rows(len(feed), usae.grid, torch.Generator().manual_seed(settings.seed))
    standardize_from(usae, feed, drawn, usae.names, settings)
    with torch.no_grad():
        for name, matrix in standardized_rows(usae, rows).items():
            usae.decoder(name).weight.copy_(matrix)
    return usae
