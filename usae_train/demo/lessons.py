"""What teaches each demo backbone: labels, the pictures themselves, or descriptions in words.

A lesson is prepared once a batch (targets, masks, captions) and then asked for its loss, as often as wished.
"""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from usae_train.demo.descriptors import (
    colour_histogram,
    local_texture,
    nearest_centre,
    outline_cells,
    outlines,
    texture_cells,
)
from usae_train.scenes.factors import BACKGROUND, FACTORS, PURE, SHAPES, patch_shares
from usae_train.scenes.world import MAX_OBJECTS, Scenes

UNCLEAR = -1  # a patch that no surface covers by more than half


class Lesson(Protocol):
    """A loss and its learned parts. Grids are those of the backbone's patches."""

    def __init__(self, width: int, grid: tuple[int, int]) -> None: ...

    def prepare(self, batch: Scenes, generator: torch.Generator) -> None:
        """Work out the targets of a batch of n scenes."""

    def cover(self, images: Tensor) -> Tensor:
        """What the backbone is shown of (perturbed) images."""

    def __call__(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        """The loss for prefix tokens (n, prefix, width) and patch tokens (n, patches, width)."""


class Supervised(nn.Module):
    """Labels: each patch's share of every factor value (cross-entropy), and on the class token what is there at all."""

    BACKGROUND_WEIGHT = 0.3  # most patches are background: unweighted, that is all that is learned of shape for long

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.patch_heads = nn.ModuleDict({f: nn.Linear(width, len(v)) for f, v in FACTORS.items()})
        self.class_heads = nn.ModuleDict({f: nn.Linear(width, len(v)) for f, v in FACTORS.items()})

    def prepare(self, batch: Scenes, generator: torch.Generator) -> None:
        self.shares = {f: patch_shares(batch.labels[f], len(v), self.grid) for f, v in FACTORS.items()}

    def cover(self, images: Tensor) -> Tensor:
        return images

    def forward(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        loss = tokens.new_zeros(())
        for factor, share in self.shares.items():
            logits = self.patch_heads[factor](tokens).flatten(0, 1)
            weight = logits.new_ones(logits.shape[-1])
            weight[BACKGROUND] = self.BACKGROUND_WEIGHT if factor == "shape" else 1.0
            loss = loss + functional.cross_entropy(logits.float(), share.flatten(0, 1), weight=weight.float())
            present = (share.mean(1) > 0.01).float()
            loss = loss + 0.3 * functional.binary_cross_entropy_with_logits(
                self.class_heads[factor](prefix[:, 0]), present
            )
        return loss


class SelfSupervised(nn.Module):
    """The pictures themselves: foretell what the clean picture shows, in covered patches and in perturbed ones.

    Masked feature prediction (Wei et al. 2022, MaskFeat) with targets that no label enters: the patch's colour
    histogram, which of 48 k-means cells (as BEiT's visual tokens, Bao et al. 2022) its neighbourhood's orientation-free
    spectrum falls into, and into which of 24 the outline falls of what is seen there.

    The outline is the one thing here that a single picture does not give: which pixels belong together comes from the
    generator, as it would from things that move. Without it 0.25 of the shapes could be read off the tokens (chance
    0.17), and 0.24 with a loss for knowing a thing again in another scene (InfoNCE, 3000 steps).
    """

    BACKGROUND_WEIGHT = 0.3
    OUTLINES = 24
    COVERED = 0.35  # share of patches; MaskFeat covers 0.4, here the open patches teach as well
    CELLS = 48

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.cover_patch = nn.Parameter(torch.rand(3, 1, 1))
        self.colour_head = nn.Linear(width, colour_histogram(torch.zeros(1, 3, 8, 8), (1, 1)).shape[-1])
        self.texture_head = nn.Linear(width, self.CELLS)
        self.spectrum_head = nn.Linear(width, local_texture(torch.zeros(1, 3, 32, 32), (1, 1)).shape[-1])
        self.outline_head = nn.Linear(width, 1 + self.OUTLINES)  # the first is background
        self.register_buffer("outline_centres", outline_cells(self.OUTLINES))
        self.register_buffer("centres", texture_cells(grid, self.CELLS))

    def prepare(self, batch: Scenes, generator: torch.Generator) -> None:
        self.colours = colour_histogram(batch.images, self.grid)
        self.spectra = local_texture(batch.images, self.grid)
        self.cells = nearest_centre(self.spectra, cast(Tensor, self.centres))
        rows, cols = self.grid
        scattered = torch.rand(len(batch.images), 1, rows, cols, generator=generator)
        blocks = functional.interpolate(
            torch.rand(len(batch.images), 1, rows // 3, cols // 3, generator=generator), self.grid, mode="nearest"
        )
        covered = (scattered < self.COVERED / 2) | (blocks < self.COVERED / 2)
        size = batch.images.shape[-2:]
        self.covered = functional.interpolate(covered.float(), size, mode="nearest").to(batch.images.device)
        share, surface = patch_shares(batch.surface, MAX_OBJECTS + 1, self.grid).max(-1)  # (n, patches)
        cells = nearest_centre(outlines(batch.surface), cast(Tensor, self.outline_centres))  # (n, objects)
        cells = torch.cat([torch.zeros_like(cells[:, :1]), cells + 1], 1).gather(1, surface)
        self.outlines = torch.where(share > PURE, cells, UNCLEAR)

    def cover(self, images: Tensor) -> Tensor:
        return torch.lerp(images, self.cover_patch.expand_as(images), self.covered)

    def forward(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        colour = functional.cross_entropy(self.colour_head(tokens).flatten(0, 1), self.colours.flatten(0, 1))
        texture = functional.cross_entropy(self.texture_head(tokens).flatten(0, 1), self.cells.flatten())
        spectrum = functional.smooth_l1_loss(self.spectrum_head(tokens), self.spectra)
        weight = torch.full((1 + self.OUTLINES,), 1.0, device=tokens.device)
        weight[0] = self.BACKGROUND_WEIGHT
        outline = functional.cross_entropy(
            self.outline_head(tokens).flatten(0, 1).float(), self.outlines.flatten(), weight, ignore_index=UNCLEAR
        )
        return colour + texture + spectrum + outline


class ImageText(nn.Module):
    """Words: which descriptions hold of a patch, and which scene a description of everything belongs to.

    A sigmoid loss for every pair of picture part and text (Zhai et al. 2023, SigLIP), with learned scale and bias.
    Texts are word sequences such as "red striped star"; some name one attribute, some all.
    """

    BACKGROUND_WEIGHT = 0.3
    SHAPE_WEIGHT = 2.0
    SINGLE_WEIGHT = 4.0
    CAPTIONS = 96
    TEXT_WIDTH = 96
    EMBEDDING = 64

    def __init__(self, width: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.grid = grid
        self.offsets = {"colour": 1, "texture": 1 + len(FACTORS["colour"])}
        self.offsets["shape"] = self.offsets["texture"] + len(FACTORS["texture"])
        vocabulary = self.offsets["shape"] + len(SHAPES)  # word 0 pads
        self.words = nn.Embedding(vocabulary, self.TEXT_WIDTH, padding_idx=0)
        self.reader = nn.TransformerEncoderLayer(
            self.TEXT_WIDTH, 4, 2 * self.TEXT_WIDTH, dropout=0.0, batch_first=True, norm_first=True
        )
        self.text_projection = nn.Linear(self.TEXT_WIDTH, self.EMBEDDING)
        self.patch_projection = nn.Linear(width, self.EMBEDDING)
        self.image_projection = nn.Linear(width, self.EMBEDDING)
        self.scale = nn.Parameter(torch.tensor([10.0, 10.0]).log())
        self.bias = nn.Parameter(torch.tensor([-6.0, -6.0]))

    def prepare(self, batch: Scenes, generator: torch.Generator) -> None:
        shares = {f: patch_shares(batch.labels[f], len(v), self.grid) for f, v in FACTORS.items()}
        majority = {f: s.argmax(-1).flatten() for f, s in shares.items()}  # (n * patches,)
        n_patches = len(majority["colour"])
        # captions: every single attribute, then attributes (at least two) of patches picked at random
        singles = torch.cat([torch.arange(len(v)) for v in FACTORS.values()])
        columns = torch.arange(len(FACTORS)).repeat_interleave(torch.tensor([len(v) for v in FACTORS.values()]))
        single_captions = torch.full((len(singles), len(FACTORS)), -1)
        single_captions[torch.arange(len(singles)), columns] = singles
        picked = torch.randint(n_patches, (self.CAPTIONS - len(singles),), generator=generator)
        described = torch.stack([majority[f].cpu()[picked] for f in FACTORS], 1)
        left_out = torch.randint(len(FACTORS) + 1, (len(picked), 1), generator=generator)
        described[torch.arange(len(FACTORS)) == left_out] = -1
        captions = torch.cat([single_captions, described]).to(batch.images.device)  # -1: not named
        truth = torch.stack([majority[f] for f in FACTORS], 1)
        self.holds = ((captions[None] == truth[:, None]) | (captions[None] < 0)).all(-1).float()
        offsets = torch.tensor([self.offsets[f] for f in FACTORS], device=batch.images.device)
        # one attribute says more than several; shape, the hardest, counts more, and background, which is most of what
        # there is, less
        weight = torch.where(
            torch.arange(len(captions), device=batch.images.device) < len(singles), self.SINGLE_WEIGHT, 1.0
        )
        background = torch.where(majority["shape"] == BACKGROUND, self.BACKGROUND_WEIGHT, 1.0)
        self.weight = torch.where(captions[:, -1] >= 0, self.SHAPE_WEIGHT * background[:, None], 1.0) * weight
        self.patch_texts = torch.where(captions < 0, 0, captions + offsets)
        self.scene_texts = self._describe_scenes(shares, offsets)

    def _describe_scenes(self, shares: dict[str, Tensor], offsets: Tensor) -> Tensor:
        """Words (n, 22) for everything that covers at least one patch's worth of a scene."""
        texts = []
        for (_, share), offset in zip(shares.items(), offsets, strict=True):
            words = torch.arange(share.shape[-1], device=share.device) + offset
            texts.append(torch.where(share.sum(1) > 1, words, 0))
        return torch.cat(texts, 1)

    def cover(self, images: Tensor) -> Tensor:
        return images

    def _read(self, texts: Tensor) -> Tensor:
        is_word = texts > 0
        read = self.reader(self.words(texts), src_key_padding_mask=~is_word)
        pooled = (read * is_word[..., None]).sum(1) / is_word.sum(1, keepdim=True).clamp_min(1)
        return functional.normalize(self.text_projection(pooled).float(), dim=-1)

    def _pair_loss(self, parts: Tensor, texts: Tensor, holds: Tensor, weight: Tensor | float, kind: int) -> Tensor:
        parts = functional.normalize(parts.float(), dim=-1)
        logits = parts @ self._read(texts).T * self.scale[kind].exp() + self.bias[kind]
        return -functional.logsigmoid(torch.where(holds > 0, logits, -logits)).mul(weight).sum(-1).mean()

    def forward(self, prefix: Tensor, tokens: Tensor) -> Tensor:
        patches = self._pair_loss(
            self.patch_projection(tokens).flatten(0, 1), self.patch_texts, self.holds, self.weight, 0
        )
        own_scene = torch.eye(len(tokens), device=tokens.device)
        scene = self._pair_loss(self.image_projection(tokens.mean(1)), self.scene_texts, own_scene, 1.0, 1)
        return 0.2 * patches + 0.2 * scene
