"""Autoencoders of other libraries, written by hand: codes and decoded tokens are those worked out by hand."""

import json

import pytest
import sae_files as files
import torch
from sae_files import CONCEPTS, FILES, TOKENS, WIDTH
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import usae_train as ut
from usae_train.cli import app
from usae_train.interventions.edits import edit_shift, parse_edits
from usae_train.model.sparsity.variants import variants
from usae_train.sae_formats.formats import formats, read_sae
from usae_train.training.add_backbone import growth_settings

MADE = [(format, maker) for format, makers in FILES.items() for maker in makers]
NAMES = [maker.__name__ for _, maker in MADE]


def close(one, other):
    return torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def same(usae, written):
    """Whether a USAE encodes and decodes as what was written does."""
    codes = usae.encode(usae.names[0], TOKENS)
    expected = written.encode(TOKENS)
    decoded = usae.decode(usae.names[0], codes)
    return close(codes.dense(CONCEPTS), expected) and close(decoded, written.decode(expected))


@pytest.fixture
def room(tmp_path):
    (tmp_path / "made").mkdir()
    return tmp_path / "made"


@pytest.mark.parametrize(("format", "maker"), MADE, ids=NAMES)
def test_its_format_is_told_by_itself_and_it_computes_the_same_saved_and_loaded(tmp_path, room, format, maker):
    written = maker(room)
    usae = ut.import_sae(written.place, **written.options)
    assert usae.recipe.startswith(f"imported from {format} (")
    assert same(usae, written)
    ut.save(usae, tmp_path / "usae")
    loaded = ut.load(tmp_path / "usae")
    assert same(loaded, written)
    ut.save(loaded, tmp_path / "again")
    for file in ("config.json", "model.safetensors"):
        assert (tmp_path / "again" / file).read_bytes() == (tmp_path / "usae" / file).read_bytes()


@pytest.mark.parametrize(("format", "maker"), MADE, ids=NAMES)
def test_a_readout_is_its_pre_codes_and_the_codes_are_made_of_them(room, format, maker):
    written = maker(room)
    usae = ut.import_sae(written.place, format=format, **written.options)
    chosen = [CONCEPTS - 1, 0]
    pre_codes = usae.pre_codes("sae", TOKENS)
    assert close(usae.readout("sae", chosen)(TOKENS), pre_codes[:, chosen])
    made = usae.sparsify("sae", pre_codes)
    assert torch.equal(made.dense(CONCEPTS), usae.encode("sae", TOKENS).dense(CONCEPTS))


@pytest.mark.parametrize("format", ["saelens", "sparsify"])
@pytest.mark.parametrize("maker", [maker for _, maker in MADE], ids=NAMES)
def test_written_and_read_again_it_computes_the_same_or_is_refused(tmp_path, room, maker, format):
    written = maker(room)
    usae = ut.import_sae(written.place, **written.options)
    plain = usae.sparsity == variants()["topk"]()
    if not (plain or (format == "saelens" and usae.sparsity.kind != "topk")):
        with pytest.raises(ValueError, match=r"sparsify has topk|SAELens has no sparsity"):
            ut.export_sae(usae, "sae", tmp_path / "out", format)
        assert not (tmp_path / "out").exists()
        return
    ut.export_sae(usae, "sae", tmp_path / "out", format)
    assert same(ut.import_sae(tmp_path / "out"), written)


