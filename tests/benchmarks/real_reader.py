"""Do pictures of classes show them at every scale that a person looks at? Read by a network that took no part.

Class logits of ImageNet are drawn through EfficientNet-Lite0, through -Lite2 and through both at once (`shared`), and
read by the other network: the whole picture, and random crops of 0.7, 0.5 and 0.3 of its side, each resampled to the
reader's 224 px. A figure is the share of crops in which the class is the likeliest of 1000, and its mean probability.
Horama's two methods draw the same classes through the same network; its MACO gets a spectrum of the photographs. So
does torch-lucent, with its standard transforms and 512 steps (it wants kornia 0.4.1, and is given the names it takes).
Concepts of a USAE are drawn through one backbone, and verified in those that the picture was not drawn through.

Needs ../shared/real or USAE_REAL, for `--horama` the `bench` extra, for `--lucent` torch-lucent 0.1.8
(`pip install --no-deps`). From the project's root; fifty classes through one network take about half an hour of a core:

    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --through lite0,lite2 [--classes 50] [--out DIR]
    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --through lite0 --set size=224 --set steps=48 ...
    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --horama fourier,maco --horama-sizes 224,512 --classes 4
    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --lucent 128,224 --classes 10
    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --usae FOLDER --concepts 16
    OMP_NUM_THREADS=1 python tests/benchmarks/real_reader.py --photographs           # photographs in pictures' place
    PYTHONPATH=ANOTHER_BUILD python tests/benchmarks/real_reader.py ...          # the same, of another build

Measured on a Xeon (one thread, beside other work); share of crops read as the class, and its mean probability:

    drawn through lite0, read by lite2       s     clipped  whole        0.7          0.5          0.3
    50 classes, the default                  23.2  0.1%     0.940 0.93   0.955 0.93   0.915 0.88   0.678 0.54
    12 classes through lite2, read by lite0  31.3    -      0.917 0.84   0.917 0.84   0.896 0.78   0.700 0.48
    the 50, feature_statistics=0, of 0.8     19.5  0.1%     0.960 0.89   0.923 0.88   0.801 0.70   0.293 0.15
    the rest of the table is of version 0.8, which knew no feature statistics, as are lines below that say so:
    20 classes through lite2, read by lite0  25.4  0.1%     0.950 0.78   0.900 0.78   0.769 0.56   0.212 0.10
    the 50, --objective Logit                19.9  0.1%     0.920 0.85   0.877 0.83   0.792 0.68   0.305 0.17
    the same, Logit, whole_first=0           19.9  0.1%     0.760 0.74   0.843 0.78   0.735 0.67   0.522 0.41
    10 classes, Class                        21.6  0.1%     0.900 0.88   0.900 0.87   0.838 0.77   0.325 0.20
    the same, --objective Logit              23.4  0.1%     0.800 0.79   0.800 0.78   0.775 0.69   0.338 0.21
    the same 10, torch-lucent, 128 px        29.7  0.6%     1.000 0.91   0.325 0.23   0.000 0.01   0.013 0.01
    10 classes, steps=48, views=2, the same  6.8   0.0%     0.400 0.38   0.650 0.52   0.463 0.31   0.113 0.06

Photographs themselves, of which a network is sure (0.9 or more for the whole), read by the other as that class. They
have 256 px, so that their smallest crops are coarser than those of a drawn picture; those of `train` and `held`:

    73 photographs that lite0 is sure of, read by lite2             0.986 0.94   0.957 0.90   0.825 0.73   0.464 0.35
    211 photographs that lite2 is sure of, read by lite0            0.972 0.77   0.887 0.67   0.698 0.49   0.318 0.20

At one size each, two classes only (box turtle and alligator lizard; lucent at 512 px the latter alone), all defaults
but the size and Horama's 128 steps. Lucent's large canvas is one texture, of which nothing is read; Horama's is many
small animals, read best of all from near and not as a whole:

    drawn through lite0, read by lite2       s     clipped  whole        0.7          0.5          0.3
    size=224                                 20.7  0.1%     1.000 0.99   1.000 0.99   1.000 0.97   0.312 0.15
    torch-lucent, 224 px                     43.9  0.5%     1.000 0.99   0.500 0.43   0.188 0.20   0.000 0.00
    Horama's fourier, 224 px                 64.3  0.0%     0.500 0.17   0.562 0.29   0.812 0.57   1.000 0.80
    the default, 512 px                      24.8  0.2%     1.000 1.00   1.000 0.99   1.000 0.97   0.875 0.76
    the same, feature_statistics=0           24.4  0.1%     1.000 0.99   1.000 0.99   0.938 0.93   0.375 0.19
    torch-lucent, 512 px                    183.1  0.3%     0.000 0.00   0.000 0.00   0.000 0.01   0.125 0.07
    Horama's fourier, 512 px                 68.9  0.0%     0.000 0.00   0.500 0.38   0.938 0.79   0.938 0.90

The five classes of which `Logit` alone is read least (castle, forklift, patio, moving van, entertainment centre), three
seeds, probability of the whole: Logit 0.26, 0.35, 0.22; LogProbability 0.22 (one seed); their sum (`Class` until 0.9)
0.54, 0.56, 0.29; the sum with views weighted by how improbable they are 0.40, 0.41 (two); Logit less the mean of the
five next logits 0.15, 0.47. Of ten hard ones the sum has 0.69, with whole_first=0.45 0.50, with steps=120 (24 s) 0.71.

Kept near the statistics in a network's batch norms (`feature_statistics`), things that people made come about with
small crops too. Five classes (castle, forklift, cliff dwelling, Swiss mountain dog, cello), whole_first=0.3, one seed,
ways between by a script that is not kept. Where all norms ask for the mean of all pictures, networks read most, and
people see the same mixture of a bird, a dog and a ball under every class of a seed: those features are nearer to the
mean (0.15) than photographs' are (0.28). As natural as a photograph, with the last norms at a tenth, each class has
pictures of its own again, and the fifty are read as well:

    log-probability at temperature 1
    nothing kept (of 0.8, 0.7 whole)                         0.800 0.58   0.776 0.66   0.600 0.47   0.224 0.12
    100 for all norms                                        1.000 0.88   0.976 0.91   0.876 0.77   0.348 0.30
    from 200 at first to 50                                  1.000 0.96   1.000 0.94   0.902 0.78   0.450 0.38
    100, the first half of the norms                         0.800 0.66   0.950 0.72   0.850 0.67   0.448 0.33
    100, each channel as far as it exceeds 0.5               1.000 0.74   0.900 0.76   0.826 0.65   0.298 0.26
    at temperature 3
    100 for all norms                                        1.000 0.93   1.000 0.94   0.800 0.76   0.624 0.45
    from 200 to 50                                           1.000 0.99   1.000 0.96   0.850 0.77   0.448 0.35
    from 200 to 50, whole_first=0.2                          1.000 0.98   1.000 0.97   0.902 0.79   0.498 0.41
    100, all norms together as far as they exceed 0.28       0.800 0.75   0.800 0.71   0.698 0.60   0.300 0.25
    200, each norm as far as it exceeds 0.25                 1.000 0.96   1.000 0.96   0.950 0.82   0.450 0.36
    100, the last norm a tenth of the first                  0.800 0.80   0.952 0.87   0.950 0.79   0.402 0.35
    200, both                                                1.000 0.91   1.000 0.91   0.902 0.78   0.500 0.39
    the same, depth over the norms that count (the default)  0.800 0.79   1.000 0.89   0.826 0.75   0.474 0.34

From 200 to 50, whole_first=0.2, has of the fifty          0.940 0.92   0.953 0.92   0.925 0.86   0.683 0.54
(24 s). Of the default's, moving van is read from nowhere and entertainment centre hardly; cello from all but the whole,
window shade from afar alone.

With small crops from the start, castle, entertainment centre, forklift, patio and moving van come out as textures of
sea urchins and wool, though animals and plants are read from every distance; so a class begins with nearly the whole.
Of these castle, forklift and patio, probability for the whole / crops of 0.5:

    512 px, crops of 0.2 to 1 at every step      0.00 / 0.01   0.00 / 0.00   0.00 / 0.00
    crops of 0.35 to 1                           0.00 / 0.02   0.00 / 0.00   0.01 / 0.70
    crops of 0.5 to 1                            0.06 / 0.16   0.29 / 0.24   0.96 / 0.78
    crops from 0.6 at first to 0.2               0.01 / 0.13   0.01 / 0.03   0.27 / 0.60
    size=224, crops of 0.6 to 1 (17.6 s)         1.00 / 0.17   0.15 / 0.10   0.98 / 0.58
    version 0.2.0 (224 px, 0.6 to 1; 57.7 s)     1.00 / 0.20   0.71 / 0.07   1.00 / 0.94
    the default for classes (0.6, then 0.2)      0.99 / 0.57   -             0.83 / 0.44
"""

