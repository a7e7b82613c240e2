import pytest
import torch

from usae_train.colour import from_canvas, to_canvas
from usae_viz.parameterizations import PARAMETERIZATIONS, MacoImage, parameterization
from usae_viz.parameterizations.maco import packaged_spectrum, spectrum_at


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
    own = packaged_spectrum()
    assert torch.equal(spectrum_at(own, own.shape[1]), own)
    larger = spectrum_at(own, 192)
    assert larger.shape == (3, 192, 97)
    # the same cycles a picture; twice the side, so twice the orthonormal magnitude
    assert torch.allclose(larger[:, 5, 7], 2 * own[:, 5, 7], rtol=0.05)
    assert larger[0, 0, 96] < larger[0, 0, 40]


def test_colour_axes_invert():
    canvas = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    assert torch.allclose(to_canvas(from_canvas(canvas)), canvas, atol=1e-5)