@pytest.mark.parametrize("recipe", ["published", "default"])
@pytest.mark.parametrize("format", ["saelens", "sparsify"])
def test_a_backbone_that_was_trained_here_is_written_with_its_standardization(tmp_path, recipe, format):
    tokens = {"left": TOKENS * 3 + 1, "right": TOKENS[:, :2]}
    usae = ut.fit(tokens, n_concepts=8, k=2, steps=3, batch=16, recipe=recipe)
    usae.save_pretrained(tmp_path / "usae")
    command = ["export-sae", str(tmp_path / "usae"), "--format", format, "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "has left, right; say whose to write with --backbone" in done.stderr
    done = CliRunner().invoke(app, [*command, "--backbone", "left"])
    assert done.exit_code == 0, done.stderr
    again = ut.import_sae(tmp_path / "out", name="left")
    codes, expected = again.encode("left", tokens["left"]), usae.encode("left", tokens["left"])
    assert close(codes.dense(8), expected.dense(8))
    assert close(again.decode("left", codes), usae.decode("left", expected))
    assert usae.readout("left", [0]).weight.requires_grad is False


def test_what_was_written_has_the_form_of_the_library(tmp_path, room):
    usae = ut.import_sae(files.saelens_jumprelu(room).place)
    ut.export_sae(usae, "sae", tmp_path / "out")
    ours, theirs = (json.loads((place / "cfg.json").read_text()) for place in (tmp_path / "out", room))
    assert ours.keys() == theirs.keys()
    ours, theirs = (load_file(place / "sae_weights.safetensors") for place in (tmp_path / "out", room))
    assert {key: own.shape for key, own in ours.items()} == {key: own.shape for key, own in theirs.items()}


@pytest.mark.parametrize("maker", [files.saelens_jumprelu, files.overcomplete_topk, files.sparsify])
def test_an_edit_moves_tokens_by_what_decoding_does(room, maker):
    written = maker(room)
    usae = ut.import_sae(written.place, **written.options)
    codes = usae.encode("sae", TOKENS)
    without = codes._replace(values=codes.values * (codes.indices != 2))
    moved = edit_shift(usae, "sae", codes, parse_edits(usae, {2: 0.0}))
    assert close(moved, usae.decode("sae", without) - usae.decode("sae", codes))


def test_the_command_says_what_it_read_and_what_the_folder_says_of_itself(tmp_path, room):
    files.saelens_batchtopk(room)
    done = CliRunner().invoke(app, ["import-sae", str(room), "--name", "vit", "--out", str(tmp_path / "usae")])
    assert done.exit_code == 0, done.stderr
    assert "9 concepts of vit, about 3 active per patch; imported from saelens (batchtopk)" in done.stdout
    assert "the folder says that it was trained on place 'blocks.1'" in done.stdout
    assert ut.load(tmp_path / "usae").sparsity.kind == "batchtopk"


def test_every_format_and_every_variant_is_found_in_its_folder():
    assert sorted(formats()) == sorted(FILES)
    assert sorted(variants()) == ["batchtopk", "jumprelu", "relu", "splittopk", "topk"]


def test_a_threshold_in_halves_of_the_precision_is_kept_whole(tmp_path, room):
    usae = ut.import_sae(files.saelens_jumprelu(room).place)
    ut.save(usae, tmp_path / "usae", half=True)
    assert torch.equal(ut.load(tmp_path / "usae").thresholds["sae"], files.T)


def config(room, **changes):
    """Change a folder's cfg.json or config.json."""
    file = next(room.glob("c*.json"))
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, **changes}))
    return room


def weights(room, **changes):
    """Change a folder's tensors; None leaves one out."""
    file = next(room.glob("*.safetensors"))
    content = {**load_file(file), **changes}
    save_file({key: own for key, own in content.items() if own is not None}, file)
    return room


def state(room, **changes):
    file = next(room.glob("*.pt"))
    content = {**torch.load(file, weights_only=True), **changes}
    torch.save({key: own for key, own in content.items() if own is not None}, file)
    return room


class Harm:
    def __reduce__(self):
        return (print, ("code ran",))


def harmful(room, name):
    torch.save({"W_enc": Harm()}, room / name)
    return room / name


def of(maker, change=lambda room: room):
    def made(room):
        maker(room)
        return change(room)

    return made


