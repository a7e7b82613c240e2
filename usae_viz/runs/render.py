"""Drawing a plan into a run folder: what is finished is kept, what is missing is drawn, folder by folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from PIL import Image

from usae_train.files.json_files import read_object
from usae_train.files.place_names import named_place
from usae_train.images.decoding import read_picture
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.json_text import json_text
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.undisturbed import undisturbed
from usae_train.runtime.workers import NotDone
from usae_viz.export.animation import write_frames
from usae_viz.export.concept_folder import write_json
from usae_viz.export.naming import shown_concept, title_with_edits
from usae_viz.export.natural_patches import natural_patches
from usae_viz.export.png import check_whole, read_pixels, read_png, save_png, write_png
from usae_viz.export.provenance import provenance, run_record
from usae_viz.export.run_record import keep_record, pictures_by_folder, read_record
from usae_viz.export.sheet import WIDEST, abreast, sheet
from usae_viz.objectives import Objective
from usae_viz.optimization.halving import Halved
from usae_viz.optimization.loop import InvalidImageScore
from usae_viz.optimization.maximize import maximize_each, view_config_for
from usae_viz.optimization.parts import drawn_together
from usae_viz.optimization.result import Result
from usae_viz.runs.ahead import Ahead, drawn_ahead, report_steps
from usae_viz.runs.manifest import Manifest, Record, claimed, scores_of, statistics_hash
from usae_viz.runs.plan import RenderJob, RenderPlan, given_pictures
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.scores import Scores, counted


@dataclass(frozen=True)
class Drawn:
    """One objective's folder in a run."""

    objective: str
    folder: Path
    images: tuple[str, ...]  # none where nothing could be drawn
    scores: Scores | None  # of all its pictures
    ended: str | None  # why one of its optimizations ended early
    stopped: bool  # whether Ctrl-C ended one
    failed: bool  # whether a score that was not finite ended one, or one could not be drawn


@undisturbed
def render(
    usae: USAE,
    plan: RenderPlan,
    out: Path,
    report: ProgressCallback = lambda stage, done, total, note: None,
    done: Callable[[Drawn], None] = lambda drawn: None,
    again: bool = False,
    ranks: DistributedContext = SINGLE_PROCESS,
    workers: int | None = 1,
) -> list[Drawn]:
    """Draw what of a plan is not there yet; write run.json and one folder an objective.

    After an optimization that was stopped by hand, what is there is written and no more is begun. One whose score
    became NaN or infinite is written as far as it came, one that cannot be begun is left out; the next are begun.

    Args:
        usae: the USAE.
        plan: what to draw.
        out: the run's folder.
        report: called with the stage, steps done of all, and the scores in words.
        done: called with each folder that this process has completed.
        again: draw also what is finished.
        ranks: which of how many processes this is; all must be given the same plan.
        workers: how many processes draw for this one, each picture the same to the bit; None: as many as `workers_for`
            says. To be more than one only where torch computes with one thread.

    Returns:
        Every folder of the plan that has pictures or could not be drawn, for the first process; those that it completed
        for the others.

    Raises:
        ValueError: when another process holds the folder, or its pictures were drawn with another USAE,
            and for more workers than there can be.
        KeyboardInterrupt: when Ctrl-C came and no drawing was cut short by it; what was drawn is written.
    """
    manifest, run = Manifest(out), _Run(usae, plan, out)
    with ExitStack() as stack:

        def first_of_all() -> list[list[int]]:
            stack.enter_context(claimed(out))
            _check_usae(usae, plan, out, again)
            return _packs(usae, plan, [] if again else _finished(usae, manifest, plan), ranks)

        packs = ranks.compute_on_main(first_of_all)[ranks.rank :: ranks.world_size]
        drawings = [plan.drawings[number] for pack in packs for number in pack]
        run.ahead = stack.enter_context(drawn_ahead(usae, drawings, workers, report))
        stopped, mine = False, list[Drawn]()
        for pack in packs:
            drawings = [plan.drawings[number] for number in pack]
            try:
                records = run.draw(drawings, report, ranks.is_main)
            except NotDone:  # of what workers were drawing when Ctrl-C came, the next may have come further
                continue
            stopped = stopped or any(record.stopped for record in records)
            for folder in dict.fromkeys(drawing.folder for drawing in drawings):
                if stopped or run.complete(folder):
                    mine.append(run.assemble(folder, anew=True))
                    done(mine[-1])
            if stopped and run.ahead is None:
                break
        if not stopped:  # else the others go on, and torchrun stops them
            run.lost = {key: why for lost in ranks.gather(run.lost) for key, why in lost.items()}
        written = run.close() if ranks.is_main else mine
        if run.ahead is not None and run.ahead.workers.stopped and not stopped:
            raise KeyboardInterrupt
        return written


