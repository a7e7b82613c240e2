"""What `explain` returns: what backbones see in a photograph, as a sheet and as a folder."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from usae_train.files.whole_numbers import at_least
from usae_viz.explanations.photograph_concepts import PhotographConcepts
from usae_viz.explanations.sheet import SHEET_COLUMNS, explanation_sheet
from usae_viz.explanations.writing import write_explanations


class Explanation(PhotographConcepts):
    """What the backbones of a USAE see in one photograph; in a notebook it shows its sheet."""

    def sheet(self, columns: int | None = None) -> Image.Image:
        """All of it as a picture: a row per backbone, a column per concept.

        Raises:
            ValueError: for fewer columns than 1.
        """
        return explanation_sheet(self, SHEET_COLUMNS if columns is None else at_least(1, columns, "columns"))

    def save(self, folder: str | Path) -> Path:
        """Write sheet.png, explain.json and a page that opens from disk into a new folder."""
        return write_explanations([self], Path(folder))

    def __repr__(self) -> str:
        answers_by_name = {name: answer.name for name in self.maps if (answer := self.answer(name)) is not None}
        answers = "".join(f", {name} says {what}" for name, what in answers_by_name.items())
        firing = ", ".join(f"{len(maps.firing)} in {name}" for name, maps in self.maps.items())
        return f"<Explanation of {self.photograph.name}: concepts that fire, {firing}{answers}>"

    def _repr_png_(self) -> bytes:
        page = io.BytesIO()
        self.sheet().save(page, "PNG")
        return page.getvalue()