GATED = "a USAE has one per concept"
BIASED = {"schema": 1, "cls": "Relu", "cfg": {"d_vit": WIDTH, "exp_factor": 2}}
REFUSED = {
    "nothing there": (lambda room: room / "none", "no folder or file at"),
    "an empty folder": (lambda room: room, "is in no known format; say which with --format (dictionary"),
    "saelens: gated": (of(files.saelens_standard, lambda r: config(r, architecture="gated")), GATED),
    "saelens: form of training": (
        of(files.saelens_topk, lambda r: config(r, architecture="batchtopk")),
        "architecture 'batchtopk' is not read: this is the form of training, whose codes depend on the batch; save it "
        "with save_inference_model",
    ),
    "saelens: unknown architecture": (
        of(files.saelens_standard, lambda r: config(r, architecture="other")),
        "architecture 'other' is not read: expected standard, jumprelu, topk",
    ),
    "saelens: no word": (
        of(files.saelens_standard, lambda r: config(r, architecture=["topk"])),
        """architecture '["topk"]' is not read: expected standard""",
    ),
    "dictionary_learning: no word": (
        of(files.dictionary_topk, lambda r: config(r, trainer={"dict_class": {}})),
        "trainer.dict_class '{}' is not read: expected AutoEncoder",
    ),
    "dictionary_learning: k": (
        of(files.dictionary_batchtopk, lambda r: state(r, k=torch.tensor(100))),
        "ae.pt: k is 100; expected a number of 1 to 9",
    ),
    "saelens: checkpoint": (
        of(files.saelens_standard, lambda r: config(r, l1_coefficient=1.0)),
        "l1_coefficient is not a key of SAELens' standard for inference",
    ),
    "saelens: scale": (
        of(files.saelens_standard, lambda r: config(r, normalize_activations="expected_average_only_in")),
        "normalize_activations 'expected_average_only_in' is not read: the scale that it was trained with is not in",
    ),
    "saelens: layer norm": (
        of(files.saelens_standard, lambda r: config(r, normalize_activations="layer_norm")),
        "'layer_norm' is not read: decoding needs the mean and spread of the very token, which codes do not carry",
    ),
    "saelens: heads": (
        of(files.saelens_standard, lambda r: config(r, reshape_activations="hook_z")),
        "reshape_activations 'hook_z' is not read: only `none` is",
    ),
    "saelens: older": (
        of(files.saelens_standard, lambda r: config(r, metadata={"sae_lens_version": "5.1.0"})),
        "cfg.json is not SAELens 6's; load it there",
    ),
    "saelens: sizes": (
        of(files.saelens_standard, lambda r: config(r, d_in=5)),
        "d_in is 5, and W_enc in sae_weights.safetensors has 4",
    ),
    "saelens: k": (of(files.saelens_topk, lambda r: config(r, k=10)), "k is 10; expected a whole number of 1 to 9"),
    "saelens: a tensor more": (
        of(files.saelens_standard, lambda r: weights(r, r_mag=torch.ones(3))),
        "SAELens' standard has no r_mag; it is another kind, and computes differently",
    ),
    "saelens: a tensor less": (
        of(files.saelens_jumprelu, lambda r: weights(r, threshold=None)),
        "threshold is missing; expected one of (9)",
    ),
    "saelens: a NaN": (
        of(files.saelens_standard, lambda r: weights(r, b_enc=torch.full((CONCEPTS,), torch.nan))),
        "b_enc has values that are NaN or infinite",
    ),
    "saelens: a row of zeros": (
        of(files.saelens_rescaled, lambda r: weights(r, W_dec=torch.zeros(CONCEPTS, WIDTH))),
        "W_dec has a row of zeros",
    ),
    "sparsify: transcoder": (
        lambda room: files.sparsify(room, transcode=True).place,
        "transcode True is not read: it decodes to another place than it encodes",
    ),
    "sparsify: skip": (lambda room: files.sparsify(room, skip_connection=True).place, "skip_connection True is not"),
    "sparsify: groups": (
        lambda room: files.sparsify(room, activation="groupmax").place,
        "activation 'groupmax' is not read: it keeps one concept per group",
    ),
    "sparsify: signed": (lambda room: files.sparsify(room, signed=True).place, "signed is not a key of sparsify 1.3"),
    "saev: schema": (
        lambda room: files.saev(room, {"schema": 9}, None).place,
        "schema 9 is not known; expected none, or 1 to 5",
    ),
    "saev: schema 1 with a bias": (
        lambda room: files.saev(room, BIASED, None).place,
        "has schema 1, under which saev first subtracted the decoder's bias and later did not",
    ),
    "saev: activation": (
        lambda room: files.saev(room, files.saev_schema("Gated"), None).place,
        "activation 'Gated' is not read; expected Relu, TopK, BatchTopK",
    ),
    "saev: no threshold": (
        lambda room: files.saev(room, files.saev_schema("BatchTopK", top_k=2), None).place,
        "BatchTopK without its threshold",
    ),
    "overcomplete: no count": (
        lambda room: files.overcomplete_topk(room).place,
        "TopK, BatchTopK and plain SAE having the same tensors; give --k for TopK, --threshold",
    ),
    "overcomplete: another normalization": (
        of(files.overcomplete_jump, lambda r: state(r, **{"dictionary._weights": files.D})),
        "it was trained with another normalization than the default l2, and the file does not say which",
    ),
    "overcomplete: layer norm": (
        of(files.overcomplete_jump, lambda r: state(r, **{"encoder.final_block.1.weight": torch.ones(CONCEPTS)})),
        "overcomplete's Jump with a linear encoder has no encoder.final_block.1.weight",
    ),
    "dictionary_learning: gated": (
        of(files.dictionary_relu, lambda r: config(r, trainer={"dict_class": "GatedAutoEncoder"})),
        GATED,
    ),
    "dictionary_learning: which": (
        of(files.dictionary_topk, lambda r: (r / "config.json").unlink() or r),
        "TopK and BatchTopK have the same tensors, and only config.json beside it says which",
    ),
    "dictionary_learning: another": (
        of(files.dictionary_topk, lambda r: config(r, trainer={"dict_class": "AutoEncoder"})),
        "bias is missing; expected one of (4)",
    ),
    "prisma: gated": (lambda room: files.prisma(room, architecture="gated").place, GATED),
    "prisma: layer norm": (
        lambda room: files.prisma(room, normalize_activations="layer_norm").place,
        "normalize_activations 'layer_norm' is not read: decoding needs the mean and spread of the very token",
    ),
    "prisma: activation": (
        lambda room: files.prisma(room, activation_fn_str="tanh-relu").place,
        "activation_fn_str 'tanh-relu' is not read; expected relu or topk",
    ),
    "code": (lambda room: harmful(room, "sae.pt"), "nothing that can run code is loaded; save its state_dict alone"),
    "code in ae.pt": (lambda room: harmful(room, "ae.pt"), "nothing that can run code is loaded"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_reproduced_is_one_line_and_nothing_is_written(tmp_path, room, make, message, capfd):
    done = CliRunner().invoke(app, ["import-sae", str(make(room)), "--out", str(tmp_path / "usae")])
    assert done.exit_code == 1
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "usae").exists()
    assert "code ran" not in capfd.readouterr().out


def test_a_format_that_is_asked_for_and_is_not_what_lies_there(room):
    files.saelens_standard(room)
    with pytest.raises(ValueError, match=r"unknown format 'saelense'; expected .*; did you mean 'saelens'\?"):
        read_sae(room, "saelense")
    with pytest.raises(ValueError, match=r"ae\.pt: there is no such file"):
        read_sae(room, "dictionary_learning")
    with pytest.raises(ValueError, match="prisma can be read, but not written; expected --format saelens or sparsify"):
        ut.export_sae(ut.import_sae(room), "sae", room / "out", "prisma")


def test_what_a_file_says_itself_is_not_told(room):
    files.saelens_topk(room)
    with pytest.raises(ValueError, match="k is 2, but a file of saelens states it; leave it out"):
        read_sae(room, k=2)
    (file,) = (files.overcomplete_topk(room).place,)
    with pytest.raises(ValueError, match="threshold is nan; expected a number that is finite"):
        read_sae(file, threshold=float("nan"))
    with pytest.raises(ValueError, match="--k is 10; expected a whole number of 1 to 9"):
        read_sae(file, k=10)


def test_a_threshold_that_was_never_set_is_told(room):
    files.dictionary_batchtopk(room)
    state(room, threshold=torch.tensor(-1.0))
    sae = read_sae(room)
    assert "its threshold was never set" in sae.notes[0]
    assert same(ut.import_sae(room), files.Written(room, lambda t: files.pre(t).relu(), files.decode))


def test_saev_of_schema_1_is_read_where_its_bias_is_zero(room):
    written = files.saev(room, BIASED, lambda t: files.pre(t, 0).relu(), b_dec=torch.zeros(WIDTH))
    written.decode = lambda codes: codes @ files.D
    assert same(ut.import_sae(written.place), written)


def test_no_backbone_is_added_to_one_that_was_imported(room):
    usae = ut.import_sae(files.saelens_topk(room).place)
    with pytest.raises(ValueError, match=r"this USAE was imported from saelens .*; a backbone can be added to"):
        growth_settings(usae)


def test_tensors_in_half_precision_are_told(room):
    files.saelens_standard(room)
    weights(room, **{key: own.half() for key, own in load_file(room / "sae_weights.safetensors").items()})
    assert read_sae(room).notes[-1].startswith("its tensors are float16: it is computed in float32 here")
