"""`usae-train fit --independent`: one sparse autoencoder a backbone, with the settings of the joint space."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from usae_train.atomic import check_writable
from usae_train.backbones import BackboneSpec, build_backbones, common_grid
from usae_train.broken_pictures import BrokenPictures
from usae_train.checkpoint import load, save
from usae_train.config_files import read_specs
from usae_train.feeding import Feed, StoreFeed
from usae_train.fitting import fit_settings
from usae_train.images import ImageSource, open_images
from usae_train.loop import fit_tokens, new_usae
from usae_train.settings import FitSettings
from usae_train.statistics import measure
from usae_train.store import ActivationStore, is_store
from usae_train.tokens import collect_tokens, present_memory
from usae_train.usae import USAE

Report = Callable[[str, int, int, str], None]  # stage, done, in all, a figure in words
FitOne = Callable[[str, FitSettings], USAE]


class OneBackbone:
    """A feed of one backbone's tokens alone.

    Args:
        feed: all backbones' tokens.
        name: the backbone.
    """

    def __init__(self, feed: Feed, name: str) -> None:
        self.feed, self.name, self.widths = feed, name, {name: feed.widths[name]}

    def __len__(self) -> int:
        return len(self.feed)

    def pick(self, rows: Tensor) -> dict[str, Tensor]:
        return {self.name: self.feed.pick(rows)[self.name]}

    def windows(self, generator: torch.Generator) -> list[list[int]]:
        return self.feed.windows(generator)

    def load(self, window: list[int]) -> dict[str, Tensor]:
        return {self.name: self.feed.load(window)[self.name]}


def fit_independent(
    images: str, out: Path, backbones: str | None, recipe: str, sizes: Mapping[str, Any], limit: int | None,
    device: str, report: Report,
) -> None:  # fmt: skip
    """Train one SAE a backbone and write each as soon as it is done; given again, it goes on with the next.

    Args:
        images: pictures or a store.
        out: the folder of folders.
        backbones: what `--backbones` takes; a store has its own.
        recipe: `default` or `published`.
        sizes: n_concepts, k, steps, batch, seed, max_broken.
        limit: take at most so many pictures.
        device: where to train.
        report: called with the stage and how far it is.

    Raises:
        ValueError: for settings that do not exist, a folder with SAEs of other settings, or more than one process.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError("--independent trains in one process; start it without torchrun")
    settings = fit_settings(recipe, **sizes)
    check_writable(out)
    if is_store(images):
        if backbones is not None or limit is not None:
            raise ValueError(f"{images} is a store, with backbones and pictures of its own")
        store = ActivationStore(images)
        fit_each(list(store.record.widths), settings, lambda n, s: _of_store(store, n, s, device, report), out)
        return
    specs, source = read_specs(backbones or "paper"), open_images(images, limit)
    grid = common_grid(list(build_backbones(specs).values()))
    fit_each(list(specs), settings, lambda n, s: _of_pictures(source, n, specs[n], grid, s, device, report), out)


def fit_each(names: Sequence[str], settings: FitSettings, fit_one: FitOne, out: Path) -> None:
    """Train those that are not there yet.

    Each has a seed of its own, `seed + 1 + position`: with one seed all would start from the same tokens, and be more
    alike than independent training makes them.

    Raises:
        ValueError: when one that is there has another size or recipe.
    """
    for name in names:
        if (out / name / "config.json").is_file():
            _check_same(load(out / name), settings, out / name)
    for position, name in enumerate(names):
        if not (out / name / "config.json").is_file():
            save(fit_one(name, settings.model_copy(update={"seed": settings.seed + 1 + position})), out / name)


def _check_same(there: USAE, settings: FitSettings, place: Path) -> None:
    found = there.n_concepts, there.k, there.recipe
    wanted = settings.n_concepts, settings.k, settings.recipe.name
    if found != wanted:
        named = [f"{n_concepts} concepts, k {k}, recipe {recipe}" for n_concepts, k, recipe in (found, wanted)]
        raise ValueError(f"{place} has {named[0]}; expected {named[1]}: choose another --out, or remove it")


def _of_pictures(
    source: ImageSource, name: str, spec: BackboneSpec, grid: tuple[int, int], settings: FitSettings, device: str,
    report: Report,
) -> USAE:  # fmt: skip
    backbone = build_backbones({name: spec})[name].to(device)
    paired = collect_tokens(
        {name: backbone}, source, grid, progress=lambda done, total: report(f"pictures {name}", done, total, "")
    )
    BrokenPictures(len(source), settings.max_broken).add(paired.failures)
    usae = new_usae({name: backbone.width}, settings, specs={name: spec}, grid=grid)
    fit_tokens(paired.flat(), settings, usae, device, _watch(name, settings, report))
    usae.images, usae.n_images, usae.fingerprint = source.name, len(source), source.fingerprint()
    usae.statistics = measure(usae, paired)
    return usae.to("cpu")


def _of_store(store: ActivationStore, name: str, settings: FitSettings, device: str, report: Report) -> USAE:
    record = store.record
    feed = OneBackbone(StoreFeed(store, present_memory() / 3), name)
    usae = new_usae(feed.widths, settings, specs={name: store.specs[name]}, grid=record.grid)
    fit_tokens(feed, settings, usae, device, _watch(name, settings, report))
    usae.images, usae.n_images, usae.fingerprint = record.source, record.n_images, record.fingerprint
    shard = next(number for number, each in enumerate(record.shards) if each.images)
    usae.statistics = measure(usae, store.read([shard]))
    return usae.to("cpu")


def _watch(name: str, settings: FitSettings, report: Report) -> Callable[[int, dict[str, Any]], None]:
    return lambda step, figures: report(f"training {name}", step, settings.steps, f"loss {figures['loss']:.4f}")
