"""The ceiling for sharing: how well a dense linear map predicts one backbone's tokens from another's."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from usae_train.evaluation.metrics import NO_VARIANCE_SHARE, Matrix, mean_off
from usae_train.evaluation.report_form import CeilingFigures

# Shares of the mean variance, added to that of every direction; the best is taken. On real networks 0.03 is best from a
# transformer of width 384 to narrow convolutional ones, and between those 0.01 (tests/benchmarks/real_recipe.py).
RIDGES = (1e-4, 1e-3, 1e-2, 3e-2, 1e-1, 3e-1)
FOLDS = 2  # a map is fitted on every second picture and measured on the others, and the other way round


class Ceiling:
    """Sums of products of all backbones' features over each part of the pictures, from which the maps are computed.

    With the paper's backbones a part takes 30 MB.

    Args:
        centres: {backbone: (width,) or ()} near the mean token, so that products can be taken in float32.
        widths: {backbone: width}.
    """

    def __init__(self, centres: Mapping[str, Tensor], widths: Mapping[str, int]) -> None:
        self.centres, self.widths = dict(centres), dict(widths)
        size = sum(self.widths.values()) + 1  # and a one, for sums and counts
        self.moments = torch.zeros(FOLDS, size, size, dtype=torch.double)

    def add(self, numbers: Tensor, tokens: Mapping[str, Tensor]) -> None:
        """Take in some pictures.

        Args:
            numbers: (pictures,) their numbers, which decide the part that they belong to.
            tokens: {backbone: (pictures, tokens, width)}.
        """
        for part in range(FOLDS):
            of_fold = numbers % FOLDS == part
            centred = [(tokens[name][of_fold] - self.centres[name]).flatten(0, 1) for name in self.widths]
            rows = torch.cat([*centred, centred[0].new_ones(len(centred[0]), 1)], 1)
            self.moments[part] += (rows.T @ rows).cpu()

    def r2(self) -> Matrix | None:
        """{from: {to: R²}} around each feature's mean on pictures that a map was not fitted on.

        None where a part has no picture, or there are no two backbones; NaN for tokens that are all the same.
        """
        if len(self.widths) < 2 or (self.moments[:, -1, -1] == 0).any():
            return None
        errors: dict[tuple[str, str], Tensor] = {}
        for part in range(FOLDS):
            fitted, measured = self.moments[part], self.moments[1 - part]
            mean = fitted[-1] / fitted[-1, -1]
            for pair, of_pair in self._errors(recentred(fitted, mean), recentred(measured, mean)).items():
                errors[pair] = errors.get(pair, 0.0) + of_pair
        variances = {name: self._variance(name) for name in self.widths}
        return {
            source: {
                target: 1 - errors[source, target].min().item() / variances[target]
                for target in self.widths
                if target != source
            }
            for source in self.widths
        }

    def state_dict(self) -> dict[str, Any]:
        """The sums so far."""
        return {"moments": self.moments}

    def merge(self, state: Mapping[str, Any]) -> None:
        """Add another's sums to these."""
        self.moments = self.moments + state["moments"]

    def _errors(self, fitted_moments: Tensor, measured_moments: Tensor) -> dict[tuple[str, str], Tensor]:
        """{(from, to): squared errors, by measured moments, of the best maps by fitted ones; first of no map}."""
        errors, places = {}, self._places()
        for source, rows in places.items():
            variance, directions = torch.linalg.eigh(fitted_moments[rows, rows])
            variance = variance.clamp_min(0)
            turned = directions.T @ measured_moments[rows, rows] @ directions
            for target, columns in places.items():
                if target == source:
                    continue
                fitted, measured = (
                    directions.T @ moments[rows, columns] for moments in (fitted_moments, measured_moments)
                )
                maps = [torch.zeros_like(fitted)]
                if not math.isnan(self._variance(source)):  # rounding would make a map of what never varies
                    maps += [fitted / (variance + ridge * variance.mean())[:, None] for ridge in RIDGES]
                total = measured_moments[columns, columns].diagonal().sum()
                errors[source, target] = torch.stack(
                    [total - 2 * (linear * measured).sum() + (linear * (turned @ linear)).sum() for linear in maps]
                )
        return errors

    def _variance(self, name: str) -> float:
        """Squares of a backbone's tokens around its mean token, summed over the parts; NaN where there is none."""
        place, variance, square = self._places()[name], 0.0, 0.0
        for moments in self.moments:
            mean, count = moments[-1] / moments[-1, -1], moments[-1, -1]
            variance += recentred(moments, mean)[place, place].diagonal().sum().item()
            square += (count * (mean[place] + self.centres[name].double().cpu()).square().sum()).item()
        return variance if variance > NO_VARIANCE_SHARE * (variance + square) else float("nan")

    def _places(self) -> dict[str, slice]:
        """The slice of each backbone's features."""
        ends = torch.tensor(list(self.widths.values())).cumsum(0).tolist()
        return {name: slice(end - width, end) for (name, width), end in zip(self.widths.items(), ends, strict=True)}


def recentred(moments: Tensor, point: Tensor) -> Tensor:
    """Sums of products (size, size), the last row their sums and count, taken around another point (size,)."""
    sums, count = moments[-1], moments[-1, -1]
    return moments - sums.outer(point) - point.outer(sums) + count * point.outer(point)


def ceiling_figures(ceiling: Ceiling, r2: Matrix) -> CeilingFigures | None:
    """The ceiling beside what a space reaches, for the report; None where it could not be measured."""
    linear = ceiling.r2()
    if linear is None:
        return None
    share = {
        source: {target: r2[source][target] / most if most > 0 else float("nan") for target, most in row.items()}
        for source, row in linear.items()
    }
    mean, reached = (mean_off(matrix) for matrix in (linear, r2))
    return {"r2": linear, "share": share, "mean": mean, "mean_share": reached / mean if mean > 0 else float("nan")}
