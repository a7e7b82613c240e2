import pytest
import torch

from usae_train.model.sparse import Codes
from usae_train.model.usae import USAE


def random_usae(batch_norm: bool) -> USAE:
    """Two backbones whose parameters and buffers are all away from their defaults."""
    usae = USAE({"vit": 6, "dino": 4}, n_concepts=10, k=3, batch_norm=batch_norm)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for tensor in usae.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        for name in usae.names:
            weight = usae.encoder(name).linear.weight
            weight.copy_(torch.randn(weight.shape, generator=generator))
    return usae.eval().requires_grad_(False)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_readout_equals_pre_codes(batch_norm: bool) -> None:
    usae = random_usae(batch_norm)
    tokens = 7 * torch.randn(5, 3, 6, generator=torch.Generator().manual_seed(1)) + 2
    expected = usae.pre_codes("vit", tokens)[..., [8, 1]]
    torch.testing.assert_close(usae.readout("vit", [8, 1])(tokens), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(usae.readout("vit", torch.tensor([8, 1]))(tokens), expected, atol=1e-4, rtol=1e-4)


def test_pre_codes_with_batch_norm_by_hand() -> None:
    usae = USAE({"a": 1}, n_concepts=1, k=1, batch_norm=True).eval()
    encoder = usae.encoder("a")
    with torch.no_grad():
        encoder.linear.weight.fill_(3.0)
        encoder.linear.bias.fill_(1.0)
        encoder.norm.running_mean.fill_(4.0)
        encoder.norm.running_var.fill_(4.0)
        encoder.norm.weight.fill_(5.0)
        encoder.norm.bias.fill_(-2.0)
        usae.scale("a").mean.fill_(10.0)
        usae.scale("a").std.fill_(2.0)
    # (14 - 10) / 2 = 2; 3 * 2 + 1 = 7; (7 - 4) / 2 = 1.5; 5 * 1.5 - 2 = 5.5
    assert usae.pre_codes("a", torch.tensor([[14.0]])).item() == pytest.approx(5.5, abs=1e-3)


def test_dictionary_has_unit_norm_whatever_the_weights() -> None:
    usae = random_usae(False)
    usae.decoder("dino").weight.mul_(37.0)
    torch.testing.assert_close(usae.dictionary("dino").norm(dim=-1), torch.ones(10))


def test_decode_answers_in_the_backbones_own_units() -> None:
    usae = USAE({"a": 2}, n_concepts=3, k=1).eval()
    with torch.no_grad():
        usae.decoder("a").weight.copy_(torch.tensor([[3.0, 4.0], [0.0, 2.0], [1.0, 0.0]]))
        usae.decoder("a").offset.copy_(torch.tensor([1.0, -1.0]))
        usae.scale("a").mean.fill_(10.0)
        usae.scale("a").std.fill_(2.0)
    decoded = usae.decode("a", Codes(torch.tensor([5.0]), torch.tensor([0])))  # 5 * (0.6, 0.8) + (1, -1) = (4, 3)
    torch.testing.assert_close(decoded, torch.tensor([4 * 2.00001 + 10, 3 * 2.00001 + 10]), rtol=0, atol=1e-6)


def test_a_backbones_codes_decode_to_another_width() -> None:
    usae = random_usae(False)
    codes = usae.encode("vit", torch.randn(5, 2, 6))
    assert codes.values.shape == codes.indices.shape == (5, 2, 3)
    dense = codes.dense(10) @ usae.dictionary("dino") + usae.decoder("dino").offset
    scale = usae.scale("dino")
    torch.testing.assert_close(usae.decode("dino", codes), dense * (scale.std + 1e-5) + scale.mean)


def test_standardize_by_hand() -> None:
    usae = USAE({"a": 2}, 2, 1)
    usae.scale("a").set(torch.tensor(4.0), torch.tensor((20 / 3) ** 0.5))
    expected = (9 - 4) / ((20 / 3) ** 0.5 + 1e-5)
    assert usae.standardize("a", torch.tensor([9.0, 9.0]))[0].item() == pytest.approx(expected, rel=1e-6)


def whitened_usae() -> USAE:
    """`random_usae` whose tokens of `dino` are turned and stretched after a mean token was taken off."""
    usae = random_usae(False)
    generator = torch.Generator().manual_seed(4)
    width = usae.widths["dino"]
    half = torch.randn(width, width, generator=generator).double()
    usae.scale("dino").set_matrix(torch.arange(width).double(), half @ half.T + torch.eye(width).double())
    return usae


def test_a_matrix_is_undone_by_decode_and_folded_in_the_readout() -> None:
    usae = whitened_usae()
    scale = usae.scale("dino")
    tokens = 3 * torch.randn(20, usae.widths["dino"], generator=torch.Generator().manual_seed(5)) + 7
    assert scale.matrix is not None
    torch.testing.assert_close(usae.standardize("dino", tokens), (tokens - scale.mean) @ scale.matrix)
    torch.testing.assert_close(scale.inverse(usae.standardize("dino", tokens)), tokens, rtol=1e-4, atol=1e-4)
    codes = usae.encode("dino", tokens)
    standardized = codes.dense(10) @ usae.dictionary("dino") + usae.decoder("dino").offset
    torch.testing.assert_close(usae.standardize("dino", usae.decode("dino", codes)), standardized, rtol=1e-3, atol=1e-3)
    read = usae.readout("dino", [7, 2])(tokens)
    torch.testing.assert_close(read, usae.pre_codes("dino", tokens)[:, [7, 2]], rtol=1e-4, atol=1e-3)


def test_a_concept_of_free_length_counts_as_much_as_its_row_is_long() -> None:
    torch.manual_seed(0)
    usae = USAE({"a": 3}, 2, 1, unit_norm=False)
    with torch.no_grad():
        usae.decoder("a").weight.copy_(torch.tensor([[0.0, 0.0, 0.25], [3.0, 4.0, 0.0]]))
    codes = Codes(torch.tensor([[2.0], [2.0]]), torch.tensor([[0], [1]]))
    torch.testing.assert_close(usae.decoder("a")(codes), torch.tensor([[0.0, 0.0, 0.5], [6.0, 8.0, 0.0]]))
    decoded = usae.scale("a").inverse(usae.decoder("a")(codes))
    torch.testing.assert_close(usae.decode("a", codes), decoded)
    torch.testing.assert_close(usae.dictionary("a"), torch.tensor([[0.0, 0.0, 1.0], [0.6, 0.8, 0.0]]))
    usae.decoder("a").unit_norm = True
    torch.testing.assert_close(usae.decoder("a")(codes), torch.tensor([[0.0, 0.0, 2.0], [1.2, 1.6, 0.0]]))


def test_what_is_loaded_decides_the_form_of_the_standardization() -> None:
    whitened, scalar = whitened_usae(), random_usae(False)
    tokens = torch.randn(4, scalar.widths["dino"])
    expected = scalar.standardize("dino", tokens), whitened.standardize("dino", tokens)
    kept = scalar.state_dict(), whitened.state_dict()
    assert {"scales.dino.mean", "scales.dino.std"} == {key for key in kept[0] if key.startswith("scales.dino")}
    for state, wanted, other in ((kept[1], expected[1], scalar), (kept[0], expected[0], whitened)):
        fresh = random_usae(False)
        for usae in (fresh, other):  # whatever it was before
            usae.load_state_dict({key: value.clone() for key, value in state.items()})
            assert torch.equal(usae.standardize("dino", tokens), wanted)
            assert usae.state_dict().keys() == state.keys()


@pytest.mark.parametrize("ask", ["pre_codes", "encode", "standardize"])
def test_unknown_backbone_names_the_nearest(ask: str) -> None:
    usae = random_usae(False)
    with pytest.raises(ValueError, match=r"unknown backbone 'dimo'; this USAE has vit, dino; did you mean 'dino'\?"):
        getattr(usae, ask)("dimo", torch.zeros(1, 4))
    with pytest.raises(ValueError, match="unknown backbone 'dimo'"):
        usae.dictionary("dimo")
    with pytest.raises(ValueError, match="unknown backbone 'dimo'"):
        usae.readout("dimo", [0])
    with pytest.raises(ValueError, match="unknown backbone 'dimo'"):
        usae.decode("dimo", Codes(torch.ones(1), torch.zeros(1, dtype=torch.long)))


def test_tokens_of_another_width_are_refused_with_both_widths() -> None:
    with pytest.raises(ValueError, match=r"vit: tokens have shape \(2, 4\); expected \(\.\.\., 6\)"):
        random_usae(False).encode("vit", torch.zeros(2, 4))


@pytest.mark.parametrize("k", [0, 5])
def test_k_outside_the_concepts_is_refused(k: int) -> None:
    with pytest.raises(ValueError, match=f"k is {k}; expected 1 <= k <= n_concepts = 4"):
        USAE({"a": 2}, 4, k)


def test_no_backbone_is_refused() -> None:
    with pytest.raises(ValueError, match="needs at least one backbone"):
        USAE({}, 4, 1)


def test_bare_activations_have_no_backbones_to_ask_for() -> None:
    with pytest.raises(ValueError, match="fitted on bare activations"):
        _ = random_usae(False).backbones


def test_a_single_token_encodes_without_batch_norm() -> None:
    usae = random_usae(False)
    tokens = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(usae.pre_codes("vit", tokens[1]), usae.pre_codes("vit", tokens)[1])


def test_a_single_token_encodes_with_batch_norm() -> None:
    usae = random_usae(True)
    tokens = torch.randn(3, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(usae.pre_codes("vit", tokens[1]), usae.pre_codes("vit", tokens)[1])


@pytest.mark.parametrize("name", ["vit.b16", "keys", "", "sheet", "shared", "images"])
def test_names_that_cannot_be_a_modules_are_refused_in_words(name: str) -> None:
    with pytest.raises(ValueError, match="a backbone cannot be called"):
        USAE({name: 3}, 4, 2)