class _Run:
    """A run folder being filled by one process."""

    def __init__(self, usae: USAE, plan: RenderPlan, out: Path) -> None:
        self.usae, self.plan, self.out, self.manifest = usae, plan, out, Manifest(out)
        self.folders = plan.folders
        self.begun = False  # whether run.json is of this plan
        self.lost: dict[str, str] = {}  # {the key of a drawing that cannot be drawn: why}
        self.ahead: Ahead | None = None  # workers that draw
        self.together = Halved(drawn_together)  # one for all packs: what does not fit is found once

    def draw(self, drawings: Sequence[RenderJob], report: ProgressCallback, first: bool) -> list[Record]:
        """Draw a pack of drawings of equal settings, and write their files and records."""
        settings = drawings[0].settings

        def progress(done: int, scores: dict[str, float]) -> None:
            report_steps(report, drawings, done, scores)

        draw = self.together if self.ahead is None else self.ahead.draw_of(drawings)
        records, left = list[Record](), list(drawings)
        while left:
            objectives = [drawing.objective for drawing in left]
            try:
                for result in maximize_each(self.usae, objectives, settings, progress, draw=draw):
                    if first and not self.begun:
                        self.write_record()
                    records.append(self.write(left.pop(0), result))
                break  # those that are left after one that was stopped are not begun
            except InvalidImageScore as lost:  # the first without a result; the others are drawn all the same
                self.lost[left.pop(0).key] = str(lost)
        return records

    def write(self, drawing: RenderJob, result: Result) -> Record:
        """Write a drawing's pictures and animations, then its record."""
        room, files = self.out / drawing.folder, {}
        by_image = {} if result.scores is None else result.scores.as_dict()["images"]
        for image, (name, canvas) in zip(drawing.names, result.images.items(), strict=True):
            about = {**result.about(image), "variant": drawing.variant, "code_sha256": drawing.code}
            if drawing.code is not None and drawing.objective.numbers:  # an objective's text has them itself
                about["numbers"] = drawing.objective.numbers
            about["scores"] = by_image.get(name)
            files[f"{image}.png"] = room / f"{image}.png"
            alpha = result.alpha[name] if result.settings.alpha else None
            write_png(files[f"{image}.png"], canvas, about, alpha)
            for animation in self.plan.animations if result.frames else ():
                files[f"{image}.{animation}"] = room / f"{image}.{animation}"
                write_frames(files[f"{image}.{animation}"], result.frames[name])
        return self.manifest.write(drawing, result, files)

    def complete(self, folder: str) -> bool:
        """Whether what can be drawn for a folder is there, whoever drew it, and nothing of it is to be drawn again."""
        wanted = (drawing for drawing in reversed(self.folders[folder]) if drawing.key not in self.lost)
        last_first = map(self.manifest.drawn, wanted)  # what is missing is near the end
        return all(record is not None and not record.stopped for record in last_first)

    def assemble(self, folder: str, anew: bool = False) -> Drawn:
        """Make a folder's sheet and scores of what is drawn, unless they say that already (or always, `anew`)."""
        found = [(drawing, self.manifest.drawn(drawing)) for drawing in self.folders[folder]]
        here = [(drawing, record) for drawing, record in found if record is not None]
        records = [record for _, record in here]
        thresholds = self.folders[folder][0].settings.verdict
        scores, images = scores_of(records, thresholds), tuple(name for record in records for name in record.names)
        drawings = [
            {
                "key": d.key,
                "variant": d.variant,
                "mode": d.settings.mode,
                "seed": d.settings.seed,
                "ended": r.ended,
                "images": r.names,
            }
            for d, r in here
        ]
        room = self.out / folder
        own = self.usae.natural
        pictures = None if own is None else own.source.fingerprint()
        table = None if scores is None else {**scores.as_dict(), "drawings": drawings}
        anew = anew or (table is not None and json_text(table) != json_text(_read(room / "scores.json")))
        title = _title(self.usae, [drawing for drawing, _ in here]) if here else None
        of_now = {
            "sheet": drawings,
            "title": title,
            "thresholds": thresholds.model_dump(),
            "images": pictures,
            "statistics": statistics_hash(self.usae),
        }
        if self.plan.sheet and here and (anew or _sheet_of(room / "sheet.png", of_now) != of_now):
            about = {**of_now, **provenance(self.usae, self._settings(folder))}
            save_png(room / "sheet.png", self._sheet(str(title), here, scores), about)
        if table is not None and anew:  # after the sheet: as long as this says something else, that is made anew
            write_json(room / "scores.json", table)
        by_weight = sorted(records, key=lambda record: not record.cut_short)  # one that settled is no news beside those
        ended = next((record.ended for record in by_weight if record.ended is not None), None)
        stopped, failed = (any(getattr(record, kind) for record in records) for kind in ("stopped", "failed"))
        if lost := [self.lost[drawing.key] for drawing in self.folders[folder] if drawing.key in self.lost]:
            ended, failed = lost[0], True
        objective = str(self.folders[folder][0].objective)
        return Drawn(objective, room, images, scores, ended, stopped, failed)

    def close(self) -> list[Drawn]:
        """The run's record, and every folder that has pictures, or should have."""
        drawn = [each for each in map(self.assemble, self.folders) if each.images or each.failed]
        if any(each.images for each in drawn):
            self.write_record([each.scores for each in drawn if each.scores is not None])
        return drawn

    def write_record(self, scores: Sequence[Scores] = ()) -> None:
        """Write run.json, unless it says the same already.

        Args:
            scores: of all folders, when they are there.
        """
        drawings = self.plan.drawings
        runs = dict.fromkeys((drawing.variant, drawing.settings) for drawing in drawings)
        objectives = list({str(drawing.objective): drawing.objective for drawing in drawings}.values())
        record = run_record(self.usae, objectives, [settings for _, settings in runs])
        record["variants"] = [variant for variant, _ in runs]
        record["recipe"] = self.plan.recipe
        record["verdicts"] = counted(scores)
        record["pictures"] = pictures_by_folder((drawing.folder, drawing.names) for drawing in drawings)
        keep_record(self.out, record)
        self.begun = True

    def _settings(self, folder: str) -> list[MaximizeSettings]:
        return [drawing.settings for drawing in self.folders[folder]]

    def _sheet(self, title: str, here: Sequence[tuple[RenderJob, Record]], scores: Scores | None) -> Image.Image:
        images, rows = {}, dict[Any, list[str]]()
        many = sum(len(record.names) for _, record in here) > WIDEST
        for drawing, record in here:
            row = drawing.variant if drawing.variant is not None else (drawing.key if many else None)
            for name in record.names:
                images[name] = read_pixels(self.out / drawing.folder / f"{name}.png").convert("RGB")
                rows.setdefault(row, []).append(name)
        table: list[Sequence[str]] = list(rows.values())
        if len(table) > 1 and all(len(row) == 1 for row in table):
            table = abreast(list(images))
        first = here[0][0]
        concept = shown_concept(first.objective, first.settings)
        patches = {} if concept is None else natural_patches(self.usae, concept)
        given, size = given_pictures(first.settings), first.settings.size
        assert size is not None
        beside = read_picture(named_place(next(iter(reversed(given.values())))), size) if given else None
        return sheet(title, images, scores, patches, beside, table)


