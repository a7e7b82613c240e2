"""What extraction costs beside the backbones: images/s of `extract` against their bare forward passes, in one run.

JPEGs of 500 x 375 noise are decoded, seen by two ViT-S of 224 px with random weights, resampled to a common grid and
written to a store; the same batches, decoded before, go through the same backbones alone, in the same dtype. Both take
turns, and the best of each is compared. CPU seconds, those of processes that decode included, stand beside the clock's,
for a machine that others use as well. Run from the project's root:

    python tests/benchmarks/extract_speed.py [--images 144] [--device cpu]

Measured (--images 144 --half --turns 2, OMP_NUM_THREADS=1, one of two cores while two other processes ran): 4.39 of the
bare backbones' 4.76 images/s on the clock, a ratio of 0.92, and 6.45 of 7.07 in processor time, 0.91, with decoding.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from usae_train.backbones.backbone import Backbone
from usae_train.backbones.spec import BackboneSpec
from usae_train.images.sources import open_images, read_batches
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings

SPECS = {
    "vit": BackboneSpec(model="vit_small_patch16_224", weights="random"),
    "dino": BackboneSpec(model="vit_small_patch14_dinov2", weights="random", input_size=224),
}
ASKED = 0.85


def bare(backbones: dict[str, Backbone], batches: list[torch.Tensor], device: str, compute_dtype: torch.dtype) -> None:
    """The backbones' forward passes alone."""
    with torch.no_grad(), torch.autocast(device, compute_dtype, enabled=compute_dtype != torch.float32):
        for canvases in batches:
            for backbone in backbones.values():
                backbone(canvases)
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(task: Callable[[], object]) -> tuple[float, float]:
    """What a task takes by the clock and of CPU time, its processes' included once they have ended."""
    clock, processor = time.perf_counter(), sum(os.times()[:4])
    task()
    return time.perf_counter() - clock, sum(os.times()[:4]) - processor


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=144)
    parser.add_argument("--batch", type=int, default=16, help="pictures a forward pass")
    parser.add_argument("--workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--half", action="store_true", help="the backbones run in bfloat16")
    chosen = parser.parse_args()
    compute_dtype = torch.bfloat16 if chosen.half else torch.float32
    with tempfile.TemporaryDirectory() as room:
        folder = Path(room) / "pictures"
        folder.mkdir()
        for number in range(chosen.images):
            Image.effect_noise((500, 375), 80).convert("RGB").save(folder / f"{number:05d}.jpg", quality=90)
        source = open_images(folder)
        record, _, built = plan_extraction(source, SPECS)
        backbones = {name: backbone.to(chosen.device) for name, backbone in built.items()}
        batches = [canvases.to(chosen.device) for _, canvases, _ in read_batches(source, 224, chosen.batch)]
        bare(backbones, batches[:1], chosen.device, compute_dtype)
        dtype = str(compute_dtype).removeprefix("torch.")
        settings = ExtractSettings(image_batch=chosen.batch, compute_dtype=dtype, readers=chosen.workers)
        alone, whole = [], []
        for turn in range(chosen.turns):
            alone.append(seconds(lambda: bare(backbones, batches, chosen.device, compute_dtype)))
            task = partial(
                extract,
                source,
                record,
                Path(room) / f"store-{turn}",
                settings,
                device=chosen.device,
                backbones=backbones,
            )
            whole.append(seconds(task))
    for kind, name in enumerate(("clock", "CPU")):
        best = [min(each[kind] for each in measured) for measured in (alone, whole)]
        print(
            f"{name:5s}: bare {chosen.images / best[0]:7.2f} images/s, extract {chosen.images / best[1]:7.2f}, "
            f"ratio {best[0] / best[1]:.2f} (asked: {ASKED})"
        )


if __name__ == "__main__":
    main()