import argparse
import json
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from real_networks import needs_real_folder
from torch import Tensor
from torch.nn import functional
from torchvision.utils import save_image

import usae_train as ut
import usae_viz as uv
from usae_train.backbones.backbone import Backbone, build_backbones
from usae_train.model.spec_files import read_specs
from usae_train.model.usae import USAE
from usae_viz.objectives import Objective
from usae_viz.settings import Mode
from usae_viz.verification.score import Score

SCALES = (1.0, 0.7, 0.5, 0.3)  # of the side
CROPS = 8  # random crops a scale; the whole is one
CLASSES = 1000
SURE = 0.9  # of a photograph's class: the probability from which on a network is
CLIPPED = 0.02  # a channel this near to its end counts as clipped
OTHER = {"lite0": "lite2", "lite2": "lite0"}  # who reads what a network drew

OfClass = Callable[[str, int], Objective]  # of a backbone and a class
KINDS: dict[str, OfClass] = {"Class": uv.Class, "Logit": uv.Logit, "LogProbability": uv.LogProbability}

Drawn = tuple[int, Tensor, float]  # a class, its picture (3, H, W), processor seconds


def classes(count: int) -> list[int]:
    """Classes of ImageNet, a random draw, always the same."""
    return torch.randperm(CLASSES, generator=torch.Generator().manual_seed(0))[:count].tolist()


