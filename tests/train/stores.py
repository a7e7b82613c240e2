"""A small store of pictures, a training from it that can be stopped, and a disk that is full."""

import json
import resource
import signal
import subprocess
import sys
import time
from contextlib import ContextDecorator

from PIL import Image

from usae_train.backbones.backbone import BackboneSpec
from usae_train.images.sources import open_images
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.settings import ExtractSettings

OPTIONS = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
SPECS = {
    "left": BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=16, options=OPTIONS),
    "right": BackboneSpec(model="vit_tiny_patch16_224", weights="random", input_size=24, options=OPTIONS, seed=1),
}
YAML = "".join(
    f"{name}: {{model: {spec.model}, weights: random, input_size: {spec.input_size}, seed: {spec.seed}, "
    f"options: {json.dumps(OPTIONS)}}}\n"
    for name, spec in SPECS.items()
)


def make_pictures(folder):
    folder.mkdir()
    for number in range(11):
        Image.effect_noise((24, 24), 10 + 20 * number).convert("RGB").save(folder / f"{number:02d}.png")
    (folder / "04.png").write_bytes(b"broken")
    return folder


def write(pictures, out, readers=0, **how):
    source = open_images(pictures)
    return extract(
        source,
        plan_extraction(source, SPECS)[0],
        out,
        ExtractSettings(image_batch=2, max_broken=0.2, readers=readers),
        images_per_shard=4,
        **how,
    )


def begun(words, out, wait, within="."):
    """Run a training of `usae-train` until some states were written; the process, and where its states lie."""
    process = subprocess.Popen([sys.executable, "-c", "from usae_train.cli import main; main()", *words])
    room = out.with_name(f".{out.name}.training")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        if len(list((room / within).glob("step-*.pt"))) >= wait:
            break
        time.sleep(0.02)
    return process, room


class FullDisk(ContextDecorator):
    """No file may grow beyond so many bytes: the nearest to a full disk that needs no disk."""

    def __init__(self, size):
        self.size = size

    def __enter__(self):
        self.handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        self.limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.limits[1]))

    def __exit__(self, *ended):
        resource.setrlimit(resource.RLIMIT_FSIZE, self.limits)
        signal.signal(signal.SIGXFSZ, self.handler)
