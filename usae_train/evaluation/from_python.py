"""`ut.evaluate` and `ut.r2_matrix`: what `usae-train evaluate` measures, from Python."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypedDict, Unpack

import torch

from usae_train.backbones.backbone import Backbone, set_compute_dtype
from usae_train.evaluation.evaluate import Comparison, evaluate_source
from usae_train.evaluation.measures import reconstruction_of
from usae_train.evaluation.metrics import Matrix
from usae_train.evaluation.places import check_report_place
from usae_train.evaluation.report import write_report
from usae_train.evaluation.report_form import Report
from usae_train.evaluation.settings import EvaluateSettings
from usae_train.evaluation.verdict import ceiling_lines, headline
from usae_train.files.validation import check_settings
from usae_train.images.sources import ImageSource, as_source
from usae_train.model.firing import ENCODING_BATCH_SIZE
from usae_train.model.statistics import Statistics
from usae_train.model.usae import USAE, check_usae
from usae_train.runtime.arrays import Array
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import plural
from usae_train.runtime.progress import CountCallback, stage_counter
from usae_train.runtime.progress_display import progress_display
from usae_train.runtime.tables import as_html, matrix_table
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.arrays import paired_tokens
from usae_train.tokens.paired import TokenSource, stream_readable

TOKEN_CHUNK_SIZE = 4096  # tokens encoded at a time, which takes tokens x concepts numbers


class EvaluateOptions(TypedDict, total=False):
    """Fields of `EvaluateSettings` that Python takes; what a command keeps on disk is not among them."""

    independent_saes: str | Path | None
    other_seed: tuple[str, ...]
    judge: str | None
    answers: bool | None
    label_column: str | None
    image_batch: int
    limit: int | None
    dtype: str
    seed: int


@dataclass(frozen=True)
class Evaluation:
    """What `evaluate` measured.

    Attributes:
        report: the figures, as report.json has them (see "Formats" in the documentation).
        statistics: per concept and backbone, on these pictures. To draw with their percentiles:
            `usae.statistics = evaluation.statistics`, and `ut.save`.
    """

    report: Report = field(repr=False)
    statistics: Statistics = field(repr=False)

    @property
    def r2(self) -> Matrix:
        """{whose codes: {whose tokens: R² around each feature's mean}}; 1 is perfect, 0 is the mean token."""
        return {name: dict(row) for name, row in self.report["r2"].items()}

    @property
    def warnings(self) -> list[str]:
        """What is wrong, worst first, in words."""
        return list(self.report["warnings"])

    def save(self, folder: str | Path) -> Path:
        """Write report.json and index.html, a page that opens from disk; returns the folder.

        Raises:
            ValueError: for a folder that cannot be written, or with another page in it.
        """
        check_report_place(Path(folder))
        write_report(self.report, Path(folder))
        return Path(folder)

    def lines(self) -> list[str]:
        """The first things to know: R², the share of a dense map's that it reaches, and warnings."""
        return [headline(self.report), *ceiling_lines(self.report), *(f"warning: {line}" for line in self.warnings)]

    def closing_lines(self) -> list[str]:
        """R², the first warning, and what to do next; a notebook shows the rest with the evaluation."""
        count = len(self.warnings)
        bad = [f"{plural(count, 'warning')}, the first: {self.warnings[0]}"] if count else []
        return [headline(self.report), *bad, "all of it: .save(FOLDER), then open FOLDER/index.html; or print it"]

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def __repr__(self) -> str:
        return f"<Evaluation on {self.report['n_images']} pictures: {headline(self.report)}>"

    def _repr_html_(self) -> str:
        title = f"R² around each feature's mean, on {self.report['n_images']} pictures of {self.report['images']}"
        return matrix_table(title, self.r2).html() + as_html([f"warning: {line}" for line in self.warnings])


@with_torch_defaults
def evaluate(
    usae: USAE,
    images: str | Path | ImageSource,
    *,
    workers: int | None = 1,
    quiet: bool = False,
    **settings: Unpack[EvaluateOptions],
) -> Evaluation:
    """Measure a USAE on pictures that it was not trained on, as `usae-train evaluate` does.

    Nothing is written, and the USAE is not changed; `Evaluation.save` writes the report.

    Args:
        usae: a USAE with backbones.
        images: a folder or anything else that `open_images` takes, or an opened source.
        workers: on the CPU, processes that share the work; None: as many as cores and memory allow. The result is the
            same to the bit whatever the number, and the command's, after `torch.set_num_threads(1)`: with more threads
            torch adds up in another order.
        quiet: show no progress, and say nothing at the end.
        settings: fields of `EvaluateSettings`: independent_saes, other_seed, judge, answers, label_column, image_batch,
            limit, dtype, seed; as the options of the command.

    Returns:
        The figures and the statistics.

    Raises:
        ValueError: when no picture can be read, the USAE has no backbones, or what it is compared with does not fit.

    Example:
        >>> import usae_train as ut
        >>> found = ut.evaluate(ut.load("demo"), "demo:test", limit=8, quiet=True)
        >>> found.r2["vit"]["dino"] > 0.5
        True
    """
    check_usae(usae)
    chosen = _settings(settings)
    source = as_source(images, chosen.limit)
    compared = Comparison.from_settings(chosen, usae, workers=workers)
    with _running_in(usae.backbones, chosen.dtype), progress_display(quiet) as progress:
        measured = evaluate_source(
            usae,
            source,
            chosen.image_batch,
            lambda stage, done, total: progress.report(stage, done, total, ""),
            compared,
        )
        assert measured is not None  # of one process, the first
        evaluation = Evaluation(*measured)
        progress.close(evaluation.closing_lines)
    return evaluation


@with_torch_defaults
@torch.no_grad()
def r2_matrix(
    usae: USAE,
    data: Mapping[str, Array] | str | Path | ImageSource,
    *,
    limit: int | None = None,
    quiet: bool = False,
) -> Matrix:
    """How well each backbone's codes are decoded to each backbone's tokens: R² around each feature's own mean.

    1 - squared error / variance, over tokens and features, in the tokens' own units: 1 is perfect, 0 as good as the
    mean token, below 0 worse than that (Thasarathan et al. 2025, section 4.2, takes one mean over all features, which
    gives a larger R²: `r2_scalar` of the report).

    Args:
        usae: the model.
        data: raw tokens {backbone: (n, width) or (images, tokens, width)}, row n the same patch of the same image in
            all, as tensors or NumPy arrays; or pictures, as `open_images` takes them, or an opened source. Preferably
            ones that it was not trained on.
        limit: largest number of pictures to take.
        quiet: show no bar.

    Returns:
        {whose codes: {whose tokens: R²}}; NaN where tokens are all the same. `pandas.DataFrame(found).T` is a table.

    Raises:
        ValueError: for tokens that do not pair, of another width or backbone, or pictures that cannot be read.

    Example:
        >>> import usae_train as ut
        >>> found = ut.r2_matrix(ut.load("demo"), "demo:test", limit=8)
        >>> {name: sorted(row) for name, row in found.items()}["vit"]
        ['dino', 'siglip', 'vit']
    """
    check_usae(usae)
    with progress_display(quiet) as progress:
        batches = _token_batches(usae, data, limit, stage_counter(progress.report, "pictures"))
        return reconstruction_of(usae, batches).r2


def _token_batches(
    usae: USAE,
    data: Mapping[str, Array] | str | Path | ImageSource,
    limit: int | None,
    progress: CountCallback,
) -> Iterator[dict[str, torch.Tensor]]:
    """Paired tokens {backbone: (n, width)}, a few thousand at a time."""
    if isinstance(data, Mapping):
        if limit is not None:
            raise UsageError("limit is for pictures; the data is tokens already")
        flat = paired_tokens(data, usae.widths)
        for first in range(0, len(next(iter(flat.values()))), TOKEN_CHUNK_SIZE):
            yield {name: values[first : first + TOKEN_CHUNK_SIZE] for name, values in flat.items()}
        return
    source, backbones = as_source(data, limit), usae.backbones
    assert usae.grid is not None
    for paired in stream_readable(TokenSource(backbones, source, usae.grid), ENCODING_BATCH_SIZE, progress=progress):
        yield paired.flat()


def _settings(options: EvaluateOptions) -> EvaluateSettings:
    """The options, checked; those for the command's own files are refused."""
    chosen = check_settings(EvaluateSettings, **options)
    for name in options:
        if EvaluateSettings.FORMER.get(name, name) not in EvaluateOptions.__annotations__:
            raise UsageError(
                f"{name} is an option of the command only, which keeps states and statistics in files; leave it out"
            )
    return chosen


@contextmanager
def _running_in(backbones: Mapping[str, Backbone], dtype: str) -> Iterator[None]:
    """A context in which backbones compute in another type."""
    before = {name: backbone.compute_dtype for name, backbone in backbones.items()}
    set_compute_dtype(backbones.values(), dtype)
    try:
        yield
    finally:
        for name, backbone in backbones.items():
            backbone.compute_dtype = before[name]