def crops(picture: Tensor, scale: float, size: int) -> Tensor:
    """Random crops (crop, 3, size, size) of a share of the side of a picture (3, H, W), always at the same places."""
    side = round(scale * picture.shape[-1])
    free = picture.shape[-1] - side + 1
    generator = torch.Generator().manual_seed(77)
    shown = []
    for _ in range(CROPS if free > 1 else 1):
        y, x = torch.randint(free, (2,), generator=generator).tolist()
        crop = picture[None, :, y : y + side, x : x + side]
        shown.append(functional.interpolate(crop, (size, size), mode="bilinear", antialias=True, align_corners=False))
    return torch.cat(shown).clamp(0, 1)


@torch.no_grad()
def read(reader: Backbone, picture: Tensor, index: int) -> dict[float, tuple[float, float]]:
    """{scale: (share of the crops read as the class, its mean probability)}."""
    readings = {}
    for scale in SCALES:
        shares = reader.logits(crops(picture, scale, reader.input_size)).softmax(-1)
        readings[scale] = ((shares.argmax(-1) == index).float().mean().item(), shares[:, index].mean().item())
    return readings


def network(names: list[str]) -> USAE:
    """An untrained USAE over some of the real networks: logits need none of its concepts."""
    folder = needs_real_folder()
    every = read_specs(str(folder / "specs.yaml"))
    specs = {name: every[name] for name in names}
    backbones = build_backbones(specs)
    grid = min((backbone.grid for backbone in backbones.values()), key=lambda each: each[0] * each[1])
    return USAE({name: each.width for name, each in backbones.items()}, 8, 2, specs=specs, grid=grid).eval()


def ours(names: list[str], numbers: list[int], kind: OfClass, settings: dict[str, Any]) -> Iterator[Drawn]:
    """Draw classes with this project, through one network or through both at once."""
    usae = network(names)
    assert usae.backbones  # built before the clock runs
    mode: Mode = "shared" if len(names) > 1 else "per-model"
    for index in numbers:
        parts = [kind(name, index) for name in names]
        objective = parts[0] if len(parts) == 1 else parts[0] + parts[1]
        began = time.process_time()
        result = uv.maximize(usae, objective, mode=mode, **settings)
        (picture,) = result.images.values()
        yield index, picture, time.process_time() - began


