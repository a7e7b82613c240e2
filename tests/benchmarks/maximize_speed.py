"""How fast is a step of the maximization? Against the bare networks, and against Horama on the same network.

Needs the `bench` extra. Run from the project's root; `--part step` takes about five minutes on 2 cores, `--part race`
half an hour, `--part scale` about fifteen minutes:

    python tests/benchmarks/maximize_speed.py --part step
    python tests/benchmarks/maximize_speed.py --part race
    python tests/benchmarks/maximize_speed.py --part scale

`step`: seconds a step, ViT-B/16 with random weights at 224 px, 6 crops, canvases of 512 and 1280 px; the bare network
is timm's forward to the last block and its backward to the input, on the same crops in the same precision. Horama gets
the network as its README does, a timm model in evaluation whose weights have gradients.
`race`: the pre-code that Horama reaches after 256 steps, and the time in which this project reaches it, both measured
under views that neither was optimized on (those of the verification, and crops of Horama's size). Each has its own
defaults: for `fourier` this project's views are crops of 0.6 to 1 of the canvas, for `maco` those of MACO's paper.
`scale`: seconds and peak memory a step for 1 to 4 backbones, 1 to 32 crops, canvases of 128 to 1024 px, 1 to 64
pictures (ViT-Ti/16, so that the table is done in minutes).

Measured on two cores of an EPYC with avx512_bf16. `step`: 1.33 to 1.57 s, 0.91 to 1.08 of the bare network's 1.46 s
and 0.31 to 0.36 of Horama's 3.9 to 5.0 s; a quarter cannot be had there, the matrix products alone take 1.05 s. `race`
with vit_small_patch16_224 and one thread: for `fourier` Horama has 0.637 after 256 steps (651 s, an earlier run), this
project 0.652 after 8 (7 s); for `maco` Horama has 0.372 (611 s), this project 0.376 after 128 (108 s), 0.18 of its
time. `scale`: 0.025 to 0.036 s for a crop, a backbone and a picture, whatever their number, but for a single crop
(0.062) and a canvas of 1024 px (0.045); the peak is 0.90 GB with one crop, 1.59 with 32, 1.22 with four backbones, 1.31
with a canvas of 1024, 1.55 with 64 pictures at once.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from clocks import clocks, since

from usae_train.backbones.backbone import build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.backbones.spec import BackboneSpec
from usae_train.model.usae import USAE
from usae_viz.objectives import Concept
from usae_viz.optimization.loop import CanvasSpec, optimize
from usae_viz.parameterizations import analytic_spectrum, parameterization
from usae_viz.views.augmentation import augmented_views
from usae_viz.views.precision import dtype_for
from usae_viz.views.presets import AUGMENTATION_PRESETS, HELD_OUT
from usae_viz.views.viewing import ViewConfig, encode_views

CONCEPT, CROPS = 7, 6


def random_usae(models: dict[str, str], n_concepts: int = 6144) -> USAE:
    """An untrained USAE over random backbones of 224 px."""
    specs = {name: BackboneSpec(model=model, weights="random", input_size=224) for name, model in models.items()}
    backbones = build_backbones(specs)
    torch.manual_seed(0)
    widths = {name: backbone.width for name, backbone in backbones.items()}
    return USAE(widths, n_concepts, 32, specs=specs, grid=common_grid(list(backbones.values()))).eval()


def seconds(action: Callable[[], object], times: int = 3) -> float:
    """Best of several runs, after one to warm up."""
    action()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        action()
        taken.append(time.perf_counter() - start)
    return min(taken)


def ours(
    usae: USAE,
    image: str,
    size: int,
    steps: int,
    crops: int = CROPS,
    pictures: int = 1,
    seed: int = 0,
    preset: str = "maco",
) -> torch.Tensor:
    """Draw with this project's loop; returns the canvases."""
    view_config = ViewConfig(usae, AUGMENTATION_PRESETS[preset].for_patches(1 / 14), crops, "auto")
    drawn = [CanvasSpec(str(n), Concept(CONCEPT + n), seed, tuple(usae.names)) for n in range(pictures)]
    made = parameterization(image, [seed] * pictures, size, "1/f" if image == "maco" else None)
    return optimize(view_config, made, drawn, steps=steps, learning_rate=made.learning_rate).canvas


def horama(usae: USAE, image: str, size: int, steps: int) -> torch.Tensor:
    """Draw the same concept through the same network with Horama; returns the canvas, 0..1."""
    import horama as package

    (name,) = usae.names
    with torch.no_grad():  # folded once, not a part of each step's graph
        backbone, readout = usae.backbones[name], usae.readout(name, [CONCEPT])
    network: Any = backbone.model
    network.requires_grad_()  # a timm model as it comes, as in Horama's README: its weights have gradients
    fused_attention(backbone.model, True)

    def objective(images: torch.Tensor) -> torch.Tensor:
        features = network.forward_features(images)[:, network.num_prefix_tokens :]
        return readout(features).mean()

    with tempfile.TemporaryDirectory() as folder:  # Horama reads its spectrum from the working folder
        np.save(Path(folder) / "spectrum_decorrelated.npy", analytic_spectrum(size).numpy())
        before = Path.cwd()
        os.chdir(folder)
        try:
            draw = getattr(package, image)
            picture, _ = draw(
                objective,
                total_steps=steps,
                image_size=size,
                crops_per_iteration=CROPS,
                values_range=(-1, 1),
                device="cpu",
            )
        finally:
            os.chdir(before)
            backbone.model.requires_grad_(False)
            fused_attention(backbone.model, False)
    canvas: torch.Tensor = (picture.detach() * 0.5 + 0.5).clamp(0, 1)
    return canvas


