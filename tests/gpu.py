"""GPU day: what holds on the processor is checked on a GPU, and then it is measured how fast it is there.

    PYTHONPATH=. python tests/gpu.py [--tiny] [--device cuda] [--json FILE]

Needs what a CUDA image of torch has (torch, torchvision, numpy, pillow), the wheels of timm and kornia, and the small
ones that pyproject.toml names beside them. Without a GPU it runs on the CPU and says so; `--tiny` is what CI runs, so
that it does not rot (there `torch.compile` takes its backend `aot_eager`, which compiles no code). A measurement that
would begin later than six minutes after the start is left out, and said: the whole stays under eight.

Checks compare with the CPU in float32, the largest difference as a share of the largest number: another device adds in
another order. Targets are those of an H100: a million tokens/s, 6144 concepts in three backbones in two hours,
extraction at 0.85 of the bare networks.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.common_sizes import largest_input
from usae_train.demo.activations import known_world
from usae_train.evaluation.evaluate import evaluate_source
from usae_train.images.sources import DemoImages
from usae_train.scenes.world import draw
from usae_train.tokens.extract import extract, plan
from usae_train.training.checkpointing import TrainingCheckpointer
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import dense_active, pass_loss, sparse_active
from usae_viz.optimization.batching import bytes_a_picture
from usae_viz.optimization.maximize import maximize_each, view_config_for
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.views.augmentation import views
from usae_viz.views.presets import PRESETS


class Size(NamedTuple):
    """How large everything is: the paper's, or what CI has the time for."""

    widths: dict[str, int]
    n_concepts: int
    batch: int
    steps: int
    objectives: int
    drawing_steps: int
    images: int
    matrix: int


PAPER = Size({"siglip": 768, "dino": 384, "vit": 768}, 6144, 6272, 60, 32, 64, 256, 8192)
BUDGET = 360.0  # seconds after which nothing is begun any more; the longest measurement has two minutes then
TINY = Size({"a": 16, "b": 8, "c": 16}, 48, 64, 4, 1, 2, 4, 64)


def apart(found: Tensor, wanted: Tensor) -> float:
    """The largest difference, as a share of the largest number."""
    wanted = wanted.float()
    return ((found.cpu().float() - wanted).abs().max() / wanted.abs().max().clamp_min(1e-12)).item()


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


def drawn(device: str, objectives: int = 1, at_once: float | None = None, lost: bool = False) -> Tensor:
    """The first picture of some objectives of the demo, after ten steps without chance; a last one may be lost."""
    usae = ut.load("demo", device)
    settings = uv.MaximizeSettings(
        mode="shared", steps=10, views=1, size=96, augmentation="none", dtype="float32", memory=at_once
    )
    wanted: list[uv.Objective] = [uv.Concept(3 + number) for number in range(objectives)]
    pictures = maximize_each(usae, [*wanted, not_a_number] if lost else wanted, settings)
    return next(iter(next(pictures).images.values()))


def shown(device: str) -> Tensor:
    """Views of a canvas, without the noise that a GPU draws itself."""
    preset = PRESETS["default"].model_copy(update={"noise": 0.0}).for_patches(0.1)
    canvas = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)).to(device)
    return views(canvas, preset, [torch.Generator().manual_seed(seed) for seed in (1, 2)], 3, 48)


def seen(device: str) -> Tensor:
    """Tokens of two scenes through a backbone of the demo."""
    usae = ut.load("demo", device)
    return usae.tokens(usae.names[0], draw(2, torch.Generator().manual_seed(0), 96).images)


def stored(device: str, compute_dtype: str) -> Tensor:
    """Tokens of three scenes through the demo's first backbone, read from a store in bfloat16."""
    source, specs = DemoImages(3), ut.load("demo").specs
    first = next(iter(specs))
    planned = plan(source, {first: specs[first]}, "bfloat16")
    with tempfile.TemporaryDirectory() as room:
        store = extract(source, planned.record, Path(room) / "store", device=device, compute_dtype=compute_dtype)
        return store.read([0]).tokens[first].float().clone()


