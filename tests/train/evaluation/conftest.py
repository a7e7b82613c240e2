import pytest
import torch
from edited_networks import SPECS, space

from usae_train.model.usae import USAE


@pytest.fixture(scope="session")
def edited() -> USAE:
    """A concept space over networks with classifiers: a transformer with registers, and a convolutional one."""
    return space({name: SPECS[name] for name in ("registers", "conv")})


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(2, 3, 64, 64)."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
