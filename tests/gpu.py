"""GPU day: what holds on the processor is checked on a GPU, and then it is measured how fast it is there.

    PYTHONPATH=. python tests/gpu.py [--tiny] [--device cuda] [--json FILE]

Needs what a CUDA image of torch has (torch, torchvision, numpy, pillow), the wheels of timm and kornia, and the small
ones that pyproject.toml names beside them. Without a GPU it runs on the CPU and says so; `--tiny` is what CI runs, so
that it does not rot (there `torch.compile` takes its backend `aot_eager`, which compiles no code). A measurement that
would begin later than six minutes after the start is left out, and said: the whole stays under eight.

Checks compare with the CPU in float32 (cuDNN's TF32 is off meanwhile), the largest difference as a share of the
largest number: another device adds in another order. The last ones are of memory: what was taken at most, as a share of
what was estimated. What is measured is measured through networks of the paper's three shapes, with random weights, and
so is the space of 6144 concepts: what they show does not matter here. Targets are those of an H100.
"""

import argparse
import json
import math
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from gpu_measures import AIMS, BUDGET, PAPER, TINY, measures, memory_of_a_pack
from torch import Tensor

import usae_train as ut
import usae_viz as uv
from usae_train.demo.activations import known_world
from usae_train.evaluation.evaluate import evaluate_source
from usae_train.images.sources import DemoImages
from usae_train.scenes.world import draw
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_viz.optimization.maximize import maximize_each
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.presets import AUGMENTATION_PRESETS


def apart(values: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    expected = expected.float()
    return ((values.cpu().float() - expected).abs().max() / expected.abs().max().clamp_min(1e-12)).item()


def trained(recipe: TrainingRecipe, device: str, stop_after: int = 0) -> Tensor:
    """A dictionary after four steps on tokens whose code is known; stopped after some of them, and resumed."""
    world = known_world(512, torch.Generator().manual_seed(0), TINY.widths, shared=24, active=3)
    settings = FitSettings(n_concepts=48, k=3, batch=64, steps=4, recipe=recipe)
    if not stop_after:
        return fit_tokens(world.tokens, settings, device=device).dictionary("a")

    def stop(step: int, figures: dict[str, float]) -> None:  # noqa: ARG001
        if step > stop_after:
            raise InterruptedError

    with tempfile.TemporaryDirectory() as room:
        states = Path(room) / "states"
        with suppress(InterruptedError):
            fit_tokens(
                world.tokens,
                settings,
                device=device,
                checkpointer=TrainingCheckpointer(states, 0),
                progress=stop,
                log_every=1,
            )
        return fit_tokens(world.tokens, settings, device=device, checkpointer=TrainingCheckpointer(states)).dictionary(
            "a"
        )


@uv.objective
def not_a_number(acts: Any) -> Tensor:
    """A score that is lost at the first step."""
    return acts.tokens.flatten(1).sum(1) * torch.nan


def drawn(device: str, objectives: int = 1, at_once: float | None = None, broken: bool = False) -> Tensor:
    """The first picture of some objectives of the demo, after ten steps without chance; a last one may be lost."""
    usae = ut.load("demo", device)
    settings = uv.MaximizeSettings(
        mode="shared", steps=10, views=1, size=96, augmentation="none", dtype="float32", memory=at_once
    )
    to_draw: list[uv.Objective] = [uv.Concept(3 + number) for number in range(objectives)]
    pictures = maximize_each(usae, [*to_draw, not_a_number] if broken else to_draw, settings)
    return next(iter(next(pictures).images.values()))


def shown(device: str) -> Tensor:
    """Views of a canvas, without the noise that a GPU draws itself."""
    preset = AUGMENTATION_PRESETS["default"].model_copy(update={"noise": 0.0}).for_patches(0.1)
    canvas = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).to(device)
    return augmented_views(canvas, preset, [torch.Generator().manual_seed(seed) for seed in (1, 2)], 3, 48)


def seen(device: str) -> Tensor:
    """Tokens of two scenes through a backbone of the demo."""
    usae = ut.load("demo", device)
    return usae.tokens(usae.names[0], draw(2, torch.Generator().manual_seed(0), 96).images)


