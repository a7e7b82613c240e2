import pytest
import torch

import usae_train as ut
import usae_viz.runs.run_writer
from usae_train.backbones.backbone import BackboneSpec, build_backbones
from usae_train.backbones.common_sizes import common_grid
from usae_train.model.firing import measure
from usae_train.model.usae import USAE
from usae_train.tokens.paired import PairedTokens
from usae_train.training.loop import fit_tokens, new_usae
from usae_train.training.settings import DEFAULT, FitSettings

TINY = {
    "left": BackboneSpec(
        model="vit_tiny_patch16_224",
        weights="random",
        input_size=32,
        options={"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 2},
    ),
    "right": BackboneSpec(
        model="vit_tiny_patch16_224",
        weights="random",
        input_size=48,
        seed=1,
        options={
            "patch_size": 8,
            "embed_dim": 16,
            "depth": 1,
            "num_heads": 2,
            "class_token": False,
            "global_pool": "avg",
        },
    ),
}


def fit_tiny(**settings) -> USAE:
    """Twelve concepts over two tiny random backbones with different input sizes, by settings of a training."""
    backbones = build_backbones(TINY)
    grid = common_grid(list(backbones.values()))
    pictures = torch.rand(24, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = {name: backbone(pictures, grid) for name, backbone in backbones.items()}
    paired = PairedTokens(tokens, torch.arange(24))
    chosen = FitSettings(n_concepts=12, k=3, steps=20, batch=64, **settings)
    model = new_usae({n: b.width for n, b in backbones.items()}, chosen, specs=TINY, grid=grid)
    model = fit_tokens(paired.flat(), chosen, model)
    model.statistics = measure(model, paired)
    return model


@pytest.fixture(scope="session")
def usae() -> USAE:
    """As trained before lengths were free: what tests of drawings know of its concepts is of this one."""
    return fit_tiny(recipe=DEFAULT.model_copy(update={"unit_norm": True, "noise": 0.0, "learning_rate": 1e-2}))


@pytest.fixture(scope="session")
def owned() -> USAE:
    """Eight concepts that the backbones share, and two of each: 8 and 9 are left's, 10 and 11 right's."""
    return fit_tiny(n_private=2)


@pytest.fixture(scope="module")
def folder(usae, tmp_path_factory):
    """The tiny USAE, saved."""
    return str(ut.save(usae, tmp_path_factory.mktemp("usae") / "tiny"))


@pytest.fixture
def drawings(monkeypatch):
    """What is drawn, as (objective, settings), while a test runs."""
    seen = []
    really = usae_viz.runs.run_writer.maximize_each

    def watched(usae, objectives, settings, *rest, **more):
        seen.extend((str(objective), settings) for objective in objectives)
        return really(usae, objectives, settings, *rest, **more)

    monkeypatch.setattr(usae_viz.runs.run_writer, "maximize_each", watched)
    return seen