def _title(usae: USAE, drawings: Sequence[RenderJob]) -> str:
    """What stands over the sheet of a folder's drawings."""
    return title_with_edits(drawings[0].title, usae, {drawing.variant: drawing.settings for drawing in drawings})


def _check_usae(usae: USAE, plan: RenderPlan, out: Path, again: bool) -> None:
    """Nothing; a ValueError when the folder's pictures are of other weights, or a folder in it leads elsewhere."""
    before = read_record(out).get("usae_sha256")
    if not again and before is not None and before != usae.sha256:
        raise UsageError(
            f"{out} was drawn with the USAE of sha256 {str(before)[:12]}, and {usae.source} is {str(usae.sha256)[:12]} "
            "by now; choose another place with --out"
        )
    for folder in plan.folders:
        if not (out / folder).resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{out / folder} leads out of {out}; remove that link")


def _finished(usae: USAE, manifest: Manifest, plan: RenderPlan) -> list[int]:
    """The numbers of the drawings that need not be drawn; the records of those whose files are damaged go.

    Those drawn when the USAE had other statistics get the percentiles of today, as the others of their sheet have.
    """
    finished = manifest.adopt(plan.drawings)
    now = statistics_hash(usae)
    for number in finished:
        manifest.measure_again(plan.drawings[number], usae, now)
    for number in set(range(len(plan.drawings))).difference(finished):
        manifest.forget_damaged(plan.drawings[number])
    return finished