def evaluated(device: str) -> Tensor:
    """R2 of each of the demo's backbones from each, on two scenes."""
    found = evaluate_source(ut.load("demo", device), DemoImages(2), batch=2)
    assert found is not None
    return torch.tensor([r2 for own in found[0]["r2"].values() for r2 in own.values()])


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
    found["a pack with a NaN in it"] = apart(drawn(device, 1, lost=True), one.cpu()), 5e-2
    found["a training that is resumed"] = apart(trained(DEFAULT, device, 2), trained(DEFAULT, device).cpu()), 1e-2
    found["a store"] = apart(stored(device, "float32"), exact := stored("cpu", "float32")), 1e-2
    found["a store, computed in bfloat16"] = apart(stored(device, "bfloat16"), exact), 5e-2
    found["evaluation, R2"] = apart(evaluated(device), evaluated("cpu")), 1e-2
    return found


def seconds(work: Callable[[], Any], device: str) -> float:
    """On the clock, until the device has done it."""
    if device != "cpu":
        torch.cuda.synchronize()
    began = time.perf_counter()
    work()
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter() - began


def matrix_rate(size: Size, device: str) -> float:
    """TFLOP/s of a product in bfloat16."""
    left = torch.ones(size.matrix, size.matrix, device=device, dtype=torch.bfloat16)
    seconds(lambda: left @ left, device)
    return 2 * size.matrix**3 / seconds(lambda: left @ left, device) / 1e12


