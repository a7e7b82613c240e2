"""A forced choice: a drawn picture, and patches of which one is its concept's (after Borowski et al. 2021).

The rater's folder says neither concept nor backbone nor which choice is right; that is in key.json beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from usae_train.files.atomic import atomic_path, write_json
from usae_train.images.sources import ImageSource
from usae_train.model.natural import NaturalPictures
from usae_train.model.sparse import Codes
from usae_train.model.statistics import FIRING_THRESHOLD
from usae_train.model.usae import USAE
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import CountCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_viz.export.png import read_pixels
from usae_viz.export.top_patches import cut_patch, inside_window
from usae_viz.pages.page_files import copy_page_files, page_text
from usae_viz.rating.places import check_study_place
from usae_viz.rating.settings import CONTROL, KEY_SCHEMA, RateSettings
from usae_viz.runs.run_folder import RenderedImage, RunFolder
from usae_viz.verification.verdict import Verdict

MAX_CANDIDATES = 40  # top-activating patches that are looked at for a distractor in which the concept does not fire
# pictures whose codes are kept, sparse: 450 kB each at the paper's size, where all codes take 14 MB
MAX_REMEMBERED = 2_000
SIDE = 256  # pixels of every picture on the page
STUDY_DEFAULTS = RateSettings()
RATERS_FOLDER = "study"  # the folder that is handed to raters


@dataclass(frozen=True)
class Patch:
    """A top-activating patch: a picture of the source, and which token of it."""

    number: int
    token: int


@dataclass(frozen=True)
class QuestionKey:
    """One question."""

    concept: int
    condition: str  # mode and backbone, or `natural`: a top-activating patch instead of a drawn picture
    query: RenderedImage | Patch = field(repr=False)
    choices: list[Patch]
    answer: int  # which choice is the concept's
    strongest_distractor: float  # largest code of the concept in a distractor, through any backbone

    @property
    def verdict(self) -> Verdict | None:
        """The verification's, of a drawn picture."""
        return self.query.verdict if isinstance(self.query, RenderedImage) else None

    def as_dict(self) -> dict[str, Any]:
        """For key.json."""
        query = self.query.path_in_run if isinstance(self.query, RenderedImage) else asdict(self.query)
        return {
            "concept": self.concept,
            "condition": self.condition,
            "query": query,
            "answer": self.answer + 1,
            "choices": [asdict(choice) for choice in self.choices],
            "strongest_distractor": self.strongest_distractor,
            "verdict": self.verdict,
        }


@with_torch_defaults
def make_study(
    usae: USAE,
    natural: NaturalPictures,
    run: RunFolder,
    seed: int,
    choices: int = STUDY_DEFAULTS.choices,
    controls: int = STUDY_DEFAULTS.controls,
    progress: CountCallback = lambda done, total: None,
) -> list[QuestionKey]:
    """Draw a study's questions.

    A question shows a picture of the run; one choice is among the concept's top patches in the backbone it was
    drawn for, the others are top patches of other concepts in which this one fires in no backbone (or as weakly as 40
    draws find). A control shows a top patch of the concept instead: how well people do with those is what pictures
    can be compared with.

    Args:
        usae: the run's.
        natural: the pictures that patches are taken from.
        run: whose pictures; those of other objectives than a single concept are left out.
        seed: decides everything that is drawn.
        choices: top-activating patches per question.
        controls: control questions per concept.
        progress: called after each question.

    Raises:
        ValueError: when there is nothing to ask.
    """
    to_ask: list[tuple[int, RenderedImage | None]] = []  # a concept, and what is drawn of it; None for a control
    for objective in run.objectives:
        if objective.concept is not None:
            to_ask += [(objective.concept, picture) for picture in objective.pictures]
            to_ask += [(objective.concept, None)] * controls
    if not any(picture for _, picture in to_ask):
        raise UsageError(f"{run.folder} shows no single concept; a study asks about pictures of concepts")
    generator = torch.Generator().manual_seed(seed)
    maker = _QuestionMaker(usae, natural, generator, choices)
    order = torch.randperm(len(to_ask), generator=generator).tolist()
    questions = []
    for done, place in enumerate(order, 1):
        question = maker.question(*to_ask[place])
        questions += [] if question is None else [question]
        progress(done, len(order))
    if not questions:
        raise UsageError("no concept of this run has top-activating patches; nothing can be asked")
    return questions


