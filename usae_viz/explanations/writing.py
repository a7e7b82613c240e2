"""An explanation's folder: a sheet per photograph, explain.json, and a page that opens from disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from usae_train.files.atomic import atomic_path, check_free
from usae_train.files.provenance import commit, versions
from usae_train.images.sources import ImageSource
from usae_train.model.usae import USAE
from usae_train.runtime.json_text import json_text
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.explanations.intervention import Intervention
from usae_viz.explanations.intervention_sheet import intervention_sheet
from usae_viz.explanations.page import write_page
from usae_viz.explanations.photograph_concepts import PhotographConcepts
from usae_viz.explanations.record import EXPLAIN_SCHEMA, record_of, usae_record
from usae_viz.explanations.settings import ExplainSettings
from usae_viz.explanations.sheet import SHEET_COLUMNS, explanation_sheet
from usae_viz.export.png import save_png
from usae_viz.export.sheet import SHEET
from usae_viz.runs.run_folder import RunFolder


@with_torch_defaults
def write_explanations(
    explanations: Sequence[PhotographConcepts],
    out: Path,
    columns: int = SHEET_COLUMNS,
    top: int = ExplainSettings().top,
    run: RunFolder | None = None,
    progress: CountCallback = lambda done, total: None,
) -> Path:
    """Write sheets, explain.json and the page into a new folder; it appears whole or not at all.

    Args:
        explanations: of photographs through one USAE.
        out: the folder.
        columns: concepts of a sheet.
        top: concepts of a list, per backbone and order.
        run: drawings of concepts to show beside.
        progress: called with concepts whose patches were cut out, and how many there are.

    Returns:
        The folder.

    Raises:
        ValueError: for a folder that holds something already, or cannot be written.
    """
    check_free(out)
    record = record_of(explanations, top)
    with atomic_path(out) as folder:
        folder.mkdir(parents=True)
        for name, explanation in zip(sheet_names(explanations), explanations, strict=True):
            metadata = {"sheet": explanation.usae.names, "title": explanation.photograph.name}
            save_png(folder / name, explanation_sheet(explanation, columns), metadata)
        (folder / "explain.json").write_text(json_text(record) + "\n", encoding="utf-8")
        write_page(explanations, record, folder, run, progress)
    return out


@with_torch_defaults
def write_interventions(
    usae: USAE,
    interventions: Mapping[str, Intervention],
    out: Path,
    names: Mapping[int, str],
    among: ImageSource | None = None,
) -> Path:
    """Write sheet.png and intervene.json of each intervention into a new folder, which is returned.

    It appears whole or not at all. Interventions are {folder below: what came of an edit}, `.` being the folder itself;
    names are of concepts; neighbours were found `among` a source.

    Raises:
        ValueError: for a folder that holds something already, or cannot be written.
    """
    check_free(out)
    versions_used = {"versions": versions(), "commit": commit()}
    with atomic_path(out) as folder:
        for below, each in interventions.items():
            place = folder / below
            place.mkdir(parents=True, exist_ok=True)
            metadata = {"sheet": [each.backbone], "title": each.photograph.name}
            save_png(place / SHEET, intervention_sheet(each, names, _shown(usae, each, among)), metadata)
            record = {"schema": EXPLAIN_SCHEMA, "usae": usae_record(usae), **each.as_dict(), **versions_used}
            (place / "intervene.json").write_text(json_text(record, indent=1) + "\n", encoding="utf-8")
    return out


def _shown(usae: USAE, intervention: Intervention, among: ImageSource | None) -> dict[int, Tensor]:
    """{number: canvas (3, size, size)} of an intervention's neighbours."""
    if among is None or intervention.neighbours is None:
        return {}
    size = usae.backbones[intervention.backbone].input_size
    numbers = {each.number for neighbours in intervention.neighbours for each in neighbours}
    return {number: among.read(number, size) for number in numbers}


def sheet_names(explanations: Sequence[PhotographConcepts]) -> list[str]:
    """`sheet.png`; of several photographs `sheet-1.png` and so on, in their order."""
    if len(explanations) == 1:
        return [SHEET]
    return [f"sheet-{number}.png" for number in range(1, len(explanations) + 1)]