def _packs(usae: USAE, plan: RenderPlan, finished: Sequence[int], ranks: DistributedContext) -> list[list[int]]:
    """What is drawn at once: equal settings, as many as the memory holds; a few folders after the other."""
    skip = set(finished)
    left = [number for number in range(len(plan.drawings)) if number not in skip]
    if not left:
        return []
    drawn_with: dict[MaximizeSettings, list[Objective]] = {}
    for number in left:
        drawn_with.setdefault(plan.drawings[number].settings, []).append(plan.drawings[number].objective)
    at_once = min(view_config_for(usae, settings, objectives).at_once for settings, objectives in drawn_with.items())
    folders: dict[str, list[int]] = {}
    for number in left:
        folders.setdefault(plan.drawings[number].folder, []).append(number)
    at_once = min(at_once, -(-len(folders) // ranks.world_size))
    rooms, packs = list(folders.values()), list[list[int]]()
    for first in range(0, len(rooms), at_once):
        groups: dict[tuple[str | None, MaximizeSettings], list[int]] = {}
        for number in chain.from_iterable(rooms[first : first + at_once]):
            drawing = plan.drawings[number]
            groups.setdefault((drawing.variant, drawing.settings), []).append(number)
        packs += groups.values()
    return packs


def _read(file: Path) -> dict[str, Any]:
    """A JSON file of ours; empty where there is none that can be read."""
    try:
        return read_object(file)
    except UsageError:
        return {}


def _sheet_of(file: Path, of_now: Mapping[str, Any]) -> dict[str, Any]:
    """What a sheet says of itself by the keys of what it is to be.

    One of before 0.6 does not name the statistics: it is taken to be by those of now. One that is cut off or damaged
    shows nothing.
    """
    try:
        inside = read_png(file)
        check_whole(file)
    except UsageError:
        return {}
    return {"statistics": of_now["statistics"]} | {key: inside[key] for key in of_now if key in inside}
