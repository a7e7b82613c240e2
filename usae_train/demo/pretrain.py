"""Pretraining of the demo backbones: one loop, three ways of being taught.

What makes their gradients draw pictures (Santurkar et al. 2019, Engstrom et al. 2019): every loss has a term per patch,
some of the scenes are zoomed, the pictures are dirtied with noise of several kinds, and each batch is seen twice, the
second time with the perturbation that the first backward pass suggests ("free" adversarial training, Shafahi et al.
2019): one pass serves the weights and the attack.

What lets them learn shapes: the first 0.55 of the steps is clean. With dirt and perturbation from the start a plain ViT
read 0.22 of the shapes after 4400 steps (chance 0.17), and 0.25 after 1800 clean ones. With a convolutional stem (Xiao
et al. 2021, "Early convolutions help transformers see better") it read 0.33 after 1600, 0.45 after 3400, 0.54 after
6000 clean steps, and 0.64 at the end, after the perturbed ones (linear probe, 300 scenes).

Muon (Jordan et al. 2024) for the blocks' matrices: after 150 s on one core the supervised backbone read 60% of the
texture patches, with AdamW 38% (batch 32; 64 was worse with either, 16 and a rate of 0.05 were worse with Muon).

The weights in the package were made in pieces. `vit` and `siglip`, about 80 minutes each on one of two cores, were
begun again from their checkpoints at steps 3500 and 3300 with 9500 steps instead of 9000, a clean share of 0.55 instead
of 0.5 and a perturbation of 5/255 instead of 6/255, of which only the learning rate had been felt till then. `dino`,
about 95 minutes on one core, was taught without outlines for its first 3200 steps (2440 of them with a loss for knowing
a thing again whose size gave it away); its trunk then went on as this code has it, from step 2000 of 7500. A rebuild
gives weights like them, not the same. One whole rebuild (seed 0) has read (vit / dino / siglip, probes on 400 scenes):
colour 0.973 / 0.956 / 0.989, texture 0.962 / 0.946 / 0.963, shape 0.632 / 0.534 / 0.582; the weights in the package
0.973 / 0.960 / 0.989, 0.964 / 0.936 / 0.963, 0.649 / 0.512 / 0.603. With 1500 scenes for the probes the rebuilt ones
read shapes with 0.666 / 0.569 / 0.643.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import timm
import torch
from kornia.filters import gaussian_blur2d
from safetensors.torch import save_file
from torch import Tensor, nn

from usae_train.backbones.spec import BackboneSpec
from usae_train.demo.lessons import ImageText, Lesson, SelfSupervised, Supervised
from usae_train.files.atomic import atomic_path
from usae_train.files.tensor_checks import Damaged, check_moment_sizes, check_tensors
from usae_train.files.torch_state import read_torch_file, write_state
from usae_train.runtime.errors import UsageError
from usae_train.runtime.printing import one_line
from usae_train.scenes import world as scenes

INPUT_SIZE = scenes.SIZE
SCENES_PER_BATCH = 32
PERTURBATION = 5 / 255  # L-infinity; not tuned
REPLAYS = 2
ADAMW_LEARNING_RATE = 2e-3  # AdamW's, for all but the blocks' matrices
MUON_LEARNING_RATE = 0.02
WARM_UP = 50
WEIGHT_DECAY = 0.05
CLEAN, RAMP = 0.55, 0.2  # share of the steps without dirt and perturbation, and of those in which they grow

# The paper's three in small: names, token layout and patch sizes differ in the same ways. Read at the last block.
SPECS: dict[str, BackboneSpec] = {
    "vit": BackboneSpec(
        model="vit_tiny_r_s16_p8_224",
        weights="backbones/vit.safetensors",
        input_size=INPUT_SIZE,
        options={"patch_size": 3, "embed_dim": 160, "depth": 6, "num_heads": 5},
    ),
    "dino": BackboneSpec(
        model="vit_tiny_r_s16_p8_224",
        weights="backbones/dino.safetensors",
        input_size=INPUT_SIZE,
        options={"patch_size": 2, "embed_dim": 128, "depth": 6, "num_heads": 4, "reg_tokens": 4},
    ),
    "siglip": BackboneSpec(
        model="vit_tiny_r_s16_p8_224",
        weights="backbones/siglip.safetensors",
        input_size=INPUT_SIZE,
        options={
            "patch_size": 3,
            "embed_dim": 160,
            "depth": 6,
            "num_heads": 5,
            "class_token": False,
            "global_pool": "avg",
            "fc_norm": False,
        },
    ),
}
LESSONS: dict[str, type[Lesson]] = {"vit": Supervised, "dino": SelfSupervised, "siglip": ImageText}
PRETRAINING_STEPS: dict[str, int] = {"vit": 9500, "dino": 7500, "siglip": 9500}


ZOOMED, PLAIN_SURFACES = 0.25, 0.5  # shares of scenes and of surfaces (`scenes.draw_parameters`)

StepReport = Callable[[int, int, float], None]  # step, steps, loss
Optimized = tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]


def pretrain(
    name: str,
    file: Path,
    seed: int = 0,
    steps: int | None = None,
    device: str = "cpu",
    report: StepReport = lambda step, steps, loss: None,
    checkpoint: Path | None = None,
) -> None:
    """Train one of the demo backbones on scenes and write its weights, in half precision, to `file`.

    Args:
        name: a key of `SPECS`.
        file: .safetensors to write.
        seed: seed of the weights, the scenes and the perturbations.
        steps: optimizer steps; `PRETRAINING_STEPS[name]` by default.
        device: where to train.
        report: called every 20 steps with step, steps and the mean loss.
        checkpoint: where to keep the training state; a run that finds one resumes from it.
    """
    steps = steps or PRETRAINING_STEPS[name]
    pupil = _Pupil(name, seed).to(device)
    optimizers = _optimizers(pupil)
    schedules = [_schedule(optimizer, steps) for optimizer in optimizers]
    parts: dict[str, Any] = {
        "pupil": pupil,
        **{f"optimizer{i}": o for i, o in enumerate(optimizers)},
        **{f"schedule{i}": s for i, s in enumerate(schedules)},
    }
    step = _resume(checkpoint, parts, device) if checkpoint is not None and checkpoint.is_file() else 0
    losses: list[float] = []
    while step < steps:
        # every batch has a generator of its own, so that a resumed run sees what an unbroken one would
        generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
        batch_losses = _teach(pupil, [*zip(optimizers, schedules, strict=True)], generator, step / steps, device)
        losses.extend(batch_losses)
        step += len(batch_losses)
        if step % 20 < len(batch_losses):
            report(step, steps, sum(losses) / len(losses))
            losses.clear()
        if checkpoint is not None and (step % 200 < len(batch_losses) or step >= steps):
            write_state({**{name: part.state_dict() for name, part in parts.items()}, "step": step}, checkpoint)
    with atomic_path(file) as temporary:
        save_file({k: v.half().contiguous() for k, v in pupil.trunk.state_dict().items()}, temporary)


def _teach(
    pupil: _Pupil, optimized: Sequence[Optimized], generator: torch.Generator, progress: float, device: str
) -> list[float]:
    """The steps of one batch, as dirty and perturbed as it is to be so far (0..1); their losses."""
    hardness = min(1.0, max(0.0, (progress - CLEAN) / RAMP))
    reach = PERTURBATION * hardness
    batch = scenes.draw(SCENES_PER_BATCH, generator, INPUT_SIZE, ZOOMED, scenes.NOISE + 0.1 * hardness, PLAIN_SURFACES)
    batch = replace(batch, images=degrade(batch.images, generator, hardness)).to(device)
    images, losses = batch.images, []
    perturbation = (torch.rand(images.shape, generator=generator).to(device) - 0.5) * reach
    pupil.lesson.prepare(batch, generator)
    for _ in range(REPLAYS if hardness > 0 else 1):
        perturbed = (images + perturbation).clamp(0, 1).requires_grad_(reach > 0)
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = pupil(perturbed)
        for optimizer, _ in optimized:
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(pupil.parameters(), 1.0)
        for optimizer, schedule in optimized:
            optimizer.step()
            schedule.step()
        if perturbed.grad is not None:
            perturbation = (perturbation + reach * perturbed.grad.sign()).clamp(-reach, reach)
        losses.append(loss.item())
    return losses


def _schedule(optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LambdaLR:
    """A warm-up, then half a cosine to zero."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / WARM_UP, 0.5 + 0.5 * math.cos(math.pi * min(s / steps, 1)))
    )