def horamas(method: str, size: int, name: str, numbers: list[int], steps: int) -> Iterator[Drawn]:
    """Draw classes with Horama at a size, through the network as timm has it, normalized as it wants it."""
    import horama

    backbone = Backbone(name, read_specs(str(needs_real_folder() / "specs.yaml"))[name])
    for index in numbers:
        torch.manual_seed(0)

        def score(views: Tensor, index: int = index) -> Tensor:
            score: Tensor = backbone.model(views)[:, index].mean()
            return score

        began = time.process_time()
        # mean and std of both networks are 0.5: values of -1 to 1 are a picture of 0 to 1
        picture, _ = getattr(horama, method)(
            score, total_steps=steps, image_size=size, values_range=(-1, 1), device="cpu"
        )
        yield index, (picture.detach() * 0.5 + 0.5).clamp(0, 1), time.process_time() - began


def lucents(size: int, name: str, numbers: list[int]) -> Iterator[Drawn]:
    """Draw classes with torch-lucent at a size (its default is 128), with its defaults but for the normalization."""
    import kornia

    kornia.warp_affine = kornia.geometry.warp_affine
    kornia.get_rotation_matrix2d = kornia.geometry.get_rotation_matrix2d
    from lucent.optvis import objectives, param, render, transform

    backbone = Backbone(name, read_specs(str(needs_real_folder() / "specs.yaml"))[name])
    network = backbone.model.eval()
    normalized = [*transform.standard_transforms, lambda views: views * 2 - 1]  # mean and std are 0.5
    for index in numbers:
        torch.manual_seed(0)
        np.random.seed(0)  # its transforms draw there
        began = time.process_time()
        (picture,) = render.render_vis(
            network,
            objectives.channel("labels", index),
            partial(param.image, size),
            transforms=normalized,
            preprocess=False,
            progress=False,
            show_image=False,
        )
        yield index, torch.from_numpy(picture[0]).movedim(-1, 0).float(), time.process_time() - began


def photographs(backbone: Backbone) -> Iterator[Drawn]:
    """Photographs of which a network is sure, cut to a square, each as a picture of its likeliest class."""
    for part in ("train", "held"):
        for file in sorted((needs_real_folder() / "photos" / part).glob("*.jpg")):
            with Image.open(file) as opened:
                photograph = ImageOps.fit(opened.convert("RGB"), (min(opened.size),) * 2)
            picture = torch.from_numpy(np.array(photograph)).movedim(-1, 0) / 255
            with torch.no_grad():
                likely = backbone.logits(crops(picture, 1.0, backbone.input_size)).softmax(-1)[0].max(0)
            if likely.values >= SURE:
                yield int(likely.indices), picture, 0.0


def table(label: str, drawn: Iterator[Drawn], reader: Backbone, out: Path | None) -> None:
    """Draw, read and print; pictures go to `out`."""
    rows, seconds, clipped = [], [], []
    for index, picture, taken in drawn:
        rows.append(read(reader, picture, index))
        seconds.append(taken)
        clipped.append(((picture < CLIPPED) | (picture > 1 - CLIPPED)).float().mean().item())
        if out is not None:
            (out / label).mkdir(parents=True, exist_ok=True)
            save_image(picture, out / label / f"{index:03d}.png")
    figures = []
    for scale in SCALES:
        right, share = (sum(row[scale][part] for row in rows) / len(rows) for part in (0, 1))
        figures.append(f"{scale:g}: {right:.3f} {share:.2f}")
    mean = sum(seconds) / len(seconds)
    print(
        f"{label:28s} {len(rows):3d} classes, {mean:5.1f} s of a core, {sum(clipped) / len(rows):.1%} clipped;  "
        + ",  ".join(figures),
        flush=True,
    )


