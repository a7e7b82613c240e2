"""The page: hover a concept, and see where each backbone sees it, its top-activating patches and its drawing."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from usae_train.images.arrays import to_uint8
from usae_train.model.natural import natural_pictures
from usae_train.runtime.json_text import json_text
from usae_train.runtime.progress import CountCallback
from usae_viz.explanations.overlay import fitted_size, light_of, scaled
from usae_viz.explanations.photograph_concepts import PhotographConcepts
from usae_viz.export.top_patches import MAX_PATCHES, top_patch_pictures
from usae_viz.pages.page_files import TILE, WEBP, copy_page_files, page_text, small_copy
from usae_viz.runs.run_folder import RunFolder

EXPLAIN_FOLDER = "explain"  # the folder beside index.html with all that it shows
SCRIPTS = ("dom.js", "spotlight.js", "orders.js", "explain.js")  # in this order
MAX_PHOTOGRAPH_SIDE = 960  # pixels of a photograph's longer side on the page
DRAWING_SIDE = 288  # pixels of a drawing


def write_page(
    explanations: Sequence[PhotographConcepts],
    record: Mapping[str, Any],
    out: Path,
    run: RunFolder | None = None,
    progress: CountCallback = lambda done, total: None,
) -> None:
    """Write index.html, and beside it a folder with all that it shows.

    The record is `record_of` the explanations, all through one USAE; what a run drew of their concepts stands beside.
    Progress is called with concepts whose patches were cut out, and how many there are.
    """
    folder = out / EXPLAIN_FOLDER
    folder.mkdir()
    for number, explanation in enumerate(explanations):
        size = fitted_size(explanation.photograph, min(MAX_PHOTOGRAPH_SIDE, max(explanation.photograph.whole.size)))
        scaled(explanation.photograph, size).save(folder / f"photograph-{number}.webp", **WEBP)
    concepts = _concepts(record)
    usae = explanations[0].usae
    data = {
        "backbones": usae.names,
        "photographs": [_photograph(*each) for each in zip(explanations, record["photographs"], strict=True)],
        "patches": _patches(explanations[0], concepts, folder, progress),
        "tiles": MAX_PATCHES,
        "no_patches": natural_pictures(usae)[1],
        "drawings": {} if run is None else _drawings(run, set(concepts), usae.names, folder),
    }
    text = json_text(data, separators=(",", ":"))
    (folder / "data.js").write_text(f"usaeExplanation({text});\n", encoding="utf-8")
    copy_page_files("usae_viz.explanations", (*SCRIPTS, "theme.css", "explain.css"), folder)
    page = page_text("usae_viz.explanations", title=_title(explanations), folder=EXPLAIN_FOLDER, scripts=SCRIPTS)
    (out / "index.html").write_text(page, encoding="utf-8")


def _title(explanations: Sequence[PhotographConcepts]) -> str:
    first = explanations[0].photograph.name
    return first if len(explanations) == 1 else f"{first} and {len(explanations) - 1} more"


def _concepts(record: Mapping[str, Any]) -> list[int]:
    """Every concept that is listed of some photograph."""
    backbones = [backbone for each in record["photographs"] for backbone in each["backbones"].values()]
    return list(dict.fromkeys(row["concept"] for backbone in backbones for row in backbone["concepts"]))


def _photograph(explanation: PhotographConcepts, record: Mapping[str, Any]) -> dict[str, Any]:
    """What the page has of a photograph: the record, with light (base64, a byte per patch) instead of maps."""
    backbones = {}
    for name, backbone in record["backbones"].items():
        rows = [{key: value for key, value in row.items() if key != "map"} for row in backbone["concepts"]]
        for row in rows:
            if row["area"]:
                light = to_uint8(light_of(explanation.maps[name].codes[row["concept"]]))
                row["light"] = base64.b64encode(light.numpy().tobytes()).decode()
        backbones[name] = {**backbone, "concepts": rows}
    return {**record, "backbones": backbones}


def _patches(
    explanation: PhotographConcepts, concepts: Sequence[int], folder: Path, progress: CountCallback
) -> dict[str, list[int]]:
    """Write patches/CONCEPT.webp, a row per backbone; {concept: how many each backbone has}. Empty without pictures."""
    counts: dict[str, list[int]] = {}
    if natural_pictures(explanation.usae)[0] is None:
        return counts
    (folder / "patches").mkdir()
    for done, concept in enumerate(concepts, 1):
        patches = top_patch_pictures(explanation.usae, concept)
        progress(done, len(concepts))
        if not any(patches.values()):
            continue
        strip = Image.new("RGB", (MAX_PATCHES * TILE, len(patches) * TILE))
        for row, tiles in enumerate(patches.values()):
            for at, tile in enumerate(tiles):
                strip.paste(tile.resize((TILE, TILE), Image.Resampling.BICUBIC), (at * TILE, row * TILE))
        strip.save(folder / "patches" / f"{concept}.webp", **WEBP)
        counts[str(concept)] = [len(tiles) for tiles in patches.values()]
    return counts


def _drawings(
    run: RunFolder, concepts: set[int], backbones: Sequence[str], folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Copy a run's pictures of these concepts, small, in the backbones' order: {concept: [{file, backbone, ...}]}."""
    places = {name: place for place, name in enumerate(backbones)}
    drawings: dict[str, list[dict[str, Any]]] = {}
    for objective in run.objectives:
        if objective.concept not in concepts:
            continue
        in_order = sorted(objective.pictures, key=lambda picture: places.get(picture.backbone, len(places)))
        for number, picture in enumerate(in_order):
            name = f"{objective.concept}-{number}.webp"
            small_copy(picture.file, folder / "drawings" / name, DRAWING_SIDE)
            entry = {"file": name, "backbone": picture.backbone, "verdict": picture.verdict}
            drawings.setdefault(str(objective.concept), []).append(entry)
    return drawings
