"""What the report of an evaluation holds, block by block; report.json is this, with null for NaN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from usae_train.evaluation.metrics import Matrix, R2Summary

ByName = dict[str, float]  # a figure of each backbone, or some figures by their names


class CeilingFigures(TypedDict):
    """What a dense linear map from one backbone's tokens to another's reaches, and the space's share of it."""

    r2: Matrix
    share: Matrix
    mean: float
    mean_share: float


class Entropy(TypedDict):
    """Firing entropy of the concepts that fire; None with one backbone."""

    mean: float | None
    histogram: list[int] | None
    peak: float | None


class PerConcept(TypedDict):
    """A figure of every concept, in their order."""

    fires: dict[str, list[int]]
    co_fires: list[int]
    energy: list[float]
    entropy: list[float]
    co_firing: dict[str, list[float]]
    universality: list[float]


class MatchedAtoms(TypedDict):
    """Atoms of one dictionary matched with another's."""

    share_alike: float
    mean: float
    cosines: list[float]


class Consistency(MatchedAtoms):
    """A backbone's dictionary of the joint space beside its own SAE's; the baseline has random atoms."""

    mean_of_most_co_firing: float
    most: int
    baseline: MatchedAtoms


class IndependentFigures(TypedDict):
    """The joint space beside an SAE per backbone."""

    r2: ByName
    cost: ByName
    consistency: dict[str, Consistency]


class PosthocFigures(TypedDict):
    """Independent SAEs aligned afterwards, and the joint space on the same pictures."""

    r2: Matrix
    r2_summary: R2Summary
    joint_r2: Matrix
    joint_r2_summary: R2Summary


class StabilityFigures(TypedDict):
    """How alike the spaces of several fits are: the mean cosine of their matched concepts."""

    pairs: list[dict[str, Any]]
    mean: float


# A classifier's figures with unchanged tokens, zeros, the mean token, and each backbone's reconstruction
SurvivingAnswers = TypedDict(
    "SurvivingAnswers", {"clean": ByName, "zero": ByName, "mean": ByName, "from": dict[str, ByName]}
)


class BackboneAnswers(SurvivingAnswers):
    """What survives of a backbone's answers, on how many pictures, and what counts as right."""

    by: str
    images: int


class AnswersFigures(TypedDict):
    """The backbones whose classifiers were used, and why others were not."""

    refused: dict[str, str]
    backbones: dict[str, BackboneAnswers]


class MonosemanticityFigures(TypedDict):
    """How alike the judge finds the pictures that a concept fires on."""

    judge: dict[str, str | int]
    chance: float
    backbones: dict[str, ByName]
    concepts: dict[str, list[float]]


class ClassConceptFigures(TypedDict):
    """A concept, and the classes that it stands for."""

    concept: int
    classes: list[str]
    auroc: float
    strongest: list[int]


class ClassFigures(TypedDict):
    """How concepts relate to the pictures' classes."""

    classes: dict[str, dict[str, Any]]
    stand_for_one: list[ClassConceptFigures]
    shared: list[ClassConceptFigures]
    by_chance: int


class RecoveredValue(TypedDict):
    """The concept that follows a factor's value best."""

    concept: int
    auroc: float
    recovered: bool


class TruthFigures(TypedDict):
    """Figures from scenes whose factors are known."""

    factors: list[str]
    values: dict[str, RecoveredValue]
    unseen: list[str]
    recovered: ByName
    flips: dict[str, ByName]
    shifts: dict[str, dict[str, float | None]]


class Figures(TypedDict, total=False):
    """Figures that need no knowledge of the pictures; the last four only where they apply."""

    n_concepts: int
    k: int
    active: str
    backbones: list[str]
    n_images: int
    n_tokens: int
    r2: Matrix
    r2_scalar: Matrix
    r2_summary: R2Summary
    ceiling: CeilingFigures | None
    errors: dict[str, Matrix]
    dead: dict[str, int]
    dead_everywhere: int
    dense: list[int]
    duplicates: list[tuple[int, int]]
    entropy: Entropy
    co_firing_top_1000: ByName | None
    co_fires_energy: ByName | None
    concepts: PerConcept
    quantiles_missing: list[float]
    private: dict[str, tuple[int, int]]  # {backbone: the first concept that it alone has, one past the last}
    independent: IndependentFigures
    posthoc: PosthocFigures | None
    stability: StabilityFigures


class PictureFigures(TypedDict, total=False):
    """What needs the pictures themselves, or their classes: each only where it is asked for or possible."""

    answers: AnswersFigures
    monosemanticity: MonosemanticityFigures
    classes: ClassFigures


class Report(Figures, PictureFigures, total=False):
    """The whole report; `truth` is for the demo's scenes, `reference` the paper's figures where the backbones match."""

    schema: int
    usae: str | None
    usae_sha256: str | None
    recipe: str
    images: str
    fingerprint: str
    unreadable: list[str]
    settings: Mapping[str, Any]
    versions: Mapping[str, str]
    truth: TruthFigures
    reference: Mapping[str, Any] | None
    warnings: list[str]