def _resume(checkpoint: Path, parts: dict[str, Any], device: str) -> int:
    """Take over a training state; its step.

    Raises:
        ValueError: for one that cannot be read, or has other parts.
    """
    try:
        state = read_torch_file(checkpoint, "it", "training state", device)
        if not isinstance(state, dict) or state.keys() != {*parts, "step"} or type(state["step"]) is not int:
            raise Damaged("it has other parts")
        check_tensors(state["pupil"], parts["pupil"].state_dict(), "pupil")
        for name, part in parts.items():
            if isinstance(part, torch.optim.Optimizer):  # torch takes moments of any size, and reads past their end
                check_moment_sizes(state[name], part, name)
            _load_part(part, state[name], name)
    except UsageError as error:
        raise UsageError(f"{checkpoint} cannot be resumed ({error}); remove it to start over") from error
    return int(state["step"])


def _load_part(part: Any, state: Any, name: str) -> None:
    """Have a module, an optimizer or a schedule take its state.

    Raises:
        Damaged: when torch cannot.
    """
    try:
        part.load_state_dict(state)
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as error:  # torch's, of another form
        raise Damaged(f"{name}: {one_line(error)[:200]}") from error


def _optimizers(pupil: nn.Module) -> list[torch.optim.Optimizer]:
    if not hasattr(torch.optim, "Muon"):
        raise UsageError(f"rebuilding the demo takes a torch with the optimizer Muon; this is {torch.__version__}")
    matrices = [p for name, p in pupil.named_parameters() if p.ndim == 2 and ".blocks." in name]
    others = [p for name, p in pupil.named_parameters() if p.ndim != 2 or ".blocks." not in name]
    return [
        torch.optim.Muon(matrices, lr=MUON_LEARNING_RATE, weight_decay=WEIGHT_DECAY, momentum=0.95),
        torch.optim.AdamW(others, ADAMW_LEARNING_RATE, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY),
    ]


