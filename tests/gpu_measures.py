"""What `gpu.py` measures: training, drawing, extraction, what takes longest in each, and what compiling them gives."""

import math
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.backbone import build_backbones, set_compute_dtype
from usae_train.backbones.common_sizes import common_grid, largest_input
from usae_train.backbones.spec import BackboneSpec
from usae_train.demo.activations import known_world
from usae_train.images.indexing import IndexedImages
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, PUBLISHED, FitSettings, TrainingRecipe
from usae_train.training.step import dense_active, pass_loss, sparse_active
from usae_train.training.step_plan import StepPlan
from usae_viz.optimization.batching import bytes_per_picture
from usae_viz.optimization.maximize import draw_group, maximize_each, view_config_for
from usae_viz.optimization.resolving import resolve_settings
from usae_viz.views.augmentation import draw_views, show_views
from usae_viz.views.viewing import encode_views


class Size(NamedTuple):
    """How large everything is: the paper's, or what CI has the time for."""

    specs: dict[str, BackboneSpec] | None  # of the networks that draw and extract; the demo's by default
    widths: dict[str, int]
    n_concepts: int
    batch: int
    steps: int
    objectives: int
    drawing_steps: int
    images: int
    matrix: int


PAPER_SPECS = {
    "siglip": BackboneSpec(model="vit_base_patch16_siglip_224", weights="random", input_size=224),
    "dino": BackboneSpec(model="vit_small_patch14_dinov2", weights="random", input_size=224),
    "vit": BackboneSpec(model="vit_base_patch16_224", weights="random", input_size=224),
}
AIMS = {
    "tokens/s, default": "1,000,000",
    "tokens/s, published": "1,000,000",
    "hours of 6144 concepts": "2",
    "extraction, share of the bare networks": "0.85",
}
PAPER = Size(PAPER_SPECS, {"siglip": 768, "dino": 384, "vit": 768}, 6144, 6272, 60, 32, 64, 256, 8192)
BUDGET = 360.0  # seconds after which nothing is begun any more; the longest measurement has two minutes then
TINY = Size(None, {"a": 16, "b": 8, "c": 16}, 48, 64, 4, 1, 2, 4, 64)


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


def space(size: Size, device: str) -> ut.USAE:
    """The demo, or a space of random weights over networks of random weights."""
    if size.specs is None:
        return ut.load("demo", device)
    grid = common_grid(list(build_backbones(size.specs, warn=False).values()))
    settings = FitSettings(n_concepts=size.n_concepts, k=32, recipe=DEFAULT)
    return new_usae(size.widths, settings, specs=size.specs, grid=grid).eval().requires_grad_(False).to(device)


def drawing(size: Size, device: str) -> dict[str, float]:
    """Pictures a minute, the time of 6144 concepts, and the memory against its estimate."""
    usae = space(size, device)
    settings = uv.MaximizeSettings(steps=size.drawing_steps)
    objectives = [uv.Concept(number) for number in range(size.objectives)]
    list(maximize_each(usae, objectives[:1], settings.model_copy(update={"steps": 2})))
    taken = seconds(lambda: list(maximize_each(usae, objectives, settings)), device)
    each = taken / len(objectives) / size.drawing_steps * 256
    peak, estimated = memory_of_a_pack(usae, objectives, settings.model_copy(update={"steps": 2}), device)
    return {
        "pictures a minute": 60 * len(usae.names) / each,
        "hours of 6144 concepts": 6144 * each / 3600,
        "peak of drawing, GB": peak,
        "estimate of it, GB": estimated,
    }


def memory_of_a_pack(
    usae: ut.USAE, objectives: Sequence[uv.Objective], settings: uv.MaximizeSettings, device: str
) -> tuple[float, float]:
    """GB that are taken at most besides what is there when pictures are drawn together, and GB that were estimated.

    The first is not known of a CPU: NaN.
    """
    chosen = resolve_settings(usae, settings)
    config = view_config_for(usae, chosen, objectives)
    one, two = (bytes_per_picture(config, usae.backbones, chosen.size or 0, n * len(usae.names), n) for n in (1, 2))
    estimated = one + (two - one) * (min(config.batch_size, len(objectives)) - 1)
    return peak_gigabytes(lambda: list(maximize_each(usae, objectives, settings)), device), estimated / 1e9