def stored(device: str, compute_dtype: str) -> Tensor:
    """Tokens of three scenes through the demo's first backbone, read from a store in bfloat16."""
    source, specs = DemoImages(3), ut.load("demo").specs
    first = next(iter(specs))
    planned = plan_extraction(source, {first: specs[first]}, "bfloat16")
    with tempfile.TemporaryDirectory() as room:
        store = extract(
            source, planned.record, Path(room) / "store", ExtractSettings(compute_dtype=compute_dtype), device=device
        )
        return store.read([0]).tokens[first].float().clone()


def evaluated(device: str) -> Tensor:
    """R2 of each of the demo's backbones from each, on two scenes."""
    results = evaluate_source(ut.load("demo", device), DemoImages(2), batch=2)
    assert results is not None
    return torch.tensor([r2 for row in results[0]["r2"].values() for r2 in row.values()])


def checks(device: str) -> dict[str, tuple[float, float]]:
    """{what: (how far apart, how far it may be)}."""
    found = {
        f"training, {recipe.name}": (apart(trained(recipe, device), trained(recipe, "cpu")), 1e-2)
        for recipe in (DEFAULT, PUBLISHED)
    }
    one = drawn(device)
    found["views"] = apart(shown(device), shown("cpu")), 1e-4
    found["tokens of a backbone"] = apart(seen(device), seen("cpu")), 1e-3
    found["a picture after 10 steps"] = apart(one, drawn("cpu")), 5e-2
    found["a pack against a picture alone"] = apart(drawn(device, 3), one.cpu()), 5e-2
    found["a pack with a NaN in it"] = apart(drawn(device, 1, broken=True), one.cpu()), 5e-2
    found["a training that is resumed"] = apart(trained(DEFAULT, device, 2), trained(DEFAULT, device).cpu()), 1e-2
    found["a store"] = apart(stored(device, "float32"), exact := stored("cpu", "float32")), 1e-2
    found["a store, computed in bfloat16"] = apart(stored(device, "bfloat16"), exact), 5e-2
    found["evaluation, R2"] = apart(evaluated(device), evaluated("cpu")), 1e-2
    return found


def memory_checks(device: str) -> dict[str, tuple[float, float]]:
    """The demo's packs and single pictures: a peak above its estimate would be an out of memory that nobody expects."""
    usae, results = ut.load("demo", device), {}
    for objectives in (1, 4):
        settings = uv.MaximizeSettings(steps=2, dtype="float32")
        to_draw = [uv.Concept(number) for number in range(objectives)]
        list(maximize_each(usae, to_draw[:1], settings))  # what libraries keep for themselves is there then
        peak, estimated = memory_of_a_pack(usae, to_draw, settings, device)
        results[f"peak of {objectives} by its estimate"] = (peak / estimated, 1.1)
    return results


def main(words: list[str] | None = None) -> int:
    """Run both; the exit status is 1 where a check failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="at a size that CI has the time for")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", help="a file for all figures")
    chosen, began = parser.parse_args(words), time.monotonic()
    if chosen.device == "cpu":
        print("no GPU is used: on the CPU the checks say little, and the figures are not those of a GPU")
    card = "CPU" if chosen.device == "cpu" else torch.cuda.get_device_name()
    with torch.backends.cudnn.flags(allow_tf32=False):
        checked = checks(chosen.device) | ({} if chosen.device == "cpu" else memory_checks(chosen.device))
    for what, (far, most) in checked.items():
        print(f"{'ok    ' if far <= most else 'FAILED'} {what:34s} {far:.2g}, at most {most:.2g}", flush=True)
    is_tiny = chosen.tiny or chosen.device == "cpu"
    measured = measures(TINY if is_tiny else PAPER, chosen.device, math.inf if is_tiny else began + BUDGET)
    for what, figure in measured.items():
        aim = f" (aim {AIMS[what]})" if what in AIMS else ""
        print(f"{what:46s} {f'{figure:.4g}' if isinstance(figure, float) else figure}{aim}", flush=True)
    report = {"card": card, "torch": torch.__version__, "checks": checked, "measures": measured}
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(report, file, indent=1)
    return int(any(not far <= most for far, most in checked.values()))


if __name__ == "__main__":
    sys.exit(main())
