"""Whatever a caller has set torch to, public functions give the results that they give without it."""

from contextlib import contextmanager

import pytest
import torch

import usae_train as ut
import usae_viz as uv
from usae_train.evaluation.evaluate import evaluate_source
from usae_train.images.sources import open_images
from usae_train.model.firing import measure
from usae_train.runtime.torch_defaults import with_torch_defaults
from usae_train.tokens.extract import extract, plan_extraction
from usae_train.tokens.paired import TokenSource, collect_tokens
from usae_viz.export.png import to_picture
from usae_viz.runs.plan import plan_objectives
from usae_viz.runs.render import render_plan
from usae_viz.verification.concepts import score_images
from usae_viz.verification.noise import ScoringConfig

QUICK = {"steps": 2, "views": 1, "size": 32, "augmentation": "none", "dtype": "float32"}


@contextmanager
def default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


SURROUNDINGS = {
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "default dtype": default_dtype,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "default device": lambda: torch.device("meta"),
}


@pytest.fixture(scope="module")
def given(usae, tmp_path_factory):
    """Tokens, pictures on disk, and the tiny USAE in a folder."""
    place = tmp_path_factory.mktemp("given")
    (place / "pictures").mkdir()
    pictures = torch.rand(6, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    for number, own in enumerate(pictures):
        to_picture(own).save(place / "pictures" / f"{number}.png")
    tokens = {name: torch.randn(64, 8, generator=torch.Generator().manual_seed(1)) for name in "ab"}
    seen = {name: usae.tokens(name, pictures).detach() for name in usae.names}
    return {
        "place": place,
        "pictures": pictures,
        "tokens": tokens,
        "seen": seen,
        "folder": ut.save(usae, place / "usae"),
    }


def weights(usae):
    return dict(usae.state_dict())


DONE = {
    "fit": lambda usae, given, out: weights(ut.fit(given["tokens"], n_concepts=8, k=2, steps=3, batch=16)),
    "fit on pictures": lambda usae, given, out: weights(
        ut.fit(str(given["place"] / "pictures"), backbones=usae.specs, n_concepts=8, k=2, steps=2, batch=16)
    ),
    "load": lambda usae, given, out: weights(ut.load(given["folder"])),
    "load and see": lambda usae, given, out: ut.load(given["folder"]).tokens("left", given["pictures"]),
    "encode": lambda usae, given, out: usae.encode("left", given["seen"]["left"]),
    "pre-codes": lambda usae, given, out: usae.pre_codes("left", given["seen"]["left"]),
    "decode": lambda usae, given, out: usae.decode("right", usae.encode("left", given["seen"]["left"])),
    "readout": lambda usae, given, out: usae.readout("left", [3, 5]),
    "save": lambda usae, given, out: weights(ut.load(ut.save(usae, out / "usae"))),
    "collect": lambda usae, given, out: pairs(usae, given).tokens,
    "measure": lambda usae, given, out: vars(measure(usae, pairs(usae, given))),
    "extract": lambda usae, given, out: extracted(usae, open_images(given["place"] / "pictures"), out),
    "add a backbone": lambda usae, given, out: weights(
        ut.add_backbone(
            usae, given["place"] / "pictures", usae.specs["left"], name="third", steps=2, batch=16, dtype="float32"
        ).usae
    ),
    "evaluate": lambda usae, given, out: evaluate_source(usae, open_images(given["place"] / "pictures"))[0],
    "maximize": lambda usae, given, out: drawn(uv.maximize(usae, uv.Concept(3), **QUICK)),
    "direction": lambda usae, given, out: drawn(uv.maximize(usae, uv.Direction("left", [1.0] * 24), **QUICK)),
    "invert": lambda usae, given, out: drawn(uv.invert(usae, given["pictures"][0], **QUICK)),
    "accentuate": lambda usae, given, out: drawn(uv.accentuate(usae, uv.Concept(3), given["pictures"][0], **QUICK)),
    "maximize each": lambda usae, given, out: [
        drawn(own) for own in uv.maximize_each(usae, [uv.Concept(3), uv.Concept(5)], uv.MaximizeSettings(**QUICK))
    ],
    "verify": lambda usae, given, out: score_images(
        usae, 3, {"a": given["pictures"][0]}, {"a": usae.names}, ScoringConfig(0)
    ).as_dict(),
    "render": lambda usae, given, out: [
        own.scores.as_dict()
        for own in render_plan(usae, plan_objectives(usae, [uv.Concept(3)], [uv.MaximizeSettings(**QUICK)]), out)
    ],
}


def pairs(usae, given):
    return collect_tokens(TokenSource(usae.backbones, open_images(given["place"] / "pictures"), usae.grid))


def extracted(usae, source, out):
    extract(source, plan_extraction(source, usae.specs)[0], out)
    return {file.name: file.read_bytes() for file in out.glob("*.safetensors")}


def drawn(result):
    return result.images, result.alpha, result.scores.as_dict() if result.scores else None


def same(one, two, within=0.0):
    """Whether two results are equal, tensors to the bit by default."""
    if isinstance(one, torch.Tensor):
        alike = one.dtype == two.dtype and one.device == two.device and one.shape == two.shape
        return alike and torch.allclose(one.double(), two.double(), rtol=0, atol=within, equal_nan=True)
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(same(one[key], two[key], within) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(same(*both, within) for both in zip(one, two, strict=True))
    return one == two or one != one


@pytest.mark.parametrize("what", DONE)
def test_surroundings_change_no_result(usae, given, tmp_path, what):
    within = 1e-5 if what == "load and see" else 0.0  # without gradients attention takes another way
    outside = DONE[what](usae, given, tmp_path / "outside")
    for name, surroundings in SURROUNDINGS.items():
        with surroundings():
            inside = DONE[what](usae, given, tmp_path / name)
        assert same(outside, inside, within), name


def test_tokens_that_were_made_in_inference_mode_can_be_trained_on(given):
    with torch.inference_mode():
        tokens = {name: own.clone() for name, own in given["tokens"].items()}
        inside = ut.fit(tokens, n_concepts=8, k=2, steps=3, batch=16)
    assert same(weights(ut.fit(tokens, n_concepts=8, k=2, steps=3, batch=16)), weights(inside))


def test_a_callers_settings_are_as_before_and_apply_while_a_generator_waits():
    @with_torch_defaults
    def twice():
        for _ in range(2):
            yield torch.get_default_dtype(), torch.is_grad_enabled()

    with default_dtype(), torch.no_grad():
        for found in twice():
            assert found == (torch.float32, True)
            assert (torch.get_default_dtype(), torch.is_grad_enabled()) == (torch.float64, False)
    with pytest.raises(ValueError, match="no"), torch.no_grad():
        with_torch_defaults(lambda: (_ for _ in ()).throw(ValueError("no")))().__next__()