class _Pupil(nn.Module):
    """A backbone and what teaches it."""

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, seed: int) -> None:
        super().__init__()
        spec = SPECS[name]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            trunk: Any = timm.create_model(
                spec.model, pretrained=False, num_classes=0, img_size=spec.input_size, **spec.options
            )
            self.trunk = trunk
            self.lesson = LESSONS[name](trunk.embed_dim, trunk.patch_embed.grid_size)
        for module in trunk.modules():  # torch's fused attention took 0.33 s a step on one core, this 0.20 s
            if hasattr(module, "fused_attn"):
                module.fused_attn = False
        config = timm.data.resolve_model_data_config(self.trunk)
        self.register_buffer("mean", torch.tensor(config["mean"]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(config["std"]).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.trunk.forward_features((self.lesson.cover(images) - self.mean) / self.std)
        return self.lesson(tokens[:, : self.trunk.num_prefix_tokens], tokens[:, self.trunk.num_prefix_tokens :])


def degrade(images: Tensor, generator: torch.Generator, share: float = 1.0) -> Tensor:
    """Make scenes cover what an optimized picture looks like: blur, 1/f clouds, lower contrast. Labels still hold.

    Args:
        images: (n, 3, height, width), 0..1.
        generator: CPU generator.
        share: share of the pictures that are dirtied at all.
    """
    n, _, height, width = images.shape

    def some(part: float) -> Tensor:
        return (torch.rand(n, generator=generator) < part * share).nonzero().squeeze(1)

    blurred, clouded = some(0.25), some(0.4)
    images = images.clone()
    images[blurred] = gaussian_blur2d(images[blurred], (5, 5), (0.9, 0.9))
    if len(clouded):  # torch 2.11's transform of no picture at all is an error
        images[clouded] += _clouds(len(clouded), height, width, generator)
    contrast = 1 + share * (0.5 * torch.rand(n, 1, 1, 1, generator=generator) - 0.4)
    return ((images - 0.5) * contrast + 0.5).clamp(0, 1)


def _clouds(n: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """Noise (n, 3, height, width) whose amplitude falls as 1/f, of a strength drawn from 0 to 0.15."""
    fy = torch.fft.fftfreq(height)[:, None]
    fx = torch.fft.rfftfreq(width)[None]
    falloff = 1 / (fy.square() + fx.square()).sqrt().clamp_min(1 / width)
    spectrum = torch.randn(n, 3, height, width // 2 + 1, 2, generator=generator)
    clouds = torch.fft.irfft2(torch.view_as_complex(spectrum) * falloff, s=(height, width))
    strength = torch.rand(n, 1, 1, 1, generator=generator) * 0.15
    noise: Tensor = clouds / clouds.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(1e-6) * strength
    return noise