def training_rate(size: Size, recipe: TrainingRecipe, device: str) -> float:
    """Tokens a second, of the second half of some steps."""
    world = known_world(4 * size.batch, torch.Generator().manual_seed(0), size.widths, shared=16, active=4)
    settings = FitSettings(n_concepts=size.n_concepts, k=min(32, size.n_concepts // 4), batch=size.batch, recipe=recipe)
    rates: list[float] = []
    fit_tokens(
        world.tokens,
        settings.model_copy(update={"steps": size.steps}),
        device=device,
        progress=lambda step, figures: rates.append(figures["tokens_per_second"]),
        log_every=max(1, size.steps // 2),
    )
    return rates[-1]


def drawing(size: Size, device: str) -> dict[str, float]:
    """Pictures a minute of the demo's backbones, the time of 6144 concepts, and the memory against its estimate."""
    usae = ut.load("demo", device)
    settings = uv.MaximizeSettings(steps=size.drawing_steps)
    objectives = [uv.Concept(number) for number in range(size.objectives)]
    list(maximize_each(usae, objectives[:1], settings.model_copy(update={"steps": 2})))
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    taken = seconds(lambda: list(maximize_each(usae, objectives, settings)), device)
    each = taken / len(objectives) / size.drawing_steps * 256
    figures = {"pictures a minute": 60 * len(usae.names) / each, "hours of 6144 concepts": 6144 * each / 3600}
    if device != "cpu":
        chosen = resolve_settings(usae, settings)
        config = view_config_for(usae, chosen, objectives)
        estimated = bytes_a_picture(config, usae.backbones, chosen.size or 0, len(usae.names))
        at_once = min(config.at_once, len(objectives))
        figures["peak, GB"] = torch.cuda.max_memory_allocated() / 1e9
        figures["estimate of it, GB"] = estimated * at_once / 1e9
    return figures


def largest_entries(size: Size, device: str) -> list[str]:
    """The five operations of a training that take longest, with their shares."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device != "cpu" else [])]
    with profile(activities=activities) as profiled:
        training_rate(size, DEFAULT, device)
    field = "self_device_time_total" if device != "cpu" else "self_cpu_time_total"
    entries = sorted(profiled.key_averages(), key=lambda entry: -getattr(entry, field))
    whole = sum(getattr(entry, field) for entry in entries) or 1
    return [f"{entry.key} {getattr(entry, field) / whole:.0%}" for entry in entries[:5]]


def compiled(size: Size, recipe: TrainingRecipe, device: str) -> dict[str, float]:
    """Milliseconds of a pass's loss and its gradients, as it is and compiled."""
    settings = FitSettings(n_concepts=size.n_concepts, k=min(32, size.n_concepts // 4), batch=size.batch, recipe=recipe)
    usae = new_usae(size.widths, settings).train().to(device)
    batch = {name: torch.randn(size.batch, width, device=device) for name, width in size.widths.items()}
    first, none = next(iter(size.widths)), torch.arange(0, device=device)

    def loss(batch: dict[str, Tensor]) -> Tensor:
        dense = recipe.batch_norm or recipe.auxiliary == "left_out"
        active = (
            dense_active(usae, first, batch[first], recipe, none, False)
            if dense
            else sparse_active(usae, first, batch[first], none)
        )
        return pass_loss(usae, batch, active, usae.names, recipe, recipe.matryoshka_fractions)

    loss(batch).backward()
    torch._dynamo.reset()
    backend = "inductor" if size is PAPER else "aot_eager"
    ways = {"as it is": loss, "compiled": torch.compile(loss, fullgraph=True, backend=backend)}
    found = {}
    for way, own in ways.items():
        own(batch).backward()
        taken = min(seconds(lambda own=own: own(batch).backward(), device) for _ in range(3))  # type: ignore[misc]
        found[f"ms of a loss, {recipe.name}, {way}"] = 1e3 * taken
    return found


def extraction(size: Size, device: str) -> dict[str, float]:
    """Images/s of the demo's backbones alone, on canvases that are there, and of an extraction by their side."""
    source = DemoImages(size.images)
    planned = plan(source, ut.load("demo").specs)
    largest = largest_input(planned.backbones)
    canvases = torch.rand(size.images, 3, largest, largest, device=device)
    networks = [backbone.to(device) for backbone in planned.backbones.values()]

    def bare() -> None:
        with torch.no_grad():
            for some in canvases.split(32):
                for network in networks:
                    network(some, planned.record.grid)

    bare()
    alone = seconds(bare, device)
    with tempfile.TemporaryDirectory() as room:
        out = Path(room) / "store"
        whole = seconds(
            lambda: extract(
                source, planned.record, out, device=device, backbones=planned.backbones, compute_dtype="float32"
            ),
            device,
        )
    return {"images/s, bare networks": size.images / alone, "extraction, share of the bare networks": alone / whole}


def training(size: Size, recipe: TrainingRecipe, device: str) -> dict[str, float]:
    """Tokens/s, and what the encoders' products alone, forward, make of the card's matrix rate: the rest is more."""
    rate = training_rate(size, recipe, device)
    operations = 2 * size.n_concepts * sum(size.widths.values())
    if recipe.encoding == "share":
        operations /= len(size.widths)  # type: ignore[assignment]
    share = rate * operations / 1e12 / matrix_rate(size, device)
    return {f"tokens/s, {recipe.name}": rate, f"share of the matrix rate, {recipe.name}, at least": share}


def measures(size: Size, device: str, began: float) -> dict[str, Any]:
    """{what: how much}; None for what there was no time for."""
    found: dict[str, Any] = {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "matrix rate": lambda: {"matrix rate, TFLOP/s": matrix_rate(size, device)},
        "default training": lambda: training(size, DEFAULT, device),
        "published training": lambda: training(size, PUBLISHED, device),
        "drawing": lambda: drawing(size, device),
        "extraction": lambda: extraction(size, device),
        "profile": lambda: {"largest entries of training": largest_entries(size, device)},
        "default compiled": lambda: compiled(size, DEFAULT, device),
        "published compiled": lambda: compiled(size, PUBLISHED, device),
    }
    for what, part in parts.items():
        found |= part() if time.monotonic() - began < BUDGET else {f"{what} (left out: no time)": None}
    return found


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
    checked = checks(chosen.device)
    for what, (far, most) in checked.items():
        print(f"{'ok    ' if far <= most else 'FAILED'} {what:34s} {far:.1e} apart, at most {most:.0e}", flush=True)
    measured = measures(TINY if chosen.tiny or chosen.device == "cpu" else PAPER, chosen.device, began)
    for what, figure in measured.items():
        print(f"{what:41s} {f'{figure:.4g}' if isinstance(figure, float) else figure}", flush=True)
    report = {"card": card, "torch": torch.__version__, "checks": checked, "measures": measured}
    if chosen.json:
        with open(chosen.json, "w") as file:
            json.dump(report, file, indent=1)
    return int(any(not far <= most for far, most in checked.values()))


if __name__ == "__main__":
    sys.exit(main())