def concepts(folder: str, count: int, settings: dict[str, Any]) -> None:
    """Draw concepts through each backbone alone; how strong are they in the others?"""
    usae = ut.load(folder)
    assert usae.statistics is not None
    alive = (usae.statistics.fires > 0).all(0).nonzero()[:, 0]
    order = torch.randperm(len(alive), generator=torch.Generator().manual_seed(0))[:count]
    ranks: dict[tuple[str, str], list[tuple[int, float]]] = {}
    for concept in alive[order].tolist():
        scores = uv.maximize(usae, uv.Concept(concept), **settings).scores
        assert scores is not None
        for image in usae.names:
            for backbone in usae.names:
                score = scores[image][backbone]
                assert isinstance(score, Score)
                ranks.setdefault((image, backbone), []).append((score.rank, score.percentile or 0.0))
    print(f"{count} concepts, live in every backbone, at random: median rank; share beyond the 99th percentile")
    for (image, backbone), rows in ranks.items():
        rank = torch.tensor([float(row[0]) for row in rows]).median().item()
        share = sum(row[1] >= 99 for row in rows) / len(rows)
        print(f"drawn through {image:6s} in {backbone:6s} rank {rank:4.0f}   {share:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--through", default="", help="lite0, lite2, shared, comma-separated")
    parser.add_argument("--classes", type=int, default=50)
    parser.add_argument("--objective", choices=KINDS, default="Class")
    parser.add_argument("--set", action="append", default=[], help="a setting, such as steps=48; JSON values")
    parser.add_argument("--horama", default="", help="fourier, maco, comma-separated")
    parser.add_argument("--horama-sizes", default="512", help="in pixels, comma-separated")
    parser.add_argument("--steps", type=int, default=128, help="Horama's")
    parser.add_argument("--lucent", default="", help="sizes in pixels, comma-separated; its default is 128")
    parser.add_argument("--photographs", action="store_true", help="real ones, of which the network is sure")
    parser.add_argument("--usae")
    parser.add_argument("--concepts", type=int, default=16)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    warnings.filterwarnings("ignore", message="settled")
    settings: dict[str, Any] = {}
    for each in chosen.set:
        key, _, value = each.partition("=")
        try:
            settings[key] = json.loads(value)
        except json.JSONDecodeError:
            settings[key] = value
    numbers, kind = classes(chosen.classes), KINDS[chosen.objective]
    every = read_specs(str(needs_real_folder() / "specs.yaml"))
    readers = {name: Backbone(name, every[name]) for name in OTHER}
    for name in filter(None, chosen.through.split(",")):
        if name == "shared":  # both took part: how well it shows is an upper bound
            pictures = list(ours(list(OTHER), numbers, kind, settings))
            for reader in OTHER:
                table(f"shared read by {reader}", iter(pictures), readers[reader], chosen.out)
        else:
            table(
                f"{name} read by {OTHER[name]}",
                ours([name], numbers, kind, settings),
                readers[OTHER[name]],
                chosen.out,
            )
    with tempfile.TemporaryDirectory() as room:
        before = Path.cwd()
        for method in filter(None, chosen.horama.split(",")):
            out = chosen.out and chosen.out.resolve()
            if method == "maco":
                np.save(Path(room) / "spectrum_decorrelated.npy", photographs_spectrum().numpy())
            os.chdir(room)  # where it looks for its spectrum
            try:
                for size in chosen.horama_sizes.split(","):
                    drawn = horamas(method, int(size), "lite0", numbers, chosen.steps)
                    table(f"Horama {method} {size} lite0", drawn, readers["lite2"], out)
            finally:
                os.chdir(before)
    for size in filter(None, chosen.lucent.split(",")):
        table(f"lucent {size} lite0", lucents(int(size), "lite0", numbers), readers["lite2"], chosen.out)
    if chosen.photographs:
        for name, reader in OTHER.items():
            table(f"sure of by {name}", photographs(readers[name]), readers[reader], chosen.out)
    if chosen.usae:
        concepts(chosen.usae, chosen.concepts, settings)


def photographs_spectrum() -> Tensor:
    """The magnitudes of the photographs of `train`, (3, 224, 113)."""
    from usae_train.images.sources import open_images
    from usae_train.images.spectrum import mean_magnitude

    return mean_magnitude(open_images(str(needs_real_folder() / "photos" / "train")), 224)


if __name__ == "__main__":
    main()
