import pytest
import torch
from edited_networks import SPECS, space

from usae_train.model.usae import USAE


@pytest.fixture(scope="session")
def edited() -> USAE:
    """A concept space over all of `SPECS`."""
    return space(SPECS)


@pytest.fixture(scope="session")
def pictures() -> torch.Tensor:
    """(2, 3, 64, 64)."""
    return torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
