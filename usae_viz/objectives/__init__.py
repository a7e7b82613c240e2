"""Objectives: what is to be made large."""

from usae_viz.objectives.activations import Activations
from usae_viz.objectives.algebra import Objective, objective, score
from usae_viz.objectives.backbone import Channel, Direction
from usae_viz.objectives.classes import Class, Logit, LogProbability
from usae_viz.objectives.closeness import Closeness, SameCodes
from usae_viz.objectives.concept import Concept
from usae_viz.objectives.custom_score import InvalidObjective
from usae_viz.objectives.expression import OBJECTIVES, parse_objective
from usae_viz.objectives.pictures import L2, Diversity, TotalVariation
from usae_viz.objectives.pooling import pool_tokens

__all__ = [
    "L2",
    "OBJECTIVES",
    "Activations",
    "Channel",
    "Class",
    "Closeness",
    "Concept",
    "Direction",
    "Diversity",
    "InvalidObjective",
    "LogProbability",
    "Logit",
    "Objective",
    "SameCodes",
    "TotalVariation",
    "objective",
    "parse_objective",
    "pool_tokens",
    "score",
]
