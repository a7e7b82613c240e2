import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from usae_train.backbones.backbone import Backbone, BackboneSpec
from usae_train.demo import lessons, pretrain
from usae_train.demo.descriptors import outlines
from usae_train.demo.lessons import ImageText, SelfSupervised, Supervised
from usae_train.demo.pretrain import SPECS, degrade
from usae_train.scenes import world as scenes
from usae_train.scenes.factors import FACTORS, SHAPES, patch_shares

needs_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="pretraining needs a torch with Muon")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def no_clustering(monkeypatch: pytest.MonkeyPatch) -> None:
    centres = torch.randn(48, 24, generator=seeded())
    monkeypatch.setattr(lessons, "texture_cells", lambda grid, cells: centres.clone())
    monkeypatch.setattr(lessons, "outline_cells", lambda cells: torch.randn(cells, 13, generator=seeded(1)))


def test_supervised_loss_by_hand() -> None:
    """Heads that say nothing: log of the number of values; background patches weigh 0.3 in shape."""
    lesson = Supervised(4, (2, 2))
    for head in [*lesson.patch_heads.values(), *lesson.class_heads.values()]:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    labels = {factor: torch.zeros(1, 8, 8, dtype=torch.uint8) for factor in FACTORS}
    labels["shape"][0, 4:] = SHAPES.index("star")
    lesson.prepare(scenes.Scenes(torch.zeros(1, 3, 8, 8), labels, torch.zeros(1, 8, 8, dtype=torch.uint8)), seeded())
    expected = math.log(9) + math.log(6) + (0.3 + 1) / 2 * math.log(7) + 3 * 0.3 * math.log(2)
    assert lesson(torch.zeros(1, 1, 4), torch.zeros(1, 4, 4)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("no_clustering")
def test_every_lesson_can_be_learned() -> None:
    """The best tokens for one batch, found by gradient descent, are better than none."""
    batch = scenes.draw(4, seeded(), 96)
    for kind in (Supervised, SelfSupervised, ImageText):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            lesson = kind(16, (6, 6))
        lesson.prepare(batch, seeded())
        tokens = torch.zeros(4, 36, 16).requires_grad_()
        prefix = torch.zeros(4, 1, 16).requires_grad_()
        optimizer = torch.optim.Adam([tokens, prefix, *lesson.parameters()], 0.05)
        losses = []
        for _ in range(25):
            loss = lesson(prefix, tokens + 0.01)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        assert losses[-1] < 0.8 * losses[0], kind.__name__


@pytest.mark.usefixtures("no_clustering")
def test_masking_covers_about_a_third_and_leaves_the_rest() -> None:
    lesson = SelfSupervised(8, (12, 12))
    batch = scenes.draw(8, seeded(), 96)
    lesson.prepare(batch, seeded())
    shown = lesson.cover(batch.images)
    covered = lesson.covered.expand_as(shown) > 0
    assert torch.equal(shown[~covered], batch.images[~covered])
    assert torch.equal(shown[covered], lesson.cover_patch.expand_as(shown)[covered])
    assert lesson.covered.mean().item() == pytest.approx(1 - (1 - 0.175) ** 2, abs=0.06)
    patches = torch.nn.functional.adaptive_avg_pool2d(lesson.covered, (12, 12))
    assert set(patches.unique().tolist()) == {0.0, 1.0}


@pytest.mark.usefixtures("no_clustering")
def test_the_outline_asked_for_is_that_of_what_covers_the_patch(monkeypatch: pytest.MonkeyPatch) -> None:
    centres = torch.stack([outlines(bar)[0, 0] for bar in (square(24, 24), square(6, 40))])
    monkeypatch.setattr(lessons, "outline_cells", lambda cells: centres)
    lesson = SelfSupervised(8, (4, 4))
    surface = torch.cat([square(24, 24), square(48, 12)])  # from a corner on: 2 x 2 patches, and a column
    labels = {factor: torch.zeros_like(surface) for factor in FACTORS}
    lesson.prepare(scenes.Scenes(torch.zeros(2, 3, 48, 48), labels, surface), seeded())
    assert lesson.outlines[0].tolist() == [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert lesson.outlines[1].tolist() == [2, 0, 0, 0] * 4
    mixed = torch.arange(48 * 48, dtype=torch.uint8).view(1, 48, 48) % 3
    lesson.prepare(scenes.Scenes(torch.zeros(1, 3, 48, 48), dict.fromkeys(FACTORS, mixed), mixed), seeded())
    assert lesson.outlines.unique().tolist() == [lessons.UNCLEAR]


def square(height: int, width: int) -> torch.Tensor:
    surface = torch.zeros(1, 48, 48, dtype=torch.uint8)
    surface[0, :height, :width] = 1
    return surface


def test_a_caption_holds_where_the_patch_is_so() -> None:
    lesson = ImageText(8, (4, 4))
    batch = scenes.draw(3, seeded(), 96)
    lesson.prepare(batch, seeded())
    majority = {f: patch_shares(batch.labels[f], len(v), (4, 4)).argmax(-1).flatten() for f, v in FACTORS.items()}
    n_colours, n_textures = len(FACTORS["colour"]), len(FACTORS["texture"])
    for value in range(n_colours):  # the single captions come first
        assert torch.equal(lesson.holds[:, value] > 0, majority["colour"] == value)
    for value in range(n_textures):
        assert torch.equal(lesson.holds[:, n_colours + value] > 0, majority["texture"] == value)
    assert lesson.patch_texts.shape == (96, 3)
    assert (lesson.patch_texts[: n_colours + n_textures + 7] > 0).sum(1).tolist() == [1] * 22
    described = (lesson.patch_texts[22:] > 0).sum(1)
    assert set(described.tolist()) == {2, 3}
    assert (lesson.holds[:, 22:].sum(0) > 0).all(), "each was read off a patch of the batch"


def test_padding_changes_no_text() -> None:
    lesson = ImageText(8, (4, 4)).eval()
    read = lesson._read(torch.tensor([[3, 12, 0], [3, 0, 12]]))
    torch.testing.assert_close(read[0], read[1])
    torch.testing.assert_close(lesson._read(torch.tensor([[3, 12]]))[0], read[0])


def test_dirt_of_share_zero_is_none() -> None:
    images = scenes.draw(4, seeded(), 48).images
    torch.testing.assert_close(degrade(images, seeded(), 0.0), images)


def test_dirt_stays_within_range_and_leaves_its_input_alone() -> None:
    images = scenes.draw(16, seeded(), 48).images
    kept = images.clone()
    dirtied = degrade(images, seeded(1))
    assert torch.equal(images, kept)
    assert dirtied.min() >= 0
    assert dirtied.max() <= 1
    assert (dirtied - images).abs().mean() > 0.01
    assert torch.equal(dirtied, degrade(images, seeded(1)))
    assert not torch.equal(dirtied, degrade(images, seeded(2)))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> BackboneSpec:
    """The demo's `vit` in very small, taught two pictures at a time."""
    spec = SPECS["vit"].model_copy(
        update={"options": {"patch_size": 6, "embed_dim": 16, "depth": 1, "num_heads": 2}, "weights": "random"}
    )
    monkeypatch.setitem(SPECS, "vit", spec)
    monkeypatch.setattr(pretrain, "SCENES_PER_BATCH", 2)
    return spec


@needs_muon
def test_pretraining_writes_half_weights_that_a_backbone_loads(small: BackboneSpec, tmp_path: Path) -> None:
    state = torch.random.get_rng_state()
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        pretrain.pretrain("vit", tmp_path / f"{name}.safetensors", seed, steps=4)
    assert torch.equal(torch.random.get_rng_state(), state)
    first, again, other = (load_file(tmp_path / f"{name}.safetensors") for name in "abc")
    assert {value.dtype for value in first.values()} == {torch.float16}
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["blocks.0.attn.qkv.weight"], other["blocks.0.attn.qkv.weight"])
    spec = small.model_copy(update={"weights": str(tmp_path / "a.safetensors")})
    backbone = Backbone("vit", spec)
    assert backbone.grid == (4, 4)
    assert torch.equal(backbone.model.blocks[0].attn.qkv.weight, first["blocks.0.attn.qkv.weight"].float())


@pytest.mark.usefixtures("small")
@needs_muon
def test_pretraining_learns(tmp_path: Path) -> None:
    losses: list[float] = []
    pretrain.pretrain("vit", tmp_path / "w.safetensors", steps=80, report=lambda step, of, loss: losses.append(loss))
    assert len(losses) == 4
    assert losses[-1] < losses[0]


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_a_resumed_pretraining_ends_where_an_unbroken_one_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "REPLAYS", 20)  # few scenes: what is dear in so small a run
    monkeypatch.setattr(pretrain, "CLEAN", -1.0)  # perturbed from the start
    pretrain.pretrain("vit", tmp_path / "unbroken.safetensors", steps=240)

    draw, drawn = scenes.draw, []

    def stopping(*arguments: object, **more: object) -> scenes.Scenes:
        drawn.append(1)
        if len(drawn) == 12:  # at step 220; the last state was kept at 200
            raise KeyboardInterrupt
        return draw(*arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(scenes, "draw", stopping)
    resumed = {"file": tmp_path / "resumed.safetensors", "checkpoint": tmp_path / "states" / "vit.pt", "steps": 240}
    with pytest.raises(KeyboardInterrupt):
        pretrain.pretrain("vit", **resumed)  # type: ignore[arg-type]
    assert not resumed["file"].exists()  # type: ignore[attr-defined]
    assert [p.name for p in (tmp_path / "states").iterdir()] == ["vit.pt"]
    pretrain.pretrain("vit", **resumed)  # type: ignore[arg-type]
    assert len(drawn) == 12 + 2
    unbroken, again = load_file(tmp_path / "unbroken.safetensors"), load_file(tmp_path / "resumed.safetensors")
    assert all(torch.equal(value, again[name]) for name, value in unbroken.items())


@needs_muon
@pytest.mark.parametrize(
    "state", [{"pupil": {}}, [], {"optimizer0": {"state": {0: {"momentum_buffer": torch.ones(1)}}}}]
)
def test_a_state_of_something_else_is_one_line(tmp_path: Path, state: object) -> None:
    torch.save(state, tmp_path / "vit.pt")
    with pytest.raises(ValueError, match=r"vit.pt cannot be resumed \(.*\); remove it to start over"):
        pretrain.pretrain("vit", tmp_path / "vit.safetensors", checkpoint=tmp_path / "vit.pt")
