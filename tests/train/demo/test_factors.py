import torch

from usae_train.scenes.factors import patch_shares


def test_patch_shares_by_hand() -> None:
    labels = torch.tensor([[0, 0, 1, 1], [0, 2, 1, 1], [2, 2, 0, 1], [2, 2, 2, 1]], dtype=torch.uint8)[None]
    assert patch_shares(labels, 3, (2, 2)).tolist() == [
        [[0.75, 0.0, 0.25], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.25, 0.5, 0.25]]
    ]


def test_patch_shares_sum_to_one_on_any_grid() -> None:
    labels = torch.randint(7, (3, 96, 96), generator=torch.Generator().manual_seed(0))
    for grid in [(8, 8), (12, 12), (7, 5), (1, 1)]:
        shares = patch_shares(labels, 7, grid)
        assert shares.shape == (3, grid[0] * grid[1], 7)
        torch.testing.assert_close(shares.sum(-1), torch.ones(3, grid[0] * grid[1]))
