"""Probabilities of several networks become one."""

import torch

from train.evaluate.blend import blend


def test_blends_are_the_arithmetic_and_the_geometric_mean() -> None:
    scores = torch.tensor([[[0.1, 0.9]], [[0.4, 0.1]]])
    assert torch.allclose(blend(scores, "mean"), torch.tensor([[0.25, 0.5]]))
    assert torch.allclose(blend(scores, "geometric"), torch.tensor([[0.2, 0.3]]))


def test_a_score_of_nothing_stays_finite() -> None:
    blended = blend(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), "geometric")
    assert blended.isfinite().all()
    assert float(blended.max()) < 1e-18
