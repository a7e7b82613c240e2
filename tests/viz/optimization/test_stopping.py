import torch

from usae_viz.optimization.convergence import BestCanvas, ConvergenceMonitor


def heard(window, *scores):
    monitor = ConvergenceMonitor(window)
    for step in scores:
        monitor.update(torch.tensor(step))
    return bool(monitor)


def test_settled_compares_the_last_steps_with_as_many_before():
    assert not heard(2)
    assert not heard(2, [1.0], [1.0], [1.0])  # too few
    assert heard(2, [1.0], [1.0], [1.0], [1.0])
    assert not heard(2, [1.0], [1.0], [1.0], [1.1])
    assert heard(2, [1.0], [2.0], [2.0], [0.9])  # 1.45 after 1.5
    assert not heard(2, [0.0], [1.0], [2.0], [3.0], [3.0], [3.0])
    assert heard(2, [0.0], [1.0], [2.0], [3.0], [2.0], [3.0])  # only the last four count
    assert heard(2, [9.0], [9.0], [0.0], [0.0], [0.0], [0.1])  # after the fourth, and so it stays


def test_one_picture_that_still_rises_keeps_all_going():
    assert not heard(2, [1.0, 0.0], [1.0, 0.0], [1.0, 0.5], [1.0, 0.5])
    assert heard(2, [1.0, 0.5], [1.0, 0.5], [1.0, 0.5], [0.0, 0.5])


def test_a_picture_is_held_as_it_was_when_its_score_settled():
    """Steps leave canvases of their own number; the first picture settles after step 4, the second after step 5."""
    monitor, held = ConvergenceMonitor(2), []
    for step, scores in enumerate([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0], [1.0, 0.5], [9.0, -1.0], [0.0, 0.0]]):
        held.append(monitor.freeze_converged(torch.full((2, 3, 1, 1), float(step)))[:, 0, 0, 0].tolist())
        assert monitor.mask_converged(torch.ones(2, 1, 1)).flatten().tolist() == [float(step < 4), float(step < 5)]
        monitor.update(torch.tensor(scores))
    assert monitor.converged_after.tolist() == [4, 5]
    assert held == [[0, 0], [1, 1], [2, 2], [3, 3], [4, 4], [4, 5]]
    assert monitor.freeze_converged(torch.full((2, 3, 1, 1), 6.0))[:, 0, 0, 0].tolist() == [4, 5]


def test_without_a_window_nothing_settles():
    assert not heard(None, *[[1.0]] * 50)


def test_best_is_where_the_smoothed_score_was_highest_a_picture():
    """First picture: means 0, 2 (of 10), 1.6 (of 0): step 1. Second: 0, -2, -1.6, rises to 0.72 at step 3."""
    best = BestCanvas()
    assert best.canvas is None
    for step, scores in enumerate([[0.0, 0.0], [10.0, -10.0], [0.0, 0.0], [0.0, 10.0]]):
        best.update(torch.full((2, 3, 1, 1), float(step)), torch.tensor(scores))
    assert best.canvas[:, 0, 0, 0].tolist() == [1, 3]


def test_one_high_score_after_low_ones_is_not_yet_the_best():
    """Means 5, 4, 3.2, then 0.8 * 3.2 + 0.2 * 10 = 4.56: below 5."""
    best = BestCanvas()
    for step, score in enumerate([5.0, 0.0, 0.0, 10.0]):
        best.update(torch.full((1, 3, 1, 1), float(step)), torch.tensor([score]))
    assert best.canvas[0, 0, 0, 0] == 0


def test_best_keeps_a_copy():
    best, canvas = BestCanvas(), torch.zeros(1, 3, 1, 1)
    best.update(canvas, torch.zeros(1))
    canvas += 1
    assert best.canvas.max() == 0
