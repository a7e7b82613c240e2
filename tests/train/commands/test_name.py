"""`usae-train name` from the shell, and what `evaluate` says of classes, answers and a judge."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from command_line import assert_one_error, run
from edited_networks import SPECS, space
from PIL import Image
from report_shape import assert_of_its_form

import usae_train as ut
from usae_train.evaluation.checkpointing import PassCheckpointer
from usae_train.evaluation.evaluate import Comparison, evaluate_source
from usae_train.evaluation.judging import Judge
from usae_train.images.sources import open_images
from usae_train.runtime.distributed import DistributedContext
from usae_train.runtime.signals import Stopped
from usae_viz.concepts.labels import read_labels

COLOURS = {"red": (0.9, 0.1, 0.1), "green": (0.1, 0.9, 0.1), "blue, deep": (0.1, 0.1, 0.9)}
EACH = 8


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> Path:
    """Three classes of eight pictures, each of a colour and noise."""
    folder, generator = tmp_path_factory.mktemp("labelled"), torch.Generator().manual_seed(0)
    for name, colour in COLOURS.items():
        (folder / name).mkdir()
        for number in range(EACH):
            noise = 0.4 * torch.rand(64, 64, 3, generator=generator)
            pixels = (255 * (0.7 * torch.tensor(colour) + noise).clamp(0, 1)).byte()
            Image.fromarray(pixels.numpy()).save(folder / name / f"{number}.png")
    return folder


@pytest.fixture(scope="module")
def usae(tmp_path_factory) -> Path:
    """A space over two networks with classifiers, in which concept 3 stands for red pictures."""
    place = tmp_path_factory.mktemp("made") / "usae"
    model = space({name: SPECS[name] for name in ("registers", "conv")})
    canvases = {name: 0.7 * torch.tensor(c)[:, None, None] + 0.2 for name, c in COLOURS.items()}
    for name, backbone in model.backbones.items():
        shown = torch.stack([own.expand(3, 64, 64) for own in canvases.values()])
        with torch.no_grad():
            red, *others = backbone(shown, model.grid).mean(1)
            way = model.scale(name)(torch.stack([red, *others]))
            encoder = model.encoder(name).linear
            direction = 10 * torch.nn.functional.normalize(way[0] - way[1:].mean(0), dim=0)
            encoder.weight[3] = direction
            encoder.bias[3] = -(way @ direction)[1:].amax() / 2 - (way[0] @ direction) / 2
    ut.save(model, place)
    return place


def test_a_concept_is_named_after_its_class_in_a_file_that_labels_reads(usae, labelled, tmp_path) -> None:
    code, out, err = run("name", usae, labelled, "--out", tmp_path / "labels.json", "--device", "cpu")
    assert (code, err) == (0, "")
    assert "of 16 named, after" in out
    labels = {label.concept: label for label in read_labels(tmp_path / "labels.json", ut.load(usae))}
    assert labels[3].name == "red"
    assert "class AUROC at least 1.00 in each half and backbone; 8 of its 8 strongest" in labels[3].note
    code, out, _ = run("name", usae, labelled, "--out", tmp_path / "again.json", "--json", "--device", "cpu")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "labels.json").read_bytes()
    assert 3 in [each["concept"] for each in json.loads(out)["named"]]


@pytest.mark.parametrize("left", [1, 2])
def test_a_class_of_few_pictures_is_one_line(left, usae, labelled, tmp_path) -> None:
    for name in COLOURS:
        for file in sorted((labelled / name).iterdir())[: left if name == "red" else EACH]:
            (tmp_path / "few" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "few" / name / file.name).symlink_to(file)
    found = run("name", usae, tmp_path / "few", "--out", tmp_path / "labels.json", "--device", "cpu")
    assert_one_error(found, f"class 'red' has {left} picture")
    assert not (tmp_path / "labels.json").exists()


def test_pictures_without_classes_and_a_file_that_is_there_are_one_line(usae, labelled, tmp_path) -> None:
    flat = run("name", usae, labelled / "red", "--out", tmp_path / "labels.json")
    assert_one_error(flat, "has no labels: expected a folder with a folder for each of at least two classes")
    (tmp_path / "labels.json").write_text("mine")
    assert_one_error(run("name", usae, labelled, "--out", tmp_path / "labels.json"), "is there already")
    assert (tmp_path / "labels.json").read_text() == "mine"


def test_evaluate_says_it_all_and_is_the_same_with_workers(usae, labelled) -> None:
    model = ut.load(usae)
    source = open_images(labelled)
    judge = Judge(ut.Backbone("judge", SPECS["vit"]))
    found = []
    for workers in (1, 2):
        made = evaluate_source(model, source, 4, compared=Comparison(judge=judge, workers=workers))
        assert made is not None
        assert_of_its_form(made[0])
        found.append(made[0])
    keys = ("answers", "monosemanticity", "classes")
    assert [json.dumps(found[0][key]) for key in keys] == [json.dumps(found[1][key]) for key in keys]
    own = found[0]["answers"]["backbones"]["conv"]
    assert (own["by"], own["images"], own["clean"]["accuracy"]) == ("own answer", 3 * EACH, 1)
    assert next(each["concept"] for each in found[0]["classes"]["stand_for_one"] if each["classes"] == ["red"]) == 3
    assert found[0]["classes"]["classes"]["red"]["best"][0]["auroc"] == {"registers": 1, "conv": 1}
    assert len(found[0]["monosemanticity"]["concepts"]["conv"]) == 16
    assert found[0]["monosemanticity"]["judge"]["name"] == "judge"


KEYS = ("answers", "monosemanticity", "classes")


@pytest.fixture(scope="module")
def undisturbed(usae, labelled) -> list[str]:
    """The figures of one pass, as text."""
    return figures(usae, labelled, Comparison())


def figures(usae: Path, labelled: Path, compared: Comparison) -> list[str]:
    judged = replace(compared, judge=Judge(ut.Backbone("judge", SPECS["vit"])))
    made = evaluate_source(ut.load(usae), open_images(labelled), 4, compared=judged)
    return [] if made is None else [json.dumps(made[0][key]) for key in KEYS]


def test_stopped_and_gone_on_with_it_says_the_same(usae, labelled, undisturbed, tmp_path) -> None:
    checkpointer = PassCheckpointer(tmp_path, minutes=1e9)
    judge = Judge(ut.Backbone("judge", SPECS["vit"]))
    with pytest.raises(Stopped):
        evaluate_source(
            ut.load(usae),
            open_images(labelled),
            4,
            lambda stage, done, total: checkpointer.stop(),
            Comparison(judge=judge, checkpointer=checkpointer),
        )
    assert figures(usae, labelled, Comparison(checkpointer=PassCheckpointer(tmp_path, minutes=1e9))) == undisturbed


def test_two_processes_say_the_same(usae, labelled, undisturbed, tmp_path) -> None:
    found = [
        figures(
            usae,
            labelled,
            Comparison(checkpointer=PassCheckpointer(tmp_path, rank, minutes=1e9), ranks=DistributedContext(rank, 2)),
        )
        for rank in (1, 0)  # the first adds up what the other has laid down
    ]
    assert found[0] == []
    for one, other in zip(found[1], undisturbed, strict=True):
        assert_near(json.loads(one), json.loads(other))


def assert_near(one: object, other: object) -> None:
    """Sums in another order round otherwise."""
    if isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for key, own in one.items():
            assert_near(own, other[key])
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-6, nan_ok=True)
    else:
        assert one == other