def bare(usae: USAE, crops: int, dtype: torch.dtype) -> Callable[[], None]:
    """timm's own forward and backward to the input, nothing else."""
    shown = torch.rand(crops, 3, 224, 224)

    def step() -> None:
        for backbone in usae.backbones.values():
            fused_attention(backbone.model, True)
            images = shown.clone().requires_grad_()
            with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
                network: Any = backbone.model
                features = network.forward_features(images)
            torch.autograd.grad(features.float().mean(), images)
            fused_attention(backbone.model, False)

    return step


def fused_attention(model: torch.nn.Module, used: bool) -> None:
    """timm uses torch's fused attention; `Backbone` does not on the CPU, where it is slower."""
    module: Any
    for module in model.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = used


def unseen_pre_code(usae: USAE, canvas: torch.Tensor, near: bool = False) -> float:
    """Mean pre-code of the concept in 32 views that no optimization saw; with `near` in crops of Horama's size."""
    (name,) = usae.names
    view_config = ViewConfig(
        usae, HELD_OUT.model_copy(update={"crop": (0.2, 0.35), "shift": 0.3}) if near else HELD_OUT, 32
    )
    with torch.no_grad():
        shown = augmented_views(
            canvas[None], view_config.augmentation, [torch.Generator().manual_seed(999)], view_config.n_views, 224
        )
        return encode_views(view_config, usae.backbones[name], canvas[None], shown).pre_code(CONCEPT).mean().item()


def step_part() -> None:
    usae = random_usae({"vit": "vit_base_patch16_224"})
    dtype = dtype_for("auto", usae.backbones["vit"])
    full, auto = seconds(bare(usae, CROPS, torch.float32)), seconds(bare(usae, CROPS, dtype))
    print(f"bare network, {CROPS} crops: float32 {full:.2f} s, {dtype} {auto:.2f} s")
    print("canvas  image    ours s   / bare   Horama s   ours / Horama")
    for size in (512, 1280):
        for image in ("maco", "fourier"):
            mine = seconds(partial(ours, usae, image, size, 4), 2) / 4
            other = seconds(partial(horama, usae, image, size, 2), 1) / 2
            print(
                f"{size:6d}  {image:8s} {mine:6.2f}   {mine / auto:6.2f}   {other:8.2f}   {mine / other:8.2f}",
                flush=True,
            )


def race_part(model: str, images: Sequence[str]) -> None:
    usae = random_usae({"vit": model})
    for image in images:
        began = clocks()
        theirs_drawn = horama(usae, image, 512, 256)
        theirs = since(began)
        goal, near = unseen_pre_code(usae, theirs_drawn), unseen_pre_code(usae, theirs_drawn, near=True)
        print(f"{image}: Horama after 256 steps: pre-code {goal:.3f} ({near:.3f} near), {theirs[0]:.0f} s", flush=True)
        for steps in (8, 16, 32, 64, 128):
            began = clocks()
            canvas = ours(usae, image, 512, steps, preset="maco" if image == "maco" else "default")[0]
            mine = since(began)
            reached, near = unseen_pre_code(usae, canvas), unseen_pre_code(usae, canvas, near=True)
            share = f"{mine[0] / theirs[0]:.2f} of the time, {mine[1] / theirs[1]:.2f} of the processor's"
            print(
                f"  ours, {steps:4d} steps: {reached:.3f} ({near:.3f} near), {mine[0]:.0f} s, {share}",
                flush=True,
            )
            if reached >= goal:
                break


def scale_part() -> None:
    print("backbones  crops  canvas  pictures   s/step   s/(backbone crop picture)   peak GB", flush=True)
    cases = [(n, 6, 224, 1) for n in (1, 2, 3, 4)] + [(1, c, 224, 1) for c in (1, 2, 8, 16, 32)]
    cases += [(1, 6, s, 1) for s in (128, 512, 1024)] + [(1, 6, 224, p) for p in (4, 16, 64)]
    for case in cases:  # a process each: the peak is a process's
        subprocess.run([sys.executable, __file__, "--case", ",".join(map(str, case))], check=True)


def one_case(n_backbones: int, crops: int, size: int, pictures: int) -> None:
    usae = random_usae({f"vit{n}": "vit_tiny_patch16_224" for n in range(n_backbones)})
    taken = seconds(lambda: ours(usae, "fourier", size, 2, crops, pictures), 2) / 2
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    unit = taken / (n_backbones * crops * pictures)
    print(f"{n_backbones:9d} {crops:6d} {size:7d} {pictures:9d} {taken:8.3f} {unit:27.4f} {peak:9.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("step", "race", "scale"), default="step")
    parser.add_argument("--model", default="vit_base_patch16_224", help="the race's network")
    parser.add_argument("--parameterization", choices=("maco", "fourier"), help="the race with this alone")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        one_case(*(int(number) for number in chosen.case.split(",")))
    else:
        {
            "step": step_part,
            "race": lambda: race_part(chosen.model, [chosen.image] if chosen.image else ["maco", "fourier"]),
            "scale": scale_part,
        }[chosen.part]()


if __name__ == "__main__":
    main()
