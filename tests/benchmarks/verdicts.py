"""How often is a picture `strong` that should not be, and how often is one that should? For any USAE, measured here.

Four kinds of pictures get their verdicts, with the settings that are given (else the defaults):

- noise: starts of other seeds than those that the level of chance is measured on, for every concept;
- one step: `maximize(steps=1)` of random concepts;
- drawn: concepts that are recoverable, of which it is asked that 95% of the pictures are strong. With factor labels
  (the demo) they are those whose patch AUROC is at least 0.90 in every backbone, as in faithful.py; without, those that
  live: in every backbone that draws them they fire in at least one of ten of the natural pictures of the USAE's
  statistics. Which of them are drawn is drawn at random;
- classes (`--classes N --backbones NAME`): the same three of random classes of that backbone's classifier.

Of noise and one step at most 2% may be strong. Every figure goes into `--out`, from which `--again` counts the verdicts
anew under other `--thresholds`, without drawing. Run from the project's root:

    python tests/benchmarks/verdicts.py [--usae demo] [--concepts 15] [--one-step 60] [--settings steps=48,views=3] ...

What that gives by today's defaults, all 29 recoverable ones of the demo's 256 (--concepts 29):

    pictures                      strong    weak  failed      of    strong
    noise                              1    1612   10675   12288      0.0%
    one step                           2      54     124     180      1.1%
    drawn                             80       7       0      87     92.0%

The weak ones are those of two concepts of shape (ring, and what is no object) and one of a solid surface, beyond 54% to
95% of the scenes; 95% were asked. Of the best concepts of colours and textures all are strong (crops.py: 45 of 45, and
15 of 15 shared), and so are all 18 of six concepts of three real networks.

Before, with the pictures of before the canvas became larger than the input (96 and 224 px), and fewer steps
than the default's, since a core was shared by ten processes. In the demo (29 of 256 recoverable; --concepts 8
--settings steps=48,views=2; noise and one step with the default's settings):

    pictures                      strong    weak  failed      of    strong
    noise                              1    1365   10922   12288      0.0%
    one step                           1      58     113     172      0.6%
    drawn                             24       0       0      24    100.0%

On real networks (512 concepts, k = 12, 1000 steps of 2048 tokens of 400 photographs; 395 concepts recoverable in lite0;
--backbones lite0 --settings steps=48,views=3, with --classes --backbones lite0,lite2):

    pictures                      strong    weak  failed      of    strong
    noise                              0     163    2909    3072      0.0%
    one step                           0       8      42      50      0.0%
    drawn                              6       0       0       6    100.0%
    class, noise                       0      19    5981    6000      0.0%
    class, one step                    0       0      15      15      0.0%
    drawn, class                       3       0       0       3    100.0%
    drawn, class, read by lite2        2       0       1       3     66.7%

The drawn ones are few: 8 concepts in three backbones, 6 concepts, 3 classes.
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

import usae_train as ut
import usae_viz as uv
from usae_train.files.validation import check_settings
from usae_train.model.statistics import FIRING_THRESHOLD, LEVELS, Statistics
from usae_train.model.usae import USAE
from usae_viz.concepts.followed import FOLLOWS_AUROC
from usae_viz.optimization.maximize import STARTS_BY, starting_canvases
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.settings import MaximizeSettings
from usae_viz.verification.held_out import held_out_codes, held_out_probabilities
from usae_viz.verification.noise import shared_noise
from usae_viz.verification.score import ClassScore, Score
from usae_viz.verification.verdict import VERDICTS, VerdictSettings, worst

NOISE_SEED = 77_000  # not the seeds of the level of chance
LIVES = 0.9  # quantile of the natural pictures' largest codes: beyond it lies one picture of ten
Row = dict[str, Any]  # kind, subject, image, {backbone: figures} of those that it was drawn for


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--usae", default="demo")
    parser.add_argument("--concepts", type=int, default=15, help="recoverable ones that are drawn")
    parser.add_argument("--one-step", type=int, default=60, help="concepts (and classes) that are drawn in one step")
    parser.add_argument("--noise", type=int, default=16, help="pictures of noise")
    parser.add_argument("--classes", type=int, default=0, help="classes of --backbones that are drawn")
    parser.add_argument("--backbones", help="draw for these alone, comma-separated names")
    parser.add_argument("--mode", default="per-model")
    parser.add_argument("--settings", default="", help="comma-separated, such as steps=48,views=3")
    parser.add_argument("--thresholds", help="such as rank=1,percentile=99.9")
    parser.add_argument("--seed", type=int, default=0, help="which concepts")
    parser.add_argument("--out", type=Path, help="JSON")
    parser.add_argument("--again", type=Path, nargs="*", help="JSON of this script: only count")
    chosen = parser.parse_args()
    thresholds = VerdictSettings.model_validate(chosen.thresholds or {})
    if chosen.again:
        tell([row for file in chosen.again for row in json.loads(file.read_text())], thresholds)
        return
    usae = ut.load(chosen.usae)
    usae = usae if chosen.backbones is None else part(usae, chosen.backbones.split(","))
    changes = dict(part.split("=") for part in chosen.settings.split(",") if part)
    settings = resolve_settings(usae, check_settings(MaximizeSettings, mode=chosen.mode, **changes))
    names = usae.names
    rows: list[Row] = []
    begun = time.process_time()
    for row in figures(usae, settings, names, chosen):
        if chosen.out and rows and rows[-1]["kind"] != row["kind"]:
            chosen.out.write_text(json.dumps(rows))
        rows.append(row)
        if row["kind"].startswith("drawn"):
            words = f"{row['kind']}  {row['subject']}  {row['image']}  {verdict(row, thresholds)}"
            print(f"{time.process_time() - begun:6.0f} s  {words}", flush=True)
            if chosen.out:
                chosen.out.write_text(json.dumps(rows))
    if chosen.out:
        chosen.out.write_text(json.dumps(rows))
    tell(rows, thresholds)


def figures(usae: USAE, settings: MaximizeSettings, names: Sequence[str], chosen: argparse.Namespace) -> Iterator[Row]:
    """The figures of every picture, kind by kind."""
    generator = torch.Generator().manual_seed(chosen.seed)
    one = settings.model_copy(update={"steps": 1})
    if chosen.classes:
        yield from of_classes(usae, settings, names[0], generator, chosen)
        return
    yield from of_noise(usae, settings, names, chosen.noise)
    any_concept = torch.randperm(usae.n_concepts, generator=generator)[: chosen.one_step].tolist()
    yield from drawn(usae, [uv.Concept(k) for k in any_concept], one, "one step")
    concepts = recoverable(usae, names)
    print(f"recoverable: {len(concepts)} of {usae.n_concepts} concepts in {', '.join(names)}", flush=True)
    some = [concepts[place] for place in torch.randperm(len(concepts), generator=generator)[: chosen.concepts].tolist()]
    yield from drawn(usae, [uv.Concept(k) for k in some], settings, "drawn")


def part(usae: USAE, names: Sequence[str]) -> USAE:
    """The same space over some of its backbones alone: pictures are not looked at through the others."""
    rows = [usae.names.index(name) for name in names]
    partial_usae = USAE(
        {name: usae.widths[name] for name in names},
        usae.n_concepts,
        usae.k,
        batch_norm=usae.batch_norm,
        specs={name: usae.specs[name] for name in names},
        grid=usae.grid,
        recipe=usae.recipe,
    )
    partial_usae.load_state_dict({key: value for key, value in usae.state_dict().items() if key.split(".")[1] in names})
    if usae.statistics is not None:
        shared = ("co_fires", "counts")
        figures = {
            key: value if value is None or key in shared else value[rows]
            for key, value in vars(usae.statistics).items()
        }
        partial_usae.statistics = Statistics(**figures)
    return partial_usae.eval()


def recoverable(usae: USAE, names: Sequence[str]) -> list[int]:
    """Concepts of which a strong picture can be asked; see above. Nothing that draws takes part."""
    statistics = usae.statistics
    if statistics is None:
        raise SystemExit("the USAE has no statistics; fit it on pictures, or run usae-train evaluate")
    if statistics.auroc is not None:
        return (statistics.auroc.amin(0).nan_to_num(0).amax(0) >= FOLLOWS_AUROC).nonzero()[:, 0].tolist()
    rows = [usae.names.index(name) for name in names]
    return (statistics.quantiles[rows, :, LEVELS.index(LIVES)].amin(0) > FIRING_THRESHOLD).nonzero()[:, 0].tolist()


def drawn(usae: USAE, objectives: Sequence[uv.Objective], settings: MaximizeSettings, kind: str) -> Iterator[Row]:
    """Pictures as anybody draws them."""
    for objective, result in zip(objectives, uv.maximize_each(usae, objectives, settings), strict=True):
        assert result.scores is not None
        for image, row in result.scores.table.items():
            own_scores = {name: asdict(row[name]) for name in result.scores.drawn_for[image]}
            yield {"kind": kind, "subject": str(objective), "image": image, "figures": own_scores}


@torch.no_grad()
def of_noise(usae: USAE, settings: MaximizeSettings, names: Sequence[str], count: int) -> Iterator[Row]:
    """Every concept in pictures of noise, as if each had been drawn for one backbone."""
    assert usae.statistics is not None
    canvases = noise(settings, count)
    chance = chance_of(usae, settings)
    for name in names:
        codes = held_out_codes(usae, name, canvases, settings.seed).dense(usae.n_concepts)
        code, means, share = codes.amax(2).mean(1), codes.mean((1, 2)), (codes > FIRING_THRESHOLD).float().mean((1, 2))
        ranks = 1 + (means[:, None, :] > means[:, :, None]).sum(2)
        for k in range(usae.n_concepts):
            for picture in range(count):
                value = code[picture, k].item()
                percentile = usae.statistics.percentile(usae.names.index(name), k, value)
                score = Score(
                    value,
                    int(ranks[picture, k]),
                    share[picture, k].item(),
                    percentile,
                    noise=chance.code(usae, name, k),
                )
                yield {"kind": "noise", "subject": f"Concept({k})", "image": name, "figures": {name: asdict(score)}}


def of_classes(
    usae: USAE, settings: MaximizeSettings, name: str, generator: torch.Generator, chosen: argparse.Namespace
) -> Iterator[Row]:
    """The three kinds of pictures of classes of one classifier, read by every classifier of its size."""
    order = torch.randperm(usae.specs[name].classes, generator=generator).tolist()
    yield from of_noise_by_class(usae, settings, name, chosen.noise)
    one = settings.model_copy(update={"steps": 1})
    yield from drawn(usae, [uv.Logit(name, index) for index in order[: chosen.one_step]], one, "class, one step")
    for result in uv.maximize_each(usae, [uv.Logit(name, index) for index in order[: chosen.classes]], settings):
        assert result.scores is not None
        for image, row in result.scores.table.items():
            for reader in row:
                kind = "drawn, class" if reader == name else f"drawn, class, read by {reader}"
                figures = {reader: asdict(row[reader])}
                yield {"kind": kind, "subject": result.scores.subject, "image": image, "figures": figures}


@torch.no_grad()
def of_noise_by_class(usae: USAE, settings: MaximizeSettings, name: str, count: int) -> Iterator[Row]:
    """Every class in pictures of noise, as if each had been drawn for it."""
    chance = chance_of(usae, settings)
    for number, mean in enumerate(held_out_probabilities(usae, name, noise(settings, count), settings.seed).mean(1)):
        read_as, ranks = int(mean.argmax()), 1 + (mean[None] > mean[:, None]).sum(1)
        for index, value in enumerate(mean.tolist()):
            level = chance.probability(usae, name, index)
            score = ClassScore(index, None, value, int(ranks[index]), read_as, None, noise=level)
            figures = {name: asdict(score)}
            yield {"kind": "class, noise", "subject": f"class {index}", "image": f"noise {number}", "figures": figures}


def noise(settings: MaximizeSettings, count: int) -> torch.Tensor:
    """(count, 3, H, W): how drawings with other seeds start."""
    return starting_canvases(settings, range(NOISE_SEED, NOISE_SEED + count))


def chance_of(usae: USAE, settings: MaximizeSettings) -> Any:
    """The level of chance that pictures with these settings are held against."""
    return shared_noise(
        usae, settings.model_dump_json(include=STARTS_BY), lambda seeds: starting_canvases(settings, seeds)
    )


def verdict(row: Row, thresholds: VerdictSettings) -> str:
    """Of a row; in words, with what it lacks."""
    lacking = [
        (ClassScore if "read_as" in figures else Score)(**figures).judge(thresholds)
        for figures in row["figures"].values()
    ]
    return (
        f"{worst(each for each, _ in lacking)} {'; '.join(', '.join(short) for _, short in lacking if short)}".strip()
    )


def tell(rows: Sequence[Row], thresholds: VerdictSettings) -> None:
    """How many pictures of each kind have which verdict."""
    print(f"\n{'pictures':36s}{'strong':>8s}{'weak':>8s}{'failed':>8s}{'of':>8s}{'strong':>10s}")
    for kind in dict.fromkeys(row["kind"] for row in rows):
        verdicts = [verdict(row, thresholds).split()[0] for row in rows if row["kind"] == kind]
        counts = "".join(f"{verdicts.count(each):8d}" for each in VERDICTS)
        print(f"{kind:36s}{counts}{len(verdicts):8d}{verdicts.count('strong') / len(verdicts):10.1%}")


if __name__ == "__main__":
    main()