def peak_gigabytes(work: Callable[[], Any], device: str) -> float:
    """What something takes of a GPU's memory at most, besides what is there; NaN on a CPU."""
    if device == "cpu":
        work()
        return math.nan
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    work()
    return float(torch.cuda.max_memory_allocated() - before) / 1e9


def largest_entries(work: Callable[[], Any], device: str) -> list[str]:
    """The five operations of some work that take longest, with their shares: on a GPU of its kernels alone."""
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device != "cpu" else [])]
    with profile(activities=activities) as profiled:
        work()
    kind = DeviceType.CPU if device == "cpu" else DeviceType.CUDA
    field = "self_cpu_time_total" if device == "cpu" else "self_device_time_total"
    entries_of_kind = [entry for entry in profiled.key_averages() if entry.device_type == kind]
    entries = sorted(entries_of_kind, key=lambda entry: -getattr(entry, field))
    whole = sum(getattr(entry, field) for entry in entries) or 1
    return [f"{entry.key[:60]} {getattr(entry, field) / whole:.0%}" for entry in entries[:5]]


def profiles(size: Size, device: str) -> dict[str, list[str]]:
    """The largest entries of a training of both recipes, of two steps of drawing, and of extraction."""
    usae, few = space(size, device), uv.MaximizeSettings(steps=2, seeds=min(4, size.objectives))
    pictures = range(len(usae.names) * few.seeds)
    works: dict[str, Callable[[], Any]] = {
        "default training": lambda: training_rate(size, DEFAULT, device),
        "published training": lambda: training_rate(size, PUBLISHED, device),
        "drawing": lambda: draw_group(usae, uv.Concept(0), few, pictures),
        "extraction": lambda: extraction(size, device),
    }
    return {f"largest entries of {what}": largest_entries(work, device) for what, work in works.items()}


