import pytest
import torch

import usae_viz as uv
from usae_train.images.colour import FROM_RGB, from_canvas, to_canvas
from usae_viz.parameterizations import PARAMETERIZATIONS, MacoImage, analytic_spectrum, parameterization
from usae_viz.parameterizations.fourier import frequency_scale
from usae_viz.parameterizations.maco import spectrum_at
from usae_viz.parameterizations.spectra import packaged_spectrum, packaged_with, spectrum_hash


@pytest.mark.parametrize("image", PARAMETERIZATIONS)
@pytest.mark.parametrize("size", [32, 33])
def test_canvases_are_pictures_and_every_parameter_has_a_gradient(image, size):
    made = parameterization(image, [0, 1], size)
    canvas = made()
    assert canvas.shape == (2, 3, size, size)
    assert canvas.dtype == torch.float32
    assert 0 <= canvas.min() < canvas.max() <= 1
    weights = torch.randn(canvas.shape, generator=torch.Generator().manual_seed(0))
    (canvas * weights).sum().backward()
    for parameter in made.parameters():
        assert (parameter.grad != 0).float().mean() > 0.9


@pytest.mark.parametrize("image", PARAMETERIZATIONS)
def test_equal_seeds_start_equal_whatever_else_is_in_the_batch(image):
    alone = parameterization(image, [7], 32)()
    together = parameterization(image, [3, 7, 7], 32)()
    assert torch.equal(together[1], together[2])
    assert torch.allclose(alone[0], together[1], atol=1e-6)
    assert not torch.allclose(together[0], together[1], atol=1e-3)


def test_unknown_parameterization_names_those_there_are():
    with pytest.raises(ValueError, match="unknown parameterization 'clay'; expected one of fourier, maco, pixel"):
        parameterization("clay", [0], 32)