class _QuestionMaker:
    """Draws questions with one generator; remembers what the backbones saw in a picture."""

    def __init__(self, usae: USAE, natural: NaturalPictures, generator: torch.Generator, choices: int) -> None:
        self.usae, self.natural, self.generator, self.choices = usae, natural, generator, choices
        self.size = usae.input_size
        self.codes_by_picture: dict[int, list[Codes]] = {}  # of the pictures that were looked at last, one per backbone

    def question(self, concept: int, picture: RenderedImage | None) -> QuestionKey | None:
        """None for a concept that has no top-activating patches to ask about."""
        row = self._row(concept, picture)
        patches = self._patches(concept, row)
        if len(patches) < (2 if picture is None else 1):
            return None
        order = torch.randperm(len(patches), generator=self.generator).tolist()
        shuffled_patches = [patches[place] for place in order]
        distractors, strongest = self._distractors(concept)
        answer = self._below(self.choices)
        places = [*distractors[:answer], shuffled_patches[0], *distractors[answer:]]
        condition = CONTROL if picture is None else f"{picture.mode} {picture.backbone}"
        return QuestionKey(concept, condition, picture or shuffled_patches[1], places, answer, round(strongest, 4))

    def _row(self, concept: int, picture: RenderedImage | None) -> int:
        """The backbone that a picture was drawn for; any that has the concept for a shared one and for controls."""
        names, owner = self.usae.names, self.usae.private.owner(concept)
        if owner is not None:
            return names.index(owner)
        return names.index(picture.backbone) if picture and picture.backbone in names else self._below(len(names))

    def _patches(self, concept: int, row: int) -> list[Patch]:
        return [Patch(number, token) for number, token in self.natural.strongest(row, concept)]

    def _distractors(self, concept: int) -> tuple[list[Patch], float]:
        """Top patches of other concepts, in which this one does not fire; and its largest code in them."""
        clean: list[tuple[float, Patch]] = []
        spare: list[tuple[float, Patch]] = []
        others: set[int] = {concept}
        for _ in range(MAX_CANDIDATES):
            other = self._below(self.usae.n_concepts)
            patches = self._patches(other, self._below(len(self.usae.names)))
            if other in others or not patches:
                continue
            patch = patches[self._below(len(patches))]
            code = self._code(concept, patch)
            (clean if code <= FIRING_THRESHOLD else spare).append((code, patch))
            if code <= FIRING_THRESHOLD:
                others.add(other)  # each distractor shows another concept
            if len(clean) == self.choices - 1:
                break
        distractors = (clean + sorted(spare, key=lambda each: each[0]))[: self.choices - 1]
        if len(distractors) < self.choices - 1:
            raise UsageError(f"too few top-activating patches for {self.choices} choices; ask for fewer with --choices")
        return [patch for _, patch in distractors], max(code for code, _ in distractors)

    def _code(self, concept: int, patch: Patch) -> float:
        """The concept's largest code in what is shown of a patch, through any backbone."""
        assert self.usae.grid is not None
        if patch.number not in self.codes_by_picture:
            with torch.no_grad():
                canvas = self.natural.source.read(patch.number, self.size)[None]
                canvas = canvas.to(self.usae.device)
                codes = [self.usae.encode(n, self.usae.tokens(n, canvas)) for n in self.usae.names]
            if len(self.codes_by_picture) >= MAX_REMEMBERED:
                del self.codes_by_picture[next(iter(self.codes_by_picture))]  # the one added first
            self.codes_by_picture[patch.number] = [
                Codes(each.values[0].cpu(), each.indices[0].cpu().int()) for each in codes
            ]
        tokens = inside_window(patch.token, self.usae.grid)
        return max(codes.of(concept)[tokens].max().item() for codes in self.codes_by_picture[patch.number])

    def _below(self, count: int) -> int:
        return int(torch.randint(count, (), generator=self.generator))


def write_study(
    questions: Sequence[QuestionKey], usae: USAE, source: ImageSource, run: RunFolder, seed: int, out: Path
) -> str:
    """Write `study/` (for raters) and `key.json` (not for them); returns the study's id.

    Raises:
        ValueError: when the folder holds a study already, or cannot be written.
    """
    check_study_place(out)
    record = {
        "schema": KEY_SCHEMA,
        "seed": seed,
        "run": run.name,
        "usae": usae.source,
        "usae_sha256": usae.sha256,
        "choices": len(questions[0].choices),
        "trials": [question.as_dict() for question in questions],
    }
    study = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()[:12]
    with atomic_path(out / RATERS_FOLDER) as folder:
        (folder / "pictures").mkdir(parents=True)
        for name, picture in _pictures(questions, usae, source):
            picture.save(folder / "pictures" / f"{name}.webp", "WEBP", quality=92, method=4)
        data = {"study": study, "trials": len(questions), "choices": len(questions[0].choices)}
        (folder / "data.js").write_text(f"usaeStudy({json.dumps(data)});\n")
        copy_page_files("usae_viz.rating", ["dom.js", "rate.js", "theme.css", "rate.css"], folder)
        page = page_text("usae_viz.rating", trials=len(questions), choices=len(questions[0].choices))
        (folder / "index.html").write_text(page, encoding="utf-8")
    write_json(out / "key.json", {**record, "study": study}, indent=1)
    return study


def _pictures(questions: Sequence[QuestionKey], usae: USAE, source: ImageSource) -> Iterator[tuple[str, Image.Image]]:
    """Every picture under a name that says the question's number alone, all of one size and without their settings."""
    size = usae.input_size
    assert usae.grid is not None

    def shown(patch: Patch) -> Image.Image:
        assert usae.grid is not None
        return cut_patch(source.read(patch.number, size), patch.token, usae.grid)

    for number, question in enumerate(questions, 1):
        if isinstance(question.query, RenderedImage):
            query = read_pixels(question.query.file).convert("RGB")
        else:
            query = shown(question.query)
        for name, picture in (
            (f"{number}-0", query),
            *((f"{number}-{n}", shown(c)) for n, c in enumerate(question.choices, 1)),
        ):
            yield name, picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