def compiled(size: Size, recipe: TrainingRecipe, device: str) -> dict[str, float]:
    """Milliseconds of a pass's loss and its gradients, as it is and compiled."""
    settings = FitSettings(n_concepts=size.n_concepts, k=min(32, size.n_concepts // 4), batch=size.batch, recipe=recipe)
    usae = new_usae(size.widths, settings).train().to(device)
    batch = {name: torch.randn(size.batch, width, device=device) for name, width in size.widths.items()}
    first, none = next(iter(size.widths)), torch.arange(0, device=device)
    plan = StepPlan.of_all(recipe, usae.names)

    def loss(batch: dict[str, Tensor]) -> Tensor:
        dense = recipe.batch_norm or recipe.auxiliary == "left_out"
        active = (
            dense_active(usae, first, batch[first], none, plan)
            if dense
            else sparse_active(usae, first, batch[first], none)
        )
        return pass_loss(usae, batch, active, plan)

    return {f"ms of a loss, {recipe.name}, {way}": ms for way, ms in both_ways(loss, batch, size, device).items()}


def compiled_views(size: Size, device: str) -> dict[str, float]:
    """Milliseconds of views, a backbone, an objective and their gradient, as they are and compiled."""
    usae = space(size, device)
    chosen = resolve_settings(usae, uv.MaximizeSettings(steps=2))
    config = view_config_for(usae, chosen, [uv.Concept(0)])
    backbone, objective, side = usae.backbones[usae.names[0]], uv.Concept(0), largest_input(usae.backbones)
    canvas = torch.rand(1, 3, chosen.size or 0, chosen.size or 0, device=device, requires_grad=True)
    drawn = draw_views(canvas, config.augmentation, [torch.Generator().manual_seed(0)], config.n_views, side)

    def scored(canvas: Tensor) -> Tensor:
        shown = show_views(canvas, config.augmentation, drawn, config.n_views, side)
        return objective(encode_views(config, backbone, canvas, shown)).sum()

    return {f"ms of views and a backbone, {way}": ms for way, ms in both_ways(scored, canvas, size, device).items()}


def both_ways(loss: Callable[[Any], Tensor], inputs: Any, size: Size, device: str) -> dict[str, float]:
    """Milliseconds of a loss and its gradients, the best of three."""
    torch._dynamo.reset()
    backend = "inductor" if size is PAPER else "aot_eager"
    milliseconds = {}
    for way, call in {
        "as it is": loss,
        "compiled": torch.compile(loss, fullgraph=True, backend=backend),
    }.items():
        call(inputs).backward()
        milliseconds[way] = 1e3 * min(seconds(lambda call=call: call(inputs).backward(), device) for _ in range(3))  # type: ignore[misc]
    return milliseconds


class ReadyImages(IndexedImages):
    """Canvases that are there already: what is measured beside them is not how fast pictures are decoded."""

    name, left_out, drawn_from = "canvases that are there", "", None

    def __init__(self, count: int) -> None:
        self.count, self.canvases = count, dict[int, Tensor]()

    def __len__(self) -> int:
        return self.count

    def read(self, index: int, size: int) -> Tensor:  # noqa: ARG002
        if size not in self.canvases:
            self.canvases[size] = torch.rand(3, size, size, generator=torch.Generator().manual_seed(0))
        return self.canvases[size]

    def label(self, index: int) -> str:
        return str(index)

    def fingerprint(self) -> str:
        return f"{self.count} canvases"


def extraction(size: Size, device: str) -> dict[str, float]:
    """Images/s of the networks alone, and of an extraction by their side; both on canvases that are there."""
    source = ReadyImages(size.images)
    planned = plan_extraction(source, size.specs or ut.load("demo").specs)
    largest = largest_input(planned.backbones)
    canvases = torch.rand(size.images, 3, largest, largest, device=device)
    networks = [backbone.to(device) for backbone in planned.backbones.values()]
    dtype = "auto" if device != "cpu" else "float32"
    set_compute_dtype(networks, dtype)

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
                source,
                planned.record,
                out,
                ExtractSettings(compute_dtype=dtype),
                device=device,
                backbones=planned.backbones,
            ),
            device,
        )
    return {"images/s, bare networks": size.images / alone, "extraction, share of the bare networks": alone / whole}


def training(size: Size, recipe: TrainingRecipe, device: str) -> dict[str, float]:
    """Tokens/s, the peak, and what the encoders' products alone, forward, make of the card's matrix rate.

    The rest of a step is more.
    """
    rates: list[float] = []
    peak = peak_gigabytes(lambda: rates.append(training_rate(size, recipe, device)), device)
    rate = rates[0]
    operations = 2 * size.n_concepts * sum(size.widths.values())
    if recipe.encoding == "share":
        operations /= len(size.widths)  # type: ignore[assignment]
    share = rate * operations / 1e12 / matrix_rate(size, device)
    return {
        f"tokens/s, {recipe.name}": rate,
        f"share of the matrix rate, {recipe.name}, at least": share,
        f"peak of training, {recipe.name}, GB": peak,
    }


def measures(size: Size, device: str, until: float) -> dict[str, Any]:
    """{what: how much}; None for what was not begun before a time of the clock."""
    results: dict[str, Any] = {}
    parts: dict[str, Callable[[], dict[str, Any]]] = {
        "matrix rate": lambda: {"matrix rate, TFLOP/s": matrix_rate(size, device)},
        "default training": lambda: training(size, DEFAULT, device),
        "published training": lambda: training(size, PUBLISHED, device),
        "drawing": lambda: drawing(size, device),
        "extraction": lambda: extraction(size, device),
        "profiles": lambda: profiles(size, device),
        "default compiled": lambda: compiled(size, DEFAULT, device),
        "published compiled": lambda: compiled(size, PUBLISHED, device),
        "views compiled": lambda: compiled_views(size, device),
    }
    for what, part in parts.items():
        results |= part() if time.monotonic() < until else {f"{what} (left out: no time)": None}
    return {what: figure for what, figure in results.items() if not (isinstance(figure, float) and math.isnan(figure))}
