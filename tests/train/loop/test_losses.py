"""Losses equal naive loops over clips and labels, and PyTorch's own where it has them."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from recipe import Training
from train.loop.losses import batch_loss, bootstrap, clip_losses, smooth_labels, validation_loss


def batch(single: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 4, generator=generator)
    y = torch.eye(4)[torch.randint(4, (6,), generator=generator)] if single else torch.rand(6, 4, generator=generator)
    return logits, y.round() if not single else y, torch.tensor([0, 1, 0, 0, 1, 1], dtype=torch.bool)


def naive_loss(logits: Tensor, y: Tensor, noisy: Tensor, training: Training) -> float:
    """The recipe's loss of a batch, a clip and a label at a time."""
    total = 0.0
    for clip in range(len(y)):
        shares = [1 / (1 + math.exp(-float(logit))) for logit in logits[clip]]
        losses = []
        for share, given in zip(shares, y[clip].tolist(), strict=True):
            target = given * (1 - training.label_smoothing) + training.label_smoothing / 2
            if noisy[clip]:
                target = training.bootstrap_beta * target + (1 - training.bootstrap_beta) * share
            loss = -target * math.log(share) - (1 - target) * math.log(1 - share)
            if training.loss == "focal":
                loss *= (target * (1 - share) + (1 - target) * share) ** training.focal_gamma
            losses.append(loss)
        total += sum(losses) / len(losses) * (training.noisy_weight if noisy[clip] else 1)
    return total / len(y)


@pytest.mark.parametrize("loss", ["bce", "focal"])
@pytest.mark.parametrize("keys", [{}, {"label_smoothing": 0.1}, {"bootstrap_beta": 0.7}, {"noisy_weight": 0.3}])
def test_the_loss_of_several_labels_is_a_loops(loss: str, keys: dict[str, float]) -> None:
    training = Training(loss=loss, **keys)  # type: ignore[arg-type]
    given = batch()
    assert float(batch_loss(*given, training)) == pytest.approx(naive_loss(*given, training), rel=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_is_pytorchs(smoothing: float) -> None:
    logits, y, noisy = batch(single=True)
    training = Training(loss="cross_entropy", label_smoothing=smoothing)
    expected = F.cross_entropy(logits, y.argmax(1), label_smoothing=smoothing)
    assert float(batch_loss(logits, y, noisy, training)) == pytest.approx(float(expected), rel=1e-5)


def test_cross_entropy_shares_a_mixture_of_clips_among_their_labels() -> None:
    logits, _, noisy = batch()
    union = torch.tensor([[1.0, 1.0, 0, 0]]).expand(6, 4)
    expected = F.cross_entropy(logits, union / 2)
    assert float(batch_loss(logits, union, noisy, Training(loss="cross_entropy"))) == pytest.approx(float(expected))


def test_focal_loss_without_focus_is_bce() -> None:
    logits, y, _ = batch()
    assert torch.allclose(clip_losses(logits, y, "focal", 0.0), clip_losses(logits, y, "bce"))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 1.0, 2.0])
def test_a_certain_label_leaves_focal_gradients_finite(gamma: float) -> None:
    logits = torch.tensor([[30.0, -30.0]], requires_grad=True)
    clip_losses(logits, torch.tensor([[1.0, 0.0]]), "focal", gamma).sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_smoothed_targets_keep_their_mass() -> None:
    _, y, _ = batch(single=True)
    assert torch.allclose(smooth_labels(y, 0.2, "cross_entropy").sum(1), torch.ones(6))
    assert torch.allclose(smooth_labels(y, 0.2, "bce"), torch.where(y == 1, 0.9, 0.1))


def test_no_gradient_flows_through_what_the_network_says() -> None:
    logits, y, _ = batch()
    logits.requires_grad_()
    assert not bootstrap(logits, y, Training(bootstrap_beta=0.5)).requires_grad


def test_a_noisy_clip_of_weight_nothing_teaches_nothing() -> None:
    logits, y, noisy = batch()
    logits.requires_grad_()
    batch_loss(logits, y, noisy, Training(noisy_weight=0)).backward()
    assert logits.grad is not None
    assert (logits.grad[noisy] == 0).all()
    assert (logits.grad[~noisy] != 0).all()


def test_the_validation_loss_bears_certainty() -> None:
    truth = torch.eye(3)
    assert validation_loss(truth, truth, "bce") == pytest.approx(0, abs=1e-6)
    assert validation_loss(truth, truth, "cross_entropy") == pytest.approx(0, abs=1e-6)
    assert validation_loss(1 - truth, truth, "bce") == pytest.approx(-math.log(1e-7), rel=1e-2)
