"""How many of the names that `usae-train name` gives are right: in the demo, where the truth is known; on photographs.

    python tests/benchmarks/named_concepts.py [--pictures 40] [--seeds 3] [--held FOLDER --train FOLDER --usae photos]

In the demo pictures of a class are scenes in which one value of a factor is alone (`whole`: every surface has it, as
in pictures of one thing) or is in the picture among others (`among`: one object has it, no other surface has). A name
is right when, of all values of that factor, the concept follows this one best patch by patch (statistics.auroc, the
least of the three backbones'); `follow` counts those whose patch AUROC is 0.9 and more. With --train and --held, two
folders of the same classes and other photographs, a name given on the one is right when it tells the class on the other
(AUROC of 0.8 and more in each backbone).

`--pictures 40 --seeds 2`: of scenes of one thing 91 names, of which 88 are right and 54 follow, none were the classes
dealt out at random; of scenes with other things none is named. Other thresholds stand in class_concepts.py.
"""

from __future__ import annotations

import argparse
from dataclasses import replace

import torch
from torch import Tensor

import usae_train as ut
from usae_train.evaluation.class_concepts import ClassConcepts, class_concepts
from usae_train.evaluation.naming import name_concepts
from usae_train.images.classes import ImageClasses, need_classes
from usae_train.images.sources import DemoImages, open_images
from usae_train.model.natural import peak_codes
from usae_train.model.statistics import auroc
from usae_train.model.usae import USAE
from usae_train.scenes.factors import FACTOR_VALUES, FACTORS
from usae_train.scenes.world import SceneParameters, draw_parameters, render_scenes

HOLDS = 0.8  # AUROC on other photographs


class ClassScenes(DemoImages):
    """Scenes of classes: the values of one factor."""

    def __init__(self, factor: str, pictures: int, seed: int, among: bool) -> None:
        super().__init__(0)
        values = len(FACTORS[factor])
        first = 1 if factor == "shape" else 0  # `background` is no shape of an object
        self.classes = tuple(FACTORS[factor][first:])
        self.of = torch.arange(first, values).repeat_interleave(pictures)
        self.count = len(self.of)
        drawn = draw_parameters(self.count, torch.Generator().manual_seed(90_000 + seed))
        labels = getattr(drawn, factor).clone()
        start = 1 if factor == "shape" else 0
        if among:
            others = torch.where(labels == self.of[:, None], (labels - first + 1) % (values - first) + first, labels)
            labels[:, start:] = others[:, start:]
            labels[:, 1] = self.of
        else:
            labels[:, start:] = self.of[:, None]
        self.drawn = replace(drawn, **{factor: labels})

    def fingerprint(self) -> str:
        return "classes"

    def _parameters(self, index: int) -> SceneParameters:
        return self.drawn.select(slice(index, index + 1))

    def read(self, index: int, size: int) -> Tensor:
        return render_scenes(self._parameters(index), size).images[0]


def right_names(usae: USAE, factor: str, named: ClassConcepts) -> tuple[int, int, int]:
    """Of the names: how many, right ones, and those whose concept follows the value."""
    assert usae.statistics is not None
    assert usae.statistics.auroc is not None
    rows = [FACTOR_VALUES.index(f"{factor}: {name}") for name in named.classes.names]
    areas = usae.statistics.auroc.amin(0)[rows].nan_to_num(0.0)  # (classes, concepts)
    right = follows = 0
    for each in named.named:
        areas_of = areas[:, each.concept]
        right += int(areas_of.argmax()) == each.classes[0]
        follows += areas_of[each.classes[0]].item() >= 0.9
    return len(named.named), right, follows


def in_the_demo(pictures: int, seeds: int) -> None:
    """A line for each factor and kind of picture."""
    usae = ut.load("demo")
    for among in (False, True):
        for factor in FACTORS:
            total = torch.zeros(5, dtype=torch.long)
            for seed in range(seeds):
                source = ClassScenes(factor, pictures, seed, among)
                first = 1 if factor == "shape" else 0
                classes = ImageClasses(source.classes, tuple((source.of - first).tolist()))
                numbers, peaks = peak_codes(usae, source)
                named = class_concepts(peaks, numbers, classes, seed)
                total += torch.tensor([*right_names(usae, factor, named), len(named.shared), named.by_chance])
            kind = "among" if among else "whole"
            print("{} {}: {} names, {} right, {} follow; {} shared, {} by chance".format(kind, factor, *total.tolist()))


def on_photographs(usae: USAE, train: str, held: str) -> None:
    """Names given on the one folder, tried on the other."""
    named = name_concepts(usae, open_images(train))
    source = open_images(held)
    classes = need_classes(source)
    numbers, peaks = peak_codes(usae, source)
    of = torch.tensor(classes.numbers)[numbers]
    holds = 0
    for each in named.named:
        name = named.classes.names[each.classes[0]]
        truth = (of == classes.names.index(name))[:, None]
        area = min(auroc(peaks_of[:, None].float(), truth).item() for peaks_of in peaks[:, :, each.concept].T)
        holds += area >= HOLDS
        print(f"concept {each.concept} {name}: at least {each.auroc:.2f}, on the others {area:.2f}")
    print(f"{len(named.named)} names, {holds} hold; {len(named.shared)} shared, {named.by_chance} by chance")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=40, help="of each class")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--train")
    parser.add_argument("--held")
    parser.add_argument("--usae", default="photos")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.train is not None:
        on_photographs(ut.load(args.usae), args.train, args.held)
    else:
        in_the_demo(args.pictures, args.seeds)


if __name__ == "__main__":
    main()
