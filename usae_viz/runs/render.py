"""Drawing a plan into a run folder: what is finished is kept, what is missing is drawn, folder by folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from usae_train.files.json_files import read_object_or_empty
from usae_train.model.usae import USAE
from usae_train.runtime.distributed import SINGLE_PROCESS, DistributedContext
from usae_train.runtime.errors import UsageError
from usae_train.runtime.progress import ProgressCallback
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.runtime.workers import JobInterrupted
from usae_viz.objectives import Objective
from usae_viz.optimization.maximize import view_config_for
from usae_viz.runs.manifest import Manifest, claimed, statistics_hash
from usae_viz.runs.parallel_drawing import drawn_in_parallel
from usae_viz.runs.plan import RenderJob, RenderPlan
from usae_viz.runs.run_writer import ObjectiveResult, RunWriter
from usae_viz.settings import MaximizeSettings


@dataclass(frozen=True)
class RenderExecution:
    """How the drawing of a plan is carried out.

    Attributes:
        again: draw finished jobs too.
        ranks: which of how many processes this is; all must be given the same plan.
        workers: how many processes draw for this one, each picture the same to the bit; None: as many as `workers_for`
            says. More than one only where torch computes with one thread.
    """

    again: bool = False
    ranks: DistributedContext = SINGLE_PROCESS
    workers: int | None = 1


@with_torch_defaults
def render_plan(
    usae: USAE,
    plan: RenderPlan,
    out: Path,
    report: ProgressCallback = lambda stage, done, total, note: None,
    report_result: Callable[[ObjectiveResult], None] = lambda result: None,
    execution: RenderExecution = RenderExecution(),
) -> list[ObjectiveResult]:
    """Draw what of a plan is not there yet; write run.json and one folder per objective.

    After an optimization that was stopped by hand, what is there is written and no other is started. One whose score
    became NaN or infinite is written as far as it came, and one that cannot be started is left out; the next follow.

    Args:
        usae: the USAE.
        plan: what to draw.
        out: the run's folder.
        report: called with the stage, steps done of all, and the scores in words.
        report_result: called with each folder that this process has completed.
        execution: what else is drawn, and by how many processes.

    Returns:
        Every folder of the plan that has pictures or could not be drawn, for the first process; those that it completed
        for the others.

    Raises:
        ValueError: when another process holds the folder, or its pictures were drawn with another USAE,
            and for more workers than are possible.
        KeyboardInterrupt: when Ctrl-C came and no drawing was cut short by it; what was drawn is written.
    """
    writer, completed = RunWriter(usae, plan, out), list[ObjectiveResult]()
    again, ranks = execution.again, execution.ranks
    with ExitStack() as stack:

        def claim_and_pack() -> list[list[int]]:
            stack.enter_context(claimed(out))
            _check_usae(usae, plan, out, again)
            return _packs(usae, plan, [] if again else _finished(usae, writer.manifest, plan), ranks)

        numbers = ranks.compute_on_main(claim_and_pack)[ranks.rank :: ranks.world_size]
        packs = [[plan.jobs[number] for number in pack] for pack in numbers]
        jobs = list(chain.from_iterable(packs))
        writer.parallel = stack.enter_context(drawn_in_parallel(usae, jobs, execution.workers, report))
        for result in _draw_packs(writer, packs, report, ranks.is_main):
            completed.append(result)
            report_result(result)
        if not writer.stopped:  # otherwise the others go on until torchrun stops them
            writer.undrawable = {key: why for each in ranks.gather(writer.undrawable) for key, why in each.items()}
        written = writer.finish() if ranks.is_main else completed
        if writer.parallel is not None and writer.parallel.workers.stopped and not writer.stopped:
            raise KeyboardInterrupt
        return written


def _draw_packs(
    writer: RunWriter, packs: Sequence[Sequence[RenderJob]], report: ProgressCallback, first: bool
) -> Iterator[ObjectiveResult]:
    """Draw packs of jobs; the result of each folder as soon as it is complete, and after Ctrl-C as it is."""
    for pack in packs:
        try:
            records = writer.draw_jobs(pack, report, first)
        except JobInterrupted:  # among what workers were drawing when Ctrl-C came, a later one may be further on
            continue
        writer.stopped = writer.stopped or any(record.stopped for record in records)
        for folder in dict.fromkeys(job.folder for job in pack):
            if writer.stopped or writer.complete(folder):
                yield writer.assemble(folder, anew=True)
        if writer.stopped and writer.parallel is None:
            return


def _check_usae(usae: USAE, plan: RenderPlan, out: Path, again: bool) -> None:
    """Raise a ValueError when the folder's pictures are of other weights, or a folder in it leads elsewhere."""
    before = read_object_or_empty(out / "run.json").get("usae_sha256")
    if not again and before is not None and before != usae.sha256:
        raise UsageError(
            f"{out} was drawn with the USAE of sha256 {str(before)[:12]}, and {usae.source} now has "
            f"{str(usae.sha256)[:12]}; choose another place with --out"
        )
    for folder in plan.folders:
        if not (out / folder).resolve().is_relative_to(out.resolve()):
            raise UsageError(f"{out / folder} leads out of {out}; remove that link")


def _finished(usae: USAE, manifest: Manifest, plan: RenderPlan) -> list[int]:
    """The numbers of the jobs that need not be drawn; the records of those whose files are damaged go.

    Those drawn when the USAE had other statistics get percentiles by the present ones, like the others on their sheet.
    """
    finished = manifest.adopt(plan.jobs)
    now = statistics_hash(usae)
    for number in finished:
        manifest.measure_again(plan.jobs[number], usae, now)
    for number in set(range(len(plan.jobs))).difference(finished):
        manifest.forget_damaged(plan.jobs[number])
    return finished


def _packs(usae: USAE, plan: RenderPlan, finished: Sequence[int], ranks: DistributedContext) -> list[list[int]]:
    """What is drawn at once: jobs of equal settings, as many as the memory holds, a few folders at a time."""
    skip = set(finished)
    unfinished = [number for number in range(len(plan.jobs)) if number not in skip]
    if not unfinished:
        return []
    drawn_with: dict[MaximizeSettings, list[Objective]] = {}
    folders: dict[str, list[int]] = {}
    for number in unfinished:
        drawn_with.setdefault(plan.jobs[number].settings, []).append(plan.jobs[number].objective)
        folders.setdefault(plan.jobs[number].folder, []).append(number)
    sizes = (view_config_for(usae, settings, objectives).batch_size for settings, objectives in drawn_with.items())
    folders_at_once = min(*sizes, -(-len(folders) // ranks.world_size))
    by_folder, packs = list(folders.values()), list[list[int]]()
    for first in range(0, len(by_folder), folders_at_once):
        groups: dict[tuple[str | None, MaximizeSettings], list[int]] = {}
        for number in chain.from_iterable(by_folder[first : first + folders_at_once]):
            job = plan.jobs[number]
            groups.setdefault((job.variant, job.settings), []).append(number)
        packs += groups.values()
    return packs
