"""A step of the maximization on a GPU, laid out on torch's device `meta`: how often the processor waits for it."""

import contextlib
from functools import cache

import pytest
import torch
from waits import Waits

import usae_viz as uv
from usae_train.backbones.backbone import BackboneSpec
from usae_train.model.usae import USAE
from usae_viz.objectives import SameCodes
from usae_viz.optimization.drawing import CanvasBatch, canvas_specs, draw_together
from usae_viz.settings import MaximizeSettings
from usae_viz.views.presets import AUGMENTATION_PRESETS
from usae_viz.views.viewing import ViewConfig

OPTIONS = {"patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
COLOURS = {"brightness": 0.1, "contrast": 0.1, "saturation": 0.1}


@pytest.fixture(autouse=True)
def _autocast_there(monkeypatch):
    """`meta` has none of its own, and computes in nothing."""
    monkeypatch.setattr(torch, "autocast", lambda *given, **named: contextlib.nullcontext())


@cache
def usae_of(backbones):
    """A USAE on `meta` whose backbones are there."""
    specs = {
        f"b{number}": BackboneSpec(
            model="vit_tiny_patch16_224", weights="random", input_size=32, seed=number, options=OPTIONS
        )
        for number in range(backbones)
    }
    usae = USAE(dict.fromkeys(specs, 16), 24, 3, specs=specs, grid=(4, 4)).eval().requires_grad_(False)
    assert usae.backbones
    return usae.to("meta")


def waits_of_a_step(backbones, objectives, preset="default", reference=None, **settings):
    """What a step after the first waits for."""
    usae, steps = usae_of(backbones), []
    fourier = {"decay": 1.5, "contrast": 1.5} if settings.get("parameterization", "fourier") == "fourier" else {}
    chosen = MaximizeSettings(**{"size": 64, "learning_rate": 0.1, "seeds": 2, "steps": 2, **fourier, **settings})
    pictures = [spec for objective in objectives for spec in canvas_specs(usae, objective, chosen)]
    augmentation = AUGMENTATION_PRESETS[preset].model_copy(update=COLOURS).for_patches(0.25)
    view_config = ViewConfig(usae, augmentation, 4, "float32", batch_size=8, reference=reference)

    def after(done, scores):  # noqa: ARG001
        steps.append(+waits.found)
        waits.found.clear()

    with Waits() as waits:
        draw_together(CanvasBatch(view_config, pictures, chosen, None, after))
    return steps[1]


@pytest.mark.parametrize(
    ("mode", "parameterization"), [("per-model", "fourier"), ("shared", "maco"), ("coupled", "fourier")]
)
def test_a_step_waits_once_however_many_backbones_there_are(mode, parameterization):
    objectives = [uv.Concept(1) + 0.1 * uv.TotalVariation(), uv.Concept(2, pool="top") - uv.Concept(3)]
    preset = "maco" if parameterization == "maco" else "default"
    asked = {"mode": mode, "parameterization": parameterization, "preset": preset}
    few, many = waits_of_a_step(2, objectives, **asked), waits_of_a_step(3, objectives, **asked)
    assert few == many
    assert sum(many.values()) == 1  # before: 51 with 2 backbones, 99 with 4


@pytest.mark.parametrize(
    "objective",
    [uv.Direction("b0", [1.0] * 16) + uv.Channel("b1", 3), SameCodes() + uv.Closeness() + uv.Concept(1, of="code")],
    ids=str,
)
def test_so_it_does_for_every_objective(objective):
    reference = torch.zeros(3, 64, 64, device="meta")
    objectives = [objective + uv.Concept(1), uv.Concept(2) + uv.Diversity()]
    assert sum(waits_of_a_step(2, objectives, reference=reference).values()) == 1