@pytest.mark.parametrize("size", [64, 96, 131])
def test_maco_holds_the_magnitude_before_colour_and_squashing(size):
    made = MacoImage([0], size)
    made.latent.data += torch.randn(made.latent.shape, generator=torch.Generator().manual_seed(1))
    magnitude = torch.fft.rfft2(made.decorrelated(made.latent), norm="ortho").abs()[0]
    # a real picture forces symmetry on the first column, and on the last when the side is even
    free = slice(1, size // 2 if size % 2 == 0 else None)
    assert torch.allclose(magnitude[..., free], made.magnitude[..., free], rtol=1e-3, atol=1e-5)


def test_a_spectrum_read_at_its_own_size_is_itself_and_falls_on_above_it():
    own = packaged_spectrum("demo")
    assert torch.equal(spectrum_at(own, own.shape[1]), own)
    larger = spectrum_at(own, 192)
    assert larger.shape == (3, 192, 97)
    # the same cycles a picture; twice the side, so twice the orthonormal magnitude
    assert torch.allclose(larger[:, 5, 7], 2 * own[:, 5, 7], rtol=0.05)
    assert larger[0, 0, 96] < larger[0, 0, 40]


def test_photographs_vary_most_in_brightness_and_the_demos_scenes_in_colour():
    def shares(name):
        """Of the energy of the three decorrelated channels, but for the mean colour."""
        energy = packaged_spectrum(name).square()
        energy[:, 0, 0] = 0
        return (energy.sum((1, 2)) / energy.sum()).tolist()

    assert shares("photographs") == pytest.approx([0.37, 0.355, 0.275], abs=0.01)
    assert shares("demo") == pytest.approx([0.035, 0.36, 0.605], abs=0.01)
    assert packaged_with(spectrum_hash("demo")) == "demo"
    assert packaged_with("0" * 64) is None


@pytest.mark.parametrize("contrast", [0.5, 1.5])
@pytest.mark.parametrize("size", [32, 33])
def test_a_fourier_picture_has_its_contrast_whatever_the_coefficients(contrast, size):
    made = parameterization("fourier", [0, 1], size, contrast=contrast)
    for scale in (1e-3, 1.0, 1e3):
        made.latent.data = scale * torch.randn(made.latent.shape, generator=torch.Generator().manual_seed(1))
        decorrelated = torch.einsum("cr,nrhw->nchw", FROM_RGB.double(), made().detach().double().logit())
        assert decorrelated.square().mean((1, 2, 3)).sqrt().tolist() == pytest.approx([contrast] * 2, rel=0.01)


def test_colour_axes_invert():
    canvas = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    assert torch.allclose(to_canvas(from_canvas(canvas)), canvas, atol=1e-5)


def natural(size):
    """A smooth picture with values within 0.1..0.9."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(8)) * 0.8 + 0.1
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bilinear")[0]


@pytest.mark.parametrize("image", PARAMETERIZATIONS)
@pytest.mark.parametrize("size", [32, 33, 224])  # 224 is the packaged spectrum's own
def test_every_seed_can_begin_at_a_given_picture(image, size):
    before = packaged_spectrum().clone()
    made = parameterization(image, [0, 1], size)
    assert (made() - natural(size)).abs().mean() > 0.05
    assert made.begin_at(natural(size)) is made
    canvas = made()
    assert canvas.shape == (2, 3, size, size)
    assert torch.allclose(canvas, natural(size).expand_as(canvas), atol=1e-4)
    assert torch.equal(packaged_spectrum(), before)  # what other pictures are drawn with is left alone
    canvas.sum().backward()
    assert made.latent.grad.abs().sum() > 0


@pytest.mark.parametrize("image", PARAMETERIZATIONS)
def test_black_and_white_begin_within_the_edges_of_what_has_a_logit(image):
    chequered = torch.zeros(3, 32, 32)
    chequered[:, ::8] = 1
    canvas = parameterization(image, [0], 32).begin_at(chequered)()
    assert torch.allclose(canvas[0], chequered.clamp(0.02, 0.98), atol=1e-3)


@pytest.mark.parametrize("size", [16, 33, 64, 131])
def test_the_analytic_spectrum_falls_as_one_over_f_and_gives_a_picture_of_standard_deviation_one(size):
    template = analytic_spectrum(size)
    assert template.shape == (3, size, size // 2 + 1)
    assert (template[:, 0, 0] == 0).all()
    assert torch.equal(template[0], template[1])
    assert torch.allclose(template[0, 0, 4], template[0, 0, 1] / 4)
    assert torch.allclose(template[0, 3, 4], template[0, 0, 5], rtol=1e-5)  # 3, 4, 5
    assert torch.allclose(template[0, -2, 0], template[0, 2, 0])
    mirrored = [min(column, size - column) for column in range(size)]  # the half that rfft2 leaves out
    assert template[0][:, mirrored].square().sum() / size**2 == pytest.approx(1, rel=1e-4)  # Parseval
    made = MacoImage(range(8), size, template)
    drawn = made.decorrelated(made.latent).detach()
    assert drawn.mean((2, 3)).abs().max() < 1e-5  # nothing at zero frequency
    assert drawn.std((2, 3)).mean() == pytest.approx(1, abs=0.15)
    # the first column, and the last of an even side, hold the magnitude as an upper bound only
    assert (drawn.square().mean((2, 3)) < 1.001).all()


@pytest.mark.parametrize("size", [48, 33])
def test_a_drawn_picture_has_the_analytic_spectrum_still(usae, size):
    result = uv.maximize(usae, uv.Concept(3), parameterization="maco", spectrum="1/f", steps=5, views=2, size=size)
    template = analytic_spectrum(size)
    free = slice(1, size // 2 if size % 2 == 0 else None)
    for canvas in result.images.values():
        decorrelated = torch.einsum("cr,rhw->chw", FROM_RGB.double(), canvas.double().logit())
        magnitude = torch.fft.rfft2(decorrelated, norm="ortho").abs().float()
        assert torch.allclose(magnitude[..., free], template[..., free], rtol=0.01, atol=2e-3)


def test_a_run_with_the_analytic_spectrum_records_it(usae, tmp_path):
    result = uv.maximize(usae, uv.Concept(3), parameterization="maco", spectrum="1/f", steps=1, views=1, size=32)
    assert result.metadata("left")["spectrum_sha256"] == "1/f"
    assert '"spectrum_sha256": "1/f"' in (result.save(tmp_path) / "run.json").read_text()
    packaged = uv.maximize(usae, uv.Concept(3), parameterization="maco", steps=1, views=1, size=32)
    assert len(packaged.metadata("left")["spectrum_sha256"]) == 64


@pytest.mark.parametrize(("size", "decay"), [(32, 1.5), (97, 1.5), (256, 1.5), (96, 0.0), (96, 1.0), (256, 2.0)])
def test_fouriers_contrast_depends_on_neither_size_nor_decay(size, decay):
    def contrast(size, decay):
        scale = frequency_scale(size, decay)
        drawn = torch.randn(60, *scale.shape, 2, generator=torch.Generator().manual_seed(0))
        return torch.fft.irfft2(torch.view_as_complex(drawn) * scale, s=(size, size)).square().mean().sqrt().item()

    assert contrast(size, decay) == pytest.approx(contrast(96, 1.5), rel=0.15)


def test_decay_is_how_steeply_fourier_falls():
    """The same coefficients: without decay the picture is white noise, with more it is smoother."""

    def roughness(decay):
        drawn = from_canvas(parameterization("fourier", [0], 64, decay=decay)())
        return (drawn.diff(dim=-1).std() / drawn.std()).item()

    assert roughness(0.0) == pytest.approx(2**0.5, rel=0.1)  # independent neighbours
    assert roughness(0.0) > roughness(1.0) > roughness(2.0)
    assert torch.equal(parameterization("fourier", [0], 64, decay=1.5)(), parameterization("fourier", [0], 64)())


def test_a_file_that_is_no_spectrum_is_said():
    with pytest.raises(ValueError, match=r"nowhere\.safetensors is not a spectrum"):
        parameterization("maco", [0], 32, spectrum="nowhere.safetensors")
